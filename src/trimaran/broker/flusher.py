"""Moves committed entries from the journal into segments, then lets journal and memory go.

A cycle, when enough waits or a while has passed: segment bytes and rows written, state files
written, all of it synced; then one boundary per group in the next journal round; then the journal
files that nobody needs any more are removed and the in-memory tail is cut to its budget. In this
order a crash at any step loses nothing (design D5). Compacted segments take their place in the same
way, between two flushes: renamed and listed, boundary, old files removed.

Invariants: a boundary never names what is not synced; memory above a boundary is never released.
Does not: write the journal, or decide what a segment is.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import TypeVar

from trimaran.broker.observations import Observations
from trimaran.broker.ports import Lane, Work, Workers
from trimaran.broker.replica import Replica
from trimaran.broker.rounds import Rounds
from trimaran.broker.space import when_there_is_room
from trimaran.errors import DiskFullError
from trimaran.ids import GroupId, Index
from trimaran.records.control import decode_log_start
from trimaran.records.entry import Entry, EntryKind, LogPosition
from trimaran.storage.boundary import Boundary, StateFile
from trimaran.storage.compacted_list import compacted_file
from trimaran.storage.compaction import LogCompaction
from trimaran.storage.journal import Journal
from trimaran.storage.partition_log import LogDrop

T = TypeVar("T")


class _GroupDeletedError(Exception):
    """The group that was being flushed is gone: nothing of it is needed any more."""


class _Waiting:
    """A group with committed entries that no flush has taken."""

    __slots__ = ("replica", "since_s", "size")

    def __init__(self, replica: Replica, since_s: float) -> None:
        self.replica = replica
        self.since_s = since_s
        self.size = 0


class Flusher:
    """The node's segment writer."""

    def __init__(
        self,
        *,
        rounds: Rounds,
        journal: Journal,
        workers: Workers,
        tail_bytes_max: int,
        flush_bytes: int,
        flush_interval_s: float,
        flushed: Callable[[], None],
        observations: Observations | None = None,
    ) -> None:
        """`tail_bytes_max` bounds what stays in memory below the boundaries, on the whole node.

        `flushed` is called whenever `unflushed_bytes` fell.
        """
        self._observations = observations or Observations.apart()
        self._rounds = rounds
        self._journal = journal
        self._workers = workers
        self._tail_bytes_max = tail_bytes_max
        self._flush_bytes = flush_bytes
        self._flush_interval_s = flush_interval_s
        self._flushed = flushed
        self._loop = asyncio.get_running_loop()
        self._waiting: dict[GroupId, _Waiting] = {}
        self._waiting_bytes = 0
        self._unflushed: dict[GroupId, int] = {}
        self.unflushed_bytes = 0
        """Committed bytes that no boundary covers yet."""
        self._enough = asyncio.Event()
        self._tail: deque[tuple[Replica, Index, int]] = deque()
        self._tail_bytes = 0
        self._released = 0
        self._swaps: deque[tuple[Replica, LogCompaction, asyncio.Future[bool]]] = deque()
        self.cycles = 0

    def committed(self, replica: Replica, size: int) -> None:
        """The group has `size` more bytes of committed entries."""
        waiting = self._waiting.get(replica.group)
        if waiting is None:
            waiting = self._waiting[replica.group] = _Waiting(replica, self._loop.time())
        waiting.size += size
        self._waiting_bytes += size
        self._unflushed[replica.group] = self._unflushed.get(replica.group, 0) + size
        self.unflushed_bytes += size
        if self._waiting_bytes >= self._flush_bytes:
            self._enough.set()

    def swap(self, replica: Replica, compaction: LogCompaction) -> "asyncio.Future[bool]":
        """Put what `compaction` wrote in its place; the future says whether that was done.

        It is not if the group, or what was compacted, is gone.
        """
        done: asyncio.Future[bool] = self._loop.create_future()
        self._swaps.append((replica, compaction, done))
        self._enough.set()
        return done

    def group_removed(self, replica: Replica) -> None:
        """What the group still had to flush is not needed any more, nor its tail.

        The tail goes here and now: a group's objects refer to each other, so that the rest of them
        waits for the collector, which may take hours.
        """
        group = replica.group
        waiting = self._waiting.pop(group, None)
        if waiting is not None:
            self._waiting_bytes -= waiting.size
        self._forget(group, self._unflushed.get(group, 0))
        self._flushed()
        log = replica.raft.log
        log.release(min(replica.boundary.position.index, log.last_index))

    def _forget(self, group: GroupId, size: int) -> None:
        left = self._unflushed.get(group, 0) - size
        assert left >= 0, "only what was counted as committed is flushed"
        self.unflushed_bytes -= size
        if left > 0:
            self._unflushed[group] = left
        else:
            self._unflushed.pop(group, None)

    @property
    def tail_bytes(self) -> int:
        """Bytes of entries below the boundaries that stay in memory."""
        return self._tail_bytes

    async def run(self) -> None:
        """Flush for ever."""
        while True:
            try:
                async with asyncio.timeout(self._flush_interval_s):
                    await self._enough.wait()
            except TimeoutError:
                pass
            await self.cycle()

    async def cycle(self) -> None:
        """Flush what is due now, and release what that makes unnecessary."""
        self._enough.clear()
        for waiting in self._take_due():
            replica = waiting.replica
            with suppress(_GroupDeletedError):
                await self._flush(replica)
                if replica.storage.last_index < replica.applied and not replica.removed:
                    self._waiting.setdefault(replica.group, _Waiting(replica, waiting.since_s))
        while self._swaps:
            replica, compaction, done = self._swaps.popleft()
            is_swapped = False
            with suppress(_GroupDeletedError):
                is_swapped = await self._swap(replica, compaction)
            if not done.done():
                done.set_result(is_swapped)
        if self._journal.generation != self._released or self._journal.file_count > 1:
            self._released = self._journal.generation
            submit = partial(self._workers.submit, Lane.SEGMENTS, self._journal.release())
            await when_there_is_room(submit)
        self.cycles += 1

    def _take_due(self) -> "list[_Waiting]":
        """Take the groups that have waited for long, and the largest until half is taken.

        A flush costs nearly the same for few bytes as for many, so that many groups are better
        flushed in turn, each when it has much, than all of them each time.
        """
        now_s = self._loop.time()
        half = self._waiting_bytes // 2
        due: list[_Waiting] = []
        for waiting in sorted(self._waiting.values(), key=_size, reverse=True):
            is_old = now_s - waiting.since_s >= self._flush_interval_s
            if is_old or self._waiting_bytes > half:
                due.append(waiting)
                del self._waiting[waiting.replica.group]
                self._waiting_bytes -= waiting.size
        return due

    async def _flush(self, replica: Replica) -> None:
        """Write, sync and bound one group, in steps of its machine's size.

        Raises:
            _GroupDeletedError: it was deleted meanwhile.
        """
        while not replica.removed and (step := replica.next_flush()):
            entries, states = step
            files = await when_there_is_room(partial(self._write, replica, entries, states))
            await self._bound(replica, entries, files)

    async def _swap(self, replica: Replica, compaction: LogCompaction) -> bool:
        """Place, bound, remove; return whether there was something to place.

        Raises:
            _GroupDeletedError: the group was deleted meanwhile.
        """
        storage = replica.storage
        swap = None if replica.removed else storage.plan_swap(compaction)
        if swap is None:
            return False
        await when_there_is_room(partial(self._submit, replica, swap))
        if replica.removed:
            raise _GroupDeletedError
        assert swap.state_file is not None
        previous = replica.boundary
        replaced = compacted_file(previous.state_files)
        kept = [file for file in previous.state_files if file != replaced]
        boundary = replace(previous, state_files=(*kept, swap.state_file))
        is_synced = self._rounds.store_boundary(boundary, replica)
        await is_synced
        if replica.removed:
            raise _GroupDeletedError
        await self._drop(replica, storage.swapped(swap))
        names = [name for name, _, _ in boundary.state_files]
        await self._submit(replica, storage.plan_drop_states(names))
        return True

    def _submit(self, replica: Replica, work: Work[T]) -> "asyncio.Future[T]":
        """Have `work` done on the group's files.

        They are there: what deletes them is a work of the same lane, given to it later.

        Raises:
            _GroupDeletedError: they may be gone already.
        """
        if replica.removed:
            raise _GroupDeletedError
        return self._workers.submit(Lane.SEGMENTS, work)

    async def _drop(self, replica: Replica, drop: LogDrop) -> None:
        """Delete segments, and have whoever read them close them: only that frees their space.

        Raises:
            _GroupDeletedError: the group was deleted meanwhile.
        """
        await self._submit(replica, drop)
        if drop.segments:
            self._workers.submit(Lane.READS, drop.plan_let_go())

    async def _write(
        self, replica: Replica, entries: Sequence[Entry], states: Mapping[str, bytes | StateFile]
    ) -> tuple[StateFile, ...]:
        """Make `entries` and the state as of the last of them durable; return the state's files.

        Raises:
            DiskFullError: nothing of it counts.
            _GroupDeletedError: the group was deleted meanwhile.
        """
        flush = replica.storage.plan_flush(entries, states)
        now_s = self._observations.now_s
        begun_s = now_s()
        try:
            await self._submit(replica, flush)
        except DiskFullError:
            flush.abandon()
            raise
        flush.finish()
        self._observations.counters.flush.add(now_s() - begun_s)
        return flush.state_files

    async def _bound(
        self, replica: Replica, entries: Sequence[Entry], files: tuple[StateFile, ...]
    ) -> None:
        if replica.removed:
            raise _GroupDeletedError
        last = entries[-1]
        previous = replica.boundary
        boundary: Boundary = replace(
            with_log_start(previous, entries),
            position=LogPosition(
                index=last.index,
                term=last.term,
                next_offset=last.next_offset,
                log_time_ms=last.log_time_ms,
            ),
            state_files=files,
        )
        await self._rounds.store_boundary(boundary, replica)
        if replica.removed:
            raise _GroupDeletedError
        size = 0
        for entry in entries:
            self._tail.append((replica, entry.index, entry.size))
            size += entry.size
        self._tail_bytes += size
        self._observations.counters.flushed_bytes += size
        self._forget(replica.group, size)
        self._cut_tail()
        self._flushed()
        if previous.state_files:
            # Those before too: were the journal's last round to rot, theirs is the boundary.
            names = [name for name, _, _ in (*files, *previous.state_files)]
            await self._submit(replica, replica.storage.plan_drop_states(names))
        start = (boundary.log_start_index, boundary.log_start_offset)
        if start != (previous.log_start_index, previous.log_start_offset):
            replica.storage.set_log_start(*start)
            await self._drop(replica, replica.storage.plan_drop_segments())

    def _cut_tail(self) -> None:
        """Release the oldest entries below boundaries until the rest is within its budget."""
        released: dict[GroupId, tuple[Replica, Index]] = {}
        while self._tail_bytes > self._tail_bytes_max:
            replica, index, size = self._tail.popleft()
            self._tail_bytes -= size
            released[replica.group] = (replica, index)
        for replica, index in released.values():
            if not replica.removed:
                replica.raft.log.release(index)


def with_log_start(boundary: Boundary, entries: Sequence[Entry]) -> Boundary:
    """Return `boundary` with the log start moved as `entries`, which follow it, say."""
    index, offset = boundary.log_start_index, boundary.log_start_offset
    for entry in entries:
        if entry.kind is EntryKind.LOG_START:
            start = decode_log_start(entry.payload)
            index, offset = max(index, start.index), max(offset, start.offset)
    return replace(boundary, log_start_index=index, log_start_offset=offset)


def _size(waiting: _Waiting) -> int:
    return waiting.size
