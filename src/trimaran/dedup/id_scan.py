"""Finds the event ids in a batch's records, and where each record lies.

Only what leads to the headers is decoded: lengths are walked over, keys and values never copied.
The layout of a record is `records.iteration`'s, which checks the same. A record names its event by
one of these headers, at most one:

    the topic's event.dedup.header    any id of 1 to 256 bytes
    Nats-Msg-Id                       the same space of ids
    ce_id with ce_source              CloudEvents: an id counts within its source

Total: any bytes give a scan or a `RecordError` that names the record.
Does not: know which ids were seen before, or decompress (`records.compression`).
"""

from collections.abc import Sequence
from typing import NamedTuple

from trimaran.dedup.event_ids import ID_BYTES_MAX, hash_cloud_event, hash_id
from trimaran.dedup.native import COMPILED
from trimaran.errors import ErrorCode, RequestError
from trimaran.records.entry import Payload

NATS_HEADER = b"Nats-Msg-Id"
CLOUD_ID_HEADER = b"ce_id"
CLOUD_SOURCE_HEADER = b"ce_source"

_VARINT_SHIFT_MAX = 63


class RecordError(RequestError):
    """A record that may not be stored; its batch is refused."""

    def __init__(self, number: int, found: str) -> None:
        """Name the record by its place in the batch, from 0."""
        super().__init__(ErrorCode.INVALID_RECORD, f"record {number}: {found}")
        self.number = number


class Scan(NamedTuple):
    """The records of a batch, in order."""

    ends: Sequence[int]
    """Where each record ends; the first begins at 0, the others where the one before ends."""
    deltas: Sequence[int]
    """Offset deltas, rising."""
    places: Sequence[int]
    """Which records have an id, by their place from 0, rising."""
    hashes: bytes
    """What those ids are known by, 16 bytes each, one behind the other."""


class _IdError(Exception):
    """What is wrong with a record's id."""


def scan_records(data: Payload, *, count: int, last_delta: int, header: bytes) -> Scan:
    """Walk over `count` records and hash their ids.

    Raises:
        RecordError: bytes that are no record, or an id that is empty, null, too long, or one of
            two.
    """
    if COMPILED is not None:
        found = COMPILED.scan_records(data, count, last_delta, header)
        if found is not None:
            ends, deltas, places, hashes = found
            return Scan(_numbers(ends), _numbers(deltas), _numbers(places), hashes)
    return walk_records(bytes(data), count=count, last_delta=last_delta, header=header)


def _numbers(column: bytes) -> Sequence[int]:
    return memoryview(column).cast("I")


def walk_records(data: bytes, *, count: int, last_delta: int, header: bytes) -> Scan:
    """Do what `scan_records` does, without compiled code, and say what is wrong."""
    ends: list[int] = []
    deltas: list[int] = []
    places: list[int] = []
    hashes: list[bytes] = []
    position = 0
    delta_before = -1
    for number in range(count):
        try:
            length, position = _varint(data, position)
            end = position + length
            if length < 0 or end > len(data):
                raise IndexError
            delta, header_count, position = _walk_to_headers(data, position)
            if header_count:
                event_hash, position = _read_id(data, position, header_count, header)
                if event_hash is not None:
                    places.append(number)
                    hashes.append(event_hash)
        except IndexError:
            raise RecordError(number, "its bytes end early") from None
        except _IdError as error:
            raise RecordError(number, str(error)) from None
        if position != end or not delta_before < delta <= last_delta:
            raise RecordError(
                number, f"it ends at byte {position} of {end}, its offset delta is {delta}"
            )
        delta_before = delta
        ends.append(end)
        deltas.append(delta)
    if position != len(data):
        raise RecordError(count - 1, f"{len(data) - position} bytes follow it, the last one")
    return Scan(ends, deltas, places, b"".join(hashes))


def timestamp_delta_at(data: Payload, start: int) -> int:
    """Return the timestamp delta of the record that begins at `start`; it was scanned before."""
    _, position = _varint(data, start)
    return _varint(data, position + 1)[0]


def _walk_to_headers(data: bytes, position: int) -> tuple[int, int, int]:
    """Return offset delta and number of headers of a record, and where they begin."""
    if data[position + 1] < 0x80:  # timestamp delta, behind the attributes
        position += 2
    else:
        _, position = _varint(data, position + 1)
    delta, position = _varint(data, position)
    for _ in ("key", "value"):
        length = data[position]
        if length < 0x80 and length & 1 == 0:
            position += 1 + (length >> 1)
        else:
            length, position = _varint(data, position)
            if length < -1:
                raise IndexError
            position += max(length, 0)
    count, position = _varint(data, position)
    if count < 0 or count > len(data) - position:
        raise IndexError
    return delta, count, position


def _read_id(data: bytes, position: int, count: int, header: bytes) -> tuple[bytes | None, int]:
    """Return the hash of the id among `count` headers, and the position behind them."""
    if count == 1:
        key, value, position = _read_header(data, position)
        if key in (header, NATS_HEADER):
            return hash_id(_checked(value)), position
        if key != CLOUD_ID_HEADER:
            return None, position
        raise _IdError("ce_id: expected one ce_source beside it, found 0")
    plain: list[bytes | None] = []
    cloud: list[bytes | None] = []
    sources: list[bytes | None] = []
    for _ in range(count):
        key, value, position = _read_header(data, position)
        if key in (header, NATS_HEADER):
            plain.append(value)
        elif key == CLOUD_ID_HEADER:
            cloud.append(value)
        elif key == CLOUD_SOURCE_HEADER:
            sources.append(value)
    if cloud or len(plain) > 1:
        return _cloud_hash(plain, cloud, sources), position
    return hash_id(_checked(plain[0])) if plain else None, position


def _read_header(data: bytes, position: int) -> tuple[bytes, bytes | None, int]:
    """Return key and value of a header, and the position behind it."""
    length = data[position]
    if length < 0x80 and length & 1 == 0:
        length >>= 1
        position += 1
    else:
        length, position = _varint(data, position)
    key_end = position + length
    value_length, start = _varint(data, key_end)
    end = start + max(value_length, 0)
    if length < 0 or value_length < -1 or end > len(data):
        raise IndexError
    return data[position:key_end], data[start:end] if value_length >= 0 else None, end


def _cloud_hash(
    plain: Sequence[bytes | None], cloud: Sequence[bytes | None], sources: Sequence[bytes | None]
) -> bytes:
    if len(plain) + len(cloud) > 1:
        raise _IdError("more than one header names its event id")
    if len(sources) != 1:
        raise _IdError(f"ce_id: expected one ce_source beside it, found {len(sources)}")
    return hash_cloud_event(_checked(sources[0]), _checked(cloud[0]))


def _checked(event_id: bytes | None) -> bytes:
    if not event_id or len(event_id) > ID_BYTES_MAX:
        found = "null" if event_id is None else f"{len(event_id)} bytes"
        raise _IdError(f"event id: expected 1 to {ID_BYTES_MAX} bytes, found {found}")
    return event_id


def _varint(data: Payload, position: int) -> tuple[int, int]:
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
            raise IndexError
