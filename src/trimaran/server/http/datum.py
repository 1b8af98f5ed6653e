"""Bytes as people read them: JSON, text, base64 or hex.

`auto` takes JSON for what looks like an object, array, number or such and is JSON; else text for
UTF-8 without control characters; else base64. Long data is cut, and says so.
Does not: run on the loop for more than a few events; callers use the decoding thread.
"""

import base64
from typing import Any

import msgspec

from trimaran.records.entry import Payload
from trimaran.records.iteration import Record
from trimaran.server.http.models.events import Datum, Event, Header, View

SHOWN_BYTES_MAX = 262_144
"""Of one key, value or header."""
_STARTS = tuple(bytes([byte]) for byte in b'{["-0123456789tfn')
_TEXT_CONTROLS = frozenset("\t\n\r")
ID_HEADERS = (b"Nats-Msg-Id", b"ce_id")


def datum(data: bytes | None, view: View, *, bytes_max: int = SHOWN_BYTES_MAX) -> Datum | None:
    """Return `data` as `view` asks, or as base64 where that cannot be; None for null."""
    if data is None:
        return None
    size = len(data)
    if view in ("auto", "json") and size <= bytes_max and data[:1] in _STARTS:
        found = parsed(data)
        if found is not msgspec.UNSET:
            return Datum(view="json", data=found, size_bytes=size, truncated=False)
    shown, is_cut = data[:bytes_max], size > bytes_max
    if view == "hex":
        return Datum(view="hex", data=shown.hex(), size_bytes=size, truncated=is_cut)
    if view != "base64":
        text = as_text(shown, is_cut=is_cut, is_strict=view != "text")
        if text is not None:
            return Datum(view="text", data=text, size_bytes=size, truncated=is_cut)
    encoded = base64.b64encode(shown).decode()
    return Datum(view="base64", data=encoded, size_bytes=size, truncated=is_cut)


def parsed(data: bytes) -> Any:  # noqa: ANN401 - whatever JSON says
    """Return the JSON value, UNSET if it is none that can be shown again."""
    try:
        return msgspec.json.decode(data)
    except (msgspec.DecodeError, RecursionError, ValueError):
        return msgspec.UNSET


def as_text(data: bytes, *, is_cut: bool, is_strict: bool) -> str | None:
    """Return UTF-8 text; None if it is none, or (strict) has control characters."""
    try:
        text = data.decode("utf-8", "ignore" if is_cut else "strict")
    except UnicodeDecodeError:
        return None
    if is_strict and any(character < " " and character not in _TEXT_CONTROLS for character in text):
        return None
    return text


def event_of(
    record: Record,
    *,
    topic: str,
    partition: int,
    view: View,
    id_header: bytes,
    log_append: bool,
    leader_epoch: int,
    bytes_max: int = SHOWN_BYTES_MAX,
) -> Event:
    """Return a record as it is shown."""
    headers = []
    for name, value in record.headers:
        shown = "text" if view == "auto" else view
        headers.append(
            Header(
                name=name.decode(errors="replace"), value=datum(value, shown, bytes_max=bytes_max)
            )
        )
    event_id = id_of(record, id_header)
    return Event(
        topic=topic,
        partition=partition,
        offset=record.offset,
        timestamp_ms=record.timestamp_ms,
        log_append=log_append,
        key=datum(record.key, view, bytes_max=bytes_max),
        value=datum(record.value, view, bytes_max=bytes_max),
        headers=headers,
        event_id=None if event_id is None else event_id.decode(errors="replace"),
        size_bytes=size_of(record),
        leader_epoch=leader_epoch,
    )


def size_of(record: Record) -> int:
    """Return the bytes of key, value and headers."""
    size = len(record.key or b"") + len(record.value or b"")
    for name, value in record.headers:
        size += len(name) + len(value or b"")
    return size


def id_of(record: Record, id_header: bytes) -> bytes | None:
    """Return the event's id, the first where it has several; None if it has none."""
    for name, value in record.headers:
        if value is not None and (name == id_header or name in ID_HEADERS):
            return value
    return None


def filter_row(record: Record, partition: int) -> dict[str, Any]:
    """Return what a filter sees of a record: JSON where it is JSON, else text, else null."""
    return {
        "key": _plain(record.key),
        "value": _plain(record.value),
        "headers": {name.decode(errors="replace"): _plain(value) for name, value in record.headers},
        "partition": partition,
        "offset": record.offset,
        "timestamp_ms": record.timestamp_ms,
        "size_bytes": len(record.key or b"") + len(record.value or b""),
    }


def _plain(data: Payload | None) -> Any:  # noqa: ANN401 - whatever JSON says
    if data is None or len(data) > SHOWN_BYTES_MAX:
        return None
    data = bytes(data)
    if data[:1] in _STARTS:
        found = parsed(data)
        if found is not msgspec.UNSET and not (isinstance(found, int) and abs(found) >= 2**63):
            return found
    return as_text(data, is_cut=False, is_strict=False)
