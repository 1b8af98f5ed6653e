"""What the writers of a node leave in the system's page cache: the newest bytes, up to a budget.

The tail in memory serves followers and readers near the end; what is older is read seldom, once,
and front to back. Left to itself the system keeps all of it until memory runs short: every write
then takes a fresh page, which on a virtual machine costs ten times as much as one that is used
again (docs/performance.md), and whatever else runs on the machine loses its own cached files.

The system keeps whole pages, so they are what counts: a small append that goes on in the range
before it costs nothing until it reaches a new page, and a range that nothing joins costs one at
least. So the budget also bounds how many ranges are held here, whatever the size of the appends.

Invariants: ranges go in the order in which they began, and only once their bytes are synced.
Does not: cache anything itself; raise (all of it is advice).
"""

from collections import deque

from trimaran.storage.files import PAGE_BYTES, Files

CACHED_BYTES_MAX = 256 << 20
"""Default budget of a node."""
RANGE_BYTES_MAX = 1 << 20
"""A range grows up to here: what came last must not go with what came long before it."""


class _Range:
    """Neighbouring bytes of one file that were written one behind the other."""

    __slots__ = ("end", "path", "start")

    def __init__(self, path: str, start: int, end: int) -> None:
        self.path = path
        self.start = start
        self.end = end

    @property
    def cached_bytes(self) -> int:
        """Bytes of the pages that it is in."""
        return (-(-self.end // PAGE_BYTES) - self.start // PAGE_BYTES) * PAGE_BYTES

    def takes(self, start: int, end: int) -> bool:
        """Whether it may grow by these bytes."""
        return start == self.end and end - self.start <= RANGE_BYTES_MAX


class PageCache:
    """The budget of one lane of writes; its thread is the only user."""

    __slots__ = ("_bytes", "_bytes_max", "_files", "_held", "_newest")

    def __init__(self, files: Files, bytes_max: int) -> None:
        """Leave at most `bytes_max` bytes cached."""
        self._files = files
        self._bytes_max = bytes_max
        self._held: deque[_Range] = deque()
        self._newest: dict[str, _Range] = {}
        """Of each path among those held."""
        self._bytes = 0

    def __len__(self) -> int:
        """Return how many ranges are held."""
        return len(self._held)

    def synced(self, path: str, start: int, end: int) -> None:
        """Bytes `start` to `end` of `path` were written and synced; let the oldest ones go."""
        assert 0 <= start <= end
        if start == end:
            return
        newest = self._newest.get(path)
        if newest is not None and newest.takes(start, end):
            self._bytes -= newest.cached_bytes
            newest.end = end
        else:
            newest = self._newest[path] = _Range(path, start, end)
            self._held.append(newest)
        self._bytes += newest.cached_bytes
        while self._bytes > self._bytes_max:
            self._let_go()

    def _let_go(self) -> None:
        oldest = self._held.popleft()
        self._bytes -= oldest.cached_bytes
        if self._newest[oldest.path] is oldest:
            del self._newest[oldest.path]
        self._files.uncache(oldest.path, oldest.start, oldest.end)
