"""Everything of ours that reads bytes from outside: from disks, peers and clients (see `fuzz`).

Samples are what the code writes itself; `repair` makes lengths and checksums right again after
damage, as a program with a bug, or somebody who means ill, would.

Does not: judge what is read; only how the reader ends.
"""

import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from trimaran.broker.peer_frames import (
    FrameBuffer,
    FrameType,
    Heartbeat,
    HeartbeatAnswer,
    Hello,
    PeerLane,
    Propose,
    ProposeAnswer,
    Refusal,
    read_frame,
    write_behind,
    write_heartbeat,
    write_heartbeat_answer,
    write_hello,
    write_leaders,
    write_messages,
    write_propose,
    write_propose_answer,
    write_readmit,
    write_refused,
    write_repair_answer,
    write_repair_ask,
)
from trimaran.broker.repair_frames import (
    Manifest,
    MemberStatus,
    Readmit,
    RepairAnswer,
    RepairAsk,
    RepairKind,
    SegmentEntry,
    decode_digest,
    decode_manifest,
    decode_status,
    encode_digest,
    encode_manifest,
    encode_status,
)
from trimaran.errors import CorruptionError, PeerError, ProtocolError, RequestError, StorageError
from trimaran.ids import BootId, ClusterId, DiskId, Index, NodeId, Offset, Term, TopicId, group_id
from trimaran.protocol import messages
from trimaran.protocol.api import APIS
from trimaran.protocol.client_codec import encode_request
from trimaran.protocol.codec import RequestHeader, decode_request
from trimaran.protocol.connection import FRAME_START_BYTES, KafkaConnection
from trimaran.raft.messages import (
    AppendAnswer,
    AppendEntries,
    InstallAnswer,
    InstallBoundary,
    Message,
    PreVote,
    PreVoteAnswer,
    RequestVote,
    TimeoutNow,
    VoteAnswer,
)
from trimaran.records.batch import HEADER_BYTES, Codec, renew_crc, validate
from trimaran.records.building import build_batch
from trimaran.records.checksum import crc32c
from trimaran.records.entry import Entry, EntryKind, LogPosition
from trimaran.records.iteration import Record, iterate_records
from trimaran.sim.fuzz import Target
from trimaran.sim.fuzz_states import State, all_states
from trimaran.sim.fuzz_store import repair_store_file, store_reader, store_samples
from trimaran.storage.boundary import Boundary, decode_boundary, encode_boundary
from trimaran.storage.damage import DamageKind

GROUP = group_id(TopicId(b"topic-0-topic-00"), 0)
POSITION = LogPosition(index=Index(3), term=Term(2), next_offset=Offset(7), log_time_ms=1_700)
FRAME_BYTES_MAX = 1 << 20
"""Longest peer frame and request here: what is announced may be set aside once."""
INFLATED_BYTES_MAX = 1 << 20


def all_targets() -> list[Target]:
    """Return every target."""
    return [peer_frames(), peer_bodies(), requests(), batches(), states(), journal(), segments()]


# Peers


def peer_frames() -> Target:
    """Return the target of what nodes send each other, cut into frames and decoded."""
    return Target(
        name="peer frames",
        samples=_peer_samples(),
        read=_read_frames,
        errors=(PeerError,),
        repair=_repair_frame,
        bytes_base=64 << 10,
        bytes_per_byte=100,
    )


def _peer_samples() -> dict[str, bytes]:
    hello = Hello(
        lane=PeerLane.BULK,
        node_id=NodeId(2),
        boot_id=BootId(99),
        disk_id=DiskId(b"disk" * 4),
        cluster_id=ClusterId("c" * 22),
    )
    term, index = Term(3), Index(9)
    entries = [sample_entry(10, b"x" * 70), sample_entry(11, b"", event_ids=b"i" * 16)]
    raft: list[Message] = [
        AppendEntries(term, index, Term(2), Index(1), entries, Index(4)),
        AppendAnswer(term, False, index, Index(8), Term(2), counts=False),
        PreVote(term=term, last_index=index, last_term=term),
        PreVoteAnswer(term=term, granted=True),
        RequestVote(term=term, last_index=index, last_term=term, transfer=True),
        VoteAnswer(term=term, granted=False),
        InstallBoundary(term=term, boundary=POSITION),
        InstallAnswer(term=term, success=True, index=index),
        TimeoutNow(term=term),
    ]
    beat = Heartbeat(7, 1_700, True, [(GROUP, term, index)] * 2, [GROUP])
    ask = RepairAsk(request=1, kind=RepairKind.STATUS, group=GROUP, start=2, count=3, name="a")
    frames: dict[str, list[bytes | memoryview]] = {
        "hello": write_hello(hello),
        "refused": write_refused("another cluster"),
        "all messages": write_messages([(GROUP, message) for message in raft]),
        "heartbeat": write_heartbeat(beat),
        "heartbeat answer": write_heartbeat_answer(
            HeartbeatAnswer(7, 1_700, [(GROUP, term, Refusal.DAMAGED)])
        ),
        "behind": write_behind([(GROUP, term, (NodeId(2), NodeId(3)))] * 3),
        "leaders": write_leaders([(GROUP, term, NodeId(1))] * 3),
        "propose": write_propose(Propose(1, GROUP, b"command")),
        "propose answer": write_propose_answer(ProposeAnswer(1, -1, index, term)),
        "repair ask": write_repair_ask(ask),
        "repair answer": write_repair_answer(RepairAnswer(1, True, b"body" * 9)),
        "readmit": write_readmit(Readmit(BootId(9), [(GROUP, term, index)])),
    }
    frames |= {
        f"message {type(message).__name__}": write_messages([(GROUP, message)]) for message in raft
    }
    assert len(frames) >= len(FrameType)
    return {name: b"".join(buffers) for name, buffers in frames.items()}


def sample_entry(index: int, payload: bytes, *, event_ids: bytes = b"") -> Entry:
    """Return an entry of term 2."""
    return Entry(
        Index(index),
        Term(2),
        EntryKind.RECORDS,
        Offset(index),
        1,
        1_700,
        payload,
        event_ids,
    )


def _read_frames(_: str, data: bytes) -> None:
    """Take the bytes in two pieces, as a connection may."""
    buffer = FrameBuffer(FRAME_BYTES_MAX)
    middle = len(data) // 2
    for part in (data[:middle], data[middle:]):
        for frame in buffer.feed(part):
            read_frame(frame)


def _repair_frame(_: str, data: bytearray) -> None:
    if len(data) > 8:
        struct.pack_into(">II", data, 0, len(data) - 4, crc32c(bytes(data[8:])))


def peer_bodies() -> Target:
    """Return the target of what repair answers carry."""
    boundary = sample_boundary()
    segment = SegmentEntry(
        base=POSITION,
        last_index=Index(9),
        size=100,
        ids_size=16,
        row_count=9 - POSITION.index,
    )
    status = MemberStatus(
        term=Term(3),
        last_term=Term(2),
        last_index=Index(9),
        commit_known=Index(8),
        boundary_index=Index(3),
        damage=DamageKind.CORRUPT,
    )
    samples = {
        "manifest": encode_manifest(Manifest(boundary=boundary, segments=(segment, segment))),
        "digest": encode_digest(Index(9), b"d" * 16),
        "status": encode_status(status),
    }
    readers: dict[str, Callable[[bytes], object]] = {
        "manifest": lambda data: decode_manifest(GROUP, data),
        "digest": decode_digest,
        "status": decode_status,
    }
    return _plain("peer bodies", samples, readers, (PeerError,))


def sample_boundary() -> Boundary:
    """Return a boundary with voters and state files."""
    return Boundary(
        group=GROUP,
        position=POSITION,
        voters=(NodeId(1), NodeId(2), NodeId(3)),
        log_start_index=Index(2),
        log_start_offset=Offset(5),
        state_files=(("producers-3", 100, 7), ("settings-3", 10, 8)),
    )


# State


def states() -> Target:
    """Return the target of boundaries, state files and control entries, without their frames."""
    boundary = State(sample=encode_boundary(sample_boundary()), read=_read_boundary)
    every = {"boundary": boundary, **all_states()}
    samples = {name: state.sample for name, state in every.items()}
    readers = {name: state.read for name, state in every.items()}
    return _plain("states", samples, readers, (CorruptionError, ProtocolError))


def _read_boundary(data: bytes) -> Boundary:
    """Decode it; that it is none has no class of its own, for journal and peers name the place."""
    try:
        return decode_boundary(GROUP, data)
    except ValueError as error:
        raise CorruptionError("boundary", 0, str(error)) from error


def _plain(
    name: str,
    samples: Mapping[str, bytes],
    readers: Mapping[str, Callable[[bytes], object]],
    errors: tuple[type[Exception], ...],
) -> Target:
    """Return a target of readers of bare bytes."""
    return Target(
        name=name,
        samples=samples,
        read=lambda sample, data: readers[sample](data),
        errors=errors,
        repair=_nothing,
        bytes_base=64 << 10,
        bytes_per_byte=200,
    )


def _nothing(_: str, __: bytearray) -> None:
    """There is no checksum."""


# Clients


def requests() -> Target:
    """Return the target of what clients send: frames of all APIs and versions, decoded."""
    samples = {}
    for api in APIS.values():
        message = made_up(getattr(messages, f"{api.name}Request"))
        for version in range(api.lowest, api.max_version + 1):
            header = RequestHeader(api.key, version, 77, "client")
            samples[f"{api.name} {version}"] = encode_request(header, message)
    scratch = bytearray(64 << 10)

    def read(_: str, data: bytes) -> None:
        connection = KafkaConnection(frame_bytes_max=FRAME_BYTES_MAX, scratch=scratch)
        for frame in connection.receive(data):
            decode_request(frame)
        if connection.error is not None:
            raise connection.error

    return Target(
        name="requests",
        samples=samples,
        read=read,
        errors=(ProtocolError,),
        repair=_repair_request,
        bytes_base=min(FRAME_START_BYTES, FRAME_BYTES_MAX) + (64 << 10),
        bytes_per_byte=300,
    )


def made_up(hint: Any) -> Any:  # noqa: ANN401
    """Return a value of a type as the message classes name it: no list empty, nothing null."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (UnionType, Union):
        return made_up(next(one for one in arguments if one is not NoneType))
    if origin is not None and issubclass(origin, Sequence):
        return [made_up(arguments[0]), made_up(arguments[0])]
    if is_dataclass(hint) and isinstance(hint, type):
        hints = get_type_hints(hint)
        return hint(**{field.name: made_up(hints[field.name]) for field in fields(hint)})
    found = {str: "topic", bool: True, bytes: b"some bytes", memoryview: memoryview(_BATCH)}
    if hint in found:
        return found[hint]
    name = getattr(hint, "__name__", "")
    return bytes(16) if name == "TopicId" else 1


def _repair_request(_: str, data: bytearray) -> None:
    if len(data) > 4:
        struct.pack_into(">i", data, 0, len(data) - 4)


def batches() -> Target:
    """Return the target of record batches: checked as Produce does, then read through."""
    records = [
        Record(timestamp_ms=1_700 + at, key=b"key", value=b"value" * 20, headers=((b"h", b"v"),))
        for at in range(5)
    ]
    samples = {codec.name: bytes(build_batch(records, codec=codec)) for codec in Codec}
    samples["producer"] = bytes(
        build_batch(records, producer_id=5, producer_epoch=0, base_sequence=3)
    )
    return Target(
        name="batches",
        samples=samples,
        read=_read_batch,
        errors=(RequestError,),
        repair=_repair_batch,
        bytes_base=8 * INFLATED_BYTES_MAX,
        bytes_per_byte=100,
    )


def _read_batch(_: str, data: bytes) -> None:
    validate(data, max_bytes=1 << 20)
    for _record in iterate_records(data, inflated_bytes_max=INFLATED_BYTES_MAX):
        pass


def _repair_batch(_: str, data: bytearray) -> None:
    if len(data) >= HEADER_BYTES:
        struct.pack_into(">i", data, 8, len(data) - 12)
        renew_crc(data)


_BATCH = bytes(build_batch([Record(key=None, value=b"value", headers=())]))

# Disks


def journal() -> Target:
    """Return the target of identity, list of groups and journal, as a start reads them."""
    return _store_target("journal", ("identity", "groups.list", "journal/"))


def segments() -> Target:
    """Return the target of segments, their rows and ids, and state files."""
    return _store_target("segments", ("groups/",))


def _store_target(name: str, prefixes: tuple[str, ...]) -> Target:
    every = store_samples()
    return Target(
        name=name,
        samples={path: data for path, data in every.items() if path.startswith(prefixes)},
        read=store_reader(every),
        errors=(StorageError,),
        repair=repair_store_file,
        bytes_base=8 << 20,
        bytes_per_byte=100,
        measured_every=50,
    )
