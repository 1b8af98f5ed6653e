"""Records found without being decoded, and batches with some of them left out."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimaran.errors import ErrorCode, RequestError
from trimaran.records.batch import Codec, parse_header, set_log_append_time, validate
from trimaran.records.building import build_batch
from trimaran.records.iteration import Record, iterate_records
from trimaran.records.keys import digest_part, first_without_key, scan_keys, without_records

RECORDS = st.lists(
    st.builds(
        Record,
        value=st.none() | st.binary(max_size=200),
        key=st.none() | st.binary(max_size=100),
        headers=st.lists(st.tuples(st.binary(max_size=9), st.none() | st.binary())).map(tuple),
        timestamp_ms=st.integers(0, 2**40),
    ),
    min_size=1,
    max_size=12,
)


def events(batch):
    return [(r.offset, r.timestamp_ms, r.key, r.value, r.headers) for r in iterate_records(batch)]


@given(RECORDS, st.sampled_from(Codec))
def test_keys_and_tombstones_are_those_of_the_records(records, codec):
    scanned = scan_keys(build_batch(records, codec=codec, base_offset=70))

    assert [record.key for record in scanned.records] == [record.key for record in records]
    assert [r.is_tombstone for r in scanned.records] == [r.value is None for r in records]


@given(RECORDS, st.sampled_from(Codec), st.data())
def test_what_stays_is_what_it_was(records, codec, data):
    batch = bytes(build_batch(records, codec=codec, base_offset=70, producer_id=5))
    scanned = scan_keys(batch)
    chosen = data.draw(st.sets(st.integers(0, len(records) - 1)))
    kept = [scanned.records[number] for number in sorted(chosen)]

    left = without_records(batch, scanned, kept)

    if not kept:
        assert left == b""
        return
    assert events(left) == [event for at, event in enumerate(events(batch)) if at in chosen]
    header = parse_header(left)
    assert header.last_offset == scanned.header.last_offset
    assert header.max_timestamp == max(event[1] for event in events(left))
    assert header.producer_id == 5
    assert (left is batch) == (len(kept) == len(records))
    again = scan_keys(left)
    assert digest_part(again, again.records) == digest_part(scanned, kept)


def test_the_time_of_the_append_stays_that_of_all_records():
    batch = build_batch([Record(value=b"1", timestamp_ms=5), Record(value=b"2", timestamp_ms=9)])
    set_log_append_time(batch, 1_000)
    scanned = scan_keys(bytes(batch))

    left = without_records(bytes(batch), scanned, scanned.records[:1])

    assert [event[1] for event in events(left)] == [1_000]


def test_the_first_record_without_a_key_is_named():
    batch = build_batch([Record(value=b"1", key=b""), Record(value=b"2"), Record(value=b"3")])

    assert first_without_key(bytes(batch[61:]), count=3, last_delta=2) == 1
    keyed = build_batch([Record(value=None, key=b"k")])
    assert first_without_key(bytes(keyed[61:]), count=1, last_delta=0) is None


@given(st.binary(max_size=60), st.integers(1, 3))
def test_any_bytes_give_records_or_a_refusal(block, count):
    batch = build_batch([Record(value=b"", timestamp_ms=0)] * count)
    damaged = bytearray(batch[:61]) + block
    damaged[8:12] = (len(damaged) - 12).to_bytes(4, "big")

    ends = [len(block)]
    with suppress(RequestError):
        scanned = scan_keys(damaged)
        assert len(scanned.records) == count
        ends = [record.end for record in scanned.records]
    assert ends == sorted(ends)
    assert ends[-1] == len(block)


@pytest.mark.parametrize(
    "block",
    [
        b"\x0c\x00\x00\x00\x01\x01\x00\x00",  # more bytes behind the record
        b"\x0c\x00\x00\x00\x03\x01\x00",  # a key of -2 bytes
        b"\x0c\x00\x00\x00\x01\x03\x00",  # a value of -2 bytes
        b"\x0c\x00\x00\x02\x01\x01\x00",  # offset delta 1 of 0
        b"\x0a\x00\x00\x00\x01\x01",  # no count of headers
        b"\xff" * 11,  # a length of eleven bytes
        b"\x80\x80",
    ],
)
def test_records_that_are_none_are_refused(block):
    batch = bytearray(build_batch([Record(value=b"")])[:61]) + block
    batch[8:12] = (len(batch) - 12).to_bytes(4, "big")

    with pytest.raises(RequestError) as raised:
        scan_keys(batch)

    assert raised.value.code is ErrorCode.INVALID_RECORD


def test_more_than_one_batch_is_refused():
    batch = build_batch([Record(value=b"")])
    validate(batch, max_bytes=1_000)

    with pytest.raises(RequestError, match="one batch"):
        scan_keys(batch + batch)
