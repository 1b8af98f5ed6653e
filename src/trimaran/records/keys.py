"""Where the records of a batch lie, what their keys are, and a batch with some of them left out.

For compaction and for the refusal of events without a key: only lengths are walked over, values are
never copied, and a record that stays is copied as the bytes it was. Layout of a record:
`records.iteration`, which checks the same.

Total: any bytes give a scan or a `RequestError`. Memory stays within the batch's own size plus what
`compression` allows it to inflate to.
Does not: decide what stays (`storage.compaction`).
"""

import struct
from collections.abc import Sequence
from typing import NamedTuple

from trimaran.errors import ErrorCode, RequestError
from trimaran.records.batch import (
    HEADER_BYTES,
    MAGIC,
    BatchHeader,
    Codec,
    parse_header,
)
from trimaran.records.building import rebuild_from_block
from trimaran.records.compression import INFLATED_BYTES_MAX, decompress
from trimaran.records.entry import Payload

_VARINT_SHIFT_MAX = 63
_PLACE = struct.Struct(">qqq")


class KeyedRecord(NamedTuple):
    """One record of a batch, without its value."""

    start: int
    end: int
    """Its bytes in the block of records, its length in front included."""
    offset_delta: int
    timestamp_delta: int
    key: bytes | None
    is_tombstone: bool
    """Whether its value is null."""


class KeyedBatch(NamedTuple):
    """A batch read through."""

    header: BatchHeader
    block: bytes
    """All records, inflated."""
    records: Sequence[KeyedRecord]


def scan_keys(batch: Payload | bytearray) -> KeyedBatch:
    """Return where the records of `batch` lie, and their keys.

    Raises:
        RequestError: INVALID_RECORD for bytes that are no records, UNSUPPORTED_COMPRESSION_TYPE for
            a codec that is not defined.
    """
    header = parse_header(batch)
    if header.magic != MAGIC or header.size != len(batch):
        raise _invalid(f"expected one batch of magic {MAGIC} in {len(batch)} bytes")
    with memoryview(batch) as view, view[HEADER_BYTES:] as packed:
        if header.codec == Codec.NONE:
            block = bytes(packed)
        else:
            block = decompress(header.codec, packed, bytes_max=INFLATED_BYTES_MAX)
    records: list[KeyedRecord] = []
    position = 0
    delta_before = -1
    for number in range(header.record_count):
        try:
            record = _read_record(block, position)
        except IndexError:
            raise _invalid(f"record {number} ends early") from None
        if not delta_before < record.offset_delta <= header.last_offset_delta:
            raise _invalid(f"record {number}: offset delta {record.offset_delta} does not rise")
        delta_before = record.offset_delta
        position = record.end
        records.append(record)
    if position != len(block):
        raise _invalid(f"{len(block) - position} bytes after the last record")
    return KeyedBatch(header, block, records)


def first_without_key(batch: Payload | bytearray) -> int | None:
    """Return the number of the first record whose key is null, None if every record has one.

    Raises:
        RequestError: as `scan_keys`.
    """
    for number, record in enumerate(scan_keys(batch).records):
        if record.key is None:
            return number
    return None


def without_records(batch: Payload, scanned: KeyedBatch, kept: Sequence[KeyedRecord]) -> Payload:
    """Return `batch` with only the records `kept`, which are some of its own; b"" without any.

    With all of them it is `batch` itself, else `building.rebuild_from_block` says what changes.
    """
    if len(kept) == len(scanned.records):
        return batch
    if not kept:
        return b""
    latest = max(record.timestamp_delta for record in kept)
    block = kept_block(scanned, kept)
    return bytes(rebuild_from_block(batch, block, count=len(kept), latest=latest))


def kept_block(scanned: KeyedBatch, kept: Sequence[KeyedRecord]) -> bytes:
    """Return the bytes of the records `kept`, one behind the other."""
    block = scanned.block
    return b"".join([block[record.start : record.end] for record in kept])


def digest_part(scanned: KeyedBatch, kept: Sequence[KeyedRecord]) -> bytes:
    """Return what a digest over the records `kept` takes in: equal for equal records.

    The same whatever codec packs them, and however often their batch was made anew.
    """
    header = scanned.header
    append_time = header.max_timestamp if header.is_log_append_time else -1
    place = _PLACE.pack(header.base_offset, header.base_timestamp, append_time)
    return place + kept_block(scanned, kept)


def _read_record(data: bytes, start: int) -> KeyedRecord:
    """Return the record at `start`. Raises IndexError where bytes are missing."""
    length, position = _varint(data, start)
    end = position + length
    if length < 1 or end > len(data):
        raise IndexError
    timestamp_delta, position = _varint(data, position + 1)
    delta, position = _varint(data, position)
    key_length, position = _varint(data, position)
    key: bytes | None = None
    if key_length >= 0:
        key = data[position : position + key_length]
        position += key_length
    value_length, position = _varint(data, position)
    if key_length < -1 or value_length < -1:
        raise IndexError
    if position + max(value_length, 0) >= end:  # at least the number of headers follows
        raise IndexError
    return KeyedRecord(start, end, delta, timestamp_delta, key, value_length < 0)


def _varint(data: bytes, position: int) -> tuple[int, int]:
    """Return a zigzag varint of at most ten bytes, and the position after it."""
    byte = data[position]
    if byte < 0x80:
        return (byte >> 1) ^ -(byte & 1), position + 1
    value = byte & 0x7F
    shift = 7
    while True:
        position += 1
        byte = data[position]
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return (value >> 1) ^ -(value & 1), position + 1
        shift += 7
        if shift > _VARINT_SHIFT_MAX:
            raise _invalid("a varint of more than ten bytes")


def _invalid(message: str) -> RequestError:
    return RequestError(ErrorCode.INVALID_RECORD, message)
