"""A committed offset is never lost or moved back, whatever becomes of the coordinator.

TRIMARAN_COMMIT_RUNS makes it longer.
"""

import os
import threading
import time

import pytest
from confluent_kafka import Consumer, KafkaException, TopicPartition

from trimaran.groups.limits import COORDINATORS_DEFAULT
from trimaran.groups.location import location
from trimaran.metadata.rules import GROUPS_TOPIC

pytestmark = [pytest.mark.cluster, pytest.mark.clients, pytest.mark.needs("gcc")]

RUNS = int(os.environ.get("TRIMARAN_COMMIT_RUNS", "3"))
GROUPS = 4
PARTITIONS = 3
WAIT_S = 60.0
QUICK = {
    "socket.timeout.ms": 1_500,
    "reconnect.backoff.max.ms": 200,
    "log_level": 0,
    "enable.auto.commit": False,
}


class Committer(threading.Thread):
    """Commits ever higher offsets of a group; knows the last acknowledged and the last tried."""

    def __init__(self, bootstrap, topic, group):
        super().__init__(daemon=True)
        self.bootstrap, self.topic, self.group = bootstrap, topic, group
        self.acked = self.tried = 0
        self.error = None
        self._stopping = threading.Event()
        self.start()

    def run(self):
        consumer = Consumer(QUICK | {"bootstrap.servers": self.bootstrap, "group.id": self.group})
        try:
            while not self._stopping.is_set():
                self.tried += 1
                offsets = [TopicPartition(self.topic, p, self.tried) for p in range(PARTITIONS)]
                try:
                    answers = consumer.commit(offsets=offsets, asynchronous=False)
                except KafkaException:
                    continue  # outcome unknown
                if all(answer.error is None for answer in answers):
                    self.acked = self.tried
        except BaseException as error:  # noqa: BLE001  the test asks for it
            self.error = error
        finally:
            consumer.close()

    def wait_for_more(self, count):
        target, deadline = self.acked + count, time.monotonic() + WAIT_S
        while self.acked < target:
            assert self.error is None, self.error
            assert time.monotonic() < deadline, f"{self.group}: {self.acked} of {target}"
            self._stopping.wait(0.01)

    def finish(self):
        self._stopping.set()
        self.join(WAIT_S)
        assert not self.is_alive()


def committed(bootstrap, topic, group):
    """Return the offsets of a group as a fresh client is told."""
    consumer = Consumer(QUICK | {"bootstrap.servers": bootstrap, "group.id": group})
    deadline = time.monotonic() + WAIT_S
    try:
        while True:
            asked = [TopicPartition(topic, p) for p in range(PARTITIONS)]
            try:
                return [row.offset for row in consumer.committed(asked, timeout=5)]
            except KafkaException:
                assert time.monotonic() < deadline
    finally:
        consumer.close()


def test_committed_offsets_stay_whatever_becomes_of_the_coordinator(broken, new_topic, chance):
    topic = new_topic(broken.bootstrap_servers, partitions=PARTITIONS)
    names = [f"commits-{number}" for number in range(GROUPS)]
    committers = [Committer(broken.bootstrap_servers, topic, name) for name in names]
    try:
        for run in range(RUNS):
            for one in committers:
                one.wait_for_more(5)
            number = location(names[run % GROUPS], COORDINATORS_DEFAULT)
            victim = broken.leader(GROUPS_TOPIC, number)
            before = {one.group: one.acked for one in committers}
            manner = ("kill", "power", "silence", "all")[run % 4]
            fail(broken, victim, manner, chance)
            for one in committers:
                one.wait_for_more(5)
            for one in committers:
                found = committed(broken.bootstrap_servers, topic, one.group)
                assert min(found) >= before[one.group], f"{manner}: {one.group} went back: {found}"
    finally:
        for one in committers:
            one.finish()
    for one in committers:
        found = committed(broken.bootstrap_servers, topic, one.group)
        assert one.acked <= min(found), f"{one.group}: {found}, acknowledged was {one.acked}"
        assert max(found) <= one.tried, f"{one.group}: {found}, only {one.tried} was tried"


def fail(cluster, victim, manner, chance):
    if manner == "silence":
        cluster.isolate(victim)
        cluster.leader(GROUPS_TOPIC, 0, other_than=victim)
        cluster.heal()
        return
    if manner == "kill":
        cluster.kill(victim)
    else:
        cluster.cut_power(cluster.nodes if manner == "all" else [victim], chance)
    cluster.start_all()
