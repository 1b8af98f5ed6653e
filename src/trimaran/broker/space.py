"""Whether there is room for events: by what the last write met, and by a reserve kept free.

Below the reserve events are refused while votes and deletions still work: a node that filled its
disk to the last byte could not even store that it gave up. Does not: free anything.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from trimaran.broker.ports import Lane, Workers
from trimaran.errors import DiskFullError
from trimaran.storage.files import Files

LOOK_S = 1.0
"""How often free space is looked at."""
CLOSE_LOOK_S = 0.05
"""How often while there is not even twice the reserve, which a fast disk fills in a second."""

RETRY_S = 0.25
"""How often a write that found the disk full is tried again."""

T = TypeVar("T")


async def when_there_is_room(attempt: Callable[[], Awaitable[T]]) -> T:
    """Return what `attempt` returns; while it finds the disk full, try again."""
    while True:
        try:
            return await attempt()
        except DiskFullError:
            await asyncio.sleep(RETRY_S)


class FreeBytes:
    """Asks the file system, in a thread."""

    def __init__(self, files: Files) -> None:
        self._files = files

    def run(self) -> int:
        """Return the bytes left."""
        return self._files.free_bytes()


class Space:
    """The node's view of its free space."""

    def __init__(
        self,
        *,
        files: Files,
        workers: Workers,
        reserve_bytes: int,
        changed: Callable[[bool], None],
    ) -> None:
        """`changed` is called with the new value of `has_room` whenever that changes."""
        self._files = files
        self._workers = workers
        self._reserve_bytes = reserve_bytes
        self._changed = changed
        self._is_write_refused = False
        self._is_low = False
        self.free_bytes = -1
        """As of the last look; -1 before the first."""

    @property
    def has_room(self) -> bool:
        """Whether events may be taken."""
        return not (self._is_write_refused or self._is_low)

    @property
    def may_follow(self) -> bool:
        """Whether what leaders send may be taken: they have half of the reserve.

        Where all disks fill alike, a leader refuses events before its followers do, and what it has
        taken is committed: a new log start, which frees space, stands behind that in its log.
        """
        return not self._is_write_refused and not 0 <= self.free_bytes < self._reserve_bytes // 2

    def write_ended(self, *, refused: bool) -> None:
        """The journal's last write found the disk full, or did not."""
        if refused != self._is_write_refused:
            self._set(refused=refused, low=self._is_low)

    async def watch(self) -> None:
        """Look at free space for ever; behind short works, as the disk fills while others wait."""
        while True:
            free = await self._workers.submit(Lane.COMPACTION, FreeBytes(self._files))
            self.free_bytes = free
            low = free < self._reserve_bytes
            if low != self._is_low:
                self._set(refused=self._is_write_refused, low=low)
            await asyncio.sleep(CLOSE_LOOK_S if free < 2 * self._reserve_bytes else LOOK_S)

    def _set(self, *, refused: bool, low: bool) -> None:
        before = self.has_room
        self._is_write_refused = refused
        self._is_low = low
        if self.has_room != before:
            self._changed(self.has_room)
