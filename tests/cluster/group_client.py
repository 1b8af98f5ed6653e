"""One consumer of a group in a process of its own, so that it can be killed.

`LIBRARY BOOTSTRAP TOPIC GROUP [INSTANCE]`: standard output gets a JSON line for what happens:
["joining"], ["assigned", partitions] after each rebalance, ["read", partition, offset, value], and
["committed", partition, offset] after each poll that read something. Ends when standard input does,
leaving the group. Texts are ASCII. Does not: choose what is read, or judge.
"""

import asyncio
import json
import os
import select
import sys
import threading

SESSION_MS = 6_000
HEARTBEAT_MS = 500
POLL_MS = 500
"""Long enough to join within one: see tests/clients/drivers/kafka_python_driver.py."""
printing = threading.Lock()


def say(*fields):
    with printing:
        print(json.dumps(fields), flush=True)


def is_asked_to_stop():
    ready, _, _ = select.select([sys.stdin], [], [], 0)
    return bool(ready) and not os.read(sys.stdin.fileno(), 1)


def classic(strategy):
    return {
        "session.timeout.ms": SESSION_MS,
        "heartbeat.interval.ms": HEARTBEAT_MS,
        "partition.assignment.strategy": strategy,
    }


def confluent(bootstrap, topic, group, instance=None, settings=None):
    from confluent_kafka import Consumer, KafkaException

    settings = dict(settings or classic("range"))
    if instance:
        settings["group.instance.id"] = instance
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": group,
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
            "topic.metadata.refresh.interval.ms": 200,
            "reconnect.backoff.max.ms": 100,
            "log_level": 0,
        }
        | settings
    )
    last = None
    say("joining")
    consumer.subscribe([topic])
    while not is_asked_to_stop():
        messages = consumer.consume(500, 0.05)
        now = sorted(one.partition for one in consumer.assignment())
        if now != last:
            last = now
            say("assigned", now)
        for message in messages:
            if message.error() is None:
                say("read", message.partition(), message.offset(), message.value().decode())
            elif message.error().fatal() or not message.error().retriable():
                say("failed", str(message.error()))
        if messages:
            try:
                for one in consumer.commit(asynchronous=False):
                    say("committed", one.partition, one.offset)
            except KafkaException as error:
                say("commit refused", str(error))
    consumer.close()


def cooperative(*words):
    confluent(*words, settings=classic("cooperative-sticky"))


def new_protocol(*words):
    confluent(*words, settings={"group.protocol": "consumer"})


def kafka_python(bootstrap, topic, group, instance=None):
    from kafka import ConsumerRebalanceListener, KafkaConsumer
    from kafka.errors import KafkaError

    class Listener(ConsumerRebalanceListener):
        def on_partitions_revoked(self, revoked):
            pass

        def on_partitions_assigned(self, assigned):
            say("assigned", sorted(one.partition for one in assigned))

    consumer = KafkaConsumer(
        bootstrap_servers=bootstrap.split(","),
        group_id=group,
        group_instance_id=instance,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        session_timeout_ms=SESSION_MS,
        heartbeat_interval_ms=HEARTBEAT_MS,
    )
    say("joining")
    consumer.subscribe([topic], listener=Listener())
    consumer.partitions_for_topic(topic)  # see kafka_python_driver.py: a join that is forgotten
    while not is_asked_to_stop():
        batches = consumer.poll(POLL_MS)
        for records in batches.values():
            for one in records:
                say("read", one.partition, one.offset, one.value.decode())
        if batches:
            try:
                consumer.commit()
            except KafkaError as error:
                say("commit refused", repr(error))
            else:
                for partition, records in batches.items():
                    say("committed", partition.partition, records[-1].offset + 1)
    consumer.close()


def aiokafka(*words):
    asyncio.run(aiokafka_on_loop(*words))


async def aiokafka_on_loop(bootstrap, topic, group, instance=None):
    from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener
    from aiokafka.errors import KafkaError

    class Listener(ConsumerRebalanceListener):
        def on_partitions_revoked(self, revoked):
            pass

        def on_partitions_assigned(self, assigned):
            say("assigned", sorted(one.partition for one in assigned))

    consumer = AIOKafkaConsumer(
        bootstrap_servers=bootstrap,
        group_id=group,
        group_instance_id=instance,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        session_timeout_ms=SESSION_MS,
        heartbeat_interval_ms=HEARTBEAT_MS,
    )
    say("joining")
    consumer.subscribe([topic], listener=Listener())
    await consumer.start()
    while not is_asked_to_stop():
        batches = await consumer.getmany(timeout_ms=50)
        for records in batches.values():
            for one in records:
                say("read", one.partition, one.offset, one.value.decode())
        if batches:
            try:
                await consumer.commit()
            except KafkaError as error:
                say("commit refused", repr(error))
            else:
                for partition, records in batches.items():
                    say("committed", partition.partition, records[-1].offset + 1)
    await consumer.stop()


if __name__ == "__main__":
    LIBRARIES = {
        "confluent": confluent,
        "cooperative": cooperative,
        "new_protocol": new_protocol,
        "kafka_python": kafka_python,
        "aiokafka": aiokafka,
    }
    LIBRARIES[sys.argv[1]](*sys.argv[2:])
