"""The header of a batch: what a producer may send, and what the broker writes into it."""

import pytest
from aiokafka.record.default_records import DefaultRecordBatch
from crc32c import crc32c
from hypothesis import given
from hypothesis import strategies as st

from trimaran.errors import ErrorCode, RequestError
from trimaran.records.batch import (
    CONTROL,
    HEADER,
    HEADER_BYTES,
    LOG_APPEND_TIME,
    SEQUENCE_MAX,
    TRANSACTIONAL,
    BatchHeader,
    Codec,
    add_sequence,
    crc_of,
    parse_header,
    renew_crc,
    set_log_append_time,
    stamp,
    validate,
)
from trimaran.records.building import build_batch
from trimaran.records.iteration import Record

POSITIONS = {
    "base_offset": (0, 8),
    "batch_length": (8, 4),
    "magic": (16, 1),
    "crc": (17, 4),
    "attributes": (21, 2),
    "last_offset_delta": (23, 4),
    "producer_id": (43, 8),
    "producer_epoch": (51, 2),
    "base_sequence": (53, 4),
    "record_count": (57, 4),
}


def three_records(**producer: int) -> bytearray:
    return build_batch(
        [Record(b"one", timestamp_ms=1000), Record(b"two", b"k", timestamp_ms=1500), Record(None)],
        **producer,
    )


def changed(batch: bytearray, *, crc_renewed: bool = True, **fields: int) -> bytearray:
    for name, value in fields.items():
        position, width = POSITIONS[name]
        signed = name != "crc"
        batch[position : position + width] = value.to_bytes(width, "big", signed=signed)
    if crc_renewed:
        renew_crc(batch)
    return batch


def error_of(batch: bytes | bytearray | memoryview, max_bytes: int = 1_000_000) -> ErrorCode:
    with pytest.raises(RequestError) as caught:
        validate(batch, max_bytes=max_bytes)
    return caught.value.code


def test_the_header_has_every_field_at_its_place() -> None:
    batch = build_batch(
        [Record(b"v", timestamp_ms=7), Record(b"w", timestamp_ms=9)],
        base_offset=40,
        leader_epoch=5,
        producer_id=11,
        producer_epoch=2,
        base_sequence=100,
    )

    header = parse_header(batch)

    assert {name: getattr(header, name) for name in BatchHeader.__slots__} == {
        "base_offset": 40,
        "batch_length": len(batch) - 12,
        "leader_epoch": 5,
        "magic": 2,
        "crc": crc32c(bytes(batch[21:])),
        "attributes": 0,
        "last_offset_delta": 1,
        "base_timestamp": 7,
        "max_timestamp": 9,
        "producer_id": 11,
        "producer_epoch": 2,
        "base_sequence": 100,
        "record_count": 2,
    }
    assert header.size == len(batch)
    assert header.last_offset == 41
    assert header.last_sequence == 101
    assert header.has_producer


def test_a_batch_without_producer_has_no_sequence() -> None:
    header = parse_header(three_records())

    assert header.last_sequence == -1
    assert not header.has_producer


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_a_good_batch_passes_in_every_kind_of_buffer(kind: type) -> None:
    batch = kind(three_records(producer_id=1, producer_epoch=0, base_sequence=0))

    header = validate(batch, max_bytes=len(batch))

    assert header.record_count == 3


@pytest.mark.parametrize(
    "fields",
    [
        {"magic": 1},
        {"base_offset": 55},
        {"batch_length": 20},
        {"batch_length": -1},
        {"record_count": 0},
        {"record_count": -3},
        {"record_count": 2},
        {"last_offset_delta": 3},
        {"last_offset_delta": -1, "record_count": 0},
        {"attributes": CONTROL},
        {"attributes": TRANSACTIONAL},
        {"attributes": 5},
        {"producer_id": 4, "base_sequence": -1, "producer_epoch": 0},
        {"producer_id": 4, "base_sequence": 0, "producer_epoch": -1},
    ],
)
def test_a_header_that_contradicts_itself_is_an_invalid_record(fields: dict[str, int]) -> None:
    assert error_of(changed(three_records(), **fields)) is ErrorCode.INVALID_RECORD


@pytest.mark.parametrize("magic", [-1, 3, 9])
def test_a_magic_that_nobody_defined_is_corrupt(magic: int) -> None:
    assert error_of(changed(three_records(), magic=magic)) is ErrorCode.CORRUPT_MESSAGE


@pytest.mark.parametrize(
    "attributes", [LOG_APPEND_TIME, LOG_APPEND_TIME | Codec.ZSTD, 0x40, -32768]
)
def test_attributes_that_mean_nothing_to_us_are_let_through(attributes: int) -> None:
    batch = changed(three_records(), attributes=attributes)

    assert validate(batch, max_bytes=len(batch)).attributes == attributes


def test_a_wrong_crc_is_a_corrupt_message() -> None:
    batch = changed(three_records(), crc=1, crc_renewed=False)

    assert error_of(batch) is ErrorCode.CORRUPT_MESSAGE


@pytest.mark.parametrize("position", [21, 60, 61, -1])
def test_any_byte_under_the_crc_is_guarded(position: int) -> None:
    batch = three_records()
    batch[position] ^= 0x40

    assert error_of(batch) in {ErrorCode.CORRUPT_MESSAGE, ErrorCode.INVALID_RECORD}


def test_a_batch_above_the_limit_is_too_large() -> None:
    batch = three_records()

    assert error_of(batch, max_bytes=len(batch) - 1) is ErrorCode.MESSAGE_TOO_LARGE


@pytest.mark.parametrize("count", [0, 2])
def test_a_producer_sends_exactly_one_batch(count: int) -> None:
    assert error_of(bytes(three_records()) * count) is ErrorCode.INVALID_RECORD


def test_a_batch_cut_anywhere_is_an_invalid_record() -> None:
    batch = bytes(three_records())

    assert {error_of(batch[:end]) for end in range(len(batch))} == {ErrorCode.INVALID_RECORD}


def test_the_stamp_changes_offset_and_epoch_and_keeps_the_crc() -> None:
    batch = three_records()
    before = bytes(batch)

    stamp(memoryview(batch), base_offset=2**40, leader_epoch=9)

    header = parse_header(batch)
    assert crc_of(batch) == header.crc
    assert (header.base_offset, header.leader_epoch) == (2**40, 9)
    assert batch[16:] == before[16:]
    assert batch[8:12] == before[8:12]


def test_log_append_time_is_seen_by_a_foreign_reader() -> None:
    batch = three_records()

    set_log_append_time(batch, 123456)

    foreign = DefaultRecordBatch(bytes(batch))
    assert foreign.validate_crc()
    assert [record.timestamp for record in foreign] == [123456] * 3
    header = parse_header(batch)
    assert header.is_log_append_time
    assert not header.is_control
    assert not header.is_transactional


@pytest.mark.parametrize(
    ("sequence", "count", "expected"),
    [
        (0, 0, 0),
        (5, 3, 8),
        (SEQUENCE_MAX, 1, 0),
        (SEQUENCE_MAX - 1, 3, 1),
        (SEQUENCE_MAX, 0, SEQUENCE_MAX),
    ],
)
def test_sequences_wrap_to_zero(sequence: int, count: int, expected: int) -> None:
    assert add_sequence(sequence, count) == expected


@given(st.binary(min_size=0, max_size=120))
def test_any_bytes_are_a_header_or_a_request_error(noise: bytes) -> None:
    try:
        header = validate(noise, max_bytes=1000)
    except RequestError:
        return
    assert header.size == len(noise) >= HEADER_BYTES


@given(st.binary(min_size=HEADER_BYTES, max_size=HEADER_BYTES))
def test_a_header_parses_to_what_packs_to_the_same_bytes(header_bytes: bytes) -> None:
    header = parse_header(header_bytes)

    fields = HEADER.unpack(header_bytes)
    assert [
        header.base_offset,
        header.batch_length,
        header.leader_epoch,
        header.magic,
        header.crc,
        header.attributes,
        header.last_offset_delta,
        header.base_timestamp,
        header.max_timestamp,
        header.producer_id,
        header.producer_epoch,
        header.base_sequence,
        header.record_count,
    ] == list(fields)
