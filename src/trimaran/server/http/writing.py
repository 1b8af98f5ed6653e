"""Events as people send them, made records.

Does not: send them.
"""

import base64
import binascii
from dataclasses import dataclass
from typing import Any

import msgspec

from trimaran.records.iteration import Record
from trimaran.server.http.models.events import Encoding, NewEvent, NewHeader
from trimaran.server.http.problems import field_problem

ID_BYTES_MAX = 256


@dataclass(frozen=True, slots=True)
class ToStore:
    """A record, and which of the request's events it is."""

    index: int
    record: Record
    event_id: str | None


def record_of(event: NewEvent, *, at: int, id_header: str, now_ms: int) -> ToStore:
    """Return the record of event number `at`. Raises ProblemError (422)."""
    where = f"events[{at}]"
    headers = [_header(header, f"{where}.headers[{n}]") for n, header in enumerate(event.headers)]
    if event.id is not None:
        name = id_header.encode()
        if any(known == name for known, _ in headers):
            raise field_problem(f"{where}.id", f"there is a header {id_header!r} too", "only one")
        if len(event.id.encode(errors="replace")) > ID_BYTES_MAX:
            raise field_problem(f"{where}.id", "is too long", f"at most {ID_BYTES_MAX} bytes")
        headers.append((name, event.id.encode(errors="replace")))
    record = Record(
        value=as_bytes(event.value, event.value_encoding, f"{where}.value"),
        key=as_bytes(event.key, event.key_encoding, f"{where}.key"),
        headers=tuple(headers),
        timestamp_ms=now_ms if event.timestamp_ms is None else event.timestamp_ms,
    )
    return ToStore(at, record, event.id)


def as_bytes(value: Any, encoding: Encoding | None, where: str) -> bytes | None:  # noqa: ANN401
    """Return what is stored for a JSON value. Raises ProblemError (422)."""
    if isinstance(value, bytes):
        return value
    if encoding is None:
        encoding = "text" if isinstance(value, str) else "json"
        if value is None:
            return None
    if encoding == "json":
        return msgspec.json.encode(value)
    if value is None:
        return None
    if not isinstance(value, str):
        raise field_problem(where, f"is no text, but the encoding is {encoding}", "a string")
    if encoding == "text":
        return value.encode(errors="replace")
    return from_base64(value, where)


def from_base64(text: str, where: str) -> bytes:
    """Return the bytes. Raises ProblemError (422)."""
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise field_problem(where, f"is no base64: {error}", "A-Z a-z 0-9 + / =") from error


def _header(header: NewHeader, where: str) -> tuple[bytes, bytes | None]:
    if header.value is None:
        value = None
    elif header.encoding == "base64":
        value = from_base64(header.value, f"{where}.value")
    else:
        value = header.value.encode(errors="replace")
    return header.name.encode(errors="replace"), value
