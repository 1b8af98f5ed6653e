"""Waiting for a condition, with a bound. Does not: know conditions."""

import time
from collections.abc import Callable
from typing import TypeVar

POLL_S = 0.02

FoundT = TypeVar("FoundT")


def wait_until(condition: Callable[[], FoundT], what: str, *, within_s: float) -> FoundT:
    """Return the first value of `condition()` that is true.

    Raises:
        TimeoutError: not within so many seconds; the message ends with `what`.
    """
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        found = condition()
        if found:
            return found
        time.sleep(POLL_S)
    raise TimeoutError(f"not within {within_s:g} s: {what}")


def let_pass(seconds: float) -> None:
    """Return after so long: a fault is in force meanwhile, and others do what they do."""
    time.sleep(seconds)
