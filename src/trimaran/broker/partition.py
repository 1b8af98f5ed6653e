"""A partition's replica as Kafka clients meet it: append, read, watch.

The leader judges a batch against its log end (producer sequences, uncommitted tail included),
stamps it, proposes it, and files who waits under the entry's index (`append_waiters`). Readers get
committed batches only.

Does not: send or sync anything (rounds), or decode records.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace

from trimaran.broker.append_waiters import AppendWaiters
from trimaran.broker.counters import PartitionCounters
from trimaran.broker.deduplication import (
    EventIds,
    fold_mark,
    fold_records,
    mark_of,
    wanted_settings,
)
from trimaran.broker.epochs import LeaderEpochs
from trimaran.broker.log_starts import log_start_at
from trimaran.broker.observations import Observations
from trimaran.broker.openings import LaterAppend, Openings, opening_of
from trimaran.broker.partition_owner import PartitionOwner
from trimaran.broker.pending import PendingAppend
from trimaran.broker.ports import Workers
from trimaran.broker.replica import Replica
from trimaran.broker.stored_reads import StoredReads, batches_of
from trimaran.broker.stored_rules import StoredRules
from trimaran.broker.time_search import TimeSearch
from trimaran.broker.timestamps import LOG_APPEND_TIME_TYPE, judge_time, stamped
from trimaran.dedup.id_judging import AllDuplicates
from trimaran.dedup.producers import Duplicate, KnownProducer, ProducerTable
from trimaran.dedup.refused import RefusedBatches
from trimaran.errors import (
    CorruptionError,
    ErrorCode,
    NotLeaderError,
    ProposalRefusedError,
    RequestError,
)
from trimaran.ids import GroupId, Index, NodeId, Offset, TopicId
from trimaran.metadata.topic_settings import TopicSettings
from trimaran.raft.node import RaftNode
from trimaran.raft.ready import RoleChange
from trimaran.records.batch import (
    BatchHeader,
    parse_header,
    validate,
)
from trimaran.records.control import decode_log_start, encode_log_start, encode_settings
from trimaran.records.entry import Entry, EntryKind, Payload
from trimaran.storage.boundary import StateFile
from trimaran.storage.partition_log import PartitionLog

PRODUCERS_FILE = "producers"
FLUSH_BYTES_MAX = 4 << 20


class Partition:
    """This node's replica of one partition."""

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
        rules: StoredRules | None = None,
        event_ids: EventIds | None = None,
        observations: Observations | None = None,
    ) -> None:
        """What is folded from the log is given as of the boundary; `bind` follows."""
        self.topic = topic
        self.topic_id = topic_id
        self.number = number
        self.settings = settings
        self.log_start = log_start
        self.high_watermark = high_watermark
        self.leader_ready = False
        self.counts = PartitionCounters()
        self._observations = observations or Observations.apart()
        self._is_ack_awaited = False
        self._owner = owner
        self._workers = workers
        self._producers = producers.copy()
        self._refused = RefusedBatches()
        self._flushed_producers = producers
        self._flushed_index = storage.last_index
        """Where `_flushed_producers` stands: ahead of the segments while they are written."""
        self.log_start_index = storage.log_start_index
        """First entry that is kept."""
        self.rules = rules or StoredRules()
        """What committed entries say that replicas store by; `settings` is what they should."""
        self.event_ids = event_ids or EventIds()
        """What is known of event ids, at the log's end."""
        self._settings_due = False
        """Whether this leader has not yet compared what is stored by with `settings`."""
        self.control_index = Index(0)
        """The last control entry proposed here."""
        self._epochs = epochs
        self._waiters = AppendWaiters()
        self._watchers: dict[object, Callable[[], None]] = {}
        self._reads: dict[int, asyncio.Future[Offset]] = {}
        self._read_count = 0
        self._raft = raft
        self._storage = storage
        self._replica: Replica
        self._read_segments = StoredReads(self, storage, workers, self._damage_found).read
        self._openings = Openings(workers=workers, append=self._append_final)
        self._search = TimeSearch(
            self, log=raft.log, storage=storage, workers=workers, damage_found=self._damage_found
        )

    @property
    def flush_bytes_max(self) -> int | None:
        """How much is flushed at once: with ids less, they are packed in one step on the loop."""
        return FLUSH_BYTES_MAX // 2 if self.event_ids.window.rules.is_on else FLUSH_BYTES_MAX

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
        return self._raft.is_leader and self._replica.leads

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

    def append(self, batch: memoryview, *, acks: int) -> PendingAppend | LaterAppend:
        """Check, stamp and propose one RecordBatch v2.

        Raises:
            RequestError: see `broker.api.Partition.append`.
        """
        raft = self._raft
        if not self.is_leader:
            raise RequestError(ErrorCode.NOT_LEADER_OR_FOLLOWER, f"leader is {raft.leader}")
        header = validate(batch, max_bytes=self.settings.max_message_bytes)
        try:
            return self._admit(batch, header, acks)
        except RequestError as error:
            self._note_refused(header, error)
            raise

    def _admit(
        self, batch: memoryview, header: BatchHeader, acks: int
    ) -> PendingAppend | LaterAppend:
        if not self._owner.can_store():
            raise RequestError(ErrorCode.KAFKA_STORAGE_ERROR, "no space left for events")
        settings = self.settings
        opening = opening_of(batch, header, settings)
        if self._settings_due:
            self._settle_settings()
        if opening is not None or self._openings.is_busy:
            return self._openings.append(batch, opening, acks=acks)
        return self._append(batch, header, acks)

    def _append_final(self, batch: memoryview, acks: int) -> PendingAppend:
        """Append a batch that came some time ago and is now as it will be stored."""
        if not self.is_leader:
            raise _not_leader()
        header = parse_header(batch)
        try:
            return self._append(batch, header, acks)
        except RequestError as error:
            self._note_refused(header, error)
            raise

    def _note_refused(self, header: BatchHeader, error: RequestError) -> None:
        """What follows in the producer's sequences must not overtake it."""
        if header.producer_id >= 0:
            producer = header.producer_id, header.producer_epoch
            self._refused.refused(producer, header.base_sequence, error.code)

    def _append(self, batch: memoryview, header: BatchHeader, acks: int) -> PendingAppend:
        raft, settings = self._raft, self.settings
        log = raft.log
        log_time_ms = max(self._owner.log_time_ms(), log.last_log_time_ms)
        if header.producer_id >= 0:
            duplicate = self._judge(header, log_time_ms)
            if duplicate is not None:
                return self._await_duplicate(duplicate, acks)
        append_time_ms = -1
        if settings.checks_time:
            append_time_ms = judge_time(header, settings, log_time_ms)
        final: Payload | bytearray = batch
        event_ids, events = b"", header.record_count
        if settings.event_dedup_enable:
            if self.event_ids.needs_rules(settings):
                self.decide(EntryKind.SETTINGS, encode_settings(wanted_settings(settings)))
            judged = self.event_ids.judge(batch, header, settings, log_time_ms)
            if isinstance(judged, AllDuplicates):
                return self._await_known(judged, header, log_time_ms, acks)
            final, event_ids = judged.batch, judged.event_ids
            events -= judged.removed_count
        stored = stamped(final, log.next_offset, raft.term, append_time_ms)
        count = header.last_offset_delta + 1
        entry = self._propose(EntryKind.RECORDS, stored, count, log_time_ms, event_ids)
        if event_ids:
            self.event_ids.fold(entry)
        self._fold(self._producers, entry, header)
        self._epochs.appended(entry)
        self._replica.proposed(entry)
        self._owner.proposed(self._replica, header.record_count)
        self.counts.stored(events, len(stored))
        timing = self._observations.timing
        if timing.replica is None:
            timing.proposed(self._replica)
        pending = self._waiters.of_entry(entry, acks)
        pending.log_append_time_ms = append_time_ms
        return pending

    def _await_known(
        self, known: AllDuplicates, header: BatchHeader, log_time_ms: int, acks: int
    ) -> PendingAppend:
        """Nothing of the batch is stored; an idempotent producer's sequences are used up."""
        index = known.index
        if header.producer_id >= 0:
            payload = mark_of(header, known)
            entry = self._propose(EntryKind.DEDUP_MARK, payload, 0, log_time_ms)
            fold_mark(self._producers, entry)
            self._epochs.appended(entry)
            self._replica.proposed(entry)
            self._owner.proposed(self._replica, 0)
            index = entry.index
        self.event_ids.duplicate_count += header.record_count
        duplicate = Duplicate(
            base_offset=known.base_offset, log_append_time_ms=known.log_time_ms, index=index
        )
        return self._await_duplicate(duplicate, acks)

    def _propose(
        self,
        kind: EntryKind,
        payload: Payload,
        offset_count: int,
        log_time_ms: int,
        event_ids: bytes = b"",
    ) -> Entry:
        try:
            return self._raft.propose(
                kind,
                payload,
                offset_count=offset_count,
                log_time_ms=log_time_ms,
                event_ids=event_ids,
            )
        except NotLeaderError as error:
            raise RequestError(ErrorCode.NOT_LEADER_OR_FOLLOWER, str(error)) from error
        except ProposalRefusedError as error:
            raise RequestError(self._refusal(), str(error)) from error

    # What replicas store (design D12)

    @property
    def may_decide(self) -> bool:
        """Whether this leader knows all that was decided before, and decided nothing since."""
        is_settled = self.control_index <= self._replica.applied
        return self.leader_ready and is_settled and self.is_leader

    @property
    def log_time_ms(self) -> int:
        """The cluster's time."""
        return self._owner.log_time_ms()

    def delete_records(self, offset: int) -> PendingAppend:
        """Give up all events below `offset`, -1: all that are committed (DeleteRecords).

        Raises:
            RequestError: OFFSET_OUT_OF_RANGE, NOT_LEADER_OR_FOLLOWER, NOT_ENOUGH_REPLICAS.
        """
        if not self.leader_ready or not self.is_leader:
            raise _not_leader()
        end = self.high_watermark
        if not -1 <= offset <= end:
            raise RequestError(
                ErrorCode.OFFSET_OUT_OF_RANGE, f"offset {offset}; expected -1 or up to {end}"
            )
        start = Offset(offset) if offset >= 0 else end
        if start <= self.log_start:
            done = PendingAppend(self.log_start, Index(0), self._raft.term)
            done.finish(None)
            return done
        found = replace(log_start_at(self._replica, start), frees_event_ids=True)
        return self.decide(EntryKind.LOG_START, encode_log_start(found))

    def _settle_settings(self) -> None:
        """A new leader's first events are stored as the topic says, not as the log did before."""
        self._settings_due = False
        wanted = wanted_settings(self.settings)
        if wanted != self.rules.settings:
            self.decide(EntryKind.SETTINGS, encode_settings(wanted))

    def decide(self, kind: EntryKind, payload: bytes) -> PendingAppend:
        """Propose a LOG_START, SETTINGS or COMPACTION entry; done when committed and applied here.

        Raises:
            RequestError: NOT_LEADER_OR_FOLLOWER, NOT_ENOUGH_REPLICAS.
        """
        log_time_ms = max(self._owner.log_time_ms(), self._raft.log.last_log_time_ms)
        entry = self._propose(kind, payload, 0, log_time_ms)
        self.event_ids.fold(entry)
        self._epochs.appended(entry)
        self._replica.proposed(entry)
        self.control_index = entry.index
        self._owner.proposed(self._replica, 1)
        return self._waiters.of_entry(entry, acks=-1)

    def _decided(self, entry: Entry) -> None:
        """Apply a committed control entry."""
        if entry.kind is EntryKind.LOG_START:
            start = decode_log_start(entry.payload)
            self.log_start = max(self.log_start, start.offset)
            self.log_start_index = max(self.log_start_index, start.index)
            assert self.log_start <= entry.offset, "the log start never passes what is committed"
        else:
            self.rules.decided(entry)

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
        if isinstance(verdict, Duplicate):
            return verdict
        if self._refused:
            producer = header.producer_id, header.producer_epoch
            if verdict.is_known:
                self._refused.forget(producer)
            else:
                self._refused.judge(producer, header.base_sequence)
        return None

    def _await_duplicate(self, duplicate: Duplicate, acks: int) -> PendingAppend:
        """The first copy is in the log: answer with its offset, once it is committed."""
        pending = PendingAppend(duplicate.base_offset, duplicate.index, self._raft.term)
        if self.settings.message_timestamp_type == LOG_APPEND_TIME_TYPE:
            pending.log_append_time_ms = duplicate.log_append_time_ms
        if acks == 0 or duplicate.index <= self._replica.applied:
            pending.finish(None)
        else:
            self._waiters.of_duplicate(pending)
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
        return batches_of(log.slice(first, Index(self._replica.applied + 1), bytes_max=bytes_max))

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

    @property
    def known_producers(self) -> Sequence[KnownProducer]:
        """The idempotent producers that the partition knows."""
        return self._producers.known(self._owner.log_time_ms())

    @property
    def size_bytes(self) -> int:
        """Bytes of batches in segments."""
        return self._storage.size

    def epoch_end(self, leader_epoch: int) -> tuple[int, Offset]:
        """Return (largest epoch <= asked, first offset after it), (-1, -1) if unknown."""
        return self._epochs.end(leader_epoch, log_end=self.log_end)

    # The state machine

    def appended(self, entries: Sequence[Entry]) -> None:
        """Fold what joined the log's end."""
        for entry in entries:
            self._epochs.appended(entry)
            if entry.event_ids or entry.offset_count == 0:
                self.event_ids.fold(entry)
            self._fold_any(self._producers, entry)

    def truncated(self, start: Index) -> None:
        """Fold back: start over from what was flushed; fail those whose entry is gone."""
        self._producers = self._flushed_producers.copy()
        self._epochs.truncated(start)
        log = self._raft.log
        first = Index(self._flushed_index + 1)
        kept = log.slice(first, start) if start > first else ()
        for entry in kept:
            self._fold_any(self._producers, entry)
        self.event_ids.window.fold_back(start)
        self._waiters.lost(start)

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
        if self._is_ack_awaited and self._waiters.is_commit_awaited(last.index):
            self._is_ack_awaited = False
            self._observations.incidents.acknowledged(self.group)
        self._waiters.committed(last.index)
        self._notify()

    def synced(self) -> None:
        """Answer acks=1."""
        self._waiters.synced(self._raft.synced_index)

    def role_changed(self, change: RoleChange) -> None:
        """Wake readers and waiting requests: who leads has changed."""
        self._refused = RefusedBatches()
        self._settings_due = True
        self.leader_ready = False
        self._is_ack_awaited = self._observations.incidents.is_open
        self._notify()

    def majority_lost(self) -> None:
        """This leader stepped down without a successor: nobody here learns how it ends."""
        self._waiters.lost(Index(0))

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

    def flushed(self, entries: Sequence[Entry]) -> dict[str, bytes | StateFile]:
        """Move the flushed state on; return it as state files."""
        for entry in entries:
            self._fold_any(self._flushed_producers, entry)
        self._flushed_index = entries[-1].index
        states = self.event_ids.flushed(self._flushed_index)
        states.update(self.rules.flushed(entries, self._flushed_index))
        if len(self._flushed_producers) > 0:
            states[PRODUCERS_FILE] = self._flushed_producers.encode()
        return states

    _fold = staticmethod(fold_records)

    def _fold_any(self, table: ProducerTable, entry: Entry) -> None:
        if entry.kind is EntryKind.RECORDS:
            self._fold(table, entry, parse_header(entry.payload))
        elif entry.kind is EntryKind.DEDUP_MARK:
            fold_mark(table, entry)


def _not_leader() -> RequestError:
    return RequestError(ErrorCode.NOT_LEADER_OR_FOLLOWER, "this node does not lead the partition")
