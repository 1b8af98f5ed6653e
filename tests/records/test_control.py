"""Payloads of the entries that change what a replica stores."""

import pytest
from msgspec import structs

from trimaran.errors import CorruptionError, ProtocolError
from trimaran.ids import Index, Offset, Term
from trimaran.records.control import (
    Compaction,
    LogStart,
    StoredSettings,
    begins_segment,
    decode_compaction,
    decode_log_start,
    decode_settings,
    encode_compaction,
    encode_log_start,
    encode_settings,
    stored_settings_of,
)
from trimaran.records.entry import Entry, EntryKind


@pytest.mark.parametrize("begins", [False, True])
@pytest.mark.parametrize("frees", [False, True])
def test_a_log_start_comes_back_as_it_was(begins, frees):
    start = LogStart(
        index=Index(7), offset=Offset(2**60), begins_segment=begins, frees_event_ids=frees
    )

    assert decode_log_start(encode_log_start(start)) == start


def test_a_log_start_has_the_bytes_of_its_table():
    payload = encode_log_start(LogStart(index=Index(5), offset=Offset(9), begins_segment=True))

    assert payload.hex(" ", 1).replace(" ", "") == "01010000000000000005" + "0000000000000009"


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\x01\x00" + bytes(15),
        b"\x02\x00" + bytes(7) + b"\x01" + bytes(8),
        b"\x01\x00" + bytes(16),
        b"\x01\x04" + bytes(7) + b"\x01" + bytes(8),
        b"\x01\x00" + bytes(7) + b"\x01\xff" + bytes(7),
    ],
    ids=["nothing", "short", "version", "index 0", "flag", "offset below 0"],
)
def test_bytes_that_are_no_log_start_are_refused(payload):
    with pytest.raises(ProtocolError):
        decode_log_start(payload)


def test_settings_come_back_and_defaults_take_no_room():
    other = StoredSettings(segment_bytes=1 << 20)

    assert decode_settings(encode_settings(other)) == other
    assert encode_settings(StoredSettings()) == b"\x01\x80"


@pytest.mark.parametrize(
    "payload", [b"", b"\x02\x80", b"\x01", b"\x01\x81\xa1x\x01", b"\x01\x81\xadsegment_bytes\x00"]
)
def test_bytes_that_are_no_settings_are_refused(payload):
    with pytest.raises(ProtocolError):
        decode_settings(payload)
    with pytest.raises(CorruptionError, match="settings-9"):
        stored_settings_of(payload, source="settings-9")


def test_only_a_log_start_that_says_so_begins_a_segment():
    def entry(kind, payload):
        return Entry(Index(1), Term(1), kind, Offset(0), 0, 0, payload)

    plain = encode_log_start(LogStart(index=Index(1), offset=Offset(0)))
    cut = encode_log_start(LogStart(index=Index(1), offset=Offset(0), begins_segment=True))

    assert begins_segment(entry(EntryKind.LOG_START, cut))
    assert not begins_segment(entry(EntryKind.LOG_START, plain))
    assert not begins_segment(entry(EntryKind.COMMAND, cut))


COMPACTION = Compaction(
    generation=3, end=90, starts=(1, 40), tombstones=20, passes=((60, 1_000), (90, 2_000))
)


def test_a_compaction_is_read_as_it_was_written():
    payload = encode_compaction(COMPACTION)

    assert decode_compaction(payload) == COMPACTION
    assert decode_compaction(memoryview(payload)) == COMPACTION
    assert encode_compaction(decode_compaction(payload)) == payload


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\x02" + encode_compaction(COMPACTION)[1:],
        encode_compaction(COMPACTION)[:-1],
        encode_compaction(COMPACTION) + b"\x00",
        encode_compaction(structs.replace(COMPACTION, starts=(40, 40))),
        encode_compaction(structs.replace(COMPACTION, starts=(0, 40))),
        encode_compaction(structs.replace(COMPACTION, starts=(91,))),
        encode_compaction(structs.replace(COMPACTION, starts=())),
        encode_compaction(structs.replace(COMPACTION, tombstones=91)),
        encode_compaction(structs.replace(COMPACTION, generation=0)),
    ],
)
def test_what_is_no_compaction_is_refused(payload):
    with pytest.raises(ProtocolError, match="no compaction"):
        decode_compaction(payload)
