"""Time-outs for many thousands of waiting requests, behind one timer of the event loop.

Nearly every deadline of a Produce is withdrawn long before it falls due. A loop timer for each
would cost a system structure and leave cancelled handles in the loop's own heap; here a deadline is
a slot in one heap, withdrawing it clears the slot, and the loop has at most one timer for all.

Invariants: the loop's timer is never later than the earliest live deadline; at most half of a big
heap is withdrawn slots, so memory follows the number of requests that really wait.
Does not: know what is waited for, nor use wall time.
"""

import asyncio
import heapq
from collections.abc import Callable

WITHDRAWN_KEPT_MAX = 1024
"""Withdrawn slots that a heap may hold before it is worth sweeping."""


class Deadline:
    """One time-out; `callback` runs once, on the loop, unless withdrawn before."""

    __slots__ = ("callback", "when_s")

    def __init__(self, *, when_s: float, callback: Callable[[], object]) -> None:
        self.when_s = when_s
        self.callback: Callable[[], object] | None = callback

    def take(self) -> Callable[[], object] | None:
        """Return the callback, once; None if it was taken or withdrawn."""
        callback, self.callback = self.callback, None
        return callback

    def __lt__(self, other: "Deadline") -> bool:
        """Order by time, for the heap."""
        return self.when_s < other.when_s


class Deadlines:
    """All deadlines of one node's client requests."""

    __slots__ = ("_heap", "_live_count", "_loop", "_timer", "_timer_when_s")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._heap: list[Deadline] = []
        self._live_count = 0
        self._timer: asyncio.TimerHandle | None = None
        self._timer_when_s = float("inf")

    def __len__(self) -> int:
        """Return how many deadlines are live."""
        return self._live_count

    def now_s(self) -> float:
        """Return loop time, in which deadlines are counted."""
        return self._loop.time()

    def soon(self, callback: Callable[[], object]) -> None:
        """Run `callback` in the next loop turn; cannot be withdrawn."""
        self._loop.call_soon(callback)

    def after(self, delay_s: float, callback: Callable[[], object]) -> Deadline:
        """Run `callback` in `delay_s` seconds; not 0, which may run in this very turn."""
        assert delay_s > 0
        return self.at(self._loop.time() + delay_s, callback)

    def at(self, when_s: float, callback: Callable[[], object]) -> Deadline:
        """Run `callback` at loop time `when_s`."""
        deadline = Deadline(when_s=when_s, callback=callback)
        heapq.heappush(self._heap, deadline)
        self._live_count += 1
        if when_s < self._timer_when_s:
            self._set_timer(when_s)
        assert self._timer is not None
        return deadline

    def withdraw(self, deadline: Deadline) -> None:
        """Forget `deadline`; fine if it has fired or was withdrawn already."""
        if deadline.take() is None:
            return
        self._live_count -= 1
        assert self._live_count >= 0
        withdrawn_count = len(self._heap) - self._live_count
        if withdrawn_count > WITHDRAWN_KEPT_MAX and withdrawn_count > self._live_count:
            self._heap = [kept for kept in self._heap if kept.callback is not None]
            heapq.heapify(self._heap)
            assert len(self._heap) == self._live_count

    def close(self) -> None:
        """Forget all deadlines and stop the timer."""
        if self._timer is not None:
            self._timer.cancel()
        for deadline in self._heap:
            deadline.callback = None
        self._heap.clear()
        self._live_count = 0
        self._timer = None
        self._timer_when_s = float("inf")

    def _set_timer(self, when_s: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_at(when_s, self._fire)
        self._timer_when_s = when_s

    def _fire(self) -> None:
        self._timer = None
        self._timer_when_s = float("inf")
        now_s = self._loop.time()
        try:
            self._run_due(now_s)
        finally:  # even if a callback broke an invariant of ours: the others still wait
            if self._heap and self._heap[0].when_s < self._timer_when_s:
                self._set_timer(self._heap[0].when_s)

    def _run_due(self, now_s: float) -> None:
        while self._heap and (self._heap[0].callback is None or self._heap[0].when_s <= now_s):
            callback = heapq.heappop(self._heap).take()
            if callback is not None:
                self._live_count -= 1
                callback()
