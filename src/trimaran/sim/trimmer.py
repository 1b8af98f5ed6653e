"""A client whose topic loses its oldest records all the time: by DeleteRecords, or by age.

It writes idempotently, deletes at random offsets or everything there is, and looks at once whether
what it was told holds. Held to be true: a partition never begins below where it began before; what
was deleted is not read again, whoever leads; what was acknowledged and not deleted is there, at its
offset. With an age (`retention.ms`) the log also moves on by itself. A member that was away
meanwhile finds its leader's log to begin behind its own end: it starts over from files.

Does not: touch the topic that the other clients use.
"""

import asyncio

from trimaran.errors import ErrorCode
from trimaran.protocol.api import ApiKey
from trimaran.protocol.messages import (
    CreatableTopic,
    CreatableTopicConfig,
    CreateTopicsRequest,
    DeleteRecordsPartition,
    DeleteRecordsRequest,
    DeleteRecordsTopic,
    FetchPartition,
    FetchRequest,
    ListOffsetsPartition,
    ListOffsetsRequest,
    ListOffsetsTopic,
)
from trimaran.sim.client import (
    LATEST,
    PartitionConsumer,
    PartitionProducer,
    asked_topic,
    retrying,
)
from trimaran.sim.history import History, Outcome, ReadRecord
from trimaran.sim.kafka import KafkaClient, KafkaConnection

TOPIC = "trimmed"
EARLIEST = -2
TIMEOUT_MS = 2_000
PAUSE_S = 0.7
VALUE_BYTES_MAX = 6_000
THINK_S = 0.15
RETENTION_MS = 3_000
ALL = 0.6
"""Share of deletions that leave nothing: whole segments go, and with them the files."""
LOOK_S = 0.2
READS_MAX = 20
"""Attempts to read all that is left while the log moves on."""


class Trimmer:
    """Writes to one partition and deletes from its start until stopped, then reads the rest."""

    def __init__(self, client: KafkaClient, history: History) -> None:
        """What must never be is told `history`; `client` notes the rest in one of its own."""
        self._client = client
        self._history = history
        self._by_age = client.chance.random() < 0.3
        self._stopping = False
        self._made = False
        self._start = 0
        """Where the partition began when it was looked at last; it never begins below."""
        self._producer = PartitionProducer(
            client, 0, idempotent=True, think_s=THINK_S, value_bytes_max=VALUE_BYTES_MAX
        )
        self.deletions = 0
        """DeleteRecords that were acknowledged."""

    def stop(self) -> None:
        """Write and delete nothing more."""
        self._stopping = True
        self._producer.stop()

    async def run(self) -> None:
        """Write and delete until stopped, then look what is left."""
        await retrying(self._client, self._make_topic, stop_when=lambda: self._made)
        producing = asyncio.get_running_loop().create_task(self._producer.run())
        while not self._stopping:
            await asyncio.sleep(self._client.chance.expovariate(1.0 / PAUSE_S))
            await retrying(self._client, self._delete, stop_when=lambda: self._stopping)
        await producing
        await self._judge()
        self._history.oddities += self._client.history.oddities

    async def _make_topic(self) -> None:
        retention_ms = RETENTION_MS if self._by_age else -1
        configs = [CreatableTopicConfig(name="retention.ms", value=str(retention_ms))]
        topic = CreatableTopic(name=TOPIC, num_partitions=1, replication_factor=-1, configs=configs)
        request = CreateTopicsRequest(topics=[topic], timeout_ms=TIMEOUT_MS)
        response = await self._client.ask_anyone(ApiKey.CREATE_TOPICS, request)
        if response.topics[0].error_code != ErrorCode.TOPIC_ALREADY_EXISTS:
            self._client.check(response.topics[0].error_code)
        self._made = True

    async def _delete(self) -> None:
        """Delete some or all records; look whether they are gone."""
        chance = self._client.chance
        connection = await self._client.connect_to_leader(0)
        try:
            end = await self._ask_offset(connection, LATEST)
            start = await self._look_at_start(connection)
            if end <= start:
                return
            offset = end if chance.random() < ALL else chance.randint(start + 1, end)
            row = DeleteRecordsPartition(partition_index=0, offset=offset)
            topic = DeleteRecordsTopic(name=TOPIC, partitions=[row])
            version = self._client.versions[ApiKey.DELETE_RECORDS]
            response = await connection.ask(
                ApiKey.DELETE_RECORDS,
                version,
                DeleteRecordsRequest(topics=[topic], timeout_ms=TIMEOUT_MS),
            )
            answer = response.topics[0].partitions[0]
            self._client.check(answer.error_code)
            if answer.low_watermark < offset:
                self._odd(f"deleted below {offset}, told to begin at {answer.low_watermark}")
            self._start = max(self._start, answer.low_watermark)
            self.deletions += 1
            await self._try_below(connection)
            await self._look_at_start(connection)
        finally:
            connection.close()

    async def _look_at_start(self, connection: KafkaConnection) -> int:
        """Ask where the partition begins. Raises RetryError, OSError."""
        known = self._start
        start = await self._ask_offset(connection, EARLIEST)
        if start < known:
            self._odd(f"begins at {start} after it began at {known}")
        self._start = max(known, start)
        return start

    async def _try_below(self, connection: KafkaConnection) -> None:
        """Read the last record that was deleted: nobody may have it any more."""
        offset = self._start - 1
        version = self._client.versions[ApiKey.FETCH]
        topic = asked_topic(self._client, version, [FetchPartition(0, offset, 1)])
        response = await connection.ask(ApiKey.FETCH, version, FetchRequest(0, 1, [topic]))
        self._client.check(response.error_code)
        data = response.responses[0].partitions[0]
        if data.error_code == ErrorCode.OFFSET_OUT_OF_RANGE:
            return
        self._client.check(data.error_code)
        self._odd(f"offset {offset} can be read although the partition begins at {self._start}")

    async def _ask_offset(self, connection: KafkaConnection, timestamp: int) -> int:
        row = ListOffsetsPartition(partition_index=0, timestamp=timestamp)
        request = ListOffsetsRequest(topics=[ListOffsetsTopic(name=TOPIC, partitions=[row])])
        version = self._client.versions[ApiKey.LIST_OFFSETS]
        response = await connection.ask(ApiKey.LIST_OFFSETS, version, request)
        answer = response.topics[0].partitions[0]
        self._client.check(answer.error_code)
        offset: int = answer.offset
        return offset

    async def _judge(self) -> None:
        """Read what is left, from a start that may move on meanwhile."""
        records: list[ReadRecord] = []
        for _ in range(READS_MAX):
            records.clear()
            await retrying(self._client, self._find_start, stop_when=lambda: False)
            start, oddities = self._start, len(self._client.history.oddities)
            consumer = PartitionConsumer(self._client, 0, into=records, start=start)
            await consumer.find_end()
            reading = asyncio.get_running_loop().create_task(consumer.run())
            while not reading.done():
                await retrying(self._client, self._find_start, stop_when=lambda: False)
                if self._start > start:  # the log moved on under the reader
                    consumer.stop()
                await asyncio.sleep(LOOK_S)
            await reading
            moved = self._client.history.oddities[oddities:]
            del self._client.history.oddities[oddities:]
            if self._start == start and not moved:
                break
        stored = {record.value: record.offset for record in records}
        for sent in self._client.history.sent:
            if sent.outcome is not Outcome.ACKED or sent.offset < self._start:
                continue
            if stored.get(sent.value) != sent.offset:
                name = sent.value.rstrip(b".").decode(errors="backslashreplace")
                self._odd(f"{name} acked at {sent.offset} is at {stored.get(sent.value)}")

    async def _find_start(self) -> None:
        connection = await self._client.connect_to_leader(0)
        try:
            await self._look_at_start(connection)
        finally:
            connection.close()

    def _odd(self, text: str) -> None:
        self._history.oddities.append(f"{TOPIC}: {text}")
