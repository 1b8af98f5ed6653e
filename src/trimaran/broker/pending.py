"""A batch on its way: what Produce gets from a partition and waits for.

Invariant: done once, and whoever asked to be told is told then.
Does not: know what it waits for (partition).
"""

from collections.abc import Callable

from trimaran.errors import ErrorCode, RequestError
from trimaran.ids import Index, Offset, Term


class PendingAppend:
    """A batch that was appended and waits for what its acks asked for."""

    __slots__ = ("_callback", "base_offset", "done", "error", "index", "log_append_time_ms", "term")

    refusal: RequestError | None = None
    """Never: what is refused is not appended."""

    def __init__(self, base_offset: Offset, index: Index, term: Term) -> None:
        self.base_offset = base_offset
        self.index = index
        self.term = term
        self.log_append_time_ms = -1
        self.done = False
        self.error: ErrorCode | None = None
        self._callback: Callable[[], None] | None = None

    def on_done(self, callback: Callable[[], None]) -> None:
        """Call `callback` once when `done` turns true."""
        assert not self.done
        assert self._callback is None
        self._callback = callback

    def finish(self, error: ErrorCode | None) -> None:
        """Settle the outcome."""
        assert not self.done
        self.done = True
        self.error = error
        callback, self._callback = self._callback, None  # kept, it would keep the whole request
        if callback is not None:
            callback()
