"""Clients are told only what a cluster in trouble may tell them, and next to nothing in a calm one.

A client of the simulator tries again whatever it is told: a wrong error costs it a moment and shows
nowhere else.
"""

from collections.abc import Iterator

from trimaran.sim.checkers.checker import Checker
from trimaran.sim.history import History

CALM = (
    "RetryError",
    "ConnectionResetError",
    "ConnectionRefusedError",
    "NOT_LEADER_OR_FOLLOWER",
    "UNKNOWN_TOPIC_OR_PARTITION",
    "OFFSET_OUT_OF_RANGE",
    "CORRUPT_MESSAGE",
    "NOT_COORDINATOR",
    "REBALANCE_IN_PROGRESS",
    "UNKNOWN_MEMBER_ID",
    "FETCH_SESSION_ID_NOT_FOUND",
    "INVALID_FETCH_SESSION_EPOCH",
    "FETCH_SESSION_TOPIC_ID_ERROR",
)
"""What may be told at any time: a node stops in order, topics come and go, and members of groups
vanish; a log's start moves on under its reader, plain producers spoil a batch now and then, readers
what they say of their session (who gives no cause for one of these three notes it as odd)."""
IN_TROUBLE = (
    "TimeoutError",
    "OSError",
    "LEADER_NOT_AVAILABLE",
    "REQUEST_TIMED_OUT",
    "NOT_ENOUGH_REPLICAS",
    "KAFKA_STORAGE_ERROR",
    "OFFSET_NOT_AVAILABLE",
    "UNKNOWN_TOPIC_ID",
    "COORDINATOR_NOT_AVAILABLE",
    "COORDINATOR_LOAD_IN_PROGRESS",
    "ILLEGAL_GENERATION",
    "FENCED_MEMBER_EPOCH",
    "GROUP_ID_NOT_FOUND",
)
"""What may be told besides where faults strike."""


class AnswersExpected(Checker):
    """Looks at the names of all errors that clients got."""

    def finish(self, history: History) -> Iterator[str]:
        """Compare them with those that may come."""
        expected = CALM if history.is_calm else CALM + IN_TROUBLE
        for name, count in history.answers.items():
            if name not in expected:
                times = "once" if count == 1 else f"{count} times"
                weather = "a calm run" if history.is_calm else "any run"
                yield f"clients were told {name} {times}, which nobody may be told in {weather}"
