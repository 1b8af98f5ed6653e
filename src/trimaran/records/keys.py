"""Where the records of a batch lie, what their keys are, and a batch with some of them left out.

For compaction and for the refusal of events without a key: only lengths are walked over, values are
never copied, and a record that stays is copied as the bytes it was. Layout of a record:
`records.iteration`, which checks the same.

Total: any bytes give a scan or a `RequestError`. Memory stays within the batch's own size plus what
`compression` allows it to inflate to.
Does not: decide what stays (`storage.compaction`).
"""

import struct
from collections.abc import Iterator, Sequence
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

_KEY_LENGTH = 4
"""Its place in what `_walk` yields."""
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
    records = []
    start = 0
    for place in _walk(block, count=header.record_count, last_delta=header.last_offset_delta):
        end, timestamp_delta, delta, key_start, key_length, value_length = place
        key = None if key_length < 0 else block[key_start : key_start + key_length]
        records.append(KeyedRecord(start, end, delta, timestamp_delta, key, value_length < 0))
        start = end
    return KeyedBatch(header, block, records)


def first_without_key(block: bytes, *, count: int, last_delta: int) -> int | None:
    """Return the number of the first of `count` records whose key is null, None if all have one.

    Args:
        block: all records of a batch, inflated.
        count: how many they are.
        last_delta: the highest offset delta that one may have.

    Raises:
        RequestError: INVALID_RECORD for bytes that are no records.
    """
    for number, place in enumerate(_walk(block, count=count, last_delta=last_delta)):
        if place[_KEY_LENGTH] < 0:
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


def _walk(
    block: bytes, *, count: int, last_delta: int
) -> Iterator[tuple[int, int, int, int, int, int]]:
    """Yield where each record is and what is in it, without a copy.

    End, timestamp delta, offset delta, where the key begins, lengths of key and value (-1: null).
    """
    position = 0
    delta_before = -1
    for number in range(count):
        try:
            place = _place_at(block, position)
        except IndexError:
            raise _invalid(f"record {number} ends early") from None
        position, _, delta, _, _, _ = place
        if not delta_before < delta <= last_delta:
            raise _invalid(f"record {number}: offset delta {delta} does not rise")
        delta_before = delta
        yield place
    if position != len(block):
        raise _invalid(f"{len(block) - position} bytes after the last record")


def _place_at(data: bytes, start: int) -> tuple[int, int, int, int, int, int]:
    """Return what `_walk` yields of the record at `start`. Raises IndexError: bytes are missing."""
    length, position = _varint(data, start)
    end = position + length
    if length < 1 or end > len(data):
        raise IndexError
    timestamp_delta, position = _varint(data, position + 1)
    delta, position = _varint(data, position)
    key_length, key_start = _varint(data, position)
    value_length, position = _varint(data, key_start + max(key_length, 0))
    if key_length < -1 or value_length < -1:
        raise IndexError
    if position + max(value_length, 0) >= end:  # at least the number of headers follows
        raise IndexError
    return end, timestamp_delta, delta, key_start, key_length, value_length


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
