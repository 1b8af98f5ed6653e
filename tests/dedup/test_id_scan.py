"""Ids in records: the scan agrees with the reader of records, and takes any bytes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimaran.dedup.event_ids import hash_cloud_event, hash_id, pack_ids, unpack_ids
from trimaran.dedup.id_judging import INFLATED_BYTES_MAX, judge_batch
from trimaran.dedup.id_scan import RecordError, scan_records
from trimaran.dedup.id_window import EventIdWindow
from trimaran.errors import ErrorCode, ProtocolError, RequestError
from trimaran.records.batch import HEADER_BYTES, Codec, parse_header
from trimaran.records.building import build_batch
from trimaran.records.iteration import Record, check_records, iterate_records

FIELDS = st.none() | st.binary(max_size=200)
IDS = st.none() | st.binary(min_size=1, max_size=256)


def with_id(value, key, others, event_id):
    headers = tuple(others)
    if event_id is not None:
        headers += ((b"event-id", event_id),)
    return Record(value, key, headers, timestamp_ms=1)


OTHERS = st.lists(st.tuples(st.sampled_from([b"", b"event-i", b"x" * 90]), FIELDS), max_size=3)
RECORDS = st.lists(st.builds(with_id, FIELDS, FIELDS, OTHERS, IDS), min_size=1, max_size=20)


def scan(batch):
    header = parse_header(batch)
    return scan_records(
        bytes(batch[HEADER_BYTES:]),
        count=header.record_count,
        last_delta=header.last_offset_delta,
        header=b"event-id",
    )


@given(RECORDS)
def test_scan_finds_what_the_reader_of_records_finds(records):
    batch = build_batch(records)

    found = scan(batch)

    expected = [dict(record.headers).get(b"event-id") for record in iterate_records(batch)]
    assert list(found.places) == [at for at, name in enumerate(expected) if name is not None]
    assert found.hashes == b"".join(hash_id(name) for name in expected if name is not None)
    assert list(found.deltas) == list(range(len(records)))
    assert found.ends[-1] == len(batch) - HEADER_BYTES


@given(RECORDS, st.data())
def test_what_the_scan_takes_the_reader_of_records_takes(records, data):
    batch = build_batch(records)
    at = data.draw(st.integers(HEADER_BYTES, len(batch) - 1))
    batch[at] = data.draw(st.integers(0, 255))

    try:
        scan(batch)
    except RecordError as error:
        refused = (error.code, error.number)
    else:
        assert check_records(batch) == len(records)
        return
    assert refused[0] is ErrorCode.INVALID_RECORD
    assert 0 <= refused[1] < len(records)


@given(st.binary(max_size=80), st.integers(1, 5))
def test_scan_takes_any_bytes(data, count):
    with pytest.raises(RecordError, match=r"record [0-4]: "):
        scan_records(data + b"\xff", count=count, last_delta=count - 1, header=b"event-id")


@given(st.lists(st.booleans(), min_size=1, max_size=40))
def test_packed_ids_say_which_event_has_which(has_id):
    deltas = [at for at, yes in enumerate(has_id) if yes]
    hashes = b"".join(hash_id(b"%d" % delta) for delta in deltas)
    packed = pack_ids(hashes, deltas)

    if not deltas:
        assert packed == b""
        return
    found, joined = unpack_ids(packed)

    assert list(found) == deltas
    assert joined == hashes
    assert len(packed) <= 5 + 20 * len(deltas)


@given(st.binary(max_size=120))
def test_unpacking_takes_any_bytes(packed):
    try:
        deltas, hashes = unpack_ids(packed)
    except ProtocolError:
        return
    assert 16 * len(deltas) == len(hashes) > 0


def test_source_and_id_of_a_cloud_event_do_not_run_together():
    assert hash_cloud_event(b"ab", b"c") != hash_cloud_event(b"a", b"bc")
    assert hash_cloud_event(b"a", b"b") != hash_id(b"\0\1ab")


@pytest.mark.parametrize(
    ("codec", "size"),
    [
        *((codec, INFLATED_BYTES_MAX) for codec in Codec if codec is not Codec.NONE),
        (Codec.GZIP, 12 << 20),  # below that size, but more than a thousand times its own
        (Codec.ZSTD, 12 << 20),
    ],
)
def test_a_batch_that_inflates_too_far_is_refused(codec, size):
    batch = build_batch([Record(bytes(size), timestamp_ms=1)], codec=codec)

    with pytest.raises(RequestError) as refused:
        judge_batch(
            bytes(batch),
            parse_header(batch),
            EventIdWindow(),
            header=b"event-id",
            log_time_ms=1,
        )

    assert refused.value.code is ErrorCode.INVALID_RECORD
