"""Real processes: an event id is stored once, whoever dies and whoever sends it again."""

import asyncio
import os
import time
from uuid import uuid4

import pytest
from aiokafka import AIOKafkaProducer
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

pytestmark = [pytest.mark.cluster, pytest.mark.clients]

KILLS = int(os.environ.get("TRIMARAN_DEDUP_KILLS", "4"))
EVENTS_PER_KILL = 400
TRIES = 30
WAIT_S = 60.0


def send_all(bootstrap, topic, names, *, is_idempotent, flush_s):
    """Send every name from a new producer; return those that were acknowledged."""
    acked = []

    def told(name):
        def done(error, _):
            if error is None:
                acked.append(name)

        return done

    producer = Producer(
        {
            "bootstrap.servers": bootstrap,
            "enable.idempotence": is_idempotent,
            "acks": "all",
            "compression.type": "lz4",
            "message.timeout.ms": 1000,
            "request.timeout.ms": 500,
            "linger.ms": 5,
        }
    )
    for name in names:
        producer.produce(topic, value=name, headers=[("event-id", name)], on_delivery=told(name))
        producer.poll(0)
    producer.flush(flush_s)
    return acked


async def send_by_another_library(bootstrap, topic, names):
    """Send every name through aiokafka; return those that were acknowledged."""
    async with AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all", linger_ms=5) as producer:
        told = [
            await producer.send(topic, value=name, headers=[("event-id", name)]) for name in names
        ]
        async with asyncio.timeout(WAIT_S):
            await asyncio.gather(*told)
    return names


def read_all(bootstrap, topic):
    settings = {"bootstrap.servers": bootstrap, "group.id": "g", "enable.auto.commit": False}
    consumer = Consumer({**settings, "auto.offset.reset": "earliest", "enable.partition.eof": True})
    consumer.assign([TopicPartition(topic, 0, 0)])
    values = []
    deadline = time.monotonic() + WAIT_S
    while time.monotonic() < deadline:
        message = consumer.poll(1.0)
        if message is None:
            continue
        if message.error() is None:
            values.append(message.value())
        elif message.error().code() == KafkaError._PARTITION_EOF:
            consumer.close()
            return values
        elif message.error().fatal():
            raise KafkaException(message.error())
    raise AssertionError(f"no end of {topic} after {WAIT_S} s")


def test_events_resent_by_new_producers_over_killed_leaders_are_stored_once(cluster):
    bootstrap = cluster.bootstrap_servers
    topic = f"ids-{uuid4().hex[:8]}"
    config = {"event.dedup.enable": "true"}
    admin = AdminClient({"bootstrap.servers": bootstrap})
    made = admin.create_topics(
        [NewTopic(topic, num_partitions=1, replication_factor=3, config=config)]
    )
    made[topic].result(WAIT_S)
    sent = []
    for kill in range(KILLS):
        names = [b"event %d of kill %d" % (at, kill) for at in range(EVENTS_PER_KILL)]
        sent += names
        send_all(bootstrap, topic, names, is_idempotent=True, flush_s=0.01)  # cut off half-way
        victim = cluster.leader(topic, 0)
        cluster.kill(victim)
        missing = names
        for number in range(TRIES):
            acked = send_all(bootstrap, topic, missing, is_idempotent=number % 2 == 0, flush_s=2.0)
            missing = sorted(set(missing) - set(acked))
            if not missing:
                break
        cluster.start(victim)
        assert missing == []
    again = send_all(bootstrap, topic, sent[:1000], is_idempotent=False, flush_s=WAIT_S)
    by_another_library = asyncio.run(send_by_another_library(bootstrap, topic, sent[-200:]))

    values = read_all(bootstrap, topic)

    assert len(again) == len(sent[:1000])
    assert len(by_another_library) == 200
    assert sorted(values) == sorted(sent)
