"""What all clients of a node together may hold: bytes of requests, connections of an address.

A request counts from the moment its size is announced until its answer has left, with all of its
bytes. While the limit is reached no connection may begin another request; those that have begun one
are read to its end, so that what was counted also goes away again (a request that does not come is
closed after a while). So one request, however large, may be above the limit, and no more.

Invariant: `used_bytes` is the sum of what the connections hold.
Does not: read, pause or close anything.
"""

from collections.abc import Callable

ROOM_SHARE = 0.75
"""Below this part of the limit there is room again: not with each answer, or all would wake."""


class RequestMemory:
    """The bytes of all requests under way."""

    __slots__ = ("_bytes_max", "_changed", "is_full", "used_bytes")

    def __init__(self, *, bytes_max: int, changed: Callable[[], None]) -> None:
        """`changed` is called whenever `is_full` turned."""
        assert bytes_max > 0
        self._bytes_max = bytes_max
        self._changed = changed
        self.used_bytes = 0
        self.is_full = False

    def move(self, added_bytes: int) -> None:
        """Count `added_bytes` more, or less if it is negative."""
        self.used_bytes += added_bytes
        assert self.used_bytes >= 0
        limit = self._bytes_max * ROOM_SHARE if self.is_full else self._bytes_max
        is_full = self.used_bytes >= limit
        if is_full != self.is_full:
            self.is_full = is_full
            self._changed()


class AddressCounts:
    """How many connections each address has."""

    __slots__ = ("_counts",)

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}

    def add(self, address: str) -> int:
        """Count one more; return how many there are."""
        count = self._counts.get(address, 0) + 1
        self._counts[address] = count
        return count

    def remove(self, address: str) -> None:
        """Count one less."""
        count = self._counts.pop(address) - 1
        assert count >= 0
        if count > 0:
            self._counts[address] = count
