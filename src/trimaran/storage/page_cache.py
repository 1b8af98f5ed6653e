"""What the writers of a node leave in the system's page cache: the newest bytes, up to a budget.

The tail in memory serves followers and readers near the end; what is older is read seldom, once,
and front to back. Left to itself the system keeps all of it until memory runs short: every write
then takes a fresh page, which on a virtual machine costs ten times as much as one that is used
again (docs/performance.md), and whatever else runs on the machine loses its own cached files.

Invariants: bytes go in the order in which they came, and only once they are synced.
Does not: cache anything itself; raise (all of it is advice).
"""

from collections import deque

from trimaran.storage.files import Files

CACHED_BYTES_MAX = 256 << 20
"""Default budget of a node."""


class PageCache:
    """The budget of one lane of writes; its thread is the only user."""

    __slots__ = ("_bytes", "_bytes_max", "_files", "_held")

    def __init__(self, files: Files, bytes_max: int) -> None:
        """Leave at most `bytes_max` bytes cached."""
        self._files = files
        self._bytes_max = bytes_max
        self._held: deque[tuple[str, int, int]] = deque()
        self._bytes = 0

    def synced(self, path: str, start: int, end: int) -> None:
        """Bytes `start` to `end` of `path` were written and synced; let the oldest ones go."""
        assert 0 <= start <= end
        self._held.append((path, start, end))
        self._bytes += end - start
        while self._bytes > self._bytes_max:
            path, start, end = self._held.popleft()
            self._bytes -= end - start
            self._files.uncache(path, start, end)
