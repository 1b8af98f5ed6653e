"""aiokafka as a driver. See driver.py. Its event loop runs in a thread, so that members beat."""

import asyncio
import sys
import threading
from importlib.metadata import version

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import (
    AIOKafkaAdminClient,
    NewPartitions,
    NewTopic,
    RecordsToDelete,
)
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.coordinator.assignors.range import RangePartitionAssignor
from aiokafka.errors import (
    BrokerResponseError,
    OffsetOutOfRangeError,
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

TYPES = {0: "CreateTime", 1: "LogAppendTime"}
WAIT_MS = int(WAIT_S * 1000)


def refused(error):
    return refusal(error.errno, str(error))


def check(code):
    if code:
        raise refusal(code)


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
        self.loop = asyncio.new_event_loop()
        threading.Thread(target=self.loop.run_forever, daemon=True).start()
        self.bootstrap = bootstrap
        self.member = None
        self.producers = {}
        self.admin_client = None

    def __getattr__(self, name):
        coroutine = getattr(type(self), f"a_{name}", None)
        if coroutine is None:
            raise AttributeError(name)
        return lambda **words: self.run(coroutine(self, **words))

    def run(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result()

    async def a_version(self):
        return version("aiokafka")

    def close(self):
        async def stop():
            for producer in self.producers.values():
                await producer.stop()
            if self.admin_client is not None:
                await self.admin_client.close()

        self.run(stop())

    async def started(self, client):
        await client.start()
        return client

    async def admin(self):
        if self.admin_client is None:
            self.admin_client = await self.started(
                AIOKafkaAdminClient(bootstrap_servers=self.bootstrap)
            )
        return self.admin_client

    async def a_produce(self, topic, records, codec="none", idempotent=False, acks="all"):
        settings = {"enable_idempotence": idempotent, "acks": acks}
        settings["compression_type"] = None if codec == "none" else codec
        if str(settings) not in self.producers:
            producer = AIOKafkaProducer(
                bootstrap_servers=self.bootstrap, linger_ms=5, max_request_size=PRODUCE_BYTES_MAX,
                **settings,
            )  # fmt: skip
            self.producers[str(settings)] = await self.started(producer)
        producer = self.producers[str(settings)]
        try:
            sent = [
                await producer.send(
                    topic,
                    to_bytes(one.get("value")),
                    to_bytes(one.get("key")),
                    headers=[(key, to_bytes(value)) for key, value in one.get("headers", ())],
                    partition=one.get("partition"),
                    timestamp_ms=one.get("timestamp"),
                )
                for one in records
            ]
            done = [await asyncio.wait_for(one, 2 * WAIT_S) for one in sent]
        except BrokerResponseError as error:
            raise refused(error) from None
        return [[one.partition, one.offset] for one in done]

    def consumer(self, *topics, **settings):
        return AIOKafkaConsumer(
            *topics,
            bootstrap_servers=self.bootstrap,
            enable_auto_commit=False,
            fetch_max_wait_ms=100,
            max_partition_fetch_bytes=FETCH_BYTES_MAX,
            **settings,
        )

    async def a_consume(self, topic, partition, count, offset="earliest", reset="none"):
        reset = {"error": "none"}.get(reset, reset)
        consumer = await self.started(self.consumer(auto_offset_reset=reset))
        place = TopicPartition(topic, partition)
        records, in_time = [], deadline_of()
        try:
            consumer.assign([place])
            if offset == "earliest":
                await consumer.seek_to_beginning(place)
            else:
                consumer.seek(place, offset)
            while len(records) < count and in_time():
                room = count - len(records)
                found = await consumer.getmany(timeout_ms=200, max_records=room)
                records += [as_record(one) for batch in found.values() for one in batch]
        except OffsetOutOfRangeError as error:
            raise KafkaRefusal("OFFSET_OUT_OF_RANGE", str(error)) from None
        finally:
            await consumer.stop()
        return records

    async def a_offset(self, topic, partition, at):
        place = TopicPartition(topic, partition)
        consumer = await self.started(self.consumer())
        try:
            if at == "earliest":
                return (await consumer.beginning_offsets([place]))[place]
            if at == "latest":
                return (await consumer.end_offsets([place]))[place]
            found = (await consumer.offsets_for_times({place: at}))[place]
            return None if found is None else found.offset
        finally:
            await consumer.stop()

    async def a_join(self, group, topics, strategy="range", instance=None):
        if strategy != "range":
            raise UnsupportedError("aiokafka has no cooperative assignor")
        self.member = await self.started(
            self.consumer(
                *topics,
                group_id=group,
                group_instance_id=instance,
                auto_offset_reset="earliest",
                partition_assignment_strategy=[RangePartitionAssignor],
                session_timeout_ms=6_000,
                heartbeat_interval_ms=500,
            )
        )

    async def a_poll(self, count, seconds=WAIT_S):
        records, in_time = [], deadline_of(seconds)
        while in_time():
            found = await self.member.getmany(timeout_ms=100)
            records += [as_record(one) for batch in found.values() for one in batch]
            if len(records) >= count:
                break
        return records

    async def a_assignment(self):
        return sorted([one.topic, one.partition] for one in self.member.assignment())

    async def a_commit(self):
        await self.member.commit()

    async def a_leave(self):
        await self.member.stop()
        self.member = None

    async def a_committed(self, group, topic, partition):
        place = TopicPartition(topic, partition)
        told = await (await self.admin()).list_consumer_group_offsets(group, partitions=[place])
        found = told.get(place)
        return None if found is None or found.offset < 0 else found.offset

    async def a_create_topic(self, topic, partitions=1, configs=None):
        # This version of CreateTopics wants a number of replicas, not a default.
        admin = await self.admin()
        nodes = len((await admin.describe_cluster())["brokers"])
        new = NewTopic(topic, partitions, min(3, nodes), topic_configs=configs or {})
        told = await admin.create_topics([new], timeout_ms=WAIT_MS)
        check(told.topic_errors[0][1])

    async def a_delete_topic(self, topic):
        told = await (await self.admin()).delete_topics([topic], timeout_ms=WAIT_MS)
        check(told.topic_error_codes[0][1])

    async def a_partitions(self, topic):
        (told,) = await (await self.admin()).describe_topics([topic])
        check(told["error_code"])
        return len(told["partitions"])

    async def a_create_partitions(self, topic, total):
        admin = await self.admin()
        try:
            await admin.create_partitions({topic: NewPartitions(total)}, timeout_ms=WAIT_MS)
        except BrokerResponseError as error:
            raise refused(error) from None

    async def a_config(self, topic, name):
        resource = ConfigResource(ConfigResourceType.TOPIC, topic)
        (told,) = await (await self.admin()).describe_configs([resource])
        ((code, _, _, _, rows),) = told.resources
        check(code)
        return {row[0]: row[1] for row in rows}[name]

    async def a_alter_config(self, topic, name, value):
        resource = ConfigResource(ConfigResourceType.TOPIC, topic, {name: value})
        (told,) = await (await self.admin()).alter_configs([resource])
        check(told.resources[0][0])

    async def a_delete_records(self, topic, partition, offset):
        place = TopicPartition(topic, partition)
        try:
            told = await (await self.admin()).delete_records({place: RecordsToDelete(offset)})
        except BrokerResponseError as error:
            raise refused(error) from None
        return told[place]

    async def a_groups(self):
        return sorted(one[0] for one in await (await self.admin()).list_consumer_groups())

    async def a_group(self, group):
        (told,) = await (await self.admin()).describe_consumer_groups([group])
        code, _, state, _, _, members, *_ = told.groups[0]
        check(code)
        return {"state": state, "members": len(members)}


if __name__ == "__main__":
    serve(Driver(sys.argv[1]))
