"""The journal's lane without Python, if this installation has it.

`_lane.c` is compiled when the package is installed and a C compiler with Python's headers is there
(`build_hook.py`); Linux only. Without it, or with one that was left over from other sources, `LANE`
is None and a Python thread does the same (`workers`), which costs a round some 0.5 ms under load:
each time it wants the interpreter it waits for the event loop to give it up.

Does not: decide what a failure means.
"""

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

from trimaran.broker.ports import Outcome, WriteWork
from trimaran.storage.files import (
    BUFFERS_PER_WRITE_MAX,
    PAGE_BYTES,
    PlainWrite,
    RealFile,
    sync_failed,
)

if TYPE_CHECKING:
    from trimaran.server._lane import Lane

Unwritten: TypeAlias = Callable[[WriteWork, "asyncio.Future[None]"], None]
INTERFACE = 1
"""What this package's Python side expects of `_lane.INTERFACE`."""


def load() -> "type[Lane] | None":
    """Return the compiled lane, None if there is none that fits."""
    try:
        from trimaran.server import _lane
    except ImportError:
        return None
    return _lane.Lane if _lane.INTERFACE == INTERFACE else None


LANE = load()


class NativeLane:
    """One compiled thread and the write that it has."""

    def __init__(self, loop: asyncio.AbstractEventLoop, *, unwritten: Unwritten) -> None:
        """Start the thread. `unwritten` gets a work whose write failed, and its future.

        Raises:
            OSError: no thread, or no descriptor, is to be had.
        """
        assert LANE is not None, "this installation has it"
        self._loop = loop
        self._unwritten = unwritten
        self._lane = LANE()
        self._work: WriteWork | None = None
        self._write: PlainWrite | None = None
        self._future: asyncio.Future[None] = loop.create_future()
        loop.add_reader(self._lane.fileno(), self._take)

    def take_up(self, work: WriteWork, write: PlainWrite) -> "asyncio.Future[None]":
        """Write and sync; the future ends on the loop."""
        assert self._work is None, "one write at a time"
        assert isinstance(write.file, RealFile)
        buffers = write.buffers
        if len(buffers) > BUFFERS_PER_WRITE_MAX:
            buffers = [b"".join(buffers)]
        before = write.uncache_from % PAGE_BYTES  # a part of a page stays
        self._lane.submit(
            write.file.descriptor,
            write.position,
            buffers,
            write.uncache_from - before,
            write.uncache_bytes + before if write.uncache_bytes else 0,
        )
        self._work, self._write = work, write
        self._future = self._loop.create_future()
        return self._future

    def close(self, timeout_s: float) -> None:
        """Let a write under way end, then the thread. Blocks; the result is dropped."""
        if not self._loop.is_closed():
            self._loop.remove_reader(self._lane.fileno())
        self._lane.close(timeout_s)

    def _take(self) -> None:
        taken = self._lane.take()
        if taken is None:
            return
        code, error, begun_s, ended_s = taken
        work, write, future = self._work, self._write, self._future
        assert work is not None
        assert write is not None
        self._work = self._write = None
        outcome = Outcome(code)
        work.plain_ended(outcome, begun_s, ended_s)
        if outcome is Outcome.UNWRITTEN:
            self._unwritten(work, future)
        elif future.cancelled():
            return
        elif outcome is Outcome.UNSYNCED:
            future.set_exception(sync_failed(write.file.path, error))
        else:
            future.set_result(None)
