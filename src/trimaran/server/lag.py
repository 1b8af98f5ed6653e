"""How late the event loop runs its timers: the node's own lateness, as a metric.

A timer every INTERVAL_S compares when it ran with when it was due. All deadlines of elections and
heartbeats run on the same loop, so this is how wrong they can be.
Does not: find who held the loop (the log line gives the time, the profiler the name).
"""

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

from trimaran.broker.counters import SECONDS, Histogram

INTERVAL_S = 0.05
WARN_S = 0.1
"""Beyond this the shortest election time-out (150 ms) is near."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class LagStatistics:
    """Lateness of the loop since the start, in milliseconds."""

    samples: int
    last_ms: float
    mean_ms: float
    max_ms: float


class LoopLag:
    """Measures the running loop from `start` to `stop`."""

    def __init__(self, *, stalled: Callable[[float], None] | None = None) -> None:
        """`stalled` is called with the lateness in seconds when it is WARN_S or more."""
        self.histogram = Histogram(SECONDS)
        self.stalled = stalled
        self._recent_max_s = 0.0
        self._handle: asyncio.TimerHandle | None = None
        self._due = 0.0
        self._samples = 0
        self._last_s = 0.0
        self._sum_s = 0.0
        self._max_s = 0.0

    def start(self) -> None:
        """Begin measuring; needs a running loop."""
        assert self._handle is None
        self._arm(asyncio.get_running_loop())

    def stop(self) -> None:
        """End measuring; the figures stay."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def statistics(self) -> LagStatistics:
        """Return the figures so far."""
        mean_s = self._sum_s / self._samples if self._samples else 0.0
        return LagStatistics(
            samples=self._samples,
            last_ms=self._last_s * 1000,
            mean_ms=mean_s * 1000,
            max_ms=self._max_s * 1000,
        )

    def take_recent_max_s(self) -> float:
        """Return the highest lateness since this was last called."""
        recent_s, self._recent_max_s = self._recent_max_s, 0.0
        return recent_s

    def _arm(self, loop: asyncio.AbstractEventLoop) -> None:
        # Not loop.time(): uvloop's stands still within a turn and knows whole milliseconds only.
        self._due = time.perf_counter() + INTERVAL_S
        self._handle = loop.call_later(INTERVAL_S, self._measure, loop)

    def _measure(self, loop: asyncio.AbstractEventLoop) -> None:
        late_s = max(0.0, time.perf_counter() - self._due)
        self.histogram.add(late_s)
        self._recent_max_s = max(self._recent_max_s, late_s)
        self._samples += 1
        self._last_s = late_s
        self._sum_s += late_s
        self._max_s = max(self._max_s, late_s)
        if late_s >= WARN_S:
            log.warning("event loop was late late_ms=%.0f", late_s * 1000)
            if self.stalled is not None:
                self.stalled(late_s)
        self._arm(loop)
