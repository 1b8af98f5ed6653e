"""The real clock and the real chance.

Does not: give the time that decisions are made by (`loop.time()`) or anything that must repeat.
"""

import os
import random
import time


class RealClock:
    """Wall time of this machine."""

    def wall_ms(self) -> int:
        """Return milliseconds since the Unix epoch; jumps when somebody sets the clock."""
        return time.time_ns() // 1_000_000

    precise_s = staticmethod(time.perf_counter)
    """Monotonic seconds of full resolution, with no call of ours on the way."""


class RealChance:
    """Chance from the operating system, so that no two nodes share a sequence."""

    def __init__(self) -> None:
        self._random = random.SystemRandom()

    def uniform(self, low: float, high: float) -> float:
        """Return a float in [low, high]."""
        assert low <= high
        return self._random.uniform(low, high)

    def bytes(self, count: int) -> bytes:
        """Return `count` random bytes, fit for ids."""
        assert count >= 0
        return os.urandom(count)
