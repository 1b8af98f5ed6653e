"""How late the event loop runs its timers: the node's own lateness, as a metric.

A timer every INTERVAL_S compares when it ran with when it was due. All deadlines of elections and
heartbeats run on the same loop, so this is how wrong they can be.
Does not: find who held the loop (the log line gives the time, the profiler the name).
"""

import asyncio
import logging
from dataclasses import dataclass

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

    def __init__(self) -> None:
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

    def _arm(self, loop: asyncio.AbstractEventLoop) -> None:
        self._due = loop.time() + INTERVAL_S
        self._handle = loop.call_at(self._due, self._measure, loop)

    def _measure(self, loop: asyncio.AbstractEventLoop) -> None:
        late_s = max(0.0, loop.time() - self._due)
        self._samples += 1
        self._last_s = late_s
        self._sum_s += late_s
        self._max_s = max(self._max_s, late_s)
        if late_s >= WARN_S:
            log.warning("event loop was %.0f ms late", late_s * 1000)
        self._arm(loop)
