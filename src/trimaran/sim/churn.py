"""A client that creates topics, writes, reads, lets some grow and deletes them, over and over.

Held to be true: a topic created under a name that was used before has a new id; it holds what was
acked, in order and once; a partition that was added is there and takes records as well; a deleted
topic goes away and does not come back. What is not so becomes an oddity of the history. A request
to produce names no id: one that comes late may end up in a later topic of that name, so records of
earlier rounds are no surprise.

Does not: touch the topic that the other clients use.
"""

import asyncio
from collections.abc import Awaitable, Callable

from trimaran.errors import ErrorCode
from trimaran.ids import TopicId
from trimaran.protocol.api import ApiKey
from trimaran.protocol.messages import (
    CreatableTopic,
    CreatePartitionsRequest,
    CreatePartitionsTopic,
    CreateTopicsRequest,
    DeleteTopicsRequest,
    DeleteTopicState,
    MetadataResponseTopic,
)
from trimaran.sim.client import (
    TOPIC_IDS_FROM,
    PartitionConsumer,
    PartitionProducer,
    retrying,
)
from trimaran.sim.history import History, Outcome, ReadRecord
from trimaran.sim.kafka import KafkaClient, RetryError

NAMES = ("brief", "briefer")
BATCHES = 3
THINK_S = 0.05
PAUSE_S = 2.0
TIMEOUT_MS = 2_000
UNKNOWN = bytes(16)
GROWS = 0.5
"""Share of the topics that get a partition more while they live."""
GROWN_TO = 3
"""How many partitions such a topic then has."""


class TopicChurn:
    """Makes and deletes topics one after the other."""

    def __init__(
        self, make_client: Callable[[str, History], KafkaClient], history: History
    ) -> None:
        """`make_client` returns a client for a topic that notes what it does in a history."""
        self._make_client = make_client
        self._history = history
        self._stopping = False
        self.gone: dict[bytes, str] = {}
        """Topics whose deletion was asked for, by id: nothing is promised of them any more."""
        self.deleted: dict[bytes, str] = {}
        """Those whose deletion was answered with success: these never come back."""
        self.rounds = 0
        """How many topics were made, used and deleted."""
        self.grown = 0
        """How many of them got a partition more."""

    def stop(self) -> None:
        """End once the topic in hand is deleted."""
        self._stopping = True

    async def run(self) -> None:
        """Make topics until stopped."""
        while not self._stopping:
            notes = History(answers=self._history.answers)
            client = self._make_client(NAMES[self.rounds % len(NAMES)], notes)
            client.name = f"{client.name}.{self.rounds}"
            client.creates = False
            # Named by id an old topic is never read for a new one.
            client.versions[ApiKey.FETCH] = max(client.versions[ApiKey.FETCH], TOPIC_IDS_FROM)
            await self._use_one(client, notes)
            self._history.oddities += notes.oddities
            self.rounds += 1
            await asyncio.sleep(client.chance.expovariate(1.0 / PAUSE_S))

    async def _use_one(self, client: KafkaClient, notes: History) -> None:
        topic_id = await self._eventually(client, self._create)
        client.pinned_id = topic_id
        await self._write_and_read(client, notes, 0)
        if client.chance.random() < GROWS:
            await self._eventually(client, self._grow)
            self.grown += 1
            await self._write_and_read(client, notes, GROWN_TO - 1)
        await self._eventually(client, self._delete)

    async def _write_and_read(self, client: KafkaClient, notes: History, partition: int) -> None:
        producer = PartitionProducer(
            client, partition, idempotent=True, think_s=THINK_S, batches_max=BATCHES
        )
        await producer.run()
        records: list[ReadRecord] = []
        consumer = PartitionConsumer(client, partition, into=records)
        await consumer.find_end()
        await consumer.run()
        sent = [record for record in notes.sent if record.partition == partition]
        expected = [record.value for record in sent if record.outcome is Outcome.ACKED]
        own = dict.fromkeys(record.value for record in sent)
        found = [record.value for record in records if record.value in own]
        if found != expected:
            self._history.oddities.append(
                f"partition {partition} of topic {client.topic} {client.topic_id.hex()}: "
                f"{len(expected)} records were acked, {len(found)} of them read, and they differ"
            )

    async def _eventually(
        self, client: KafkaClient, attempt: Callable[[KafkaClient], Awaitable[bytes]]
    ) -> bytes:
        """Try until it works; return the topic's id."""
        found: list[bytes] = []

        async def try_once() -> None:
            found.append(await attempt(client))

        await retrying(client, try_once, stop_when=lambda: bool(found))
        return found[0]

    async def _create(self, client: KafkaClient) -> bytes:
        """Create the topic and find it; that it exists already is our own earlier attempt."""
        topic = CreatableTopic(
            name=client.topic,
            num_partitions=client.chance.randint(1, GROWN_TO - 1),
            replication_factor=-1,
        )
        request = CreateTopicsRequest(topics=[topic], timeout_ms=TIMEOUT_MS)
        response = await client.ask_anyone(ApiKey.CREATE_TOPICS, request)
        code = response.topics[0].error_code
        if code != ErrorCode.TOPIC_ALREADY_EXISTS:
            client.check(code)
        found = await self._find(client)
        if found in self.gone:
            await self._ask_to_delete(client, found)
        if found == UNKNOWN or found in self.gone:
            raise RetryError("the node asked does not know the new topic yet")
        return found

    async def _grow(self, client: KafkaClient) -> bytes:
        """Add partitions; that there are so many already is our own earlier attempt."""
        topic = CreatePartitionsTopic(name=client.topic, count=GROWN_TO)
        request = CreatePartitionsRequest(topics=[topic], timeout_ms=TIMEOUT_MS)
        response = await client.ask_anyone(ApiKey.CREATE_PARTITIONS, request)
        code = response.results[0].error_code
        if code != ErrorCode.INVALID_PARTITIONS:
            client.check(code)
        count = await client.partition_count()
        if count != GROWN_TO:
            raise RetryError(f"the node asked knows {count} partitions of {GROWN_TO}")
        return client.topic_id

    async def _delete(self, client: KafkaClient) -> bytes:
        """Delete every topic of the name: an attempt to create that came late made one more."""
        found = await self._find(client)
        if found != UNKNOWN:
            self.gone.setdefault(found, client.topic)
            await self._ask_to_delete(client, found)
            raise RetryError("not before no node asked knows a topic of that name")
        return found

    async def _ask_to_delete(self, client: KafkaClient, topic_id: bytes) -> None:
        """Delete by id, so that a late attempt never hits a later topic of that name."""
        topic = DeleteTopicState(topic_id=TopicId(topic_id))
        request = DeleteTopicsRequest(topics=[topic], timeout_ms=TIMEOUT_MS)
        response = await client.ask_anyone(ApiKey.DELETE_TOPICS, request)
        code = response.responses[0].error_code
        if code == ErrorCode.NONE:
            self.deleted[topic_id] = client.topic
        elif code != ErrorCode.UNKNOWN_TOPIC_ID:
            client.check(code)

    async def _find(self, client: KafkaClient) -> bytes:
        """Return the id of the topic that a random node knows, or UNKNOWN."""
        response = await client.metadata(client.topic)
        topic = response.topics[0]
        assert isinstance(topic, MetadataResponseTopic)
        if topic.error_code == ErrorCode.UNKNOWN_TOPIC_OR_PARTITION:
            return UNKNOWN
        client.check(topic.error_code)
        return bytes(topic.topic_id)
