"""One log line for each thing a client was refused, and a bound on how many.

Line: `refused api=Produce version=9 peer=10.0.0.7:51234 client='c' code=CORRUPT_MESSAGE reason=...`
What happens in every healthy cluster (a moved leader, an unknown topic asked for) is logged at
debug level; what only a wrong client sends, at warning level.

Invariant: at most LINES_PER_SECOND_MAX lines a second for all clients together; the next line says
how many were left out (`left_out`), so that a client in a loop fills no disk.
Does not: decide what to answer.
"""

import logging

from trimaran.broker.calls import Call, told
from trimaran.broker.counters import Counters
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


ORIGIN = "api=%s version=%s peer=%s client=%r"
"""Which request of whom, in log lines; `origin` gives the arguments."""


def origin(call: Call) -> tuple[str, int, str, str]:
    """Return which request of whom `call` is: API, version, peer, client id."""
    header = call.header
    client = (header.client_id or "")[:CLIENT_ID_CHARACTERS_MAX]
    return api_name(header.api_key), header.api_version, call.peer, client


class RefusalLog:
    """Counts and writes refusals of one node."""

    def __init__(self, counters: Counters) -> None:
        """`counters` counts refusals by API and code."""
        self._counters = counters
        self.refused_count = 0
        self._second = 0
        self._lines_in_second = 0
        self._left_out_count = 0

    def refused(self, call: Call, error: RequestError) -> ErrorCode:
        """Note that (part of) a request was refused; return the code to answer."""
        self.refused_count += 1
        self._counters.refused(call.header.api_key, error.code)
        routine = error.code in ROUTINE_CODES
        if routine and not logger.isEnabledFor(logging.DEBUG):
            return error.code
        self.write(
            logging.DEBUG if routine else logging.WARNING,
            f"refused {ORIGIN} code=%s reason=%s",
            *origin(call),
            error.code.name,
            told(error),
            now_s=call.deadlines.now_s(),
        )
        return error.code

    def write(self, level: int, text: str, *arguments: object, now_s: float) -> None:
        """Log `text` unless this second has had its share of lines."""
        second = int(now_s)
        if second != self._second:
            self._second = second
            self._lines_in_second = 0
        if self._lines_in_second >= LINES_PER_SECOND_MAX:
            self._left_out_count += 1
            return
        self._lines_in_second += 1
        if self._left_out_count > 0:
            text += " left_out=%s"
            arguments = (*arguments, self._left_out_count)
            self._left_out_count = 0
        logger.log(level, text, *arguments)
