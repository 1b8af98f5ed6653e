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

Both only ever go forward: of two log starts the higher index and the higher offset hold, whichever
came last. Does not: apply anything.
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


_ENCODER = msgspec.msgpack.Encoder(order="deterministic")
_DECODER = msgspec.msgpack.Decoder(StoredSettings)


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
    except msgspec.DecodeError as error:
        raise ProtocolError(f"no settings: {error}") from error


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
