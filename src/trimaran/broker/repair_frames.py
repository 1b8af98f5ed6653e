"""What nodes say to each other about damage, as bodies of peer frames. All big-endian.

    REPAIR_ASK     u64 request, u8 kind (`RepairKind`), 20s group, u64 start, u32 count,
                   u16 length + name in ASCII
    REPAIR_ANSWER  u64 request, u8 whether it could be answered, then by the kind of question:
        MANIFEST   u32 length + a boundary as in the journal, u32 count of segments: (u64 index
                   before the first entry, u64 its term, u64 its next offset, i64 its log time in
                   ms, u64 last index, u64 bytes of payload, u64 bytes of event ids)
        FILE       bytes of the file from `start` on, at most `count`; empty behind its end
        ENTRIES    the body of a MESSAGES frame with one AppendEntries of committed entries
        DIGEST     u64 last index, 32s digest over the rows of the segment that starts at `start`
        STATUS     u64 term, u64 last term, u64 last index, u64 commit index known, u64 boundary
                   index, u8 kind of damage, 0 for none
    READMIT        u64 boot id of the receiver, u32 count of (20s group, u64 term, u64 index)

What is read can be carried out: positions fit into 63 bits, terms where Kafka's leader epochs do,
and names of state files are names (boundary.py).
Does not: ask, answer or judge.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

from trimaran.broker.peer_messages import POSITION_MAX, TERM_MAX
from trimaran.errors import PeerError
from trimaran.ids import BootId, GroupId, Index, Offset, Term
from trimaran.records.entry import LogPosition
from trimaran.storage.boundary import Boundary, decode_boundary, encode_boundary
from trimaran.storage.damage import DamageKind

_ASK = struct.Struct(">QB20sQIH")
_ANSWER = struct.Struct(">QB")
_READMIT = struct.Struct(">QI")
_READMITTED = struct.Struct(">20sQQ")
_COUNT = struct.Struct(">I")
_SEGMENT = struct.Struct(">QQQqQQQIQ")
_DIGEST = struct.Struct(">Q32s")
_STATUS = struct.Struct(">QQQQQB")
DIGEST_BYTES = 32


class RepairKind(IntEnum):
    """What is asked for."""

    MANIFEST = 0
    """The group's boundary and segments."""
    FILE = 1
    """A part of one of its files."""
    ENTRIES = 2
    """Committed entries."""
    DIGEST = 3
    """The digest of a segment."""
    STATUS = 4
    """What the member knows of its own log and of what was committed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RepairAsk:
    """A question about a group's stored log."""

    request: int
    kind: RepairKind
    group: GroupId
    start: int = 0
    count: int = 0
    name: str = ""


@dataclass(frozen=True, slots=True)
class RepairAnswer:
    """The answer to `request`; not `found`: the node has not what was asked for (any more)."""

    request: int
    found: bool
    body: bytes


@dataclass(frozen=True, slots=True)
class Readmit:
    """To the receiver in its life `boot_id`: hold each group's log up to `index`, and count again.

    The sender leads the group in `term` and has committed `index`, which it proposed in that term
    after it heard of the damage, without counting the receiver.
    """

    boot_id: BootId
    groups: Sequence[tuple[GroupId, Term, Index]]


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentEntry:
    """One segment in a manifest."""

    base: LogPosition
    last_index: Index
    size: int
    ids_size: int
    generation: int = 0
    """Of a compacted one."""
    row_count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """Everything that a node holds of a group below its boundary."""

    boundary: Boundary
    segments: tuple[SegmentEntry, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberStatus:
    """What one voter knows of its own log; a damaged one's log ends where its damage begins."""

    term: Term
    last_term: Term
    last_index: Index
    commit_known: Index
    """Highest commit index that it ever noted, even if its log ends below."""
    boundary_index: Index
    damage: DamageKind | None


def encode_ask(ask: RepairAsk) -> bytes:
    """Return the body of the frame."""
    name = ask.name.encode("ascii")
    head = _ASK.pack(ask.request, ask.kind, ask.group, ask.start, ask.count, len(name))
    return head + name


def decode_ask(body: memoryview) -> RepairAsk:
    """Return the question. Raises PeerError, struct.error or ValueError."""
    request, kind, group, start, count, length = _ASK.unpack_from(body)
    _expect_end(body, _ASK.size + length)
    if start + count > POSITION_MAX:
        raise PeerError(f"{count} from {start} on are asked for; expected 63-bit numbers")
    return RepairAsk(
        request=request,
        kind=RepairKind(kind),
        group=GroupId(group),
        start=start,
        count=count,
        name=bytes(body[_ASK.size :]).decode("ascii"),
    )


def encode_answer_head(answer: RepairAnswer) -> bytes:
    """Return what comes before the answer's body."""
    return _ANSWER.pack(answer.request, answer.found)


def decode_answer(body: memoryview) -> RepairAnswer:
    """Return the answer. Raises struct.error."""
    request, found = _ANSWER.unpack_from(body)
    return RepairAnswer(request, bool(found), bytes(body[_ANSWER.size :]))


def encode_readmit(readmit: Readmit) -> bytes:
    """Return the body of the frame."""
    parts = [_READMIT.pack(readmit.boot_id, len(readmit.groups))]
    parts.extend(_READMITTED.pack(*fact) for fact in readmit.groups)
    return b"".join(parts)


def decode_readmit(body: memoryview) -> Readmit:
    """Return the message. Raises PeerError or struct.error."""
    boot_id, count = _READMIT.unpack_from(body)
    _expect_end(body, _READMIT.size + count * _READMITTED.size)
    groups = [
        (GroupId(group), Term(term), Index(index))
        for group, term, index in _READMITTED.iter_unpack(body[_READMIT.size :])
    ]
    return Readmit(BootId(boot_id), groups)


def encode_manifest(manifest: Manifest) -> bytes:
    """Return the body of an answer."""
    boundary = encode_boundary(manifest.boundary)
    parts = [_COUNT.pack(len(boundary)), boundary, _COUNT.pack(len(manifest.segments))]
    for segment in manifest.segments:
        base = segment.base
        parts.append(
            _SEGMENT.pack(
                base.index,
                base.term,
                base.next_offset,
                base.log_time_ms,
                segment.last_index,
                segment.size,
                segment.ids_size,
                segment.generation,
                segment.row_count,
            )
        )
    return b"".join(parts)


def decode_manifest(group: GroupId, body: bytes) -> Manifest:
    """Return the manifest in an answer's body.

    Raises:
        PeerError: bytes that are none.
    """
    try:
        (length,) = _COUNT.unpack_from(body)
        at = _COUNT.size + length
        boundary = decode_boundary(group, body[_COUNT.size : at])
        (count,) = _COUNT.unpack_from(body, at)
        at += _COUNT.size
        _expect_end(memoryview(body), at + count * _SEGMENT.size)
        segments = tuple(_segment(fields) for fields in _SEGMENT.iter_unpack(body[at:]))
        _check_position(boundary.position)
    except (struct.error, ValueError) as error:
        raise PeerError(f"the manifest cannot be read: {error}") from error
    return Manifest(boundary=boundary, segments=segments)


def _segment(fields: tuple[int, ...]) -> SegmentEntry:
    index, term, next_offset, log_time_ms, last_index, size, ids_size, generation, rows = fields
    if last_index < index:
        raise ValueError(f"a segment ends at entry {last_index}, before it begins")
    if not rows <= last_index - index or (generation == 0 and rows != last_index - index):
        raise ValueError(f"a segment of {last_index - index} entries has {rows} rows")
    if max(last_index, size, ids_size) > POSITION_MAX:
        raise ValueError(f"a segment of {size} and {ids_size} bytes up to entry {last_index}")
    base = LogPosition(
        index=Index(index),
        term=Term(term),
        next_offset=Offset(next_offset),
        log_time_ms=log_time_ms,
    )
    _check_position(base)
    return SegmentEntry(
        base=base,
        last_index=Index(last_index),
        size=size,
        ids_size=ids_size,
        generation=generation,
        row_count=rows,
    )


def _check_position(position: LogPosition) -> None:
    if max(position.index, position.next_offset) > POSITION_MAX or position.term > TERM_MAX:
        raise ValueError(f"{position}; expected 63-bit numbers and a term up to {TERM_MAX}")


def encode_digest(last_index: Index, digest: bytes) -> bytes:
    """Return the body of an answer."""
    return _DIGEST.pack(last_index, digest)


def decode_digest(body: bytes) -> tuple[Index, bytes]:
    """Return last index and digest. Raises PeerError."""
    try:
        last_index, digest = _DIGEST.unpack(body)
    except struct.error as error:
        raise PeerError(f"the digest cannot be read: {error}") from error
    return Index(last_index), digest


def encode_status(status: MemberStatus) -> bytes:
    """Return the body of an answer."""
    return _STATUS.pack(
        status.term,
        status.last_term,
        status.last_index,
        status.commit_known,
        status.boundary_index,
        status.damage or 0,
    )


def decode_status(body: bytes) -> MemberStatus:
    """Return what a member says of itself. Raises PeerError."""
    try:
        term, last_term, last_index, commit, boundary, damage = _STATUS.unpack(body)
        kind = DamageKind(damage) if damage else None
    except (struct.error, ValueError) as error:
        raise PeerError(f"the status cannot be read: {error}") from error
    return MemberStatus(
        term=Term(term),
        last_term=Term(last_term),
        last_index=Index(last_index),
        commit_known=Index(commit),
        boundary_index=Index(boundary),
        damage=kind,
    )


def _expect_end(body: memoryview, end: int) -> None:
    if end != len(body):
        raise PeerError(f"peer frame body has {len(body)} bytes; its counts need {end}")
