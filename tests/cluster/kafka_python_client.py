"""kafka-python in a process of its own, for it leaves refused connections to the collector.

`produce BOOTSTRAP TOPIC`: standard input has a JSON line [number, key, value] for each record;
standard output gets [number, partition, offset] when it is acknowledged, [number, error] when not.
`read BOOTSTRAP TOPIC`: prints [partition, offset, key, value, headers] up to the ends of now.
Texts are ASCII. Does not: choose what is sent, or judge.
"""

import json
import sys
import threading
import time

from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType, KafkaAdminClient, NewTopic
from kafka.errors import KafkaError

WAIT_S = 60.0
HEADERS = [("source", b"smoke"), ("empty", b"")]
printing = threading.Lock()


def say(*fields):
    with printing:
        print(json.dumps(fields), flush=True)


def produce(bootstrap, topic):
    producer = KafkaProducer(
        bootstrap_servers=bootstrap.split(","), acks="all", enable_idempotence=True, linger_ms=2
    )
    for line in sys.stdin:
        number, key, value = json.loads(line)
        sent = producer.send(topic, value.encode(), key.encode(), headers=HEADERS)
        sent.add_callback(lambda done, n=number: say(n, done.partition, done.offset))
        sent.add_errback(lambda error, n=number: say(n, repr(error)))
    producer.flush(WAIT_S)
    producer.close()


def read(bootstrap, topic):
    consumer = KafkaConsumer(
        bootstrap_servers=bootstrap.split(","),
        enable_auto_commit=False,
        auto_offset_reset="earliest",
    )
    partitions = [TopicPartition(topic, n) for n in sorted(consumer.partitions_for_topic(topic))]
    consumer.assign(partitions)
    consumer.seek_to_beginning(*partitions)
    ends = {p: end for p, end in consumer.end_offsets(partitions).items() if end}
    deadline = time.monotonic() + WAIT_S
    while any(consumer.position(p) < end for p, end in ends.items()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"not read to {ends}")
        for batch in consumer.poll(200).values():
            for r in batch:
                headers = [(name, value.decode()) for name, value in r.headers]
                say(r.partition, r.offset, r.key.decode(), r.value.decode(), headers)
    consumer.close()


def administer(bootstrap, topic):
    admin = KafkaAdminClient(bootstrap_servers=bootstrap.split(","))
    admin.create_topics([NewTopic(topic, 1, 3)])
    resource = ConfigResource(ConfigResourceType.TOPIC, topic, {"max.message.bytes": "500000"})
    admin.alter_configs([resource])
    told = admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic)])
    low = admin.delete_records({TopicPartition(topic, 0): -1})
    directories = admin.describe_log_dirs()
    wrong = ConfigResource(ConfigResourceType.TOPIC, topic, {"retention.ms": "soon"})
    try:
        refused = repr(admin.alter_configs([wrong]))
    except KafkaError as error:
        refused = type(error).__name__
    print(
        json.dumps(
            {
                "max.message.bytes": told["topic"][topic]["max.message.bytes"]["value"],
                "low_watermark": low[TopicPartition(topic, 0)]["low_watermark"],
                "log_dirs": len(directories),
                "refused": refused,
            }
        )
    )
    admin.close()


if __name__ == "__main__":
    {"produce": produce, "read": read, "administer": administer}[sys.argv[1]](*sys.argv[2:])
