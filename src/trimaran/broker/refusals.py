"""One log line for each thing a client was refused, and a bound on how many.

Line: `refused api=Produce version=9 peer=10.0.0.7:51234 client='c' code=CORRUPT_MESSAGE: what`.
What happens in every healthy cluster (a moved leader, an unknown topic asked for) is logged at
debug level; what only a wrong client sends, at warning level.

Invariant: at most LINES_PER_SECOND_MAX lines a second for all clients together; the next line says
how many were left out, so that a client in a loop fills no disk.
Does not: decide what to answer.
"""

import logging

from trimaran.broker.calls import Call, told
from trimaran.errors import ErrorCode, RequestError
from trimaran.protocol.api import api_name

logger = logging.getLogger(__name__)

LINES_PER_SECOND_MAX = 20
CLIENT_ID_CHARACTERS_MAX = 100

ROUTINE_CODES = frozenset(
    {
        ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
        ErrorCode.LEADER_NOT_AVAILABLE,
        ErrorCode.NOT_LEADER_OR_FOLLOWER,
        ErrorCode.REQUEST_TIMED_OUT,
        ErrorCode.COORDINATOR_NOT_AVAILABLE,
        ErrorCode.TOPIC_ALREADY_EXISTS,
        ErrorCode.GROUP_ID_NOT_FOUND,
        ErrorCode.FETCH_SESSION_ID_NOT_FOUND,
        ErrorCode.FENCED_LEADER_EPOCH,
        ErrorCode.UNKNOWN_LEADER_EPOCH,
        ErrorCode.OFFSET_NOT_AVAILABLE,
        ErrorCode.UNKNOWN_TOPIC_ID,
    }
)
"""Refusals that say nothing bad about the client: debug level."""


def origin(call: Call) -> str:
    """Return which request of whom `call` is, as log lines have it."""
    header = call.header
    return (
        f"api={api_name(header.api_key)} version={header.api_version} peer={call.peer} "
        f"client={(header.client_id or '')[:CLIENT_ID_CHARACTERS_MAX]!r}"
    )


class RefusalLog:
    """Counts and writes refusals of one node."""

    def __init__(self) -> None:
        self.refused_count = 0
        self._second = 0
        self._lines_in_second = 0
        self._left_out_count = 0

    def refused(self, call: Call, error: RequestError) -> ErrorCode:
        """Note that (part of) a request was refused; return the code to answer."""
        self.refused_count += 1
        routine = error.code in ROUTINE_CODES
        if routine and not logger.isEnabledFor(logging.DEBUG):
            return error.code
        line = f"refused {origin(call)} code={error.code.name}: {told(error)}"
        self.write(logging.DEBUG if routine else logging.WARNING, line, call.deadlines.now_s())
        return error.code

    def write(self, level: int, line: str, now_s: float) -> None:
        """Log `line` unless this second has had its share of lines."""
        second = int(now_s)
        if second != self._second:
            self._second = second
            self._lines_in_second = 0
        if self._lines_in_second >= LINES_PER_SECOND_MAX:
            self._left_out_count += 1
            return
        self._lines_in_second += 1
        if self._left_out_count > 0:
            line += f" ({self._left_out_count} earlier lines left out)"
            self._left_out_count = 0
        logger.log(level, "%s", line)
