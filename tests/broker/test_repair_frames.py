"""Frames about damage: what is written is read, and what cannot be carried out is refused."""

from dataclasses import replace

import pytest

from trimaran.broker.peer_frames import (
    FrameBuffer,
    HandOver,
    read_frame,
    write_hand_over,
    write_readmit,
    write_repair_answer,
    write_repair_ask,
)
from trimaran.broker.peer_messages import POSITION_MAX, TERM_MAX
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
from trimaran.errors import PeerError
from trimaran.ids import BootId, GroupId, Index, NodeId, Term
from trimaran.records.entry import LogPosition
from trimaran.storage.boundary import Boundary
from trimaran.storage.damage import DamageKind
from trimaran.storage.files import RealFiles
from trimaran.storage.install import ReadPart

GROUP = GroupId(b"g" * 20)
POSITION = LogPosition(index=9, term=3, next_offset=7, log_time_ms=99)


@pytest.mark.parametrize(
    ("write", "frame"),
    [
        (
            write_repair_ask,
            RepairAsk(
                request=7, kind=RepairKind.FILE, group=GROUP, start=9, count=5, name="a.rows"
            ),
        ),
        (write_repair_answer, RepairAnswer(8, True, b"some bytes")),
        (write_repair_answer, RepairAnswer(8, False, b"")),
        (write_readmit, Readmit(BootId(5), [(GROUP, Term(4), Index(11))])),
        (write_hand_over, HandOver(GROUP, NodeId(3))),
    ],
)
def test_a_frame_that_was_written_is_read(write, frame):
    (body,) = FrameBuffer().feed(b"".join(write(frame)))

    assert read_frame(body) == frame


def test_answers_are_read_as_they_were_written():
    boundary = Boundary(
        group=GROUP, position=POSITION, voters=(NodeId(1),), state_files=(("image-9", 5, 77),)
    )
    segment = SegmentEntry(
        base=LogPosition(), last_index=Index(9), size=400, ids_size=16, row_count=9
    )
    manifest = Manifest(boundary=boundary, segments=(segment,))
    status = MemberStatus(
        term=Term(4),
        last_term=Term(3),
        last_index=Index(9),
        commit_known=Index(8),
        boundary_index=Index(7),
        damage=DamageKind.UNCERTAIN,
    )

    assert decode_manifest(GROUP, encode_manifest(manifest)) == manifest
    assert decode_status(encode_status(status)) == status
    assert decode_digest(encode_digest(Index(9), b"d" * 32)) == (9, b"d" * 32)


@pytest.mark.parametrize("decode", [decode_digest, decode_status])
def test_short_answers_are_refused(decode):
    with pytest.raises(PeerError):
        decode(b"short")


def test_every_cut_manifest_is_refused():
    segment = SegmentEntry(
        base=LogPosition(), last_index=Index(9), size=400, ids_size=16, row_count=9
    )
    whole = encode_manifest(Manifest(boundary=Boundary(group=GROUP), segments=(segment,)))

    for size in range(len(whole)):
        with pytest.raises(PeerError):
            decode_manifest(GROUP, whole[:size])


def test_every_place_in_a_file_that_may_be_asked_for_can_be_read(tmp_path):
    """What the system refuses as a position would end the node that was asked."""
    ask = RepairAsk(
        request=1, kind=RepairKind.FILE, group=GROUP, start=POSITION_MAX - 10, count=10, name="f"
    )
    files = RealFiles(str(tmp_path))
    files.open("f", create=True).close()

    assert read_frame(*FrameBuffer().feed(b"".join(write_repair_ask(ask)))) == ask
    assert ReadPart(files, "f", position=ask.start, count=ask.count).run() == b""
    for start, count in ((POSITION_MAX - 9, 10), (2**63, 0), (2**64 - 1, 0)):
        further = replace(ask, start=start, count=count)
        with pytest.raises(PeerError, match="63-bit"):
            read_frame(*FrameBuffer().feed(b"".join(write_repair_ask(further))))


def test_a_manifest_names_no_file_outside_of_the_state_directory():
    name = b"producers-9"
    boundary = Boundary(group=GROUP, state_files=((name.decode(), 5, 77),))
    whole = encode_manifest(Manifest(boundary=boundary, segments=()))

    for other in (b"../identity", b"..", b".", b"a/b", b"/etc/passwd"):
        length = bytes((len(name),)), bytes((len(other),))
        changed = whole.replace(length[0] + name, length[1] + other)
        shift = len(other) - len(name)
        changed = (int.from_bytes(whole[:4], "big") + shift).to_bytes(4, "big") + changed[4:]
        with pytest.raises(PeerError, match="expected small letters"):
            decode_manifest(GROUP, changed)


@pytest.mark.parametrize(
    "fields",
    [
        {"size": 2**63},
        {"ids_size": 2**63},
        {"last_index": Index(2**63), "row_count": 0, "generation": 1},
        {"base": replace(POSITION, next_offset=2**63)},
        {"base": replace(POSITION, term=TERM_MAX + 1)},
    ],
)
def test_a_manifest_of_numbers_that_cannot_be_stored_is_refused(fields):
    segment = SegmentEntry(base=POSITION, last_index=Index(18), size=4, ids_size=1, row_count=9)
    sound = Manifest(boundary=Boundary(group=GROUP, position=POSITION), segments=(segment,))
    assert decode_manifest(GROUP, encode_manifest(sound)) == sound

    with pytest.raises(PeerError, match=r"cannot be read"):
        decode_manifest(
            GROUP, encode_manifest(replace(sound, segments=(replace(segment, **fields),)))
        )


@pytest.mark.parametrize("fields", [{"index": 2**63}, {"term": TERM_MAX + 1}])
def test_a_manifest_whose_boundary_cannot_be_stored_is_refused(fields):
    boundary = Boundary(group=GROUP, position=replace(POSITION, **fields))

    with pytest.raises(PeerError, match="63-bit numbers and a term"):
        decode_manifest(GROUP, encode_manifest(Manifest(boundary=boundary, segments=())))
