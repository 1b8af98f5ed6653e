"""Whether this node gets too little processor time for its silences, and others', to mean much.

Beside busy processes a loop that needs a tenth of a core may wait for half a second before it runs:
then a leader is silent for longer than any time-out for a dead one, again and again, and each
election stops a stream that would have gone on by itself. Such a machine shows before: ticks are
late by tens of milliseconds about once a second. One long stall (a frozen process) is not that.

Does not: measure ticks, or decide what follows (`heartbeats`).
"""

import logging
from collections import deque
from typing import Final

log = logging.getLogger(__name__)

LATE_S: Final = 0.02
"""A tick so late is one of those that count,"""
SETTLED_S: Final = 3.0
"""but for those of a node that started so short a time ago: it is late because it loads."""
COUNT: Final = 3
WINDOW_S: Final = 10.0
"""So many of them within so long: the node is starved,"""
OVER_S: Final = 30.0
"""until no tick was late for so long: busy machines have calm moments."""
PATIENCE_S: Final = 0.8
"""By how much longer a starved node may be silent, and a node that judges while it is starved."""


class Starvation:
    """The late ticks of one node."""

    __slots__ = ("_begun_s", "_holds", "_late_at_s")

    def __init__(self, now_s: float) -> None:
        """Begin as one that runs on time."""
        self._begun_s = now_s
        self._late_at_s: deque[float] = deque(maxlen=COUNT)
        self._holds = False

    def ticked(self, late_s: float, now_s: float) -> None:
        """A tick ran `late_s` after it was due."""
        if late_s >= LATE_S and now_s - self._begun_s > SETTLED_S:
            self._late_at_s.append(now_s)
            if now_s - self._late_at_s[0] < WINDOW_S and len(self._late_at_s) == COUNT:
                self._begin()
        if self._holds and now_s - self._late_at_s[-1] > OVER_S:
            self._holds = False
            log.info("processor time is there again")

    def _begin(self) -> None:
        if not self._holds:
            self._holds = True
            log.warning(
                "processor time is short: %d ticks were %.0f ms late effect=a node counts as "
                "silent %.1f s later than usual do=give the nodes a share of their own",
                *(COUNT, LATE_S * 1000, PATIENCE_S),
            )

    @property
    def holds(self) -> bool:
        """Whether the node is starved."""
        return self._holds
