"""Logging of a node: one line an event, on standard error, for people or for machines.

Console: `2026-01-31T12:00:00.123Z WARNING trimaran.server.lag event loop was 130 ms late`.
JSON: `{"time": ..., "level": ..., "logger": ..., "message": ...}`; a traceback goes into "error".
Does not: rotate or ship; that is the service manager's work.
"""

import json
import logging
import sys
from datetime import UTC, datetime
from typing import TextIO


class ConsoleFormatter(logging.Formatter):
    """A line for people; a traceback follows on lines of its own."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s %(message)s")

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:  # noqa: N802
        """Return the record's time in UTC, ISO 8601, to the millisecond."""
        assert datefmt is None
        return utc_text(record.created)

    def format(self, record: logging.LogRecord) -> str:
        """Return the line; line breaks that came in from outside are shown, not obeyed."""
        message = record.getMessage()
        if "\n" in message:
            record = logging.makeLogRecord({**record.__dict__, "args": ()})
            record.msg = message.replace("\n", "\\n")
        return super().format(record)


class JsonFormatter(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the object as one line."""
        fields = {
            "time": utc_text(record.created),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            fields["error"] = self.formatException(record.exc_info)
        return json.dumps(fields, ensure_ascii=False)


def utc_text(seconds: float) -> str:
    """Return a Unix time as `2026-01-31T12:00:00.123Z`."""
    text = datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")


def set_up_logging(*, level: str, as_json: bool, stream: TextIO | None = None) -> None:
    """Send everything from `level` on to `stream` (standard error), replacing earlier set-ups."""
    handler = logging.StreamHandler(stream if stream is not None else sys.stderr)
    handler.setFormatter(JsonFormatter() if as_json else ConsoleFormatter())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
