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
from trimaran.broker.peer_messages import TERM_MAX
from trimaran.errors import PeerError
from trimaran.ids import BootId, ClusterId, DiskId, GroupId, Index, NodeId, Offset, Term
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
from trimaran.records.entry import Entry, EntryKind, LogPosition

U64 = st.integers(0, 2**63 - 1)
GROUPS = st.binary(min_size=20, max_size=20).map(GroupId)
NODES = st.integers(1, 2**31 - 1).map(NodeId)
TERMS = st.integers(0, TERM_MAX).map(Term)
INDEXES = U64.map(Index)

ENTRY_FIELDS = st.tuples(
    st.integers(0, TERM_MAX // 8),
    st.sampled_from(EntryKind),
    st.integers(0, 2**60),
    st.integers(0, 2**32 - 1),
    st.integers(0, 2**60),
    st.binary(max_size=200),
    st.integers(0, 3).map(lambda count: bytes(16 * count)),
)


@st.composite
def appends(draw: st.DrawFn) -> AppendEntries:
    prev = draw(st.integers(0, 2**60))
    prev_term = term = draw(st.integers(0, TERM_MAX // 8))
    offset = 0
    entries = []
    for number, field in enumerate(draw(st.lists(ENTRY_FIELDS, max_size=4))):
        more_terms, kind, gap, count, *rest = field
        term, offset = term + more_terms, offset + gap
        entry = Entry(Index(prev + 1 + number), Term(term), kind, Offset(offset), count, *rest)
        entries.append(entry)
        offset += count
    leaders = Term(draw(st.integers(term, TERM_MAX)))
    return AppendEntries(
        leaders, Index(prev), Term(prev_term), draw(INDEXES), entries, draw(INDEXES)
    )


@st.composite
def installs(draw: st.DrawFn) -> InstallBoundary:
    term = draw(TERMS)
    boundary = LogPosition(
        index=draw(INDEXES),
        term=Term(draw(st.integers(0, term))),
        next_offset=Offset(draw(U64)),
        log_time_ms=draw(st.integers(0, 2**60)),
    )
    return InstallBoundary(term=term, boundary=boundary)


MESSAGES = st.one_of(
    appends(),
    st.builds(AppendAnswer, TERMS, st.booleans(), INDEXES, INDEXES, TERMS, st.booleans()),
    st.builds(PreVote, term=TERMS, last_index=INDEXES, last_term=TERMS),
    st.builds(PreVoteAnswer, term=TERMS, granted=st.booleans()),
    st.builds(RequestVote, term=TERMS, last_index=INDEXES, last_term=TERMS, transfer=st.booleans()),
    st.builds(VoteAnswer, term=TERMS, granted=st.booleans()),
    installs(),
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


def entry_at(index: int, term: int, offset: int) -> Entry:
    return Entry(Index(index), Term(term), EntryKind.RECORDS, Offset(offset), 1, 0, b"x", b"")


def append_of(*entries: Entry, term: int = 5, prev_index: int = 7) -> AppendEntries:
    return AppendEntries(Term(term), Index(prev_index), Term(3), Index(0), list(entries))


def install_at(index: int, term: int, next_offset: int) -> InstallBoundary:
    boundary = LogPosition(
        index=Index(index), term=Term(term), next_offset=Offset(next_offset), log_time_ms=0
    )
    return InstallBoundary(term=Term(5), boundary=boundary)


@pytest.mark.parametrize(
    "message",
    [
        append_of(entry_at(9, 3, 0)),
        append_of(entry_at(8, 2, 0)),
        append_of(entry_at(8, 4, 0), entry_at(9, 3, 1)),
        append_of(entry_at(8, 3, 6), entry_at(9, 3, 6)),
        append_of(entry_at(8, 6, 0)),
        append_of(entry_at(8, 3, 2**63 - 1)),
        append_of(entry_at(2**63, 3, 0), prev_index=2**63 - 1),
        append_of(term=2),
        append_of(term=TERM_MAX + 1),
        TimeoutNow(term=Term(2**32)),
        install_at(2**63, 3, 0),
        install_at(8, 3, 2**63),
        install_at(8, 6, 0),
    ],
    ids=repr,
)
def test_what_could_not_be_stored_or_follow_is_refused(message: Message) -> None:
    (body,) = FrameBuffer().feed(joined(write_messages([(GROUP, message)])))
    with pytest.raises(PeerError, match="expected"):
        read_frame(body)


def test_a_heartbeat_names_no_term_that_cannot_be_stored() -> None:
    beyond = Term(TERM_MAX + 1)
    claim = write_heartbeat(Heartbeat(1, 2, True, [(GROUP, beyond, Index(1))], []))
    refusal = write_heartbeat_answer(
        HeartbeatAnswer(1, 2, [(GROUP, beyond, Refusal.NOT_FOLLOWING)])
    )
    for frame in (claim, refusal):
        (body,) = FrameBuffer().feed(joined(frame))
        with pytest.raises(PeerError, match=f"expected at most {TERM_MAX}"):
            read_frame(body)


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
