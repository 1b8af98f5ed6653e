"""What is asked for often and looked up at most once in a while.

Does not: look anything up.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TypeVar, cast

KEPT_MAX = 1_000

T = TypeVar("T")


class Shared:
    """Answers by key: many askers at a time share one look, and its answer for a while.

    An answer is kept no longer than somebody wants it that old: some are megabytes.
    """

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
            task = asyncio.get_running_loop().create_task(self._look(key, age_s, look))
            self._looking[key] = task
            task.add_done_callback(partial(self._looked, key))
        return cast("T", await asyncio.shield(task))

    async def _look(self, key: str, age_s: float, look: Callable[[], Awaitable[object]]) -> object:
        value = await look()
        if len(self._found) >= KEPT_MAX:
            self._found.clear()
        found = self._found[key] = (time.monotonic(), value)
        asyncio.get_running_loop().call_later(max(0.0, age_s), self._forget, key, found)
        return value

    def _looked(self, key: str, task: "asyncio.Task[object]") -> None:
        self._looking.pop(key, None)
        if not task.cancelled():
            task.exception()  # whoever wanted to know it may be gone

    def _forget(self, key: str, found: tuple[float, object]) -> None:
        """Let an answer go, unless there is a newer one."""
        if self._found.get(key) is found:
            del self._found[key]
