"""The records inside a batch, one after the other.

Total: any bytes give records or a `RequestError`, and memory stays within the batch's own size plus
what `compression` allows it to inflate to. Layout of a record (Kafka: DefaultRecord.java), all
numbers zigzag varints:

    length            bytes after this field
    attributes i8     unused
    timestamp delta   to the batch's base timestamp, ms (up to 64 bits)
    offset delta      to the batch's base offset
    key length, key   -1 is null
    value length, value
    header count, then each: key length, key, value length (-1 is null), value

Offset deltas rise; they may have holes where dedup or compaction removed records.

Does not: verify the CRC (`batch.validate` does, on arrival).
"""

from collections.abc import Iterator
from dataclasses import dataclass

from trimaran.errors import ErrorCode, RequestError
from trimaran.records.batch import HEADER_BYTES, MAGIC, BatchHeader, Codec, parse_header
from trimaran.records.compression import INFLATED_BYTES_MAX, decompress
from trimaran.records.entry import Payload

RECORD_BYTES_MIN = 7
"""Of a record without key, value and headers."""
_VARINT_SHIFT_MAX = 63
_INT64_MAX = 2**63 - 1


@dataclass(slots=True)
class Record:
    """One event. Built per event where a topic asks for it, so slotted and not frozen."""

    value: bytes | None
    key: bytes | None = None
    headers: tuple[tuple[bytes, bytes | None], ...] = ()
    """Keys are text in Kafka; they stay bytes here because nobody checked that."""
    timestamp_ms: int = -1
    offset: int = 0


@dataclass(slots=True)
class Effort:
    """What batches took that were read, at most: for who looks into many of them."""

    bytes: int = 0
    """Inflated."""
    records: int = 0


def iterate_records(
    batch: Payload | bytearray,
    *,
    inflated_bytes_max: int = INFLATED_BYTES_MAX,
    effort: Effort | None = None,
) -> Iterator[Record]:
    """Yield the records of one batch in order, decompressed if need be; `effort` adds it up.

    Raises:
        RequestError: while iterating: INVALID_RECORD for bytes that are no records,
            UNSUPPORTED_COMPRESSION_TYPE for a codec that is not defined.
    """
    header = parse_header(batch)
    try:
        data = _record_bytes(batch, header, inflated_bytes_max)
    except RequestError:
        if effort is not None:
            effort.bytes += inflated_bytes_max  # nobody knows how far it came
        raise
    if effort is not None:
        effort.bytes += len(data)
        effort.records += max(0, min(header.record_count, len(data) // RECORD_BYTES_MIN))
    position = 0
    delta_before = -1
    for number in range(header.record_count):
        try:
            record, delta, position = _read_record(data, position, header)
        except IndexError:
            raise _invalid(f"record {number} ends early") from None
        if not delta_before < delta <= header.last_offset_delta:
            raise _invalid(
                f"record {number}: offset delta {delta} after {delta_before} "
                f"of at most {header.last_offset_delta}"
            )
        delta_before = delta
        yield record
    if position != len(data):
        raise _invalid(f"{len(data) - position} bytes after the last record")


def check_records(batch: Payload | bytearray) -> int:
    """Read a batch through, as `validate=records` asks for, and return its number of records.

    Raises:
        RequestError: as `iterate_records`.
    """
    count = 0
    for _ in iterate_records(batch):
        count += 1
    return count


def find_timestamp(
    batch: Payload | bytearray,
    timestamp_ms: int | None,
    start_offset: int = 0,
    *,
    effort: Effort | None = None,
) -> tuple[int, int] | None:
    """Return (offset, timestamp) of the first record not older than `timestamp_ms`, else None.

    None: that of the first record with the highest timestamp. Records below `start_offset` do not
    count. `effort` adds up what it takes.

    Raises:
        RequestError: as `iterate_records`.
    """
    if timestamp_ms is None:
        return _find_latest(batch, start_offset, effort)
    if parse_header(batch).max_timestamp < timestamp_ms:
        return None
    for record in iterate_records(batch, effort=effort):
        if record.timestamp_ms >= timestamp_ms and record.offset >= start_offset:
            return record.offset, record.timestamp_ms
    return None


def _find_latest(
    batch: Payload | bytearray, start_offset: int, effort: Effort | None
) -> tuple[int, int] | None:
    latest: tuple[int, int] | None = None
    for record in iterate_records(batch, effort=effort):
        if record.offset >= start_offset and (latest is None or record.timestamp_ms > latest[1]):
            latest = (record.offset, record.timestamp_ms)
    return latest


def _record_bytes(batch: Payload | bytearray, header: BatchHeader, bytes_max: int) -> bytes:
    """Return the bytes of all records, one block."""
    if header.magic != MAGIC or header.size > len(batch) or header.size < HEADER_BYTES:
        raise _invalid(
            f"expected a batch of magic {MAGIC} and {len(batch)} bytes, "
            f"found magic {header.magic} and {header.size} bytes"
        )
    with memoryview(batch) as view, view[HEADER_BYTES : header.size] as block:
        if header.codec == Codec.NONE:
            return bytes(block)
        return decompress(header.codec, block, bytes_max=bytes_max)


def _read_record(data: bytes, position: int, header: BatchHeader) -> tuple[Record, int, int]:
    """Return a record, its offset delta, and the position after it."""
    length, position = _varint(data, position)
    end = position + length
    if length < 0 or end > len(data):
        raise IndexError
    timestamp_delta, position = _varint(data, position + 1)
    delta, position = _varint(data, position)
    key, position = _field(data, position)
    value, position = _field(data, position)
    header_count, position = _varint(data, position)
    headers: tuple[tuple[bytes, bytes | None], ...] = ()
    if header_count != 0:
        headers, position = _read_headers(data, position, header_count)
    if position != end:
        raise _invalid(f"a record of {length} bytes ends {position - end} bytes later")
    timestamp = header.base_timestamp + timestamp_delta
    if header.is_log_append_time:
        timestamp = header.max_timestamp
    if not -_INT64_MAX <= timestamp <= _INT64_MAX:
        raise _invalid(f"timestamp {timestamp} does not fit 64 bits")
    record = Record(value, key, headers, timestamp, header.base_offset + delta)
    return record, delta, position


def _read_headers(
    data: bytes, position: int, count: int
) -> tuple[tuple[tuple[bytes, bytes | None], ...], int]:
    """Return `count` record headers and the position after them."""
    if not 0 <= count <= len(data) - position:
        raise _invalid(f"{count} headers in {len(data) - position} bytes")
    headers = []
    for _ in range(count):
        key, position = _field(data, position)
        if key is None:
            raise _invalid("a header without key")
        value, position = _field(data, position)
        headers.append((key, value))
    return tuple(headers), position


def _field(data: bytes, position: int) -> tuple[bytes | None, int]:
    """Return bytes with their length in front (-1 is null), and the position after them."""
    length, position = _varint(data, position)
    if length == -1:
        return None, position
    end = position + length
    if length < 0 or end > len(data):
        raise IndexError
    return data[position:end], end


def _varint(data: bytes, position: int) -> tuple[int, int]:
    """Return a zigzag varint of at most ten bytes, and the position after it."""
    byte = data[position]
    position += 1
    if byte < 0x80:
        return (byte >> 1) ^ -(byte & 1), position
    value = byte & 0x7F
    shift = 7
    while True:
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return (value >> 1) ^ -(value & 1), position
        shift += 7
        if shift > _VARINT_SHIFT_MAX:
            raise _invalid("a varint of more than ten bytes")


def _invalid(message: str) -> RequestError:
    return RequestError(ErrorCode.INVALID_RECORD, message)
