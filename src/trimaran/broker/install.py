"""Groups that start over from another member's files (design D11; the paper's InstallSnapshot).

A group is installed while it takes no part here: its files were found damaged, or its leader has no
entries left that reach back to where this member's log ends. The manifest and then every file come
in parts, one part on its way at a time and no faster than a set rate, so that neither memory nor
the connection fills up. They come from the leader; while there is none, from any sound member whose
files reach as far as this one's log: two members that start over leave the third without the
majority to lead. What came is checked whole before it replaces anything. A group for which there is
no space, above the reserve that votes and deletions need, waits with nothing staged.

    manifest, state files, segments  ->  staging  ->  checked, moved  ->  boundary in the journal
    ->  loaded, taken up again

A crash at any step leaves a group that is what it was, or that has the new boundary; if it is
damaged then, the next start begins anew. Installing gives no vote back: readmission does.
Does not: decide which groups need it.
"""

import asyncio
import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Protocol, TypeVar

from trimaran.broker.asking import Asking
from trimaran.broker.leaders import LeaderTable
from trimaran.broker.ports import Lane, Work, Workers
from trimaran.broker.repair_frames import (
    Manifest,
    RepairKind,
    SegmentEntry,
    decode_manifest,
)
from trimaran.broker.rounds import Rounds
from trimaran.errors import CorruptionError, DiskFullError, PeerError
from trimaran.ids import GroupId, Index, NodeId
from trimaran.records.entry import Entry
from trimaran.storage.boundary import Boundary
from trimaran.storage.recovery import RecoveredGroup, Store
from trimaran.storage.segment import (
    IDS_SUFFIX,
    ROWS_SUFFIX,
    SEGMENT_SUFFIX,
    group_directory,
    new_segment,
)
from trimaran.storage.sidecar import row_position
from trimaran.storage.state_files import STATE_DIRECTORY

log = logging.getLogger(__name__)

T = TypeVar("T")
PART_BYTES = 256 << 10
"""Of a file, in one answer: what heartbeats' data lane may have in front of it."""
RETRY_S = 0.5
"""Pause after all possible sources were asked in vain."""
FULL_RETRY_S = 10.0
"""How long a group waits for which the disk had no space; others go on."""


class InstallOwner(Protocol):
    """Who keeps groups that take no part."""

    def waiting(self, group: GroupId) -> RecoveredGroup | None:
        """Return the group as it is kept, None if it is not (any more)."""

    def installed(self, recovered: RecoveredGroup) -> None:
        """Take up the group, which starts over with these files."""


class Installs:
    """All installs of this node, one at a time."""

    def __init__(
        self,
        *,
        owner: InstallOwner,
        asking: Asking,
        leaders: LeaderTable,
        rounds: Rounds,
        store: Store,
        workers: Workers,
        node_ids: Sequence[NodeId],
        bytes_per_s: int,
        reserve_bytes: int,
    ) -> None:
        """`node_ids` are all nodes that may hold a group; at most `bytes_per_s` are fetched.

        So many bytes as `reserve_bytes` of the disk stay free.
        """
        self._owner = owner
        self._asking = asking
        self._leaders = leaders
        self._rounds = rounds
        self._store = store
        self._workers = workers
        self._node_ids = tuple(node_ids)
        self._bytes_per_s = bytes_per_s
        self._reserve_bytes = reserve_bytes
        self._loop = asyncio.get_running_loop()
        self._due: dict[GroupId, float] = {}
        """From when on."""
        self._wanted = asyncio.Event()
        self.count = 0
        """Groups installed since the start."""
        self.bytes = 0
        """Fetched since the start."""

    def want(self, group: GroupId) -> None:
        """Install `group`, as soon as a leader of it can be asked."""
        self._due[group] = self._loop.time()
        self._wanted.set()

    async def run(self) -> None:
        """Install what is wanted, for ever."""
        while True:
            await self._wanted.wait()
            for group, due_s in list(self._due.items()):
                if due_s > self._loop.time():
                    continue
                # It may be wanted again while it is installed, and is installed again then.
                del self._due[group]
                found = self._owner.waiting(group)
                again_s = None if found is None else await self._install(found)
                if again_s is not None:
                    self._due.setdefault(group, again_s)
            if self._due:
                await asyncio.sleep(RETRY_S)
            else:
                self._wanted.clear()

    async def _install(self, found: RecoveredGroup) -> float | None:
        """Try every node that may lead the group; return from when on to do so again, if so."""
        again_s = self._loop.time()
        leader, _ = self._leaders.hint(found.group)
        nodes = dict.fromkeys([leader] if leader is not None else [])
        nodes.update(dict.fromkeys(found.boundary.voters or self._node_ids))
        for node in nodes:
            if not self._asking.can_ask(node):
                continue
            try:
                is_done = await self._from(node, found)
            except (CorruptionError, PeerError, DiskFullError) as error:
                log.warning(
                    "install failed group=%s source=%s reason=%s", found.group.hex(), node, error
                )
                is_done = False
                if isinstance(error, DiskFullError):
                    again_s = self._loop.time() + FULL_RETRY_S
            await self._submit(self._store.plan_discard(found.group))
            if is_done:
                return None
            if again_s > self._loop.time():
                break
        return again_s if self._owner.waiting(found.group) is found else None

    async def _from(self, node: NodeId, found: RecoveredGroup) -> bool:
        """Install the group from `node`; return whether it is done.

        Raises:
            CorruptionError: what came fails its checks.
            PeerError: the manifest is none.
            DiskFullError: no space above the reserve.
        """
        group = found.group
        body = await self._asking.ask(node, RepairKind.MANIFEST, group, start=_end_of(found))
        if body is None:
            return False
        manifest = decode_manifest(group, body)
        boundary = manifest.boundary
        if found.damage is None and boundary.position.index < found.boundary.position.index:
            return False  # a sound member votes: it may not fall behind what it acknowledged
        files = list(_files_of(manifest))
        needed = self._reserve_bytes + sum(size for _, size in files)
        await self._submit(self._store.plan_staging(group, needed_bytes=needed))
        log.warning(
            "install begins group=%s source=%s index=%s",
            group.hex(),
            node,
            boundary.position.index,
        )
        for name, size in files:
            if not await self._fetch(node, group, name, size):
                return False
        if self._owner.waiting(group) is not found:
            return True
        await self._submit(self._store.plan_adopt(boundary))
        if self._owner.waiting(group) is not found:
            return True
        tail = _fitting_tail(found, boundary)
        found.entries = tail or []
        await self._rounds.store_installed(boundary, found, is_other_log=tail is None)
        if self._owner.waiting(group) is not found:
            return True
        await self._load(found, [_stem(group, part) for part in manifest.segments])
        return True

    async def _load(self, found: RecoveredGroup, stems: Sequence[str]) -> None:
        boundary = found.boundary
        keep = tuple(stem + SEGMENT_SUFFIX for stem in stems)
        stored = await self._submit(self._store.plan_load(boundary, keep))
        if self._owner.waiting(found.group) is not found:
            return
        self.count += 1
        log.warning(
            "installed group=%s index=%s effect=%s",
            found.group.hex(),
            boundary.position.index,
            "no vote yet" if found.damage is not None else "follows",
        )
        self._owner.installed(self._store.installed(found, stored))

    async def _fetch(self, node: NodeId, group: GroupId, name: str, size: int) -> bool:
        """Fetch one file into staging; return whether all of it came."""
        position = 0
        while True:
            body: bytes | None = b""
            if position < size:
                count = min(PART_BYTES, size - position)
                body = await self._asking.ask(
                    node, RepairKind.FILE, group, start=position, count=count, name=name
                )
            if body is None or (not body and position < size) or len(body) > size - position:
                return False
            end = position + len(body)
            part = self._store.plan_stage(
                group,
                name,
                body,
                position=position,
                is_last=end == size,
                reserve_bytes=self._reserve_bytes,
            )
            await self._submit(part)
            self.bytes += len(body)
            position = end
            if position == size:
                return True
            await asyncio.sleep(len(body) / self._bytes_per_s)

    def _submit(self, work: Work[T]) -> "asyncio.Future[T]":
        return self._workers.submit(Lane.SEGMENTS, work)


def _files_of(manifest: Manifest) -> Iterator[tuple[str, int]]:
    """Yield the names and sizes of all files, state files first: the leader soon has others."""
    for name, size, _ in manifest.boundary.state_files:
        yield f"{STATE_DIRECTORY}/{name}", size
    for segment in manifest.segments:
        stem = _stem(manifest.boundary.group, segment)
        yield stem + SEGMENT_SUFFIX, segment.size
        if segment.ids_size:
            yield stem + IDS_SUFFIX, segment.ids_size
        yield stem + ROWS_SUFFIX, row_position(segment.row_count)


def _stem(group: GroupId, segment: SegmentEntry) -> str:
    path = replace(new_segment(group, segment.base, 0), generation=segment.generation).path
    return path.removeprefix(group_directory(group) + "/")


def _end_of(found: RecoveredGroup) -> Index:
    """Return the last entry that this member has, or had, and may have acknowledged."""
    last = found.entries[-1].index if found.entries else Index(0)
    return max(last, found.boundary.position.index)


def _fitting_tail(found: RecoveredGroup, boundary: Boundary) -> list[Entry] | None:
    """Return the entries that go on behind `boundary`, None unless the log is known to fit."""
    entries, position = found.entries, boundary.position
    if found.boundary.position == position:
        return entries
    if not entries or not entries[0].index <= position.index <= entries[-1].index:
        return None
    at = position.index - entries[0].index
    return entries[at + 1 :] if entries[at].term == position.term else None
