"""What two nodes say to each other, as bytes. All integers are big-endian.

Every frame:

    0   u32  length of what follows this field
    4   u32  CRC-32C of bytes [8, end)
    8   u8   frame type (`FrameType`)
    9   ...  body

A connection opens with one HELLO each way; no other frame is accepted before. Then:

    HELLO            4s "TRIM", u16 protocol version, u8 lane, u32 node id, u64 boot id,
                     16s disk id, u16 length + cluster id in ASCII
    REFUSED          u16 length + reason in UTF-8; the sender closes after it
    MESSAGES         u32 count, then per message: 20s group, u8 kind, fields (see `_WRITERS`)
    HEARTBEAT        u64 number, i64 wall clock in ms, u8 1 if full + 2 if without room + 4 if
                     starved, u32 count of claims (20s group, u64 term, u64 commit), u32 count of
                     groups no longer led (20s)
    HEARTBEAT_ANSWER u64 number, i64 wall clock in ms, u64 bytes that came on the bulk lane,
                     u32 count of exceptions (20s group, u64 term, u8 reason)
    LEADERS          u32 count of (20s group, u64 term, u32 leader)
    PROPOSE          u64 request, 20s group, payload to the end
    PROPOSE_ANSWER   u64 request, i16 error code, u64 index, u64 term
    REPAIR_ASK, REPAIR_ANSWER, READMIT   see repair_frames.py
    HAND_OVER        20s group, u32 node that is to lead it
    BEHIND           u32 count of (20s group, u64 term, u8 count of nodes (u32))

Invariants: a frame that decodes was checked against its CRC; decoding never reads past the frame
and allocates at most a constant multiple of it. Does not: know sockets, or what the fields mean.
"""

import struct
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import TypeAlias

from trimaran.broker.in_sync import Behind
from trimaran.broker.peer_messages import TERM_MAX, read_messages, write_message
from trimaran.broker.repair_frames import (
    Readmit,
    RepairAnswer,
    RepairAsk,
    decode_answer,
    decode_ask,
    decode_readmit,
    encode_answer_head,
    encode_ask,
    encode_readmit,
)
from trimaran.errors import PeerError
from trimaran.ids import BootId, ClusterId, DiskId, GroupId, Index, NodeId, Term
from trimaran.raft.messages import Message
from trimaran.records.checksum import crc32c

PROTOCOL_VERSION = 1
FRAME_BYTES_MAX = 64 << 20
"""Longest frame accepted; an append message is limited to far less by the core."""

_HEAD = struct.Struct(">IIB")
_CRC = struct.Struct(">I")
_HELLO = struct.Struct(">4sHBIQ16sH")
_BEAT = struct.Struct(">QqBI")
_CLAIM = struct.Struct(">20sQQ")
_COUNT = struct.Struct(">I")
_BEAT_ANSWER = struct.Struct(">QqQI")
_EXCEPTION = struct.Struct(">20sQB")
_LEADER = struct.Struct(">20sQI")
_PROPOSE = struct.Struct(">Q20s")
_PROPOSE_ANSWER = struct.Struct(">QhQQ")
_HAND_OVER = struct.Struct(">20sI")
_BEHIND = struct.Struct(">20sQB")
_NODE = struct.Struct(">I")
_MAGIC = b"TRIM"
_FULL, _NO_ROOM, _STARVED = 1, 2, 4
_FLAGS = _FULL + _NO_ROOM + _STARVED


class FrameType(IntEnum):
    """The first byte of a frame's body."""

    HELLO = 1
    REFUSED = 2
    MESSAGES = 3
    HEARTBEAT = 4
    HEARTBEAT_ANSWER = 5
    LEADERS = 6
    PROPOSE = 7
    PROPOSE_ANSWER = 8
    REPAIR_ASK = 9
    REPAIR_ANSWER = 10
    READMIT = 11
    HAND_OVER = 12
    BEHIND = 13


class PeerLane(IntEnum):
    """Which of the two connections of a pair this is."""

    CONTROL = 0
    BULK = 1


class Refusal(IntEnum):
    """Why a receiver does not do what a claimed leader wants."""

    NOT_FOLLOWING = 0
    MISSING = 1
    DAMAGED = 2
    BUSY = 3
    """It follows, and takes no events now: its segment writer or disk does not keep up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hello:
    """Who is calling, from which disk, in which life."""

    lane: PeerLane
    node_id: NodeId
    boot_id: BootId
    disk_id: DiskId
    cluster_id: ClusterId


@dataclass(frozen=True, slots=True)
class Refused:
    """The other side will not talk to us, and why."""

    reason: str


@dataclass(frozen=True, slots=True)
class Messages:
    """Raft messages of many groups."""

    messages: Sequence[tuple[GroupId, Message]]


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """One node's sign of life, with the groups it leads that changed since the last one."""

    number: int
    wall_ms: int
    full: bool
    claims: Sequence[tuple[GroupId, Term, Index]]
    dropped: Sequence[GroupId]
    has_room: bool = True
    """Whether its disk takes events."""
    is_starved: bool = False
    """Whether it gets too little processor time."""


@dataclass(frozen=True, slots=True)
class HeartbeatAnswer:
    """The answer to heartbeat `number`; `exceptions` lists the claimed groups not followed."""

    number: int
    wall_ms: int
    exceptions: Sequence[tuple[GroupId, Term, Refusal]]
    bulk_bytes: int = 0
    """What came so far on the bulk connection of now."""


@dataclass(frozen=True, slots=True)
class Leaders:
    """(group, term, leader) facts; one of a lower term than known is ignored."""

    leaders: Sequence[tuple[GroupId, Term, NodeId]]


@dataclass(frozen=True, slots=True)
class Propose:
    """Put a command into the log of `group`, which you lead."""

    request: int
    group: GroupId
    payload: bytes


@dataclass(frozen=True, slots=True)
class ProposeAnswer:
    """The command of `request` was committed at (index, term), or `error` (a Kafka code)."""

    request: int
    error: int
    index: Index
    term: Term


@dataclass(frozen=True, slots=True)
class HandOver:
    """Hand `group`, which you lead, to `target`: an operator asks for it."""

    group: GroupId
    target: NodeId


@dataclass(frozen=True, slots=True)
class BehindFacts:
    """The followers that are not in sync of groups which the sender leads."""

    facts: Sequence[Behind]


Frame: TypeAlias = (
    Hello
    | Refused
    | Messages
    | Heartbeat
    | HeartbeatAnswer
    | Leaders
    | Propose
    | ProposeAnswer
    | RepairAsk
    | RepairAnswer
    | Readmit
    | HandOver
    | BehindFacts
)


def _finish(kind: FrameType, buffers: list[bytes | memoryview]) -> list[bytes | memoryview]:
    """Put the frame head before `buffers`."""
    crc = crc32c(bytes((kind,)))
    length = 5
    for buffer in buffers:
        crc = crc32c(buffer, crc)
        length += len(buffer)
    assert length <= FRAME_BYTES_MAX
    buffers.insert(0, _HEAD.pack(length, crc, kind))
    return buffers


def write_hello(hello: Hello) -> list[bytes | memoryview]:
    """Return the frame that opens a connection."""
    cluster = hello.cluster_id.encode("ascii")
    head = _HELLO.pack(
        _MAGIC,
        PROTOCOL_VERSION,
        hello.lane,
        hello.node_id,
        hello.boot_id,
        hello.disk_id,
        len(cluster),
    )
    return _finish(FrameType.HELLO, [head, cluster])


def write_refused(reason: str) -> list[bytes | memoryview]:
    """Return the frame that ends a connection with a reason (cut at 1,000 bytes)."""
    text = reason.encode()[:1000]
    return _finish(FrameType.REFUSED, [len(text).to_bytes(2, "big"), text])


def write_messages(messages: Sequence[tuple[GroupId, Message]]) -> list[bytes | memoryview]:
    """Return one frame with all of `messages`, more if it were too long; payloads are not copied.

    A single message fits: it is at most one record batch, or far shorter.
    """
    buffers: list[bytes | memoryview] = [_COUNT.pack(len(messages))]
    for group, message in messages:
        write_message(buffers, group, message)
    if len(messages) > 1 and 5 + sum(map(len, buffers)) > FRAME_BYTES_MAX:
        middle = len(messages) // 2
        return write_messages(messages[:middle]) + write_messages(messages[middle:])
    return _finish(FrameType.MESSAGES, buffers)


def write_heartbeat(beat: Heartbeat) -> list[bytes | memoryview]:
    """Return the heartbeat's frame."""
    flags = _FULL * beat.full + _NO_ROOM * (not beat.has_room) + _STARVED * beat.is_starved
    parts = [_BEAT.pack(beat.number, beat.wall_ms, flags, len(beat.claims))]
    parts.extend(_CLAIM.pack(group, term, commit) for group, term, commit in beat.claims)
    parts.append(_COUNT.pack(len(beat.dropped)))
    parts.extend(beat.dropped)
    return _finish(FrameType.HEARTBEAT, [b"".join(parts)])


def write_heartbeat_answer(answer: HeartbeatAnswer) -> list[bytes | memoryview]:
    """Return the answer's frame."""
    head = (answer.number, answer.wall_ms, answer.bulk_bytes, len(answer.exceptions))
    parts = [_BEAT_ANSWER.pack(*head)]
    parts.extend(_EXCEPTION.pack(*exception) for exception in answer.exceptions)
    return _finish(FrameType.HEARTBEAT_ANSWER, [b"".join(parts)])


def write_leaders(leaders: Sequence[tuple[GroupId, Term, NodeId]]) -> list[bytes | memoryview]:
    """Return one frame with all of the announcements."""
    parts = [_COUNT.pack(len(leaders))]
    parts.extend(_LEADER.pack(*fact) for fact in leaders)
    return _finish(FrameType.LEADERS, [b"".join(parts)])


def write_hand_over(frame: HandOver) -> list[bytes | memoryview]:
    """Return the frame that asks a leader to hand over."""
    return _finish(FrameType.HAND_OVER, [_HAND_OVER.pack(frame.group, frame.target)])


def write_behind(facts: Sequence[Behind]) -> list[bytes | memoryview]:
    """Return one frame that says which followers are not in sync."""
    parts = [_COUNT.pack(len(facts))]
    for group, term, nodes in facts:
        parts.append(_BEHIND.pack(group, term, len(nodes)))
        parts.extend(map(_NODE.pack, nodes))
    return _finish(FrameType.BEHIND, [b"".join(parts)])


def write_propose(propose: Propose) -> list[bytes | memoryview]:
    """Return the frame of a forwarded command."""
    head = _PROPOSE.pack(propose.request, propose.group)
    return _finish(FrameType.PROPOSE, [head, propose.payload])


def write_propose_answer(answer: ProposeAnswer) -> list[bytes | memoryview]:
    """Return the frame that answers a forwarded command."""
    body = _PROPOSE_ANSWER.pack(answer.request, answer.error, answer.index, answer.term)
    return _finish(FrameType.PROPOSE_ANSWER, [body])


def write_repair_ask(ask: RepairAsk) -> list[bytes | memoryview]:
    """Return the frame of a question about a stored log."""
    return _finish(FrameType.REPAIR_ASK, [encode_ask(ask)])


def write_repair_answer(answer: RepairAnswer) -> list[bytes | memoryview]:
    """Return the frame that answers it; the body is not copied."""
    return _finish(FrameType.REPAIR_ANSWER, [encode_answer_head(answer), answer.body])


def write_readmit(readmit: Readmit) -> list[bytes | memoryview]:
    """Return the frame that tells a damaged node up to where it must hold its groups' logs."""
    return _finish(FrameType.READMIT, [encode_readmit(readmit)])


def read_frame(frame: memoryview) -> Frame:
    """Return the frame whose bytes after the length field are `frame`.

    Raises:
        PeerError: wrong checksum, type, version, magic, count or length.
    """
    if len(frame) < 5:
        raise PeerError(f"peer frame of {len(frame)} bytes; expected at least 5")
    (crc,) = _CRC.unpack_from(frame)
    found = crc32c(frame[4:])
    if crc != found:
        raise PeerError(f"peer frame checksum: expected {crc:#010x}, found {found:#010x}")
    reader = _READERS.get(frame[4])
    if reader is None:
        raise PeerError(f"peer frame type {frame[4]}; expected 1 to {len(_READERS)}")
    try:
        return reader(frame[5:])
    except (struct.error, ValueError, IndexError) as error:
        raise PeerError(f"peer frame of type {frame[4]} cannot be read: {error}") from error


def _read_hello(body: memoryview) -> Hello:
    magic, version, lane, node, boot, disk, length = _HELLO.unpack_from(body)
    if magic != _MAGIC:
        raise PeerError(f"hello starts with {magic!r}; expected {_MAGIC!r}")
    if version != PROTOCOL_VERSION:
        raise PeerError(f"peer speaks protocol version {version}; expected {PROTOCOL_VERSION}")
    cluster = bytes(body[_HELLO.size : _HELLO.size + length])
    _expect_end(body, _HELLO.size + length)
    return Hello(
        lane=PeerLane(lane),
        node_id=NodeId(node),
        boot_id=BootId(boot),
        disk_id=DiskId(disk),
        cluster_id=ClusterId(cluster.decode("ascii")),
    )


def _read_refused(body: memoryview) -> Refused:
    length = int.from_bytes(body[:2], "big")
    _expect_end(body, 2 + length)
    return Refused(bytes(body[2:]).decode(errors="replace"))


def _read_messages(body: memoryview) -> Messages:
    return Messages(read_messages(body))


def _read_heartbeat(body: memoryview) -> Heartbeat:
    number, wall_ms, flags, count = _BEAT.unpack_from(body)
    if flags > _FLAGS:
        raise PeerError(f"heartbeat flags {flags:#x}; expected at most {_FLAGS:#x}")
    claims_end = _BEAT.size + count * _CLAIM.size
    claims = [
        (GroupId(group), Term(term), Index(commit))
        for group, term, commit in _CLAIM.iter_unpack(_part(body, _BEAT.size, claims_end))
    ]
    _expect_terms(term for _, term, _ in claims)
    (dropped_count,) = _COUNT.unpack_from(body, claims_end)
    start = claims_end + _COUNT.size
    _expect_end(body, start + dropped_count * 20)
    dropped = [GroupId(bytes(body[at : at + 20])) for at in range(start, len(body), 20)]
    full, has_room, is_starved = (bool(flags & one) for one in (_FULL, _NO_ROOM, _STARVED))
    return Heartbeat(number, wall_ms, full, claims, dropped, not has_room, is_starved)


def _read_heartbeat_answer(body: memoryview) -> HeartbeatAnswer:
    number, wall_ms, bulk_bytes, count = _BEAT_ANSWER.unpack_from(body)
    _expect_end(body, _BEAT_ANSWER.size + count * _EXCEPTION.size)
    exceptions = [
        (GroupId(group), Term(term), Refusal(reason))
        for group, term, reason in _EXCEPTION.iter_unpack(body[_BEAT_ANSWER.size :])
    ]
    _expect_terms(term for _, term, _ in exceptions)
    return HeartbeatAnswer(number, wall_ms, exceptions, bulk_bytes)


def _read_leaders(body: memoryview) -> Leaders:
    (count,) = _COUNT.unpack_from(body)
    _expect_end(body, _COUNT.size + count * _LEADER.size)
    return Leaders(
        [
            (GroupId(group), Term(term), NodeId(leader))
            for group, term, leader in _LEADER.iter_unpack(body[_COUNT.size :])
        ]
    )


def _read_propose(body: memoryview) -> Propose:
    request, group = _PROPOSE.unpack_from(body)
    return Propose(request, GroupId(group), bytes(body[_PROPOSE.size :]))


def _read_propose_answer(body: memoryview) -> ProposeAnswer:
    request, error, index, term = _PROPOSE_ANSWER.unpack_from(body)
    _expect_end(body, _PROPOSE_ANSWER.size)
    return ProposeAnswer(request, error, Index(index), Term(term))


def _read_hand_over(body: memoryview) -> HandOver:
    _expect_end(body, _HAND_OVER.size)
    group, target = _HAND_OVER.unpack(body)
    return HandOver(GroupId(group), NodeId(target))


def _read_behind(body: memoryview) -> BehindFacts:
    (count,) = _COUNT.unpack_from(body)
    position = _COUNT.size
    facts: list[Behind] = []
    for _ in range(count):
        group, term, nodes_count = _BEHIND.unpack_from(body, position)
        position += _BEHIND.size
        end = position + nodes_count * _NODE.size
        nodes = tuple(NodeId(node) for (node,) in _NODE.iter_unpack(_part(body, position, end)))
        facts.append((GroupId(group), Term(term), nodes))
        position = end
    _expect_end(body, position)
    return BehindFacts(facts)


def _expect_terms(terms: Iterable[Term]) -> None:
    """Refuse what no group's journal could store."""
    highest = max(terms, default=0)
    if highest > TERM_MAX:
        raise PeerError(f"term {highest}; expected at most {TERM_MAX}")


def _part(body: memoryview, start: int, end: int) -> memoryview:
    """Return body[start:end], refusing an end past the frame."""
    if end > len(body):
        raise PeerError(f"peer frame ends at byte {len(body)}; its counts need {end}")
    return body[start:end]


def _expect_end(body: memoryview, end: int) -> None:
    """Refuse a body that is longer or shorter than its counts say."""
    if end != len(body):
        raise PeerError(f"peer frame body has {len(body)} bytes; its counts need {end}")


_READERS: dict[int, Callable[[memoryview], Frame]] = {
    FrameType.HELLO: _read_hello,
    FrameType.REFUSED: _read_refused,
    FrameType.MESSAGES: _read_messages,
    FrameType.HEARTBEAT: _read_heartbeat,
    FrameType.HEARTBEAT_ANSWER: _read_heartbeat_answer,
    FrameType.LEADERS: _read_leaders,
    FrameType.PROPOSE: _read_propose,
    FrameType.PROPOSE_ANSWER: _read_propose_answer,
    FrameType.REPAIR_ASK: decode_ask,
    FrameType.REPAIR_ANSWER: decode_answer,
    FrameType.READMIT: decode_readmit,
    FrameType.HAND_OVER: _read_hand_over,
    FrameType.BEHIND: _read_behind,
}


class FrameBuffer:
    """Cuts a byte stream into frames, copying only frames that span two reads."""

    __slots__ = ("_buffer", "_frame_bytes_max")

    def __init__(self, frame_bytes_max: int = FRAME_BYTES_MAX) -> None:
        self._buffer = bytearray()
        self._frame_bytes_max = frame_bytes_max

    def feed(self, chunk: bytes) -> list[memoryview]:
        """Return the bodies (without length field) of all frames that `chunk` completes.

        Raises:
            PeerError: a length field that no frame can have; checked before anything is kept.
        """
        frames: list[memoryview] = []
        view = memoryview(chunk)
        if self._buffer:
            view = self._complete_spanning(view, frames)
        position = 0
        while len(view) - position >= 4:
            length = self._length(view, position)
            if len(view) - position - 4 < length:
                break
            frames.append(view[position + 4 : position + 4 + length])
            position += 4 + length
        if position < len(view):
            self._buffer += view[position:]
        return frames

    def _complete_spanning(self, view: memoryview, frames: list[memoryview]) -> memoryview:
        """Move bytes of `view` into the frame begun earlier; return what is left of `view`."""
        buffer = self._buffer
        if len(buffer) < 4:
            missing = 4 - len(buffer)
            buffer += view[:missing]
            view = view[missing:]
            if len(buffer) < 4:
                return view
        length = self._length(buffer, 0)
        missing = length + 4 - len(buffer)
        buffer += view[:missing]
        if missing > len(view):
            return view[len(view) :]
        frames.append(memoryview(buffer).toreadonly()[4:])
        self._buffer = bytearray()
        return view[missing:]

    def _length(self, buffer: bytearray | memoryview, position: int) -> int:
        length: int = _CRC.unpack_from(buffer, position)[0]
        if not 5 <= length <= self._frame_bytes_max:
            raise PeerError(f"peer frame length {length}; expected 5 to {self._frame_bytes_max}")
        return length
