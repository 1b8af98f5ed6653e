"""Long lists in pages: a cursor is the last name or number of the page before.

Each list is put in the order of that key here, so a page goes on where the one before ended,
whatever came or went: in any other order pages would repeat some rows and leave others out.
Does not: keep anything between two requests.
"""

import base64
import binascii
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from trimaran.server.http.problems import field_problem

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """Some of a list."""

    items: Sequence[T]
    next: str | None
    total: int


def page_of(
    rows: Sequence[T], *, key: Callable[[T], str], limit: int, after: str | None
) -> Page[T]:
    """Return the next `limit` of `rows` by `key`, of which no two are equal.

    Raises:
        ProblemError: `after` is no cursor of ours (422).
    """
    ordered = sorted(rows, key=key)
    begin = 0 if after is None else bisect_right(ordered, decode_cursor(after), key=key)
    items = ordered[begin : begin + limit]
    has_more = begin + limit < len(rows)
    return Page(items, encode_cursor(key(items[-1])) if has_more else None, len(rows))


def number_key(number: int) -> str:
    """Return a text that sorts as the number does."""
    return f"{number:020d}"


def encode_cursor(key: str) -> str:
    """Return an opaque text."""
    return base64.urlsafe_b64encode(key.encode()).decode().rstrip("=")


def decode_cursor(text: str) -> str:
    """Return the key. Raises ProblemError (422)."""
    try:
        padded = text + "=" * (-len(text) % 4)
        return base64.b64decode(padded, altchars=b"-_", validate=True).decode()
    except (binascii.Error, ValueError, UnicodeDecodeError) as error:
        raise field_problem("after", "is not a `next` of this list") from error
