"""Long loops on the event loop, in turns: events are not to wait for a page of a thousand rows.

Does not: use threads; what it loops over is the loop's own state.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable
from typing import TypeVar

ITEMS_OF_A_TURN = 64

T = TypeVar("T")


async def in_turns(items: Iterable[T], *, each: int = ITEMS_OF_A_TURN) -> AsyncIterator[T]:
    """Yield `items`; after every `each` of them others have a turn."""
    for at, item in enumerate(items):
        if at % each == each - 1:
            await asyncio.sleep(0)
        yield item
