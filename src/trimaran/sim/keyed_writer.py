"""A client whose topic is compacted all the time: few keys, many values, tombstones.

One batch is under way at a time and never sent again, so that its outcome is known or unknown, and
nothing is stored twice. Segments end after a moment, so that compaction has much to do. In the end
the partition is read from its start; what replicas hold is judged by `checkers.compaction`, which
gets the notes of this client.

Does not: judge, or use event ids.
"""

import asyncio

from trimaran.checking import make_value
from trimaran.errors import ErrorCode
from trimaran.protocol.api import ApiKey
from trimaran.protocol.messages import (
    CreatableTopic,
    CreatableTopicConfig,
    CreateTopicsRequest,
    FetchResponse,
    PartitionProduceData,
    ProduceRequest,
    TopicProduceData,
)
from trimaran.records.batch import parse_header
from trimaran.records.building import build_batch
from trimaran.records.iteration import Record, iterate_records
from trimaran.sim.client import (
    ALL_REPLICAS,
    PartitionConsumer,
    codecs_of,
    retrying,
    split_batches,
)
from trimaran.sim.history import History, KeyedRecord, Outcome
from trimaran.sim.kafka import REQUEST_TIMEOUT_S, KafkaClient, KafkaConnection

TOPIC = "ledger"
SETTINGS = {
    "cleanup.policy": "compact",
    "segment.ms": "800",
    "min.cleanable.dirty.ratio": "0",
    "delete.retention.ms": "1500",
}
TIMEOUT_MS = 2_000
KEYS = 12
RECORDS_MAX = 6
VALUE_BYTES_MAX = 1_500
TOMBSTONES = 0.25
THINK_S = 0.12


class KeyedWriter:
    """Writes to one partition until stopped, then reads it."""

    def __init__(self, client: KafkaClient, history: History) -> None:
        """What is sent goes into `history`; `client` notes the rest in one of its own."""
        self._client = client
        self._history = history
        self._stopping = False
        self._made = False
        self._count = 0

    def stop(self) -> None:
        """Start no new batch."""
        self._stopping = True

    async def run(self) -> None:
        """Write until stopped, then read all that is left."""
        await retrying(self._client, self._make_topic, stop_when=lambda: self._made)
        self._history.keyed_topic = TOPIC
        while not self._stopping:
            await retrying(self._client, self._exchange, stop_when=lambda: self._stopping)
        reader = KeyedReader(self._client, self._history)
        await reader.find_end()
        await reader.run()

    async def _make_topic(self) -> None:
        configs = [CreatableTopicConfig(name=name, value=value) for name, value in SETTINGS.items()]
        topic = CreatableTopic(name=TOPIC, num_partitions=1, replication_factor=-1, configs=configs)
        request = CreateTopicsRequest(topics=[topic], timeout_ms=TIMEOUT_MS)
        response = await self._client.ask_anyone(ApiKey.CREATE_TOPICS, request)
        if response.topics[0].error_code != ErrorCode.TOPIC_ALREADY_EXISTS:
            self._client.check(response.topics[0].error_code)
        self._made = True

    async def _exchange(self) -> None:
        connection = await self._client.connect_to_leader(0)
        try:
            while not self._stopping:
                await self._send(connection)
                await asyncio.sleep(self._client.chance.expovariate(1.0 / THINK_S))
        finally:
            connection.close()

    async def _send(self, connection: KafkaConnection) -> None:
        """Send one batch, once. Raises RetryError, OSError: its outcome is unknown."""
        chance = self._client.chance
        batch: list[KeyedRecord] = []
        for _ in range(chance.randint(1, RECORDS_MAX)):
            fill = b"." * chance.randrange(VALUE_BYTES_MAX)
            value = make_value(self._client.name, self._count, fill)
            self._count += 1
            is_tombstone = chance.random() < TOMBSTONES
            key = b"key-%d" % chance.randrange(KEYS)
            batch.append(KeyedRecord(key, None if is_tombstone else value))
        version = self._client.versions[ApiKey.PRODUCE]
        data = build_batch(
            [Record(value=record.value, key=record.key, timestamp_ms=1) for record in batch],
            codec=chance.choice(codecs_of(version)),
        )
        row = PartitionProduceData(0, memoryview(data))
        request = ProduceRequest(None, ALL_REPLICAS, TIMEOUT_MS, [TopicProduceData(TOPIC, [row])])
        self._history.keyed += batch
        async with asyncio.timeout(REQUEST_TIMEOUT_S):
            response = await connection.send(ApiKey.PRODUCE, version, request)
        answer = response.responses[0].partition_responses[0]
        self._client.check(answer.error_code)
        for delta, record in enumerate(batch):
            record.outcome = Outcome.ACKED
            record.offset = answer.base_offset + delta


class KeyedReader(PartitionConsumer):
    """Reads the whole partition; whatever is read was sent, and offsets rise."""

    def __init__(self, client: KafkaClient, history: History) -> None:
        """Read with `client`; what must never be is told `history`."""
        super().__init__(client, 0, into=[])
        self._kept = client
        self._history = history

    def _take(self, response: FetchResponse) -> None:
        self._kept.check(response.error_code)
        data = response.responses[0].partitions[0]
        self._kept.check(data.error_code)
        sent = {(record.key, record.value): None for record in self._history.keyed}
        for batch in split_batches(b"".join(data.records)):
            for record in iterate_records(batch):
                if (record.key or b"", record.value) not in sent:
                    self._history.oddities.append(
                        f"ledger: nobody sent what is read at {record.offset}"
                    )
            self.position = max(self.position, parse_header(batch).last_offset + 1)
