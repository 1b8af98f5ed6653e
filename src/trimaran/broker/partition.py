"""A partition's replica as Kafka clients meet it: append, read, watch.

The leader judges a batch against its log end (producer sequences, uncommitted tail included),
stamps it, proposes it, and files who waits under the entry's index. Readers get committed batches
only. After losing leadership waiters stay while a newer leader is followed: the entry may still be
committed (success); once another entry takes its place the answer is "not leader", which clients
take as "outcome unknown".

Does not: send or sync anything (rounds), or decode records.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol

from trimaran.broker.epochs import LeaderEpochs
from trimaran.broker.ports import Lane, Workers
from trimaran.broker.replica import Replica
from trimaran.broker.time_search import TimeSearch
from trimaran.dedup.producers import Duplicate, ProducerTable
from trimaran.errors import (
    CorruptionError,
    ErrorCode,
    NotLeaderError,
    ProposalRefusedError,
    RequestError,
)
from trimaran.ids import GroupId, Index, NodeId, Offset, Term, TopicId
from trimaran.metadata.topic_settings import TopicSettings
from trimaran.raft.node import RaftNode
from trimaran.raft.ready import RoleChange
from trimaran.records.batch import BatchHeader, parse_header, stamp, validate
from trimaran.records.control import (
    LogStart,
    StoredSettings,
    decode_log_start,
    decode_settings,
    encode_log_start,
    encode_settings,
)
from trimaran.records.entry import Entry, EntryKind, Payload
from trimaran.storage.log_reads import SegmentsMovedError
from trimaran.storage.partition_log import PartitionLog

PRODUCERS_FILE = "producers"
SETTINGS_FILE = "settings"


class PartitionOwner(Protocol):
    """What a partition asks of its node."""

    def log_time_ms(self) -> int:
        """Return the cluster's time (see log_clock)."""

    def proposed(self, replica: Replica, events: int) -> None:
        """The group has something new to send and sync."""

    def confirm_leadership(self, replica: Replica) -> int:
        """Send heartbeats now; return the number of the last one sent before."""

    def can_store(self) -> bool:
        """Whether the disk has room for events."""

    def damage_found(self, replica: Replica, error: CorruptionError) -> None:
        """A stored entry fails its check: it cannot be read until it was repaired."""


class PendingAppend:
    """A batch that was appended and waits for what its acks asked for."""

    __slots__ = ("_callback", "base_offset", "done", "error", "index", "log_append_time_ms", "term")

    def __init__(self, base_offset: Offset, index: Index, term: Term) -> None:
        self.base_offset = base_offset
        self.index = index
        self.term = term
        self.log_append_time_ms = -1
        self.done = False
        self.error: ErrorCode | None = None
        self._callback: Callable[[], None] | None = None

    def on_done(self, callback: Callable[[], None]) -> None:
        """Call `callback` once when `done` turns true."""
        assert not self.done
        assert self._callback is None
        self._callback = callback

    def finish(self, error: ErrorCode | None) -> None:
        """Settle the outcome."""
        assert not self.done
        self.done = True
        self.error = error
        if self._callback is not None:
            self._callback()


class Partition:
    """This node's replica of one partition."""

    flush_bytes_max: int | None = 4 << 20

    def __init__(
        self,
        *,
        topic: str,
        topic_id: TopicId,
        number: int,
        settings: TopicSettings,
        producers: ProducerTable,
        epochs: LeaderEpochs,
        log_start: Offset,
        high_watermark: Offset,
        raft: RaftNode,
        storage: PartitionLog,
        owner: PartitionOwner,
        workers: Workers,
        stored: StoredSettings = StoredSettings(),  # noqa: B008 - frozen
    ) -> None:
        """`producers`, `stored`, `high_watermark` are those at the boundary; `bind` follows."""
        self.topic = topic
        self.topic_id = topic_id
        self.number = number
        self.settings = settings
        self.log_start = log_start
        self.high_watermark = high_watermark
        self.leader_ready = False
        self._owner = owner
        self._workers = workers
        self._producers = producers.copy()
        self._flushed_producers = producers
        self._flushed_index = storage.last_index
        """Where `_flushed_producers` stands: ahead of the segments while they are written."""
        self.stored = stored
        """What a committed entry says that replicas store by; `settings` is what they should."""
        self._flushed_stored = stored
        self._control_index = Index(0)
        """The last control entry proposed here."""
        self._epochs = epochs
        self._commit_waiters: deque[PendingAppend] = deque()
        self._sync_waiters: deque[PendingAppend] = deque()
        self._duplicate_waiters: list[PendingAppend] = []
        self._watchers: dict[object, Callable[[], None]] = {}
        self._reads: dict[int, asyncio.Future[Offset]] = {}
        self._read_count = 0
        self._raft = raft
        self._storage = storage
        self._replica: Replica
        self._search = TimeSearch(
            self, log=raft.log, storage=storage, workers=workers, damage_found=self._damage_found
        )

    def bind(self, replica: Replica) -> None:
        """Join the partition with the replica whose state machine it is."""
        self._replica = replica

    # What is known

    @property
    def group(self) -> GroupId:
        """The Raft group."""
        return self._replica.group

    @property
    def replicas(self) -> tuple[NodeId, ...]:
        """The nodes that hold the partition, preferred leader first."""
        return self._replica.node_ids

    @property
    def is_leader(self) -> bool:
        """Whether this node leads."""
        return self._raft.is_leader

    @property
    def leader(self) -> NodeId | None:
        """Who leads, as far as this replica knows."""
        return self._raft.leader

    @property
    def leader_epoch(self) -> int:
        """The Raft term."""
        return self._raft.term

    @property
    def applied(self) -> Index:
        """Index of the last entry applied here."""
        return self._replica.applied

    @property
    def log_end(self) -> Offset:
        """First unwritten offset."""
        return self._raft.log.next_offset

    # Append

    def append(self, batch: memoryview, *, acks: int) -> PendingAppend:
        """Check, stamp and propose one RecordBatch v2.

        Raises:
            RequestError: see `broker.api.Partition.append`.
        """
        raft = self._raft
        if not raft.is_leader:
            raise RequestError(ErrorCode.NOT_LEADER_OR_FOLLOWER, f"leader is {raft.leader}")
        if not self._owner.can_store():
            raise RequestError(ErrorCode.KAFKA_STORAGE_ERROR, "no space left for events")
        header = validate(batch, max_bytes=self.settings.max_message_bytes)
        log = raft.log
        log_time_ms = max(self._owner.log_time_ms(), log.last_log_time_ms)
        if header.producer_id >= 0:
            duplicate = self._judge(header, log_time_ms)
            if duplicate is not None:
                return self._await_duplicate(duplicate, acks)
        stored = _stamped(batch, log.next_offset, raft.term)
        entry = self._propose(EntryKind.RECORDS, stored, header.last_offset_delta + 1, log_time_ms)
        self._fold(self._producers, entry, header)
        self._epochs.appended(entry)
        self._replica.proposed(entry)
        self._owner.proposed(self._replica, header.record_count)
        return self._await_entry(entry, acks)

    def _propose(
        self, kind: EntryKind, payload: Payload, offset_count: int, log_time_ms: int
    ) -> Entry:
        try:
            return self._raft.propose(
                kind, payload, offset_count=offset_count, log_time_ms=log_time_ms
            )
        except NotLeaderError as error:
            raise RequestError(ErrorCode.NOT_LEADER_OR_FOLLOWER, str(error)) from error
        except ProposalRefusedError as error:
            raise RequestError(self._refusal(), str(error)) from error

    # What replicas store (design D12)

    @property
    def may_decide(self) -> bool:
        """Whether this leader knows all that was decided before, and decided nothing since."""
        is_settled = self._control_index <= self._replica.applied
        return self.leader_ready and is_settled and self.is_leader

    def decide_log_start(self, start: LogStart) -> PendingAppend:
        """Propose where the log begins; done when that is committed, and applied here.

        Raises:
            RequestError: NOT_LEADER_OR_FOLLOWER, NOT_ENOUGH_REPLICAS.
        """
        return self._decide(EntryKind.LOG_START, encode_log_start(start))

    def decide_settings(self, stored: StoredSettings) -> PendingAppend:
        """Propose what replicas store by from the next entry on. Raises as `decide_log_start`."""
        return self._decide(EntryKind.SETTINGS, encode_settings(stored))

    def _decide(self, kind: EntryKind, payload: bytes) -> PendingAppend:
        log_time_ms = max(self._owner.log_time_ms(), self._raft.log.last_log_time_ms)
        entry = self._propose(kind, payload, 0, log_time_ms)
        self._epochs.appended(entry)
        self._replica.proposed(entry)
        self._control_index = entry.index
        self._owner.proposed(self._replica, 1)
        return self._await_entry(entry, acks=-1)

    def _decided(self, entry: Entry) -> None:
        """Apply a committed control entry."""
        if entry.kind is EntryKind.LOG_START:
            self.log_start = max(self.log_start, decode_log_start(entry.payload).offset)
            assert self.log_start <= entry.offset, "the log start never passes what is committed"
        elif entry.kind is EntryKind.SETTINGS:
            self.stored = decode_settings(entry.payload)

    def _refusal(self) -> ErrorCode:
        """A transferring leader is as good as none; otherwise the uncommitted tail is full."""
        if self._raft.is_transferring:
            return ErrorCode.NOT_LEADER_OR_FOLLOWER
        return ErrorCode.NOT_ENOUGH_REPLICAS

    def _judge(self, header: BatchHeader, log_time_ms: int) -> Duplicate | None:
        verdict = self._producers.judge(
            producer_id=header.producer_id,
            epoch=header.producer_epoch,
            first_sequence=header.base_sequence,
            last_sequence=header.last_sequence,
            log_time_ms=log_time_ms,
            log_end=self._raft.log.next_offset,
        )
        return verdict if isinstance(verdict, Duplicate) else None

    def _await_duplicate(self, duplicate: Duplicate, acks: int) -> PendingAppend:
        """The first copy is in the log: answer with its offset, once it is committed."""
        pending = PendingAppend(duplicate.base_offset, duplicate.index, self._raft.term)
        if acks == 0 or duplicate.index <= self._replica.applied:
            pending.finish(None)
        else:
            self._duplicate_waiters.append(pending)
        return pending

    def _await_entry(self, entry: Entry, acks: int) -> PendingAppend:
        pending = PendingAppend(entry.offset, entry.index, entry.term)
        if acks == 0:
            pending.finish(None)
        elif acks == 1:
            self._sync_waiters.append(pending)
        else:
            self._commit_waiters.append(pending)
        return pending

    # Read

    def read(
        self, offset: Offset, bytes_max: int
    ) -> "Sequence[Payload] | asyncio.Future[Sequence[Payload]]":
        """Return committed batches from the one that contains `offset`; at least one whole batch.

        Raises:
            RequestError: OFFSET_OUT_OF_RANGE below log start or above log end.
        """
        if offset < self.log_start or offset > self.log_end:
            raise RequestError(
                ErrorCode.OFFSET_OUT_OF_RANGE,
                f"offset {offset}; expected {self.log_start} to {self.log_end}",
            )
        if offset >= self.high_watermark:
            return ()
        log = self._raft.log
        first = log.find_offset(offset)
        if first is None:
            return self._read_segments(offset, bytes_max)
        return self._batches(
            log.slice(first, Index(self._replica.applied + 1), bytes_max=bytes_max)
        )

    def _batches(self, entries: Sequence[Entry]) -> list[Payload]:
        return [entry.payload for entry in entries if entry.kind is EntryKind.RECORDS]

    def _read_segments(self, offset: Offset, bytes_max: int) -> "asyncio.Future[Sequence[Payload]]":
        loop = asyncio.get_running_loop()
        found: asyncio.Future[Sequence[Payload]] = loop.create_future()
        work = self._workers.submit(Lane.READS, self._storage.plan_read_offset(offset, bytes_max))

        def done(finished: "asyncio.Future[list[Entry]]") -> None:
            if found.done():
                return
            error = finished.exception()
            if isinstance(error, CorruptionError):
                self._damage_found(error)
            if isinstance(error, SegmentsMovedError):
                error = RequestError(
                    ErrorCode.OFFSET_OUT_OF_RANGE
                    if offset < self.log_start
                    else ErrorCode.NOT_LEADER_OR_FOLLOWER,
                    str(error),
                )
            if error is not None:
                found.set_exception(error)
            else:
                found.set_result(self._batches(finished.result()))

        work.add_done_callback(done)
        return found

    def _damage_found(self, error: CorruptionError) -> None:
        self._owner.damage_found(self._replica, error)

    def watch(self, callback: Callable[[], None]) -> object:
        """Call `callback` whenever high watermark, log start or leadership changed."""
        handle = object()
        self._watchers[handle] = callback
        return handle

    def unwatch(self, handle: object) -> None:
        """Stop calling. Unknown handles are ignored."""
        self._watchers.pop(handle, None)

    def _notify(self) -> None:
        if self._watchers:
            for callback in list(self._watchers.values()):
                callback()

    def read_index(self) -> "asyncio.Future[Offset]":
        """Return the linearizable high watermark; RequestError NOT_LEADER_OR_FOLLOWER if lost."""
        future: asyncio.Future[Offset] = asyncio.get_running_loop().create_future()
        if not self.is_leader:
            future.set_exception(_not_leader())
            return future
        self._read_count += 1
        self._reads[self._read_count] = future
        number = self._owner.confirm_leadership(self._replica)
        self._raft.read(self._read_count, number)
        self._owner.proposed(self._replica, 0)
        return future

    def offset_for_time(self, timestamp_ms: int) -> "asyncio.Future[tuple[Offset, int] | None]":
        """Return (offset, timestamp) of the first committed record at or after `timestamp_ms`."""
        return asyncio.ensure_future(self._search.first_since(timestamp_ms))

    def offset_of_max_time(self) -> "asyncio.Future[tuple[Offset, int] | None]":
        """Return (offset, timestamp) of the record with the highest timestamp (KIP-734)."""
        return asyncio.ensure_future(self._search.latest())

    def epoch_end(self, leader_epoch: int) -> tuple[int, Offset]:
        """Return (largest epoch <= asked, first offset after it), (-1, -1) if unknown."""
        return self._epochs.end(leader_epoch, log_end=self.log_end)

    # The state machine

    def appended(self, entries: Sequence[Entry]) -> None:
        """Fold what joined the log's end."""
        for entry in entries:
            self._epochs.appended(entry)
            if entry.kind is EntryKind.RECORDS:
                self._fold(self._producers, entry, parse_header(entry.payload))

    def truncated(self, start: Index) -> None:
        """Fold back: start over from what was flushed; fail those whose entry is gone."""
        self._producers = self._flushed_producers.copy()
        self._epochs.truncated(start)
        log = self._raft.log
        first = Index(self._flushed_index + 1)
        kept = log.slice(first, start) if start > first else ()
        for entry in kept:
            if entry.kind is EntryKind.RECORDS:
                self._fold(self._producers, entry, parse_header(entry.payload))
        for waiters in (self._commit_waiters, self._sync_waiters):
            while waiters and waiters[-1].index >= start:
                waiters.pop().finish(ErrorCode.NOT_LEADER_OR_FOLLOWER)
        lost = [waiter for waiter in self._duplicate_waiters if waiter.index >= start]
        self._duplicate_waiters = [
            waiter for waiter in self._duplicate_waiters if waiter.index < start
        ]
        for waiter in lost:
            waiter.finish(ErrorCode.NOT_LEADER_OR_FOLLOWER)

    def committed(self, entries: Sequence[Entry]) -> None:
        """Answer who waited, let readers see."""
        last = entries[-1]
        assert last.next_offset >= self.high_watermark, "the high watermark never goes back"
        self.high_watermark = last.next_offset
        for entry in entries:
            if entry.kind is not EntryKind.RECORDS:
                self._decided(entry)
        if self._raft.is_leader and last.term == self._raft.term:
            self.leader_ready = True
        waiters = self._commit_waiters
        while waiters and waiters[0].index <= last.index:
            waiters.popleft().finish(None)
        if self._duplicate_waiters:
            self._finish_duplicates(last.index)
        self._notify()

    def _finish_duplicates(self, index: Index) -> None:
        settled = [waiter for waiter in self._duplicate_waiters if waiter.index <= index]
        self._duplicate_waiters = [
            waiter for waiter in self._duplicate_waiters if waiter.index > index
        ]
        for waiter in settled:
            waiter.finish(None)

    def synced(self) -> None:
        """Answer acks=1."""
        waiters = self._sync_waiters
        if waiters:
            synced = self._raft.synced_index
            while waiters and waiters[0].index <= synced:
                waiters.popleft().finish(None)

    def role_changed(self, change: RoleChange) -> None:
        """Wake readers and waiting requests: who leads has changed."""
        self.leader_ready = False
        self._notify()

    def majority_lost(self) -> None:
        """This leader stepped down without a successor: nobody here learns how it ends."""
        for waiters in (self._commit_waiters, self._sync_waiters):
            while waiters:
                waiters.popleft().finish(ErrorCode.NOT_LEADER_OR_FOLLOWER)
        lost, self._duplicate_waiters = self._duplicate_waiters, []
        for waiter in lost:
            waiter.finish(ErrorCode.NOT_LEADER_OR_FOLLOWER)

    def deleted(self) -> None:
        """The topic is gone: nobody waits any longer."""
        self.majority_lost()
        for future in self._reads.values():
            if not future.done():
                future.set_exception(_not_leader())
        self._notify()

    def read_confirmed(self, context: int, index: Index | None) -> None:
        """Settle a `read_index`."""
        future = self._reads.pop(context, None)
        if future is None or future.done():
            return
        if index is None:
            future.set_exception(_not_leader())
        else:
            assert self._replica.applied >= index
            future.set_result(self.high_watermark)

    def flushed(self, entries: Sequence[Entry]) -> dict[str, bytes]:
        """Move the flushed producer table on; return it as a state file."""
        for entry in entries:
            if entry.kind is EntryKind.RECORDS:
                self._fold(self._flushed_producers, entry, parse_header(entry.payload))
            elif entry.kind is EntryKind.SETTINGS:
                self._flushed_stored = decode_settings(entry.payload)
        self._flushed_index = entries[-1].index
        states = {}
        if len(self._flushed_producers) > 0:
            states[PRODUCERS_FILE] = self._flushed_producers.encode()
        if self._flushed_stored != StoredSettings():
            states[SETTINGS_FILE] = encode_settings(self._flushed_stored)
        return states

    def _fold(self, table: ProducerTable, entry: Entry, header: BatchHeader) -> None:
        if header.producer_id < 0:
            return
        table.fold(
            producer_id=header.producer_id,
            epoch=header.producer_epoch,
            first_sequence=header.base_sequence,
            last_sequence=header.last_sequence,
            base_offset=entry.offset,
            last_offset=Offset(entry.next_offset - 1),
            entry_index=entry.index,
            log_time_ms=entry.log_time_ms,
        )


def _stamped(batch: memoryview, base_offset: Offset, term: Term) -> memoryview:
    """Return a copy with its final header: the request's buffer is not ours to keep or change."""
    copy = bytearray(batch)
    stamp(copy, base_offset=base_offset, leader_epoch=term)
    return memoryview(copy).toreadonly()


def _not_leader() -> RequestError:
    return RequestError(ErrorCode.NOT_LEADER_OR_FOLLOWER, "this node does not lead the partition")
