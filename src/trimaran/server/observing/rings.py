"""The last hour of many numbers, one value a second, in memory of a known size.

Each series is an array of `seconds` places, used in turn; all series stand at the same second, so
that reading needs no times. Plain numbers take 4 bytes a second, exact ones (offsets) 8: an hour
of one series is 14 or 29 kB. A series that got nothing for the whole time, or was idle when room is
needed for a new one, goes.

Invariants: the arrays never take more than `bytes_max`; a second without a value reads as none.
Does not: know what the numbers mean, or what time it is.
"""

import math
from array import array
from collections.abc import Sequence

SECONDS = 3_600
BYTES_MAX = 24 << 20
"""About 1,700 plain series; see `sampling` for how many there are."""
IDLE_SECONDS = 120
"""A series without a value for so long makes room for a new one."""
PLAIN, EXACT = "f", "d"
_NONE = float("nan")


class Rings:
    """All series of one node."""

    __slots__ = ("_bytes", "_bytes_max", "_last_put", "_rings", "_seconds", "left_out", "tick")

    def __init__(self, *, seconds: int = SECONDS, bytes_max: int = BYTES_MAX) -> None:
        """Begin without any."""
        self._seconds = seconds
        self._bytes_max = bytes_max
        self._rings: dict[str, array[float]] = {}
        self._last_put: dict[str, int] = {}
        self._bytes = 0
        self.tick = -1
        """The second that the newest values are of; -1 before the first."""
        self.left_out = 0
        """Series of this second that there was no room for."""

    @property
    def bytes(self) -> int:
        """What the arrays take."""
        return self._bytes

    @property
    def names(self) -> Sequence[str]:
        """The series there are."""
        return list(self._rings)

    def begin(self, tick: int) -> None:
        """Go on to second `tick`; those that were passed over have no values."""
        assert tick > self.tick
        first = max(self.tick + 1, tick - self._seconds + 1)
        for ring in self._rings.values():
            for passed in range(first, tick + 1):
                ring[passed % self._seconds] = _NONE
        self.tick = tick
        self.left_out = 0
        if tick % IDLE_SECONDS == 0:
            self._drop(idle_seconds=self._seconds)

    def put(self, name: str, value: float, *, is_exact: bool = False) -> bool:
        """Set the value of this second; False if there is no room for one series more."""
        ring = self._rings.get(name)
        if ring is None:
            ring = self._make(name, EXACT if is_exact else PLAIN)
            if ring is None:
                self.left_out += 1
                return False
        ring[self.tick % self._seconds] = value
        self._last_put[name] = self.tick
        return True

    def latest(self, name: str) -> float | None:
        """Return the value of this second."""
        ring = self._rings.get(name)
        return None if ring is None or self.tick < 0 else _told(ring[self.tick % self._seconds])

    def read(self, name: str, *, count: int, step: int) -> list[float | None]:
        """Return `count` values up to this second, oldest first, each of `step` seconds.

        Of several seconds it is the mean for plain numbers and the last for exact ones.
        """
        ring = self._rings.get(name)
        if ring is None:
            return [None] * count
        found = self._newest(ring, count * step).tolist()
        if step > 1:
            pieces = (found[at : at + step] for at in range(0, len(found), step))
            return [_summary(piece, is_exact=ring.typecode == EXACT) for piece in pieces]
        if not math.isnan(sum(found)):
            return list(found)
        return [None if math.isnan(value) else value for value in found]

    def _newest(self, ring: "array[float]", count: int) -> "array[float]":
        """Return the last `count` places, oldest first."""
        there = min(count, self.tick + 1, self._seconds)
        end = (self.tick + 1) % self._seconds
        start = end - there
        newest = ring[start:end] if start >= 0 else ring[start:] + ring[:end]
        return array(ring.typecode, [_NONE]) * (count - there) + newest

    def _make(self, name: str, typecode: str) -> "array[float] | None":
        ring = array(typecode, [_NONE]) * self._seconds
        size = ring.itemsize * self._seconds
        if self._bytes + size > self._bytes_max:
            self._drop(idle_seconds=IDLE_SECONDS)
        if self._bytes + size > self._bytes_max:
            return None
        self._rings[name] = ring
        self._bytes += size
        return ring

    def _drop(self, *, idle_seconds: int) -> None:
        """Forget series that got nothing for so long."""
        for name, put in list(self._last_put.items()):
            if self.tick - put >= idle_seconds:
                ring = self._rings.pop(name)
                self._bytes -= ring.itemsize * self._seconds
                del self._last_put[name]


def _told(value: float) -> float | None:
    return None if math.isnan(value) else value


def _summary(values: list[float], *, is_exact: bool) -> float | None:
    total = sum(values)
    if math.isnan(total):
        values = [value for value in values if not math.isnan(value)]
        if not values:
            return None
        total = sum(values)
    return values[-1] if is_exact else total / len(values)
