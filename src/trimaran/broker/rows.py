"""Requests of many rows: how many there may be, and pauses for everybody else between them.

A leader whose loop is silent for 150 ms loses its partitions; a row, most of all one that is
refused, takes some microseconds, and some APIs take a hundred for each.
Does not: know any request.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Hashable, Iterable
from typing import TypeVar

from trimaran.errors import ErrorCode, RequestError
from trimaran.metadata.limits import CLUSTER_PARTITIONS_MAX

T = TypeVar("T")
Key = TypeVar("Key", bound=Hashable)

ROWS_MAX = CLUSTER_PARTITIONS_MAX
"""Partitions, or topics, in one request: a cluster does not have more."""
ROWS_AT_ONCE = 250
"""Rows of some microseconds each in one turn of the loop."""
LONG_ROWS_AT_ONCE = 64
"""Rows that cost more, as those of the REST API do."""


def check_rows(count: int) -> None:
    """Return if a request may have so many rows.

    Raises:
        RequestError: INVALID_REQUEST.
    """
    if count > ROWS_MAX:
        raise RequestError(
            ErrorCode.INVALID_REQUEST, f"expected at most {ROWS_MAX} rows, found {count}"
        )


def repeated(keys: Iterable[Key]) -> frozenset[Key]:
    """Return what comes more than once: Kafka refuses what is to be done twice to one thing."""
    return frozenset(key for key, count in Counter(keys).items() if count > 1)


class in_turns(AsyncIterator[T]):  # noqa: N801  (called like a function)
    """The rows; the loop turns after each `at_once` of them.

    No generator: one that is left half-way is finalized by the loop, whenever that may be.
    """

    __slots__ = ("_at_once", "_count", "_rows")

    def __init__(self, rows: Iterable[T], at_once: int = ROWS_AT_ONCE) -> None:
        """Go through `rows` once."""
        self._rows = iter(rows)
        self._at_once = at_once
        self._count = 0

    async def __anext__(self) -> T:
        """Return the next row, after a turn of the loop if it is time."""
        if self._count == self._at_once:
            self._count = 0
            await asyncio.sleep(0)
        self._count += 1
        for row in self._rows:
            return row
        raise StopAsyncIteration
