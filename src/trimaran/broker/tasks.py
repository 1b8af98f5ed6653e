"""Tasks with a parent: nobody's exception is lost, nobody outlives the node.

Does not: restart anything. An exception that reaches here ends the process.
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any


class Tasks:
    """The node's background tasks."""

    def __init__(self, fail: Callable[[BaseException], None]) -> None:
        self._fail = fail
        self._running: dict[asyncio.Task[Any], None] = {}

    def spawn(self, work: Coroutine[Any, Any, Any], *, name: str) -> None:
        """Run `work` beside everything else; if it raises, the node fails with its exception."""
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._running[task] = None
        task.add_done_callback(self._done)

    def cancel_all(self) -> None:
        """Cancel every task that still runs."""
        for task in list(self._running):
            task.cancel()

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._running.pop(task, None)
        if task.cancelled():
            return
        error = task.exception()
        if error is not None:
            self._fail(error)
