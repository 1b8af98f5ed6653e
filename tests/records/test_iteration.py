"""The records inside a batch: compared with two foreign libraries, and fed with noise."""

from typing import Any

import aiokafka.record.default_records
import kafka.record.default_records
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimaran.errors import ErrorCode, RequestError
from trimaran.records.batch import (
    HEADER_BYTES,
    LOG_APPEND_TIME,
    Codec,
    parse_header,
    renew_crc,
    set_log_append_time,
    stamp,
    validate,
)
from trimaran.records.building import build_batch, rebuild_batch
from trimaran.records.compression import INFLATED_BYTES_MAX
from trimaran.records.iteration import (
    Effort,
    Record,
    check_records,
    find_timestamp,
    iterate_records,
)

LIBRARIES = [aiokafka.record.default_records, kafka.record.default_records]
CODECS_OF_KAFKA_PYTHON = [Codec.NONE, Codec.GZIP]

keys = st.none() | st.binary(max_size=40)
records = st.lists(
    st.builds(
        Record,
        value=st.none() | st.binary(max_size=300),
        key=keys,
        headers=st.lists(st.tuples(st.text(max_size=8).map(str.encode), keys), max_size=3).map(
            tuple
        ),
        timestamp_ms=st.integers(0, 2**45),
    ),
    min_size=1,
    max_size=20,
)


def numbered(some: list[Record], base_offset: int = 0) -> list[Record]:
    return [
        Record(r.value, r.key, r.headers, r.timestamp_ms, base_offset + delta)
        for delta, r in enumerate(some)
    ]


def foreign_batch(library: Any, some: list[Record], codec: int) -> bytes:
    builder = library.DefaultRecordBatchBuilder(
        magic=2,
        compression_type=codec,
        is_transactional=False,
        producer_id=77,
        producer_epoch=3,
        base_sequence=12,
        batch_size=10_000_000,
    )
    for delta, record in enumerate(some):
        headers = [(key.decode(), value) for key, value in record.headers]
        builder.append(
            delta,
            timestamp=record.timestamp_ms,
            key=record.key,
            value=record.value,
            headers=headers,
        )
    return bytes(builder.build())


def foreign_records(library: Any, batch: bytes | bytearray) -> list[Record]:
    parsed = library.DefaultRecordBatch(bytes(batch))
    assert parsed.validate_crc()
    return [
        Record(
            value=record.value,
            key=record.key,
            headers=tuple((key.encode(), value) for key, value in record.headers),
            timestamp_ms=record.timestamp,
            offset=record.offset,
        )
        for record in parsed
    ]


def a_batch(**changes: int) -> bytearray:
    some = [Record(b"value %d" % i, b"k", ((b"h", None),), timestamp_ms=100 * i) for i in range(5)]
    return build_batch(some, **changes)


def with_records(block: bytes, count: int = 1, codec: int = 0) -> bytearray:
    batch = bytearray(a_batch()[:HEADER_BYTES]) + block
    batch[8:12] = (len(batch) - 12).to_bytes(4, "big")
    batch[21:23] = codec.to_bytes(2, "big")
    batch[23:27] = (max(count, 1) - 1).to_bytes(4, "big")
    batch[57:61] = count.to_bytes(4, "big", signed=True)
    renew_crc(batch)
    return batch


def error_of(batch: bytes | bytearray) -> ErrorCode:
    with pytest.raises(RequestError) as caught:
        check_records(batch)
    return caught.value.code


def count_or_error(batch: bytearray) -> int | str:
    try:
        return check_records(batch)
    except RequestError as error:
        return error.code.name


@given(some=records)
@pytest.mark.parametrize("library", LIBRARIES)
def test_an_uncompressed_batch_has_the_bytes_that_foreign_builders_make(
    library: Any, some: list[Record]
) -> None:
    ours = build_batch(some, producer_id=77, producer_epoch=3, base_sequence=12)

    stamp(ours, base_offset=0, leader_epoch=0)
    theirs = bytearray(foreign_batch(library, some, Codec.NONE))
    stamp(theirs, base_offset=0, leader_epoch=0)

    assert ours == theirs


@given(some=records, codec=st.sampled_from(Codec))
def test_batches_of_aiokafka_are_read_whatever_their_codec(
    some: list[Record], codec: Codec
) -> None:
    batch = foreign_batch(aiokafka.record.default_records, some, codec)

    assert validate(batch, max_bytes=len(batch)).last_sequence == 12 + len(some) - 1
    assert list(iterate_records(batch)) == numbered(some)


@given(some=records, codec=st.sampled_from(CODECS_OF_KAFKA_PYTHON))
def test_batches_of_kafka_python_are_read(some: list[Record], codec: Codec) -> None:
    batch = foreign_batch(kafka.record.default_records, some, codec)

    assert list(iterate_records(batch)) == numbered(some)


@given(some=records, codec=st.sampled_from(Codec))
def test_our_batches_are_read_by_aiokafka_whatever_their_codec(
    some: list[Record], codec: Codec
) -> None:
    batch = build_batch(some, codec=codec, base_offset=1000)

    assert foreign_records(aiokafka.record.default_records, batch) == numbered(some, 1000)
    assert list(iterate_records(batch)) == numbered(some, 1000)
    assert check_records(batch) == len(some)


@given(some=records, codec=st.sampled_from(CODECS_OF_KAFKA_PYTHON))
def test_our_batches_are_read_by_kafka_python(some: list[Record], codec: Codec) -> None:
    batch = build_batch(some, codec=codec, base_offset=5)

    assert foreign_records(kafka.record.default_records, batch) == numbered(some, 5)


@pytest.mark.parametrize("codec", list(Codec))
def test_a_rebuilt_batch_keeps_offsets_and_the_last_offset_delta(codec: Codec) -> None:
    batch = a_batch(codec=codec, base_offset=50, producer_id=9, producer_epoch=1, base_sequence=4)
    kept = [record for record in iterate_records(batch) if record.offset in {51, 53}]

    rebuilt = rebuild_batch(batch, kept)

    before, after = parse_header(batch), parse_header(rebuilt)
    assert list(iterate_records(rebuilt)) == kept
    assert foreign_records(aiokafka.record.default_records, rebuilt) == kept
    assert after.record_count == 2
    for name in ("base_offset", "last_offset_delta", "base_sequence", "producer_id", "codec"):
        assert getattr(after, name) == getattr(before, name)
    assert after.base_timestamp == before.base_timestamp
    assert after.max_timestamp == max(record.timestamp_ms for record in kept)


def test_a_batch_is_packed_anew_with_another_codec() -> None:
    batch = a_batch(codec=Codec.GZIP, attributes=LOG_APPEND_TIME)

    rebuilt = rebuild_batch(batch, iterate_records(batch), codec=Codec.ZSTD)

    assert parse_header(rebuilt).codec == Codec.ZSTD
    assert parse_header(rebuilt).is_log_append_time
    assert list(iterate_records(rebuilt)) == list(iterate_records(batch))


def test_log_append_time_is_the_time_of_every_record() -> None:
    batch = a_batch()

    set_log_append_time(batch, 999)

    assert {record.timestamp_ms for record in iterate_records(batch)} == {999}
    assert find_timestamp(batch, 999) == (0, 999)


@pytest.mark.parametrize(
    ("timestamp_ms", "expected"),
    [(-1, (10, 0)), (0, (10, 0)), (1, (11, 100)), (400, (14, 400)), (401, None)],
)
def test_the_first_record_not_older_is_found(
    timestamp_ms: int, expected: tuple[int, int] | None
) -> None:
    assert find_timestamp(a_batch(base_offset=10), timestamp_ms) == expected


def test_a_maximum_that_no_record_has_finds_nothing() -> None:
    batch = a_batch()
    batch[35:43] = (5000).to_bytes(8, "big")

    assert find_timestamp(batch, 4000) is None


@pytest.mark.parametrize("codec", [Codec.NONE, Codec.ZSTD])
@pytest.mark.parametrize("timestamp_ms", [None, 4000])
def test_what_searches_take_adds_up(codec: Codec, timestamp_ms: int | None) -> None:
    batch = build_batch([Record(b"v" * 100, timestamp_ms=7)] * 50, codec=codec)
    batch[35:43] = (5000).to_bytes(8, "big")
    effort = Effort()

    for _ in range(3):
        find_timestamp(batch, timestamp_ms, effort=effort)
    find_timestamp(batch, 6000, effort=effort)

    assert effort.records == 3 * 50
    assert 3 * 50 * 100 < effort.bytes < 3 * 50 * 120


def test_a_batch_that_cannot_be_inflated_counts_as_all_that_it_may_have_taken() -> None:
    batch = build_batch([Record(b"v" * 100, timestamp_ms=7)] * 50, codec=Codec.ZSTD)
    batch[HEADER_BYTES:] = bytes(len(batch) - HEADER_BYTES)
    effort = Effort()

    with pytest.raises(RequestError):
        find_timestamp(batch, None, effort=effort)

    assert effort == Effort(bytes=INFLATED_BYTES_MAX)


def test_the_latest_record_is_the_first_with_the_highest_timestamp() -> None:
    times = [30, 900, 20, 900, 40]
    batch = build_batch([Record(b"", timestamp_ms=at) for at in times], base_offset=10)

    assert find_timestamp(batch, None) == (11, 900)
    assert find_timestamp(batch, None, 12) == (13, 900)
    assert find_timestamp(batch, None, 14) == (14, 40)
    assert find_timestamp(batch, None, 15) is None


GOOD = b"\x14\x00\x00\x00\x02k\x06val\x00"
"""One record: key k, value val, no headers."""


def test_the_smallest_records_are_read() -> None:
    assert list(iterate_records(with_records(GOOD))) == [Record(b"val", b"k", (), 0, 0)]


@pytest.mark.parametrize(
    ("block", "count"),
    [
        (b"", 1),
        (GOOD, 2),
        (GOOD + b"\x00", 1),
        (GOOD + GOOD, 1),
        (GOOD + GOOD, 2),
        (b"\x12" + GOOD[1:], 1),
        (b"\x16" + GOOD[1:] + b"\x00", 1),
        (b"\x01" + GOOD[1:], 1),
        (b"\x7e" + GOOD[1:], 1),
        (b"\x80" * 11 + GOOD, 1),
        (GOOD[:3] + b"\x04" + GOOD[4:], 1),
        (GOOD[:3] + b"\x01" + GOOD[4:], 1),
        (GOOD[:4] + b"\x03" + GOOD[5:], 1),
        (GOOD[:4] + b"\x7e" + GOOD[5:], 1),
        (GOOD[:-1] + b"\x01", 1),
        (GOOD[:-1] + b"\x7e", 1),
        (b"\x18" + GOOD[1:-1] + b"\x02\x01\x00", 1),
        (GOOD[:-1] + b"\x02", 1),
        (b"\x26\x00" + b"\xff" * 9 + b"\x7f" + GOOD[3:], 1),
    ],
)
def test_bytes_that_are_no_records_are_refused(block: bytes, count: int) -> None:
    assert error_of(with_records(block, count)) is ErrorCode.INVALID_RECORD


def test_a_codec_that_does_not_exist_is_unsupported() -> None:
    assert error_of(with_records(GOOD, codec=5)) is ErrorCode.UNSUPPORTED_COMPRESSION_TYPE


@pytest.mark.parametrize(("position", "value"), [(16, 1), (11, 255), (11, 0)])
def test_a_header_that_does_not_fit_is_refused(position: int, value: int) -> None:
    batch = with_records(GOOD)
    batch[position] = value

    assert error_of(batch) is ErrorCode.INVALID_RECORD


@given(block=st.binary(max_size=60), count=st.integers(-2, 5), codec=st.integers(0, 7))
def test_any_records_are_read_or_refused(block: bytes, count: int, codec: int) -> None:
    outcome = count_or_error(with_records(block, count, codec))

    assert outcome in {
        max(count, 0),
        ErrorCode.INVALID_RECORD.name,
        ErrorCode.UNSUPPORTED_COMPRESSION_TYPE.name,
    }


@given(st.data())
def test_a_damaged_batch_is_read_or_refused(data: st.DataObject) -> None:
    codec = data.draw(st.sampled_from(Codec))
    batch = a_batch(codec=codec)
    position = data.draw(st.integers(HEADER_BYTES, len(batch) - 1))
    batch[position] ^= data.draw(st.integers(1, 255))

    assert count_or_error(batch) in {5, ErrorCode.INVALID_RECORD.name}
