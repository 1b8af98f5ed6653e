"""kafka-python as a driver. See driver.py."""

import re
import sys
from importlib.metadata import version

from driver import (
    FETCH_BYTES_MAX,
    PRODUCE_BYTES_MAX,
    WAIT_S,
    KafkaRefusal,
    UnsupportedError,
    deadline_of,
    refusal,
    serve,
    to_bytes,
    to_text,
)
from kafka import KafkaConsumer, KafkaProducer, TopicPartition, errors
from kafka.admin import ConfigResource, ConfigResourceType, KafkaAdminClient, NewTopic
from kafka.coordinator.assignors.cooperative_sticky import CooperativeStickyAssignor
from kafka.coordinator.assignors.range import RangePartitionAssignor
from kafka.errors import BrokerResponseError, OffsetOutOfRangeError

STRATEGIES = {
    "range": RangePartitionAssignor,
    "cooperative-sticky": CooperativeStickyAssignor,
}
TYPES = {0: "CreateTime", 1: "LogAppendTime"}
WAIT_MS = int(WAIT_S * 1000)
JOIN_MS, POLL_MS = 5_000, 500
"""A poll that ends between the answers to JoinGroup and SyncGroup makes 3.0.12 forget the latter:
no rejoin is due any more, and the assignment is never taken up. So polls are given time to join."""


def check_told(outcome):
    """Raise unless `outcome`, the name of an error's class or OK, is a success."""
    if outcome not in ("OK", "NoError", None):
        (name,) = re.findall(r"\b\w+Error\b", str(outcome))[:1]
        raise refusal(getattr(errors, name).errno, str(outcome))


def as_record(record):
    return {
        "topic": record.topic,
        "partition": record.partition,
        "offset": record.offset,
        "key": to_text(record.key),
        "value": to_text(record.value),
        "headers": [[name, to_text(value)] for name, value in record.headers],
        "timestamp": record.timestamp,
        "timestamp_type": TYPES[record.timestamp_type],
    }


class Driver:
    def __init__(self, bootstrap):
        self.bootstrap = bootstrap.split(",")
        self.admin = KafkaAdminClient(bootstrap_servers=self.bootstrap)
        self.member = None
        self.producers = {}

    def produce(self, topic, records, codec="none", idempotent=False, acks="all"):
        settings = {"compression_type": codec, "enable_idempotence": idempotent, "acks": acks}
        settings["compression_type"] = None if codec == "none" else codec
        if str(settings) not in self.producers:
            self.producers[str(settings)] = KafkaProducer(
                bootstrap_servers=self.bootstrap,
                linger_ms=5,
                max_request_size=PRODUCE_BYTES_MAX,
                **settings,
            )
        producer = self.producers[str(settings)]
        try:
            sent = [
                producer.send(
                    topic,
                    to_bytes(one.get("value")),
                    to_bytes(one.get("key")),
                    headers=[(key, to_bytes(value)) for key, value in one.get("headers", ())],
                    partition=one.get("partition"),
                    timestamp_ms=one.get("timestamp"),
                )
                for one in records
            ]
            done = [one.get(2 * WAIT_S) for one in sent]
        except BrokerResponseError as error:
            raise refusal(error.errno, str(error)) from None
        return [[one.partition, one.offset] for one in done]

    def version(self):
        return version("kafka-python")

    def close(self):
        for producer in self.producers.values():
            producer.close()
        self.admin.close()

    def consumer(self, **settings):
        return KafkaConsumer(
            bootstrap_servers=self.bootstrap,
            enable_auto_commit=False,
            fetch_max_wait_ms=100,
            max_partition_fetch_bytes=FETCH_BYTES_MAX,
            **settings,
        )

    def consume(self, topic, partition, count, offset="earliest", reset="none"):
        reset = {"error": "none"}.get(reset, reset)
        consumer = self.consumer(auto_offset_reset=reset)
        place = TopicPartition(topic, partition)
        consumer.assign([place])
        if offset == "earliest":
            consumer.seek_to_beginning(place)
        else:
            consumer.seek(place, offset)
        records, in_time = [], deadline_of()
        try:
            while len(records) < count and in_time():
                for batch in consumer.poll(200, max_records=count - len(records)).values():
                    records += [as_record(one) for one in batch]
        except OffsetOutOfRangeError as error:
            raise KafkaRefusal("OFFSET_OUT_OF_RANGE", str(error)) from None
        finally:
            consumer.close()
        return records

    def offset(self, topic, partition, at):
        place = TopicPartition(topic, partition)
        consumer = self.consumer()
        try:
            if at == "earliest":
                return consumer.beginning_offsets([place])[place]
            if at == "latest":
                return consumer.end_offsets([place])[place]
            found = consumer.offsets_for_times({place: at})[place]
            return None if found is None else found.offset
        finally:
            consumer.close()

    def join(self, group, topics, strategy="range", instance=None):
        self.member = self.consumer(
            group_id=group,
            group_instance_id=instance,
            auto_offset_reset="earliest",
            partition_assignment_strategy=[STRATEGIES[strategy]],
            session_timeout_ms=6_000,
            heartbeat_interval_ms=500,
        )
        self.member.subscribe(topics)
        # A first join without the topic's metadata would be followed by a second one.
        for topic in topics:
            self.member.partitions_for_topic(topic)

    def poll(self, count, seconds=WAIT_S):
        records, in_time = [], deadline_of(seconds)
        while len(records) < count and in_time():
            wait_ms = POLL_MS if self.member.assignment() else JOIN_MS
            for batch in self.member.poll(wait_ms).values():
                records += [as_record(one) for one in batch]
        return records

    def assignment(self):
        return sorted([one.topic, one.partition] for one in self.member.assignment())

    def commit(self):
        self.member.commit()

    def leave(self):
        self.member.close()
        self.member = None

    def committed(self, group, topic, partition):
        told = self.admin.list_group_offsets({group: [TopicPartition(topic, partition)]})
        found = told.get(group, {}).get(TopicPartition(topic, partition))
        return None if found is None or found.offset < 0 else found.offset

    def ask(self, call, *words, **options):
        try:
            return call(*words, **options)
        except BrokerResponseError as error:
            raise refusal(error.errno, str(error)) from None

    def create_topic(self, topic, partitions=1, configs=None):
        new = NewTopic(topic, partitions, -1, topic_configs=configs or {})
        self.ask(self.admin.create_topics, [new], timeout_ms=WAIT_MS)

    def delete_topic(self, topic):
        self.ask(self.admin.delete_topics, [topic], timeout_ms=WAIT_MS)

    def partitions(self, topic):
        (told,) = self.admin.describe_topics([topic])
        if told["error_code"]:
            raise refusal(told["error_code"])
        return len(told["partitions"])

    def create_partitions(self, topic, total):
        self.ask(self.admin.create_partitions, {topic: total}, timeout_ms=WAIT_MS)

    def config(self, topic, name):
        resource = ConfigResource(ConfigResourceType.TOPIC, topic)
        told = self.ask(self.admin.describe_configs, [resource], config_filter="all")
        return told["topic"][topic][name]["value"]

    def alter_config(self, topic, name, value):
        resource = ConfigResource(ConfigResourceType.TOPIC, topic, {name: value})
        told = self.ask(self.admin.alter_configs, [resource])
        check_told(told["topic"][topic])

    def delete_records(self, topic, partition, offset):
        place = TopicPartition(topic, partition)
        return self.ask(self.admin.delete_records, {place: offset})[place]["low_watermark"]

    def groups(self):
        return sorted(one["group_id"] for one in self.admin.list_groups())

    def group(self, group):
        told = self.ask(self.admin.describe_groups, [group])[group]
        return {"state": told["group_state"], "members": len(told["members"])}

    def delete_group(self, group):
        told = self.ask(self.admin.delete_groups, [group])
        check_told(told[group])

    def delete_offset(self, group, topic, partition):
        place = TopicPartition(topic, partition)
        told = self.ask(self.admin.delete_group_offsets, group, [place])
        if place not in told:
            raise UnsupportedError(str(told))


if __name__ == "__main__":
    serve(Driver(sys.argv[1]))
