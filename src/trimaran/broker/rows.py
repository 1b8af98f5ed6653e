"""Requests of many rows: how many there may be, and pauses for everybody else between them.

A leader whose loop is silent for 150 ms loses its partitions; a row, most of all one that is
refused, takes some microseconds, and some APIs take a hundred for each.
Does not: know any request.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable
from typing import TypeVar

from trimaran.errors import ErrorCode, RequestError
from trimaran.metadata.limits import CLUSTER_PARTITIONS_MAX

T = TypeVar("T")

ROWS_MAX = CLUSTER_PARTITIONS_MAX
"""Partitions, or topics, in one request: a cluster does not have more."""
ROWS_AT_ONCE = 250
"""Rows of some microseconds each in one turn of the loop."""


def check_rows(count: int) -> None:
    """Return if a request may have so many rows.

    Raises:
        RequestError: INVALID_REQUEST.
    """
    if count > ROWS_MAX:
        raise RequestError(
            ErrorCode.INVALID_REQUEST, f"expected at most {ROWS_MAX} rows, found {count}"
        )


async def in_turns(rows: Iterable[T], at_once: int = ROWS_AT_ONCE) -> AsyncIterator[T]:
    """Yield `rows`; the loop turns after each `at_once` of them."""
    for number, row in enumerate(rows, start=1):
        yield row
        if number % at_once == 0:
            await asyncio.sleep(0)
