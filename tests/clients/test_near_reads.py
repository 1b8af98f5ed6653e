"""A real consumer in a follower's rack reads there, and elsewhere once that node is gone."""

import contextlib
import json
import time

import pytest
from confluent_kafka import Consumer, Producer
from confluent_kafka.admin import AdminClient, NewTopic

from tests.clients.changed_cluster import ChangedCluster

pytestmark = [pytest.mark.cluster, pytest.mark.clients]

READ_S = 30.0
RACKS = {1: "west", 2: "middle", 3: "east"}


class Racked(ChangedCluster):
    """A cluster whose nodes stand in racks."""

    def settings_of(self, number):
        return {"node": {"rack": RACKS[number]}}


@pytest.fixture(scope="module")
def racked():
    with Racked(nodes=3) as running:
        yield running


class Reader:
    """A consumer that tells which broker it reads from."""

    def __init__(self, cluster, rack):
        self.broker = None
        self.consumer = Consumer(
            {
                "bootstrap.servers": cluster.bootstrap_servers,
                "group.id": f"readers-{rack}",
                "auto.offset.reset": "earliest",
                "client.rack": rack,
                "statistics.interval.ms": 100,
                "stats_cb": self.note,
            }
        )
        self.consumer.subscribe(["near"])

    def note(self, text):
        partitions = json.loads(text)["topics"].get("near", {}).get("partitions", {})
        if "0" in partitions:
            self.broker = partitions["0"]["broker"]

    def read_until(self, count, broker):
        """Read `count` events; go on until `broker` is read from."""
        values, deadline = [], time.monotonic() + READ_S
        while len(values) < count or self.broker != broker:
            assert time.monotonic() < deadline, (len(values), self.broker)
            message = self.consumer.poll(0.1)
            if message is not None and message.error() is None:
                values.append(int(message.value()))
        return values


def produce(cluster, start, end):
    producer = Producer({"bootstrap.servers": cluster.bootstrap_servers})
    for number in range(start, end):
        producer.produce("near", str(number), partition=0)
    assert producer.flush(READ_S) == 0


def test_a_consumer_reads_in_its_rack_until_that_node_is_gone(racked):
    admin = AdminClient({"bootstrap.servers": racked.bootstrap_servers})
    admin.create_topics([NewTopic("near", 1, 3)])["near"].result()
    leader = racked.leader("near", 0)
    follower = next(node for node in racked.nodes if node != leader)
    reader = Reader(racked, RACKS[follower])

    with contextlib.closing(reader.consumer):
        produce(racked, 0, 100)
        first = reader.read_until(100, follower)
        produce(racked, 100, 200)
        second = reader.read_until(100, follower)
        racked.kill(follower)
        produce(racked, 200, 300)
        third = reader.read_until(100, leader)

    assert first + second + third == list(range(300))
