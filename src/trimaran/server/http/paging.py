"""Long lists in pages: a cursor is the last name or number of the page before.

Lists are ordered by that key, so a page goes on where the one before ended, whatever came or went.
Does not: keep anything between two requests.
"""

import base64
import binascii
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
    """Return the next `limit` of `rows`, which ascend by `key`.

    Raises:
        ProblemError: `after` is no cursor of ours (422).
    """
    begin = 0
    if after is not None:
        last = decode_cursor(after)
        begin = next((at for at, row in enumerate(rows) if key(row) > last), len(rows))
    items = rows[begin : begin + limit]
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
