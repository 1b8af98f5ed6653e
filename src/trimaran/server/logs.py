"""Logging of a node: one line an event, on standard error, for people or for machines.

A call says what happened, then fields: `log.info("peer connected peer=%s lane=%s", 2, "bulk")`.

    console  2026-01-31T12:00:00.123Z INFO trimaran.broker.peers peer connected peer=2 lane=bulk
    json     {"time": "2026-01-31T12:00:00.123Z", "level": "INFO",
              "logger": "trimaran.broker.peers", "node": 1,
              "event": "peer connected", "fields": {"peer": 2, "lane": "bulk"}}

Fields keep their types in JSON. A field ends where the next begins, so a text may hold spaces. A
traceback goes into "error" in JSON and follows on lines of its own on the console. Control
characters that came in from outside are shown, not obeyed: nobody forges a line.
Does not: rotate or ship; that is the service manager's work.
"""

import json
import logging
import re
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import lru_cache
from typing import NamedTuple, TextIO

_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f\x85\u2028\u2029]")
_CONVERSION = re.compile(r"%[-+ #0]*\d*(?:\.\d+)?[a-zA-Z]")
_FIELD = re.compile(r"(?:^|\s)([a-z][a-z0-9_]*)=")


class Piece(NamedTuple):
    """A part of a call's text: the event, or a field."""

    name: str
    """Empty for the event."""
    template: str
    conversions: int
    """How many arguments it takes."""


class ConsoleFormatter(logging.Formatter):
    """A line for people; a traceback follows on lines of its own."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s %(message)s")

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:  # noqa: N802
        """Return the record's time in UTC, ISO 8601, to the millisecond."""
        assert datefmt is None
        return utc_text(record.created)

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        message = record.getMessage()
        if _CONTROL.search(message):
            record = logging.makeLogRecord({**record.__dict__, "args": ()})
            record.msg = _CONTROL.sub(_shown, message)  # without arguments % means nothing
        return super().format(record)


class JsonFormatter(logging.Formatter):
    """One JSON object a line."""

    def __init__(self, *, node: int | None = None) -> None:
        """`node` is in every line; None before the settings are read."""
        super().__init__()
        self._node = node

    def format(self, record: logging.LogRecord) -> str:
        """Return the object as one line."""
        line: dict[str, object] = {
            "time": utc_text(record.created),
            "level": record.levelname,
            "logger": record.name,
        }
        if self._node is not None:
            line["node"] = self._node
        event, fields = structured(record)
        line["event"] = event
        if fields:
            line["fields"] = fields
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False, default=str)


def structured(record: logging.LogRecord) -> tuple[str, dict[str, object]]:
    """Return what happened and the fields of a record."""
    if not isinstance(record.msg, str) or not isinstance(record.args, tuple | None):
        return record.getMessage(), {}
    pieces = pieces_of(record.msg)
    if not record.args:  # without arguments % means nothing
        return pieces[0].template, {piece.name: piece.template for piece in pieces[1:]}
    if sum(piece.conversions for piece in pieces) != len(record.args):
        return record.getMessage(), {}
    values = iter(record.args)
    event = _filled(pieces[0], values)
    fields = {piece.name: _value(piece, values) for piece in pieces[1:]}
    return str(event), fields


@lru_cache(maxsize=1_024)
def pieces_of(text: str) -> tuple[Piece, ...]:
    """Return the event and the fields of a call's text, in order; the event always is first."""
    starts = list(_FIELD.finditer(text))
    ends = [*(start.start() for start in starts), len(text)][1:]
    event = text[: starts[0].start()] if starts else text
    found = [Piece("", event, len(_conversions(event)))]
    for start, end in zip(starts, ends, strict=True):
        template = text[start.end() : end]
        found.append(Piece(start[1], template, len(_conversions(template))))
    return tuple(found)


def utc_text(seconds: float) -> str:
    """Return a Unix time as `2026-01-31T12:00:00.123Z`."""
    text = datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")


def set_up_logging(
    *, level: str, as_json: bool, node: int | None = None, stream: TextIO | None = None
) -> None:
    """Send everything from `level` on to `stream` (standard error), replacing earlier set-ups."""
    handler = logging.StreamHandler(stream if stream is not None else sys.stderr)
    handler.setFormatter(JsonFormatter(node=node) if as_json else ConsoleFormatter())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)


def _conversions(template: str) -> list[str]:
    return _CONVERSION.findall(template.replace("%%", ""))


def _filled(piece: Piece, values: "Iterator[object]") -> str:
    taken = tuple(next(values) for _ in range(piece.conversions))
    return piece.template % taken if taken or "%%" in piece.template else piece.template


def _value(piece: Piece, values: "Iterator[object]") -> object:
    """Return a field's value: a number or truth as it is, everything else as text."""
    if piece.template in ("%s", "%d"):
        value = next(values)
        return value if isinstance(value, bool | int | float | None) else str(value)
    return _filled(piece, values)


def _shown(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape").decode("ascii")
