"""The node's compactions: decided by leaders, done by every replica in the background.

A leader proposes a COMPACTION entry when its log is due (compaction_plan). Every replica that has
applied one writes the same range again, one partition at a time, no faster than a set rate, in
short works of a lane of its own; then the flusher puts the new segments in the place of the old
ones. A crash, damage or a full disk in between costs nothing but the work done so far: as long as
segments of a lower generation are in the range it begins anew. What does not fit beside the reserve
of free space, which events, votes and deletions need, is left for a while: the disk would be filled
and emptied for nothing, and on all replicas at once.

Invariants: only a leader that knows all earlier decisions decides, one thing at a time; nothing is
given to a removed replica's files.
Does not: choose what stays (storage.compaction), or write boundaries (flusher).
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from trimaran.broker.compaction_plan import Compactable, next_compaction
from trimaran.broker.groups import GroupTable
from trimaran.broker.partition import Partition
from trimaran.broker.ports import Lane, Workers
from trimaran.broker.replica import Replica
from trimaran.errors import CorruptionError, DiskFullError, RequestError, StorageError
from trimaran.ids import GroupId
from trimaran.records.control import encode_compaction
from trimaran.records.entry import EntryKind
from trimaran.storage.compaction import LogCompaction

log = logging.getLogger(__name__)

GROUPS_PER_TURN = 64
"""Groups looked at before others have their turn on the loop."""
FULL_RETRY_S = 600.0
"""How long a group waits for whose segments the disk had no space; an attempt reads all of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CompactionStatistics:
    """Counts since start."""

    decided: int
    """Compactions that this node proposed."""
    done: int
    """Ranges that it wrote again."""
    given_up: int
    """Begun, and left because of damage, lack of space, or because the range is gone."""
    moved_bytes: int
    """Read and written."""
    freed_bytes: int


class Compactor:
    """The node's background work on compacted topics."""

    def __init__(
        self,
        *,
        groups: GroupTable,
        workers: Workers,
        swap: Callable[[Replica, LogCompaction], Awaitable[bool]],
        damage_found: Callable[[Replica, CorruptionError], object],
        bytes_per_s: int,
        keys_bytes_max: int,
        reserve_bytes: int,
        interval_s: float,
    ) -> None:
        """Look every `interval_s` seconds; read and write at most `bytes_per_s`.

        `swap` puts a finished compaction in its place and says whether it did. So many bytes as
        `reserve_bytes` of the disk stay free.
        """
        self._groups = groups
        self._workers = workers
        self._swap = swap
        self._damage_found = damage_found
        self._bytes_per_s = bytes_per_s
        self._keys_bytes_max = keys_bytes_max
        self._reserve_bytes = reserve_bytes
        self._interval_s = interval_s
        self._loop = asyncio.get_running_loop()
        self._full: dict[GroupId, float] = {}
        """Groups for which there was no space, and from when on they are tried again."""
        self._decided = self._done = self._given_up = self._moved = self._freed = 0

    def statistics(self) -> CompactionStatistics:
        """Return counts since start."""
        return CompactionStatistics(
            decided=self._decided,
            done=self._done,
            given_up=self._given_up,
            moved_bytes=self._moved,
            freed_bytes=self._freed,
        )

    async def run(self) -> None:
        """Compact what is due, for ever."""
        while True:
            await asyncio.sleep(self._interval_s)
            now_s = self._loop.time()
            self._full = {group: due_s for group, due_s in self._full.items() if due_s > now_s}
            for number, replica in enumerate(self._groups.all()):
                if number % GROUPS_PER_TURN == GROUPS_PER_TURN - 1:
                    await asyncio.sleep(0)
                partition = replica.machine
                if isinstance(partition, Partition) and not replica.removed:
                    self._decide(replica, partition)
                    await self._carry_out(replica, partition)

    def _decide(self, replica: Replica, partition: Partition) -> None:
        """Propose a compaction if this node leads and one is due."""
        if not partition.settings.is_compacted or not partition.may_decide:
            return
        if replica.raft.is_transferring:
            return
        found = Compactable(
            segments=replica.storage.segments,
            before=partition.rules.compaction,
            stored=partition.rules.settings,
        )
        wanted = next_compaction(found, partition.settings, partition.log_time_ms)
        if wanted is None:
            return
        try:
            partition.decide(EntryKind.COMPACTION, encode_compaction(wanted))
        except RequestError:
            return  # not the leader any more, or no majority: whoever leads next looks again
        self._decided += 1

    async def _carry_out(self, replica: Replica, partition: Partition) -> None:
        """Do what was decided, unless that was done."""
        wanted = partition.rules.compaction
        if wanted is None or replica.group in self._full:
            return
        work = replica.storage.plan_compaction(
            wanted, keys_bytes_max=self._keys_bytes_max, reserve_bytes=self._reserve_bytes
        )
        if work is None:
            return
        if await self._write(replica, work) and await self._swap(replica, work):
            self._done += 1
            self._freed += work.size - work.written_size
            log.info(
                "compacted group=%s generation=%s bytes=%s left=%s",
                replica.group.hex(),
                wanted.generation,
                work.size,
                work.written_size,
            )
            return
        self._given_up += 1
        discard = work.plan_discard(is_removed=replica.removed)
        try:
            await self._workers.submit(Lane.COMPACTION, discard)
        except StorageError:
            if not replica.removed:
                raise

    async def _write(self, replica: Replica, work: LogCompaction) -> bool:
        """Write the range again; return whether all of it is there."""
        while not work.done:
            try:
                moved = await self._workers.submit(Lane.COMPACTION, work.plan_step())
            except StorageError as error:
                if replica.removed:
                    return False  # its files went away meanwhile
                if isinstance(error, CorruptionError):
                    self._damage_found(replica, error)
                elif isinstance(error, DiskFullError):
                    self._full[replica.group] = self._loop.time() + FULL_RETRY_S
                elif _are_there(replica, work):
                    raise
                log.warning("compaction left group=%s reason=%s", replica.group.hex(), error)
                return False
            self._moved += moved
            if replica.removed:
                return False
            await asyncio.sleep(moved / self._bytes_per_s)
        return True


def _are_there(replica: Replica, work: LogCompaction) -> bool:
    """Whether the segments that are read still belong to the log."""
    here = {segment.serial for segment in replica.storage.segments}
    return all(segment.serial in here for segment in work.sources)
