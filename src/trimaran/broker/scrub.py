"""Cold segments are read again and again, so that damage is found while others have what it hit.

A pass goes through the segments of every group, slowly: each entry is checked; of those that are
finished the digest of the rows is compared with the other members'. A bad entry is repaired;
members that differ although each passes its own checks cannot both be right, and nobody here can
tell who is: that is logged and counted, for people.

Does not: look at what is not in segments yet; the journal is read at each start.
"""

import asyncio
import logging
from dataclasses import dataclass
from typing import Protocol

from trimaran.broker.asking import Asking
from trimaran.broker.groups import GroupTable
from trimaran.broker.ports import Lane, Workers
from trimaran.broker.repair_frames import RepairKind, decode_digest
from trimaran.broker.replica import Replica
from trimaran.errors import CorruptionError, PeerError, StorageError
from trimaran.ids import NodeId
from trimaran.storage.segment import Segment

log = logging.getLogger(__name__)

PART_BYTES = 256 << 10
"""Read at a time."""
FIRST_S = 600.0
"""After its start a node waits this long before the first pass, or one interval if shorter."""
ROW_BYTES_MIN = 80
"""Counted per part, so that a segment of empty entries is not read at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScrubStatistics:
    """Counts since start."""

    passes: int
    segments: int
    bytes: int
    bad_entries: int
    differing_segments: int


class ScrubOwner(Protocol):
    """Who is told."""

    def damage_found(self, replica: Replica, error: CorruptionError) -> object:
        """A stored entry of the group fails its check."""


class Scrub:
    """The pass over all groups of this node."""

    def __init__(
        self,
        *,
        owner: ScrubOwner,
        node_id: NodeId,
        groups: GroupTable,
        asking: Asking,
        workers: Workers,
        bytes_per_s: int,
        interval_s: float,
    ) -> None:
        """At most `bytes_per_s` are read; passes begin `interval_s` apart. 0: no scrub at all."""
        self._owner = owner
        self._node_id = node_id
        self._groups = groups
        self._asking = asking
        self._workers = workers
        self._bytes_per_s = bytes_per_s
        self._interval_s = interval_s
        self._passes = self._segments = self._bytes = self._bad = self._differing = 0

    def statistics(self) -> ScrubStatistics:
        """Return counts since start."""
        return ScrubStatistics(
            passes=self._passes,
            segments=self._segments,
            bytes=self._bytes,
            bad_entries=self._bad,
            differing_segments=self._differing,
        )

    async def run(self) -> None:
        """Scrub for ever."""
        if self._bytes_per_s == 0:
            return
        loop = asyncio.get_running_loop()
        await asyncio.sleep(min(FIRST_S, self._interval_s))
        while True:
            begun = loop.time()
            await self.scrub_all()
            await asyncio.sleep(max(0.0, begun + self._interval_s - loop.time()))

    async def scrub_all(self) -> None:
        """Go through everything once."""
        for replica in list(self._groups.all()):
            segments = replica.storage.segments
            for segment in segments:
                await self._scrub(replica, segment, is_finished=segment is not segments[-1])
        self._passes += 1

    async def _scrub(self, replica: Replica, segment: Segment, *, is_finished: bool) -> None:
        """Check one segment as it is now; it may grow, or go, while we do."""
        number = 0
        was_bad = False
        while number < segment.row_count:
            if not _is_there(replica, segment):
                return
            work = replica.storage.plan_scrub(segment, number, PART_BYTES)
            try:
                part = await self._workers.submit(Lane.READS, work)
            except StorageError:
                if not _is_there(replica, segment):
                    return
                raise
            if part.bad_index is not None:
                was_bad = True
                self._bad += 1
                error = CorruptionError(segment.path, 0, f"found by the scrub: {part.reason}")
                self._owner.damage_found(replica, error)
            number = part.next_number
            self._bytes += part.read_bytes
            await asyncio.sleep(max(part.read_bytes, ROW_BYTES_MIN) / self._bytes_per_s)
        self._segments += 1
        if is_finished and not was_bad:
            await self._compare(replica, segment)

    async def _compare(self, replica: Replica, segment: Segment) -> None:
        """Hold the segment's digest against the other members'."""
        if not _is_there(replica, segment):
            return
        try:
            own = await self._workers.submit(Lane.READS, replica.storage.plan_digest(segment))
        except CorruptionError as error:
            self._owner.damage_found(replica, error)
            return
        except StorageError:
            if not _is_there(replica, segment):
                return
            raise
        for node in replica.node_ids:
            if node == self._node_id:
                continue
            body = await self._asking.ask(
                node,
                RepairKind.DIGEST,
                replica.group,
                start=segment.first_index,
                count=segment.generation,
            )
            if body is not None:
                self._judge(replica, segment, own, node, body)

    def _judge(
        self, replica: Replica, segment: Segment, own: bytes, node: NodeId, body: bytes
    ) -> None:
        try:
            last_index, digest = decode_digest(body)
        except PeerError as error:
            log.warning("digest cannot be read source=%s reason=%s", node, error)
            return
        # Cut elsewhere (another segment size was in force): not to be compared.
        if last_index == segment.last.index and digest != own:
            self._differing += 1
            log.error(
                "replicas differ group=%s segment=%s other=%s effect=none, needs an operator",
                replica.group.hex(),
                segment.path,
                node,
            )


def _is_there(replica: Replica, segment: Segment) -> bool:
    if replica.removed:
        return False
    return any(part.serial == segment.serial for part in replica.storage.segments)
