"""Answers other nodes' questions about the logs stored here (design D11).

A manifest and its files are given out by a leader only, and only once it has committed an entry of
its term: then its log has everything that was ever committed, and whoever starts over from it
loses nothing. Single entries are given out by any member that has them committed.

Invariants: what is read is either checked here (entries, digests) or by the asker (files).
Does not: ask, or change anything.
"""

import logging
import re
from dataclasses import replace
from typing import Protocol

from trimaran.broker.groups import GroupTable
from trimaran.broker.peer_frames import PeerLane, write_repair_answer
from trimaran.broker.peer_messages import write_message
from trimaran.broker.peers import Peer
from trimaran.broker.ports import Lane, Ports
from trimaran.broker.repair_frames import (
    Manifest,
    MemberStatus,
    RepairAnswer,
    RepairAsk,
    RepairKind,
    SegmentEntry,
    encode_digest,
    encode_manifest,
    encode_status,
)
from trimaran.broker.replica import Replica
from trimaran.errors import CorruptionError
from trimaran.ids import GroupId, Index
from trimaran.raft.messages import AppendEntries
from trimaran.records.entry import Entry, LogPosition
from trimaran.storage.install import ReadPart
from trimaran.storage.log_reads import SegmentsMovedError
from trimaran.storage.segment import DIGITS, GENERATION_DIGITS, group_directory
from trimaran.storage.state_files import STATE_DIRECTORY

log = logging.getLogger(__name__)

PART_BYTES_MAX = 1 << 20
"""Longest part of a file, or bytes of entries, in one answer."""
FILE_NAME = re.compile(
    rf"\d{{{DIGITS}}}-\d{{{DIGITS}}}(-\d{{{GENERATION_DIGITS}}})?\.(segment|rows|ids)"
)


class ArchiveOwner(Protocol):
    """What the node knows beside its replicas."""

    def member_status(self, group: GroupId) -> MemberStatus | None:
        """Return what this node's member of `group` knows, None if it has none."""

    def damage_found(self, replica: Replica, error: CorruptionError) -> object:
        """A stored entry of the group fails its check."""


class Archive:
    """The answering side."""

    def __init__(self, *, owner: ArchiveOwner, groups: GroupTable, ports: Ports) -> None:
        """Answer for the members in `groups`."""
        self._owner = owner
        self._groups = groups
        self._files = ports.files
        self._workers = ports.workers

    async def answer(self, peer: Peer, ask: RepairAsk) -> None:
        """Answer one question of `peer`."""
        try:
            body = await self._body(ask)
        except SegmentsMovedError:
            body = None
        except CorruptionError as error:
            body = None
            replica = self._groups.get(ask.group)
            if replica is not None:
                self._owner.damage_found(replica, error)
        answer = RepairAnswer(ask.request, body is not None, body or b"")
        peer.send(PeerLane.BULK, write_repair_answer(answer))

    async def _body(self, ask: RepairAsk) -> bytes | None:
        if ask.kind is RepairKind.STATUS:
            status = self._owner.member_status(ask.group)
            return encode_status(status) if status is not None else None
        replica = self._groups.get(ask.group)
        if replica is None or replica.removed:
            return None
        match ask.kind:
            case RepairKind.MANIFEST:
                return _manifest(replica, Index(ask.start))
            case RepairKind.FILE:
                return await self._file(replica, ask)
            case RepairKind.ENTRIES:
                return await self._entries(replica, Index(ask.start), ask.count)
            case _:
                return await self._digest(replica, Index(ask.start), ask.count)

    async def _file(self, replica: Replica, ask: RepairAsk) -> bytes | None:
        state_names = [f"{STATE_DIRECTORY}/{name}" for name, _, _ in replica.boundary.state_files]
        if not FILE_NAME.fullmatch(ask.name) and ask.name not in state_names:
            return None
        path = f"{group_directory(replica.group)}/{ask.name}"
        count = min(ask.count, PART_BYTES_MAX)
        read = ReadPart(self._files, path, position=ask.start, count=count)
        return await self._workers.submit(Lane.READS, read)

    async def _entries(self, replica: Replica, start: Index, bytes_max: int) -> bytes | None:
        """Return committed entries from `start` on, with the position before them."""
        bytes_max = min(bytes_max, PART_BYTES_MAX)
        raft_log, storage = replica.raft.log, replica.storage
        if not 1 <= start <= replica.applied:
            return None
        if start >= raft_log.first_index:
            before = raft_log.position_at(Index(start - 1))
            end = Index(replica.applied + 1)
            return _entries_body(before, raft_log.slice(start, end, bytes_max=bytes_max))
        if not storage.first_index <= start <= storage.last_index:
            return None
        work = storage.plan_read_index(start, bytes_max)
        entries = await self._workers.submit(Lane.READS, work)
        if start > storage.whole_from.index:
            return _entries_body(work.previous, entries)
        if entries[0].index != start:
            return None  # compaction left nothing of it
        before = replace(work.previous, index=Index(start - 1))
        return _entries_body(before, entries[:1])

    async def _digest(self, replica: Replica, start: Index, generation: int) -> bytes | None:
        for segment in replica.storage.segments[:-1]:
            if segment.first_index == start and segment.generation == generation:
                digest = await self._workers.submit(
                    Lane.READS, replica.storage.plan_digest(segment)
                )
                return encode_digest(segment.last.index, digest)
        return None


def _manifest(replica: Replica, end: Index) -> bytes | None:
    """Return what a member whose log ends at `end` may start over from, None if nothing here.

    Any sound member's files hold what is committed and nothing else. But only a leader's are known
    to hold what the asker has acknowledged where they end before its log does.
    """
    boundary = replica.boundary
    is_enough = replica.raft.has_own_commit or boundary.position.index >= end
    if replica.damage is not None or not is_enough:
        return None
    segments = tuple(
        SegmentEntry(
            base=segment.base,
            last_index=segment.last.index,
            size=segment.size,
            ids_size=segment.ids_size,
            generation=segment.generation,
            row_count=segment.row_count,
        )
        for segment in replica.storage.segments
        if segment.first_index <= boundary.position.index
    )
    return encode_manifest(Manifest(boundary=boundary, segments=segments))


def _entries_body(before: LogPosition, entries: list[Entry]) -> bytes:
    """Return entries as an append from a leader of the last one's term would carry them."""
    buffers: list[bytes | memoryview] = [(1).to_bytes(4, "big")]
    term = entries[-1].term if entries else before.term
    message = AppendEntries(term, before.index, before.term, before.index, entries)
    write_message(buffers, GroupId(bytes(20)), message)
    return b"".join(buffers)
