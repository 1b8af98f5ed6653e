"""confluent-kafka (librdkafka) as a driver. See driver.py."""

import sys
from importlib.metadata import version

from confluent_kafka import (
    OFFSET_BEGINNING,
    Consumer,
    ConsumerGroupTopicPartitions,
    KafkaError,
    KafkaException,
    Producer,
    TopicPartition,
)
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    NewTopic,
    OffsetSpec,
    ResourceType,
)
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

TYPES = {0: None, 1: "CreateTime", 2: "LogAppendTime"}


def refused(error):
    if isinstance(error, KafkaException):
        error = error.args[0]
    return refusal(error.code(), error.str())


def as_record(message):
    kind, timestamp = message.timestamp()
    return {
        "topic": message.topic(),
        "partition": message.partition(),
        "offset": message.offset(),
        "key": to_text(message.key()),
        "value": to_text(message.value()),
        "headers": [[name, to_text(value)] for name, value in message.headers() or ()],
        "timestamp": timestamp,
        "timestamp_type": TYPES[kind],
    }


class Driver:
    def __init__(self, bootstrap):
        self.common = {"bootstrap.servers": bootstrap, "log_level": 0}
        self.admin = AdminClient(self.common)
        self.member = None
        self.producers = {}

    def produce(self, topic, records, codec="none", idempotent=False, acks="all"):
        settings = {"compression.type": codec, "enable.idempotence": idempotent, "acks": acks}
        name = str(settings)
        if name not in self.producers:
            self.producers[name] = Producer(
                self.common
                | settings
                | {"linger.ms": 5, "message.max.bytes": PRODUCE_BYTES_MAX}
                | {"message.timeout.ms": 30_000}
            )
        producer = self.producers[name]
        done = []

        def report(number):
            return lambda error, message: done.append((number, error, message))

        for number, one in enumerate(records):
            headers = [(key, to_bytes(value)) for key, value in one.get("headers", ())]
            more = {"timestamp": one["timestamp"]} if "timestamp" in one else {}
            if "partition" in one:
                more["partition"] = one["partition"]
            producer.produce(
                topic,
                to_bytes(one.get("value")),
                to_bytes(one.get("key")),
                headers=headers or None,
                on_delivery=report(number),
                **more,
            )
        producer.flush(2 * WAIT_S)
        for _, error, _ in done:
            if error is not None:
                raise refused(error)
        done.sort(key=lambda row: row[0])
        return [[message.partition(), message.offset()] for _, _, message in done]

    def version(self):
        return version("confluent-kafka")

    def close(self):
        for producer in self.producers.values():
            producer.flush(WAIT_S)

    def consumer(self, group="driver", **settings):
        return Consumer(
            self.common
            | {"group.id": group, "enable.auto.commit": False, "fetch.wait.max.ms": 100}
            | {"fetch.message.max.bytes": FETCH_BYTES_MAX, "fetch.max.bytes": FETCH_BYTES_MAX}
            | {"receive.message.max.bytes": FETCH_BYTES_MAX + 1_000_000}
            | {key.replace("_", "."): value for key, value in settings.items()}
        )

    def consume(self, topic, partition, count, offset="earliest", reset="error"):
        consumer = self.consumer(auto_offset_reset=reset)
        start = OFFSET_BEGINNING if offset == "earliest" else offset
        consumer.assign([TopicPartition(topic, partition, start)])
        try:
            return self.read(consumer, count)
        finally:
            consumer.close()

    def read(self, consumer, count):
        records, in_time = [], deadline_of()
        while len(records) < count and in_time():
            for message in consumer.consume(count - len(records), 0.2):
                error = message.error()
                if error is None:
                    records.append(as_record(message))
                elif error.code() == KafkaError._AUTO_OFFSET_RESET:
                    raise KafkaRefusal("OFFSET_OUT_OF_RANGE", error.str())
                elif error.code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
                    raise refused(error)
        return records

    def offset(self, topic, partition, at):
        place = TopicPartition(topic, partition)
        spec = {"earliest": OffsetSpec.earliest(), "latest": OffsetSpec.latest()}.get(at)
        spec = spec or OffsetSpec.for_timestamp(at)
        try:
            found = self.admin.list_offsets({place: spec})[place].result(WAIT_S).offset
        except KafkaException as error:
            raise refused(error) from None
        return None if found == -1 else found

    def join(self, group, topics, strategy="range", instance=None):
        settings = {"group_instance_id": instance} if instance else {}
        self.member = self.consumer(
            group,
            auto_offset_reset="earliest",
            partition_assignment_strategy=strategy,
            session_timeout_ms=6_000,
            heartbeat_interval_ms=500,
            **settings,
        )
        self.member.subscribe(topics)

    def poll(self, count, seconds=WAIT_S):
        records, in_time = [], deadline_of(seconds)
        while in_time():
            records += self.read_some()
            if len(records) >= count:
                break
        return records

    def read_some(self):
        return [as_record(one) for one in self.member.consume(500, 0.1) if one.error() is None]

    def assignment(self):
        return sorted([one.topic, one.partition] for one in self.member.assignment())

    def commit(self):
        try:
            self.member.commit(asynchronous=False)
        except KafkaException as error:
            raise refused(error) from None

    def leave(self):
        self.member.close()
        self.member = None

    def committed(self, group, topic, partition):
        asked = ConsumerGroupTopicPartitions(group, [TopicPartition(topic, partition)])
        done = self.admin.list_consumer_group_offsets([asked])[group].result(WAIT_S)
        offset = done.topic_partitions[0].offset
        return None if offset < 0 else offset

    def wait(self, futures):
        try:
            return next(iter(futures.values())).result(WAIT_S)
        except KafkaException as error:
            raise refused(error) from None

    def create_topic(self, topic, partitions=1, configs=None):
        new = NewTopic(topic, partitions, config=configs or {})
        self.wait(self.admin.create_topics([new], operation_timeout=WAIT_S))

    def delete_topic(self, topic):
        self.wait(self.admin.delete_topics([topic], operation_timeout=WAIT_S))

    def partitions(self, topic):
        told = self.admin.list_topics(topic, timeout=WAIT_S).topics[topic]
        if told.error is not None:
            raise refused(told.error)
        return len(told.partitions)

    def create_partitions(self, topic, total):
        self.wait(self.admin.create_partitions([NewPartitions(topic, total)]))

    def config(self, topic, name):
        resource = ConfigResource(ResourceType.TOPIC, topic)
        return self.wait(self.admin.describe_configs([resource]))[name].value

    def alter_config(self, topic, name, value):
        entry = ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET)
        resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry])
        self.wait(self.admin.incremental_alter_configs([resource]))

    def delete_records(self, topic, partition, offset):
        place = TopicPartition(topic, partition, offset)
        return self.wait(self.admin.delete_records([place])).low_watermark

    def groups(self):
        told = self.admin.list_consumer_groups().result(WAIT_S)
        return sorted(one.group_id for one in told.valid)

    def group(self, group):
        told = self.wait(self.admin.describe_consumer_groups([group]))
        return {"state": told.state.name.title(), "members": len(told.members)}

    def delete_group(self, group):
        self.wait(self.admin.delete_consumer_groups([group]))

    def delete_offset(self, group, topic, partition):
        raise UnsupportedError("confluent-kafka has no call for OffsetDelete")


if __name__ == "__main__":
    serve(Driver(sys.argv[1]))
