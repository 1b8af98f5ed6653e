"""Those who wait until certain nodes have answered a heartbeat sent after they asked.

Does not: send heartbeats, or know who is alive.
"""

import asyncio
from collections.abc import Callable

from trimaran.ids import NodeId

CONFIRM_S = 0.05
"""Longest wait for a node's sign of life before it is named as a leader."""


class _Confirmation:
    """Somebody waits until nodes have answered the heartbeats of these numbers."""

    __slots__ = ("done", "numbers")

    def __init__(self, numbers: dict[NodeId, int], done: Callable[[], None]) -> None:
        self.numbers = numbers
        self.done = done


class Confirmations:
    """All who wait."""

    __slots__ = ("_loop", "_waiting")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        """Nobody waits."""
        self._loop = loop
        self._waiting: list[_Confirmation] = []

    def wait(self, numbers: dict[NodeId, int], done: Callable[[], None]) -> None:
        """Call `done` when all nodes answered their heartbeat or a later one, or after CONFIRM_S.

        At once if there is nobody to wait for.
        """
        if not numbers:
            done()
            return
        confirmation = _Confirmation(numbers, done)
        self._waiting.append(confirmation)
        self._loop.call_later(CONFIRM_S, self._over, confirmation)

    def heard(self, node: NodeId, number: int) -> None:
        """`node` answered heartbeat `number`, or is gone (a number above all)."""
        for confirmation in list(self._waiting):
            if confirmation.numbers.get(node, number + 1) <= number:
                del confirmation.numbers[node]
                if not confirmation.numbers:
                    self._over(confirmation)

    def _over(self, confirmation: _Confirmation) -> None:
        if confirmation in self._waiting:
            self._waiting.remove(confirmation)
            confirmation.done()
