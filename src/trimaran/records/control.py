"""Payloads of the control entries that change what a replica stores (design D12).

LOG_START: from here on the log is served; what lies wholly below may be deleted.

    offset  size  field (big-endian)
    0       1     format version, 1
    1       1     flags; bit 0: this entry begins a new segment; bit 1: ids below are free
    2       8     index of the first entry that is kept, u64
    10      8     first offset that is served, i64

SETTINGS: what a replica stores by, from the next entry on.

    0       1     format version, 1
    1       rest  MessagePack map; a setting of default value is left out

COMPACTION: a range of the log that every replica writes again, without what later events replaced.

    0       1     format version, 1
    1       rest  MessagePack map with the fields of `Compaction`

Log starts only ever go forward: of two the higher index and the higher offset hold, whichever came
last. So do compactions: the one with the highest generation says all that is still to be done.
Does not: apply anything.
"""

import struct
from dataclasses import dataclass
from typing import Annotated

import msgspec

from trimaran.errors import CorruptionError, ProtocolError
from trimaran.ids import Index, Offset
from trimaran.records.entry import Entry, EntryKind, Payload

FORMAT_VERSION = 1
SEGMENT_BYTES_DEFAULT = 1 << 30
"""Until a SETTINGS entry says otherwise; also the default of the topic setting."""

_LOG_START = struct.Struct(">BBQq")
_BEGINS_SEGMENT = 1
_FREES_EVENT_IDS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class LogStart:
    """Where a log begins."""

    index: Index
    """The first entry that is kept: nothing at or behind it is deleted."""
    offset: Offset
    """The first offset that is served."""
    begins_segment: bool = False
    """Whether the entry that says so is the first of a segment, so that those before may go."""
    frees_event_ids: bool = False
    """Whether ids of events below may be used again: a client deleted them (not retention)."""


class StoredSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The settings that decide what a replica's files look like."""

    segment_bytes: Annotated[int, msgspec.Meta(ge=1, le=2**31 - 1)] = SEGMENT_BYTES_DEFAULT
    dedup_window_ms: Annotated[int, msgspec.Meta(ge=0, le=2**53)] = 0
    """How long event ids are remembered; 0: not at all."""
    dedup_ids_max: Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)] = 0


PASSES_MAX = 64
"""Earlier passes that a compaction remembers for the sake of tombstones."""
SEGMENTS_PER_COMPACTION_MAX = 65_536


class Compaction(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a range of a log is to be written again as; all indexes are of entries."""

    generation: Annotated[int, msgspec.Meta(ge=1, le=2**32 - 1)]
    """One more than that of the compaction before."""
    end: Annotated[int, msgspec.Meta(ge=1)]
    """The last entry of the range, which is the last one of a segment; it begins with the log."""
    starts: Annotated[
        tuple[int, ...], msgspec.Meta(min_length=1, max_length=SEGMENTS_PER_COMPACTION_MAX)
    ]
    """The first entries of the segments to be written, ascending."""
    tombstones: Annotated[int, msgspec.Meta(ge=0)]
    """Up to this entry tombstones go; it never goes back."""
    passes: Annotated[tuple[tuple[int, int], ...], msgspec.Meta(max_length=PASSES_MAX)]
    """(end, log time in ms) of compactions, this one last, after which tombstones still wait."""


_ENCODER = msgspec.msgpack.Encoder(order="deterministic")
_DECODER = msgspec.msgpack.Decoder(StoredSettings)
_COMPACTION_DECODER = msgspec.msgpack.Decoder(Compaction)


def encode_log_start(start: LogStart) -> bytes:
    """Return the payload of a LOG_START entry."""
    flags = _BEGINS_SEGMENT if start.begins_segment else 0
    flags |= _FREES_EVENT_IDS if start.frees_event_ids else 0
    return _LOG_START.pack(FORMAT_VERSION, flags, start.index, start.offset)


def decode_log_start(payload: Payload) -> LogStart:
    """Return what a LOG_START entry says.

    Raises:
        ProtocolError: the bytes are no log start of this version.
    """
    if len(payload) != _LOG_START.size or payload[0] != FORMAT_VERSION:
        raise ProtocolError(f"{len(payload)} bytes are no log start of version {FORMAT_VERSION}")
    _, flags, index, offset = _LOG_START.unpack(payload)
    if index < 1 or offset < 0 or flags & ~(_BEGINS_SEGMENT | _FREES_EVENT_IDS):
        raise ProtocolError(f"no log start: flags {flags}, index {index}, offset {offset}")
    return LogStart(
        index=Index(index),
        offset=Offset(offset),
        begins_segment=flags & _BEGINS_SEGMENT != 0,
        frees_event_ids=flags & _FREES_EVENT_IDS != 0,
    )


def encode_settings(settings: StoredSettings) -> bytes:
    """Return the payload of a SETTINGS entry; equal settings give equal bytes."""
    return bytes((FORMAT_VERSION,)) + _ENCODER.encode(settings)


def decode_settings(payload: Payload) -> StoredSettings:
    """Return what a SETTINGS entry says.

    Raises:
        ProtocolError: the bytes are no settings of this version.
    """
    if len(payload) == 0 or payload[0] != FORMAT_VERSION:
        raise ProtocolError(f"{len(payload)} bytes are no settings of version {FORMAT_VERSION}")
    try:
        return _DECODER.decode(memoryview(payload)[1:])
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise ProtocolError(f"no settings: {error}") from error


def encode_compaction(compaction: Compaction) -> bytes:
    """Return the payload of a COMPACTION entry; equal compactions give equal bytes."""
    return bytes((FORMAT_VERSION,)) + _ENCODER.encode(compaction)


def decode_compaction(payload: Payload) -> Compaction:
    """Return what a COMPACTION entry says.

    Raises:
        ProtocolError: the bytes are no compaction of this version.
    """
    if len(payload) == 0 or payload[0] != FORMAT_VERSION:
        raise ProtocolError(f"{len(payload)} bytes are no compaction of version {FORMAT_VERSION}")
    try:
        found = _COMPACTION_DECODER.decode(memoryview(payload)[1:])
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise ProtocolError(f"no compaction: {error}") from error
    starts = found.starts
    ascend = all(starts[at] < starts[at + 1] for at in range(len(starts) - 1))
    if not ascend or not 1 <= starts[0] <= starts[-1] <= found.end or found.tombstones > found.end:
        raise ProtocolError(f"no compaction: its range ends at {found.end}")
    return found


def stored_settings_of(content: bytes, *, source: str) -> StoredSettings:
    """Return what `encode_settings` wrote into the state file `source`.

    Raises:
        CorruptionError: it is something else.
    """
    try:
        return decode_settings(content)
    except ProtocolError as error:
        raise CorruptionError(source, 0, str(error)) from error


def begins_segment(entry: Entry) -> bool:
    """Whether `entry` is the first of a segment whatever the size of the one before."""
    return entry.kind is EntryKind.LOG_START and decode_log_start(entry.payload).begins_segment
