"""Frames about damage: what is written is read, and bytes that are none are refused."""

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
