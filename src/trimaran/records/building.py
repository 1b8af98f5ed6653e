"""Batches made by ourselves: for the REST door, the simulator, tests; and batches made anew.

`build_batch` is what a producer does. `rebuild_batch` is what dedup and compaction do: some records
leave, the offsets of the others and the batch's last offset stay. The highest timestamp becomes
that of the records that stay: else a search by time is led to a batch that has nothing for it.

Does not: assign offsets in a log (`batch.stamp` does).
"""

from collections.abc import Iterable, Sequence
from struct import Struct

from trimaran.records.batch import (
    CODEC_MASK,
    HEADER,
    HEADER_BYTES,
    LENGTH_END,
    MAGIC,
    Codec,
    parse_header,
    renew_crc,
)
from trimaran.records.compression import compress
from trimaran.records.entry import Payload
from trimaran.records.iteration import Record

_LENGTH_POSITION = 8
_ATTRIBUTES_POSITION = 21
_MAX_TIMESTAMP_POSITION = 35
_RECORD_COUNT_POSITION = 57
_INT16 = Struct(">h")
_INT32 = Struct(">i")
_INT64 = Struct(">q")
_INT64_MAX = 2**63 - 1


def build_batch(
    records: Sequence[Record],
    *,
    codec: int = Codec.NONE,
    attributes: int = 0,
    base_offset: int = 0,
    leader_epoch: int = -1,
    producer_id: int = -1,
    producer_epoch: int = -1,
    base_sequence: int = -1,
) -> bytearray:
    """Return a batch of `records`, numbered from 0; their own offsets are not looked at.

    `attributes` adds flags (control, log append time) to the codec's bits.
    """
    assert len(records) > 0, "a batch holds at least one record"
    assert attributes & CODEC_MASK == 0, "the codec has its own parameter"
    base_timestamp = records[0].timestamp_ms
    block = bytearray()
    for delta, record in enumerate(records):
        _append_record(block, record, delta, record.timestamp_ms - base_timestamp)
    packed = compress(codec, bytes(block))
    batch = bytearray(HEADER_BYTES)
    HEADER.pack_into(
        batch,
        0,
        base_offset,
        HEADER_BYTES - LENGTH_END + len(packed),
        leader_epoch,
        MAGIC,
        0,
        attributes | codec,
        len(records) - 1,
        base_timestamp,
        max(record.timestamp_ms for record in records),
        producer_id,
        producer_epoch,
        base_sequence,
        len(records),
    )
    batch += packed
    renew_crc(batch)
    return batch


def rebuild_batch(
    batch: Payload | bytearray, records: Iterable[Record], *, codec: int | None = None
) -> bytearray:
    """Return `batch` with only `records`, which are some of its own, in their order.

    Everything else stays: offsets, last offset delta, base timestamp, producer fields. `codec`
    packs anew with another codec; None keeps it.
    """
    header = parse_header(batch)
    if codec is None:
        codec = header.codec
    block = bytearray()
    count = latest = 0
    for record in records:
        delta = record.offset - header.base_offset
        assert 0 <= delta <= header.last_offset_delta, "a record of this batch"
        timestamp_delta = record.timestamp_ms - header.base_timestamp
        _append_record(block, record, delta, timestamp_delta)
        latest = timestamp_delta if count == 0 else max(latest, timestamp_delta)
        count += 1
    return _with_block(batch, bytes(block), count=count, codec=codec, latest=latest)


def rebuild_from_block(
    batch: Payload | bytearray, block: bytes, *, count: int, latest: int
) -> bytearray:
    """Return `batch` with `block` for its records, which are `count` of its own, in their order.

    `block` is not compressed; the batch's codec packs it. `latest` is the highest of the records'
    timestamp deltas, as they say it: what does not fit 64 bits becomes what does. Everything else
    stays.
    """
    codec = parse_header(batch).codec
    return _with_block(batch, block, count=count, codec=codec, latest=latest)


def _with_block(
    batch: Payload | bytearray, block: bytes, *, count: int, codec: int, latest: int
) -> bytearray:
    header = parse_header(batch)
    assert 0 < count <= header.record_count, "an empty batch is never stored"
    packed = compress(codec, block)
    rebuilt = bytearray(batch[:HEADER_BYTES])
    attributes = header.attributes & ~CODEC_MASK | codec
    _INT32.pack_into(rebuilt, _LENGTH_POSITION, HEADER_BYTES - LENGTH_END + len(packed))
    _INT16.pack_into(rebuilt, _ATTRIBUTES_POSITION, attributes)
    _INT32.pack_into(rebuilt, _RECORD_COUNT_POSITION, count)
    if not header.is_log_append_time:
        timestamp = max(-_INT64_MAX, min(header.base_timestamp + latest, _INT64_MAX))
        _INT64.pack_into(rebuilt, _MAX_TIMESTAMP_POSITION, timestamp)
    rebuilt += packed
    renew_crc(rebuilt)
    return rebuilt


def _append_record(block: bytearray, record: Record, delta: int, timestamp_delta: int) -> None:
    body = bytearray(1)
    _append_varint(body, timestamp_delta)
    _append_varint(body, delta)
    _append_field(body, record.key)
    _append_field(body, record.value)
    _append_varint(body, len(record.headers))
    for key, value in record.headers:
        _append_field(body, key)
        _append_field(body, value)
    _append_varint(block, len(body))
    block += body


def _append_field(body: bytearray, field: bytes | None) -> None:
    if field is None:
        _append_varint(body, -1)
    else:
        _append_varint(body, len(field))
        body += field


def _append_varint(body: bytearray, number: int) -> None:
    zigzag = (number << 1) ^ (number >> 63)
    while zigzag > 0x7F:
        body.append(zigzag & 0x7F | 0x80)
        zigzag >>= 7
    body.append(zigzag)
