"""Stored entries that fail their check are written again, as another member has them (design D11).

Whoever meets damage in a segment (a consumer's read, a follower's, the scrub) says so here. The
whole segment is looked through, and each bad entry is fetched from a member that has it committed
and put back where it was: replicas' segments are equal byte by byte, and what is written is checked
against the rows that stand. Until then reads of that entry fail, and nothing else does.

Some entries cannot be put back: compaction left less of them elsewhere, or the disk loses them
again at once. Then the group starts over, from a member that has all of them in its own way.

Invariants: one repair of a segment at a time; bytes that pass their check never change.
Does not: find damage by itself (scrub), or bring whole files back (install).
"""

import asyncio
import logging
import struct
from collections.abc import Callable, Iterator

from trimaran.broker.asking import Asking
from trimaran.broker.leaders import LeaderTable
from trimaran.broker.peer_messages import read_messages
from trimaran.broker.ports import Lane, Workers
from trimaran.broker.repair_frames import RepairKind, decode_manifest
from trimaran.broker.replica import Replica
from trimaran.broker.tasks import Tasks
from trimaran.errors import CorruptionError, PeerError, StorageError
from trimaran.ids import GroupId, Index, NodeId
from trimaran.raft.messages import AppendEntries
from trimaran.records.entry import Entry
from trimaran.storage.segment import Segment

log = logging.getLogger(__name__)

LOOK_BYTES = 1 << 20
"""Read at a time while a segment is looked through."""
RETRY_S = 1.0
"""Pause after no member could give a bad entry."""
VAIN_MAX = 5
"""So often it is tried before the group starts over."""


class Repairs:
    """Repairs of single entries, on all groups of this node."""

    def __init__(
        self,
        *,
        node_id: NodeId,
        asking: Asking,
        leaders: LeaderTable,
        workers: Workers,
        tasks: Tasks,
        start_over: Callable[[Replica], None],
    ) -> None:
        """Nothing is repaired before damage is reported.

        `start_over` is asked for where an entry cannot be put back.
        """
        self._node_id = node_id
        self._asking = asking
        self._leaders = leaders
        self._workers = workers
        self._tasks = tasks
        self._start_over = start_over
        self._running: dict[tuple[GroupId, str], asyncio.Future[None]] = {}
        self.found = 0
        """Bad entries found since the start."""
        self.count = 0
        """Entries written again since the start."""

    @property
    def open_count(self) -> int:
        """Segments that are being repaired."""
        return len(self._running)

    def damage_found(self, replica: Replica, error: CorruptionError) -> "asyncio.Future[None]":
        """Repair the segment that `error` names; the future is done when nothing in it is bad."""
        loop = asyncio.get_running_loop()
        segment = _segment_at(replica, error.path)
        if segment is None:  # its log start has passed it, or it is a state file
            done: asyncio.Future[None] = loop.create_future()
            done.set_result(None)
            return done
        key = (replica.group, segment.path)
        if key not in self._running:
            log.error("stored entry damaged group=%s reason=%s", replica.group.hex(), error)
            self._running[key] = loop.create_future()
            self._tasks.spawn(self._repair(replica, segment.path), name="repair-segment")
        return self._running[key]

    async def _repair(self, replica: Replica, path: str) -> None:
        """Look through the segment and put back what is bad, until nothing is."""
        done = self._running[replica.group, path]
        number = vain_count = 0
        last_put_back: Index | None = None
        while (segment := _segment_at(replica, path)) is not None and number < segment.row_count:
            work = replica.storage.plan_scrub(segment, number, LOOK_BYTES)
            try:
                part = await self._workers.submit(Lane.READS, work)
            except StorageError:
                if _segment_at(replica, path) is not None:
                    raise
                break
            if part.bad_index is None:
                number = part.next_number
                continue
            self.found += 1
            index = part.bad_index
            is_put_back = await self._put_back(replica, index)
            is_again = is_put_back and index == last_put_back
            if is_put_back:
                last_put_back = index
                if not is_again:
                    continue
            vain_count += 1
            number = max(0, number - 1)  # what passed may be bad by now, and needed for this one
            if vain_count % VAIN_MAX == 0 and (is_again or await self._differs(replica, index)):
                self._start_over(replica)
            await asyncio.sleep(RETRY_S)
        del self._running[replica.group, path]
        if not done.done():
            done.set_result(None)

    async def _put_back(self, replica: Replica, index: Index) -> bool:
        """Write entry `index` again as some member has it; return whether that was done."""
        for node in self._sources(replica):
            entry = await self._fetch(replica.group, node, index)
            if entry is None or replica.removed or not _holds(replica, index):
                continue
            try:
                await self._workers.submit(Lane.SEGMENTS, replica.storage.plan_repair([entry]))
            except CorruptionError as error:
                log.warning(
                    "repair refused group=%s source=%s reason=%s", replica.group.hex(), node, error
                )
                continue
            self.count += 1
            log.warning(
                "entry repaired group=%s index=%s source=%s", replica.group.hex(), index, node
            )
            return True
        return False

    async def _differs(self, replica: Replica, index: Index) -> bool:
        """Whether a sound member may have other bytes at `index`: either side compacted it."""
        is_compacted = replica.storage.whole_from.index >= index
        end = replica.storage.last_index
        for node in self._sources(replica):
            body = await self._asking.ask(node, RepairKind.MANIFEST, replica.group, start=end)
            if body is None:
                continue
            try:
                segments = decode_manifest(replica.group, body).segments
            except PeerError as error:
                log.warning("manifest cannot be read source=%s reason=%s", node, error)
                continue
            if is_compacted or any(
                part.generation and index <= part.last_index for part in segments
            ):
                return True
        return False

    def _sources(self, replica: Replica) -> Iterator[NodeId]:
        """Yield the members to ask, the leader first."""
        leader, _ = self._leaders.hint(replica.group)
        nodes = dict.fromkeys([leader] if leader is not None else [])
        nodes.update(dict.fromkeys(replica.node_ids))
        for node in nodes:
            if node != self._node_id and self._asking.can_ask(node):
                yield node

    async def _fetch(self, group: GroupId, node: NodeId, index: Index) -> Entry | None:
        body = await self._asking.ask(node, RepairKind.ENTRIES, group, start=index, count=1)
        if body is None:
            return None
        try:
            ((_, message),) = read_messages(memoryview(body))
        except (PeerError, struct.error, ValueError) as error:
            log.warning("entry cannot be read source=%s reason=%s", node, error)
            return None
        if not isinstance(message, AppendEntries) or not message.entries:
            return None
        entry = message.entries[0]
        return entry if entry.index == index else None


def _segment_at(replica: Replica, path: str) -> Segment | None:
    """Return the segment one of whose files is at `path`, as it is now."""
    if replica.removed:
        return None
    for segment in replica.storage.segments:
        if path == segment.path or path in segment.paths:
            return segment
    return None


def _holds(replica: Replica, index: Index) -> bool:
    return replica.storage.first_index <= index <= replica.storage.last_index
