"""Appending through idempotent producers of the node's own: sent again, never stored twice.

A batch is sent with the id and sequence of a *slot*, which no other batch uses meanwhile; a retry
is the same bytes, so the leader, old or new, stores them once. A slot whose last batch surely was
stored goes on with the next sequence, one whose batch surely was not with the same. After an
attempt that may have stored the batch, a refusal of the next proves nothing: the outcome is
unknown. Such a slot is thrown away, for another batch with its sequence could be taken for a
repetition.

Where a topic judges event ids, what was stored is read back: the leader stores a batch without its
duplicates and answers with its base offset, so records that are missing there were duplicates. Each
of these is sent again alone, for then the answer is the offset of the original.
Does not: choose partitions.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from trimaran.errors import ErrorCode, ProtocolError, RequestError
from trimaran.ids import GroupId, NodeId
from trimaran.metadata.topology import Topic
from trimaran.protocol.api import ApiKey
from trimaran.protocol.messages import (
    PartitionProduceData,
    ProduceRequest,
    TopicProduceData,
)
from trimaran.records.batch import add_sequence, parse_header
from trimaran.records.building import build_batch
from trimaran.records.iteration import Record, iterate_records
from trimaran.server.http.kafka.asking import fetch
from trimaran.server.http.kafka.client import RETRY_S, KafkaClient, NotSentError, checked, told

SLOTS_IDLE_MAX = 32
"""Kept of one partition; more were only needed by a burst."""
READ_BACK_BYTES = 1 << 20

_MAYBE_STORED = (
    ErrorCode.NOT_LEADER_OR_FOLLOWER,
    ErrorCode.REQUEST_TIMED_OUT,
    ErrorCode.UNKNOWN_SERVER_ERROR,
    ErrorCode.KAFKA_STORAGE_ERROR,
)
"""The batch may be in a log; the same bytes are sent again."""
_AGAIN = (
    ErrorCode.LEADER_NOT_AVAILABLE,
    ErrorCode.NOT_ENOUGH_REPLICAS,
    ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
)
"""Nothing was appended by this attempt; another may succeed."""
_FORGOTTEN = (ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER, ErrorCode.INVALID_PRODUCER_EPOCH)
"""The partition does not know the slot's producer any more."""


class NothingStoredError(Exception):
    """Time is up, and surely nothing was appended."""


class OutcomeUnknownError(Exception):
    """The events may or may not be stored."""


@dataclass(slots=True)
class Slot:
    """A producer id and its next sequence on one partition."""

    producer_id: int
    sequence: int = 0


@dataclass(frozen=True, slots=True)
class Stored:
    """Where an event is; `is_duplicate`: it was there before."""

    offset: int | None
    is_duplicate: bool = False


class Publisher:
    """All slots of this node."""

    def __init__(
        self,
        client: KafkaClient,
        *,
        next_producer_id: Callable[[], Awaitable[int]],
        leader: Callable[[GroupId], tuple[NodeId | None, int]],
    ) -> None:
        """`next_producer_id` is awaited; `leader` is the node's `leader_hint`."""
        self._client = client
        self._next_producer_id = next_producer_id
        self._leader = leader
        self._idle: dict[GroupId, list[Slot]] = {}

    async def append(
        self, topic: Topic, partition: int, records: Sequence[Record], *, timeout_s: float
    ) -> list[Stored]:
        """Store `records` in one batch, in order; return where each is.

        Raises:
            RequestError: refused; nothing was stored.
            NothingStoredError: time is up.
            OutcomeUnknownError: time is up, or what may be stored was refused when sent again.
        """
        deadline = asyncio.get_running_loop().time() + timeout_s
        base, header = await self._send(topic, partition, records, deadline)
        if not topic.effective_settings().event_dedup_enable:
            return [Stored(base + at) for at in range(len(records))]
        try:
            fresh = await self._stored_now(topic, partition, base, header)
        except RequestError as error:
            raise OutcomeUnknownError(
                f"all are stored; which of them were before was not to be learnt: {error}"
            ) from error
        found: list[Stored] = []
        for at, record in enumerate(records):
            if at in fresh:
                found.append(Stored(base + at))
            elif len(records) == 1:
                found.append(Stored(base, is_duplicate=True))
            else:
                found.append(await self._original(topic, partition, record, deadline))
        return found

    async def _original(
        self, topic: Topic, partition: int, record: Record, deadline: float
    ) -> Stored:
        """Return where the event is whose id `record` has; it was not stored again."""
        try:
            base, header = await self._send(topic, partition, [record], deadline)
            fresh = await self._stored_now(topic, partition, base, header)
        except (RequestError, NothingStoredError, OutcomeUnknownError):
            return Stored(None, is_duplicate=True)  # it is stored; where was not to be learnt
        return Stored(base, is_duplicate=0 not in fresh)

    async def _stored_now(
        self, topic: Topic, partition: int, base: int, sent: tuple[int, int]
    ) -> frozenset[int]:
        """Return which records of the batch with these (producer, sequence) were stored."""
        found = await fetch(self._client, topic, partition, base, bytes_max=READ_BACK_BYTES)
        for batch in found.batches:
            header = parse_header(batch)
            if (header.producer_id, header.base_sequence) == sent and header.base_offset == base:
                return frozenset(record.offset - base for record in iterate_records(batch))
        return frozenset()

    async def _send(
        self, topic: Topic, partition: int, records: Sequence[Record], deadline: float
    ) -> tuple[int, tuple[int, int]]:
        """Return the base offset, and what names the batch: producer id and sequence."""
        group = topic.group(partition)
        slot = await self._slot(group, deadline)
        used = (slot.producer_id, slot.sequence)
        batch = build_batch(
            records, producer_id=slot.producer_id, producer_epoch=0, base_sequence=slot.sequence
        )
        try:
            base = await self._until_stored(topic, partition, batch, deadline)
        except RequestError as error:
            if error.code not in _FORGOTTEN:
                self._give_back(group, slot)
            elif slot.sequence > 0:
                return await self._send(topic, partition, records, deadline)
            raise
        except NothingStoredError:
            self._give_back(group, slot)
            raise
        slot.sequence = add_sequence(slot.sequence, len(records))
        self._give_back(group, slot)
        return base, used

    async def _until_stored(
        self, topic: Topic, partition: int, batch: bytearray, deadline: float
    ) -> int:
        group = topic.group(partition)
        loop = asyncio.get_running_loop()
        may_be_stored = False
        reason = "the partition has no leader"
        while (left := deadline - loop.time()) > 0:
            leader, term = self._leader(group)
            if leader is None:
                await self._client.wait_news(group, term, left)
                continue
            try:
                attempt = self._attempt(leader, topic, partition, batch, left)
                return await self._client.unless_moved(group, leader, attempt, left)
            except NotSentError as error:
                reason = str(error)
            except (OSError, ProtocolError) as error:
                may_be_stored = True
                reason = f"node {leader} did not answer: {told(error)}"
            except RequestError as error:
                reason = f"node {leader}: {error.code.name} {error}"
                if error.code in _MAYBE_STORED:
                    may_be_stored = True
                elif error.code not in _AGAIN:
                    if may_be_stored:
                        break  # what is refused now may be in the log by an attempt before
                    raise
            pause = min(RETRY_S, max(0.0, deadline - loop.time()))
            await self._client.wait_news(group, term, pause)
        if may_be_stored:
            raise OutcomeUnknownError(reason)
        raise NothingStoredError(reason)

    async def _attempt(
        self, node: NodeId, topic: Topic, partition: int, batch: bytearray, left_s: float
    ) -> int:
        # Each attempt sends a copy: a leader on this very node stamps the bytes it received.
        data = PartitionProduceData(index=partition, records=memoryview(bytearray(batch)))
        request = ProduceRequest(
            transactional_id=None,
            acks=-1,
            timeout_ms=max(1, int(left_s * 1000)),
            topic_data=[TopicProduceData(name=topic.name, partition_data=[data])],
        )
        answer = await self._client.ask(
            node, ApiKey.PRODUCE, request, lane="produce", timeout_s=left_s
        )
        found = answer.responses[0].partition_responses[0]
        message = found.error_message
        if found.record_errors:
            first = found.record_errors[0]
            message = f"event {first.batch_index}: {first.batch_index_error_message or message}"
        checked(found.error_code, message)
        return int(found.base_offset)

    async def _slot(self, group: GroupId, deadline: float) -> Slot:
        idle = self._idle.get(group)
        if idle:
            return idle.pop()
        try:
            async with asyncio.timeout_at(deadline):
                return Slot(await self._next_producer_id())
        except (TimeoutError, RequestError) as error:
            raise NothingStoredError(f"no producer id was to be had: {told(error)}") from error

    def _give_back(self, group: GroupId, slot: Slot) -> None:
        idle = self._idle.setdefault(group, [])
        if len(idle) < SLOTS_IDLE_MAX:
            idle.append(slot)

    def forget(self, group: GroupId) -> None:
        """The partition is gone."""
        self._idle.pop(group, None)
