"""What is asked for often and looked up at most once in a while.

Does not: look anything up.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar, cast

KEPT_MAX = 1_000

T = TypeVar("T")


class Recently:
    """Answers by key, each for `age_s` seconds."""

    def __init__(self, *, age_s: float, now: Callable[[], float] = time.monotonic) -> None:
        self._age_s = age_s
        self._now = now
        self._found: dict[str, tuple[float, object]] = {}

    def get(self, key: str) -> object | None:
        """Return what was kept under `key`, None if it is too old."""
        at, value = self._found.get(key, (float("-inf"), None))
        return value if self._now() - at <= self._age_s else None

    def put(self, key: str, value: object) -> None:
        """Keep `value` for a while."""
        if len(self._found) >= KEPT_MAX:
            self._found.clear()
        self._found[key] = (self._now(), value)


class Shared:
    """The same for work: many askers at a time share one look, and its answer for a while."""

    def __init__(self) -> None:
        self._found: dict[str, tuple[float, object]] = {}
        self._looking: dict[str, asyncio.Task[object]] = {}

    async def get(self, key: str, age_s: float, look: Callable[[], Awaitable[T]]) -> T:
        """Return what `look` returned not longer than `age_s` ago; look if need be.

        Raises:
            Exception: what `look` raises.
        """
        at, value = self._found.get(key, (float("-inf"), None))
        if time.monotonic() - at <= age_s:
            return cast("T", value)  # a key has one type
        task = self._looking.get(key)
        if task is None:
            task = asyncio.get_running_loop().create_task(self._look(key, look))
            self._looking[key] = task
            task.add_done_callback(lambda _: self._looking.pop(key, None))
        return cast("T", await asyncio.shield(task))

    async def _look(self, key: str, look: Callable[[], Awaitable[object]]) -> object:
        value = await look()
        if len(self._found) >= KEPT_MAX:
            self._found.clear()
        self._found[key] = (time.monotonic(), value)
        return value
