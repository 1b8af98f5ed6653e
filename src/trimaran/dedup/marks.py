"""The payload of a DEDUP_MARK entry: a batch of which nothing was stored, remembered all the same.

An idempotent producer whose batch held only known event ids gets success with the offset of the
first known event. Nothing is appended, but its next batch carries the next sequence, so the log
must say that these sequences are used up; otherwise the next batch would look out of order.

    offset  size  field (big-endian)
    0       1     format version, 1
    1       8     producer id, i64, from 0
    9       2     producer epoch, i16, from 0
    11      4     first sequence, i32, from 0
    15      4     last sequence, i32, from 0; below the first when the sequence wrapped
    19      8     original offset, i64: what the producer was answered

Does not: judge (`producers` does) or carry a checksum (the entry's covers it).
"""

import struct
from dataclasses import dataclass

from trimaran.errors import ProtocolError
from trimaran.ids import Offset

MARK_FORMAT_VERSION = 1
_MARK = struct.Struct(">BqhiiQ")


@dataclass(frozen=True, slots=True, kw_only=True)
class DedupMark:
    """One batch that was all duplicates, and the offset it was answered with."""

    producer_id: int
    epoch: int
    first_sequence: int
    last_sequence: int
    original_offset: Offset


def encode_mark(mark: DedupMark) -> bytes:
    """Return the entry payload for `mark`."""
    return _MARK.pack(
        MARK_FORMAT_VERSION,
        mark.producer_id,
        mark.epoch,
        mark.first_sequence,
        mark.last_sequence,
        mark.original_offset,
    )


def decode_mark(payload: bytes | memoryview) -> DedupMark:
    """Return the mark in `payload`.

    Raises:
        ProtocolError: it has another size or version, or a field outside its range.
    """
    if len(payload) != _MARK.size:
        raise ProtocolError(f"dedup mark: expected {_MARK.size} bytes, found {len(payload)}")
    version, producer_id, epoch, first, last, original = _MARK.unpack(payload)
    if version != MARK_FORMAT_VERSION:
        raise ProtocolError(f"dedup mark: expected version {MARK_FORMAT_VERSION}, found {version}")
    if min(producer_id, epoch, first, last) < 0 or original >= 1 << 63:
        raise ProtocolError(f"dedup mark: a field is out of range: {bytes(payload).hex()}")
    return DedupMark(
        producer_id=producer_id,
        epoch=epoch,
        first_sequence=first,
        last_sequence=last,
        original_offset=Offset(original),
    )
