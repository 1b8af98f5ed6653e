"""A client that trusts event ids alone: whatever fails, it sends again from a new producer.

Its topic has dedup on. Batches mix new events with some that were acknowledged long ago and with
the same event twice, in any codec; one is under way at a time, and after any failure it is sent
again over a new connection, as a new idempotent producer or as none. In the end the partition is
read: every id is there exactly once, every acknowledged event at the offset it was told.

Does not: repeat ids outside the window, or delete events.
"""

import asyncio
from collections.abc import Sequence

from trimaran.checking import make_value
from trimaran.errors import ErrorCode
from trimaran.protocol.api import ApiKey
from trimaran.protocol.messages import (
    CreatableTopic,
    CreatableTopicConfig,
    CreateTopicsRequest,
    InitProducerIdRequest,
    PartitionProduceData,
    ProduceRequest,
    TopicProduceData,
)
from trimaran.records.batch import Codec
from trimaran.records.building import build_batch
from trimaran.records.iteration import Record
from trimaran.sim.client import ALL_REPLICAS, PartitionConsumer, retrying
from trimaran.sim.history import History, ReadRecord
from trimaran.sim.kafka import REQUEST_TIMEOUT_S, KafkaClient, KafkaConnection

TOPIC = "ids"
SETTINGS = {"event.dedup.enable": "true", "event.dedup.window.ms": "604800000"}
TIMEOUT_MS = 2_000
EVENTS_MAX = 8
OLD_MAX = 6
AGAIN = 0.4
"""Share of batches with events that were acknowledged before."""
ZSTD_FROM = 7


class IdSender:
    """Sends to one partition until stopped, then reads it."""

    def __init__(self, client: KafkaClient, history: History, *, think_s: float) -> None:
        """What must never be is told `history`; `client` notes the rest in one of its own."""
        self._client = client
        self._history = history
        self._think_s = think_s
        self._stopping = False
        self._made = False
        self._count = 0
        self._batch: list[bytes] = []
        self._acked: list[bytes] = []
        self._told: dict[bytes, int] = {}
        """Offsets of answers, by the first event of a batch that was all known events."""
        self.duplicates = 0
        """Events that were sent although they had been acknowledged."""

    def stop(self) -> None:
        """Start no new batch."""
        self._stopping = True

    async def run(self) -> None:
        """Send until stopped, then look what is stored."""
        await retrying(self._client, self._make_topic, stop_when=self._is_made)
        while not self._is_done():
            await retrying(self._client, self._exchange, stop_when=self._is_done)
        records: list[ReadRecord] = []
        consumer = PartitionConsumer(self._client, 0, into=records)
        await consumer.find_end()
        await consumer.run()
        self._judge(records)

    def _is_made(self) -> bool:
        return self._made

    def _is_done(self) -> bool:
        return self._stopping and not self._batch

    async def _make_topic(self) -> None:
        configs = [CreatableTopicConfig(name=name, value=value) for name, value in SETTINGS.items()]
        topic = CreatableTopic(name=TOPIC, num_partitions=1, replication_factor=-1, configs=configs)
        request = CreateTopicsRequest(topics=[topic], timeout_ms=TIMEOUT_MS)
        response = await self._client.ask_anyone(ApiKey.CREATE_TOPICS, request)
        if response.topics[0].error_code != ErrorCode.TOPIC_ALREADY_EXISTS:
            self._client.check(response.topics[0].error_code)
        self._made = True

    async def _exchange(self) -> None:
        """Use one connection and one producer for as long as they work."""
        chance = self._client.chance
        producer_id = -1
        if chance.random() < 0.5:
            answer = await self._client.ask_anyone(ApiKey.INIT_PRODUCER_ID, InitProducerIdRequest())
            self._client.check(answer.error_code)
            producer_id = answer.producer_id
        connection = await self._client.connect_to_leader(0)
        sequence = 0
        try:
            while not self._is_done():
                if not self._batch:
                    self._batch = self._new_batch()
                await self._send(connection, producer_id, sequence)
                sequence += len(self._batch)
                self._batch = []
                await asyncio.sleep(chance.expovariate(1.0 / self._think_s))
        finally:
            connection.close()

    def _new_batch(self) -> list[bytes]:
        chance = self._client.chance
        batch: list[bytes] = []
        for _ in range(chance.randint(1, EVENTS_MAX)):
            batch.append(make_value(self._client.name, self._count))
            self._count += 1
        if self._acked and chance.random() < AGAIN:
            old = [chance.choice(self._acked) for _ in range(chance.randint(1, OLD_MAX))]
            self.duplicates += len(old)
            batch = old if chance.random() < AGAIN else [*batch, *old, batch[0]]
            if len(old) < len(batch):
                chance.shuffle(batch)
        return batch

    async def _send(self, connection: KafkaConnection, producer_id: int, sequence: int) -> None:
        """Send the batch. Raises RetryError, OSError."""
        version = self._client.versions[ApiKey.PRODUCE]
        codecs = [codec for codec in Codec if codec is not Codec.ZSTD or version >= ZSTD_FROM]
        data = build_batch(
            [
                Record(value=value, timestamp_ms=1, headers=((b"event-id", value),))
                for value in self._batch
            ],
            codec=self._client.chance.choice(codecs),
            producer_id=producer_id,
            producer_epoch=0 if producer_id >= 0 else -1,
            base_sequence=sequence if producer_id >= 0 else -1,
        )
        row = PartitionProduceData(0, memoryview(data))
        request = ProduceRequest(None, ALL_REPLICAS, TIMEOUT_MS, [TopicProduceData(TOPIC, [row])])
        async with asyncio.timeout(REQUEST_TIMEOUT_S):
            response = await connection.send(ApiKey.PRODUCE, version, request)
        answer = response.responses[0].partition_responses[0]
        self._client.check(answer.error_code)
        known = dict.fromkeys(self._acked)
        if all(value in known for value in self._batch):
            self._told.setdefault(self._batch[0], answer.base_offset)
        self._acked += [value for value in dict.fromkeys(self._batch) if value not in known]

    def _judge(self, records: Sequence[ReadRecord]) -> None:
        found: dict[bytes, list[int]] = {}
        for record in records:
            found.setdefault(record.value, []).append(record.offset)
        for value, offsets in found.items():
            if len(offsets) > 1:
                self._history.oddities.append(f"event id {value!r} is stored at {offsets}")
        for value in self._acked:
            if value not in found:
                self._history.oddities.append(f"event id {value!r} was acked and is not stored")
        for value, offset in self._told.items():
            if found.get(value, [offset])[0] != offset:
                self._history.oddities.append(
                    f"event id {value!r} is at {found[value]}, its duplicate was told {offset}"
                )
