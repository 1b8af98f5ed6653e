"""What leaders decide about how much of a log is kept, and how it is stored (design D12).

A leader proposes it as an entry of the partition's own log: where the log starts (retention,
DeleteRecords), that a segment ends here (segment.ms), and which segment size holds from here on.
Every replica then does the same, at the same entry; files go when the boundary with that log start
is synced. Age is by log time: clients' timestamps delete nothing.

Invariant: only a leader that knows all earlier decisions decides, one thing at a time.
Does not: choose the log start (log_starts), apply decisions (partition, flusher), or compact.
"""

import asyncio

from trimaran.broker.deduplication import wanted_settings
from trimaran.broker.groups import GroupTable
from trimaran.broker.log_starts import Kept, retained_from
from trimaran.broker.partition import Partition
from trimaran.broker.ports import Lane, Workers
from trimaran.broker.replica import Replica
from trimaran.errors import RequestError, StorageError
from trimaran.ids import GroupId
from trimaran.metadata.settings import LONG_MAX
from trimaran.records.control import LogStart, encode_log_start, encode_settings
from trimaran.records.entry import EntryKind, LogPosition
from trimaran.storage.segment import Segment

GROUPS_PER_TURN = 64
"""Groups looked at before others have their turn on the loop."""


class Retention:
    """Looks at the partitions that this node leads, from time to time."""

    def __init__(self, *, groups: GroupTable, workers: Workers, interval_s: float) -> None:
        """Look at each every `interval_s` seconds, and when woken."""
        self._groups = groups
        self._workers = workers
        self._interval_s = interval_s
        self._wanted = asyncio.Event()
        self._first_times: dict[GroupId, tuple[int, int]] = {}
        """Log time of the first entry of a group's last segment, beside that one's serial."""

    def wake(self) -> None:
        """Settings have changed: look at once."""
        self._wanted.set()

    async def run(self) -> None:
        """Look at all groups, for ever."""
        while True:
            try:
                async with asyncio.timeout(self._interval_s):
                    await self._wanted.wait()
            except TimeoutError:
                pass
            self._wanted.clear()
            for number, replica in enumerate(self._groups.all()):
                if number % GROUPS_PER_TURN == GROUPS_PER_TURN - 1:
                    await asyncio.sleep(0)
                await self._look(replica)
            if len(self._first_times) > len(self._groups.all()):
                self._first_times.clear()  # of groups that are gone

    async def _look(self, replica: Replica) -> None:
        partition = replica.machine
        if not isinstance(partition, Partition) or not _may_decide(partition, replica):
            return
        try:
            target = wanted_settings(partition.settings)
            if partition.rules.settings != target:
                partition.decide(EntryKind.SETTINGS, encode_settings(target))
                return
            now_ms = partition.log_time_ms
            start = retained_from(_kept(replica, partition), partition.settings, now_ms)
            if start is not None:
                partition.decide(EntryKind.LOG_START, encode_log_start(start))
            elif partition.settings.segment_ms_max < LONG_MAX:
                await self._roll(replica, partition, now_ms)
        except RequestError:
            pass  # not the leader any more, or no majority: whoever leads next looks again

    async def _roll(self, replica: Replica, partition: Partition, now_ms: int) -> None:
        """End the last segment if its first entry is too old."""
        if not replica.storage.segments:
            return
        if partition.control_index > replica.storage.last_index:
            return  # what was decided last may end the segment already
        segment = replica.storage.segments[-1]
        settings = partition.settings
        if now_ms - segment.base.log_time_ms <= settings.segment_ms_max:
            return
        if segment.base.next_offset >= partition.high_watermark:
            return  # it has no events
        first_ms = await self._first_time(replica, segment)
        if first_ms is None or now_ms - first_ms <= settings.segment_ms_max:
            return
        if _may_decide(partition, replica):
            start = LogStart(
                index=partition.log_start_index, offset=partition.log_start, begins_segment=True
            )
            partition.decide(EntryKind.LOG_START, encode_log_start(start))

    async def _first_time(self, replica: Replica, segment: Segment) -> int | None:
        """Return the log time of the segment's first entry, None if it cannot be read now."""
        known = self._first_times.get(replica.group)
        if known is not None and known[0] == segment.serial:
            return known[1]
        work = replica.storage.plan_read_index(segment.first_index, 1)
        try:
            entries = await self._workers.submit(Lane.READS, work)
        except StorageError:
            return None  # whoever reads it for a client, or scrubs it, deals with that
        self._first_times[replica.group] = (segment.serial, entries[0].log_time_ms)
        return entries[0].log_time_ms


def _may_decide(partition: Partition, replica: Replica) -> bool:
    return partition.may_decide and not replica.removed and not replica.raft.is_transferring


def _kept(replica: Replica, partition: Partition) -> Kept:
    start = LogStart(index=partition.log_start_index, offset=partition.log_start)
    log = replica.raft.log
    applied = log.position_at(replica.applied)
    end = LogPosition(
        index=applied.index,
        term=applied.term,
        next_offset=applied.next_offset,
        log_time_ms=log.last_log_time_ms,
    )
    return Kept(segments=replica.storage.segments, start=start, end=end)
