"""What one node writes the other reads, and nothing else passes."""

import contextlib
from typing import get_args

import pytest
from crc32c import crc32c
from hypothesis import given
from hypothesis import strategies as st

from trimaran.broker.peer_frames import (
    FRAME_BYTES_MAX,
    BehindFacts,
    Frame,
    FrameBuffer,
    Heartbeat,
    HeartbeatAnswer,
    Hello,
    Leaders,
    Messages,
    PeerLane,
    Propose,
    ProposeAnswer,
    Refusal,
    Refused,
    read_frame,
    write_behind,
    write_heartbeat,
    write_heartbeat_answer,
    write_hello,
    write_leaders,
    write_messages,
    write_propose,
    write_propose_answer,
    write_refused,
)
from trimaran.errors import PeerError
from trimaran.ids import BootId, ClusterId, DiskId, GroupId, Index, NodeId, Offset, Term
from trimaran.raft.messages import (
    AppendAnswer,
    AppendEntries,
    InstallAnswer,
    InstallBoundary,
    PreVote,
    PreVoteAnswer,
    RequestVote,
    TimeoutNow,
    VoteAnswer,
)
from trimaran.records.entry import Entry, EntryKind, LogPosition

U64 = st.integers(0, 2**63)
GROUPS = st.binary(min_size=20, max_size=20).map(GroupId)
NODES = st.integers(1, 2**31 - 1).map(NodeId)
TERMS = U64.map(Term)
INDEXES = U64.map(Index)

ENTRY_FIELDS = st.tuples(
    TERMS,
    st.sampled_from(EntryKind),
    U64.map(Offset),
    st.integers(0, 2**32 - 1),
    st.integers(0, 2**60),
    st.binary(max_size=200),
    st.integers(0, 3).map(lambda count: bytes(16 * count)),
)


@st.composite
def appends(draw: st.DrawFn) -> AppendEntries:
    prev = draw(st.integers(0, 2**60))
    fields = draw(st.lists(ENTRY_FIELDS, max_size=4))
    entries = [Entry(Index(prev + 1 + number), *field) for number, field in enumerate(fields)]
    return AppendEntries(
        draw(TERMS), Index(prev), draw(TERMS), draw(INDEXES), entries, draw(INDEXES)
    )


MESSAGES = st.one_of(
    appends(),
    st.builds(AppendAnswer, TERMS, st.booleans(), INDEXES, INDEXES, TERMS, st.booleans()),
    st.builds(PreVote, term=TERMS, last_index=INDEXES, last_term=TERMS),
    st.builds(PreVoteAnswer, term=TERMS, granted=st.booleans()),
    st.builds(RequestVote, term=TERMS, last_index=INDEXES, last_term=TERMS, transfer=st.booleans()),
    st.builds(VoteAnswer, term=TERMS, granted=st.booleans()),
    st.builds(
        InstallBoundary,
        term=TERMS,
        boundary=st.builds(
            LogPosition,
            index=INDEXES,
            term=TERMS,
            next_offset=U64.map(Offset),
            log_time_ms=st.integers(0, 2**60),
        ),
    ),
    st.builds(InstallAnswer, term=TERMS, success=st.booleans(), index=INDEXES),
    st.builds(TimeoutNow, term=TERMS),
)

FRAMES = get_args(Frame)

HELLO = Hello(
    lane=PeerLane.BULK,
    node_id=NodeId(3),
    boot_id=BootId(2**63),
    disk_id=DiskId(bytes(range(16))),
    cluster_id=ClusterId("abcdefghijklmnopqrstuv"),
)
GROUP = GroupId(bytes(range(20)))

BEHIND = [(GROUP, Term(3), (NodeId(2), NodeId(4))), (GroupId(bytes(20)), Term(1), ())]

SAMPLES: list[tuple[Frame, list[bytes | memoryview]]] = [
    (HELLO, write_hello(HELLO)),
    (Refused("another cluster"), write_refused("another cluster")),
    (
        Heartbeat(7, -5, True, [(GROUP, Term(1), Index(2))], [GROUP]),
        write_heartbeat(Heartbeat(7, -5, True, [(GROUP, Term(1), Index(2))], [GROUP])),
    ),
    (
        HeartbeatAnswer(7, 8, [(GROUP, Term(3), Refusal.DAMAGED)]),
        write_heartbeat_answer(HeartbeatAnswer(7, 8, [(GROUP, Term(3), Refusal.DAMAGED)])),
    ),
    (BehindFacts(BEHIND), write_behind(BEHIND)),
    (Leaders([(GROUP, Term(3), NodeId(2))]), write_leaders([(GROUP, Term(3), NodeId(2))])),
    (Propose(9, GROUP, b"command"), write_propose(Propose(9, GROUP, b"command"))),
    (
        ProposeAnswer(9, -1, Index(4), Term(5)),
        write_propose_answer(ProposeAnswer(9, -1, Index(4), Term(5))),
    ),
]


def joined(buffers: list[bytes | memoryview]) -> bytes:
    return b"".join(buffers)


def body_of(buffers: list[bytes | memoryview]) -> memoryview:
    data = joined(buffers)
    assert int.from_bytes(data[:4], "big") == len(data) - 4
    return memoryview(data)[4:]


@pytest.mark.parametrize(("frame", "written"), SAMPLES, ids=lambda value: type(value).__name__)
def test_a_frame_reads_back_as_it_was_written(
    frame: Frame, written: list[bytes | memoryview]
) -> None:
    assert read_frame(body_of(written)) == frame


@given(st.lists(st.tuples(GROUPS, MESSAGES), max_size=5))
def test_raft_messages_read_back_as_they_were_written(
    messages: list[tuple[GroupId, AppendEntries]],
) -> None:
    frame = read_frame(body_of(write_messages(messages)))

    assert isinstance(frame, Messages)
    assert frame.messages == messages


@pytest.mark.parametrize(("frame", "written"), SAMPLES, ids=lambda value: type(value).__name__)
def test_a_frame_with_any_one_byte_changed_is_refused(
    frame: Frame, written: list[bytes | memoryview]
) -> None:
    body = bytes(body_of(written))

    for position in range(len(body)):
        damaged = bytearray(body)
        damaged[position] ^= 0x40
        with pytest.raises(PeerError):
            read_frame(memoryview(bytes(damaged)))


@given(st.binary(max_size=300))
def test_any_bytes_are_a_frame_or_a_typed_error(data: bytes) -> None:
    body = crc32c(data).to_bytes(4, "big") + data
    frame: object = None

    with contextlib.suppress(PeerError):
        frame = read_frame(memoryview(body))

    assert frame is None or isinstance(frame, FRAMES)


@given(
    st.lists(st.sampled_from([joined(written) for _, written in SAMPLES]), max_size=6),
    st.lists(st.integers(1, 40), min_size=1, max_size=50),
)
def test_frames_are_found_wherever_the_stream_is_cut(frames: list[bytes], cuts: list[int]) -> None:
    stream = b"".join(frames)
    buffer = FrameBuffer()
    found: list[bytes] = []
    position = 0
    number = 0

    while position < len(stream):
        size = cuts[number % len(cuts)]
        found += [bytes(frame) for frame in buffer.feed(stream[position : position + size])]
        position += size
        number += 1

    assert found == [frame[4:] for frame in frames]


@pytest.mark.parametrize("length", [0, 4, FRAME_BYTES_MAX + 1, 2**32 - 1])
def test_a_length_that_no_frame_has_is_refused_before_anything_is_kept(length: int) -> None:
    with pytest.raises(PeerError, match="frame length"):
        FrameBuffer().feed(length.to_bytes(4, "big"))


def test_messages_that_are_too_much_for_one_frame_go_in_several(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("trimaran.broker.peer_frames.FRAME_BYTES_MAX", 500)
    entry = Entry(Index(1), Term(1), EntryKind.RECORDS, Offset(0), 1, 0, bytes(100), b"")
    messages = [(GROUP, AppendEntries(Term(1), Index(0), Term(0), Index(0), [entry]))] * 7

    bodies = FrameBuffer().feed(joined(write_messages(messages)))

    frames = [read_frame(body) for body in bodies]
    assert len(frames) > 1
    assert all(len(body) <= 500 for body in bodies)
    assert [message for frame in frames for message in frame.messages] == messages
