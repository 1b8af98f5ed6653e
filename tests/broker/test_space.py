"""Free space is looked at however long reads of segments take."""

import asyncio
from types import SimpleNamespace

import pytest

from trimaran.broker.ports import Lane
from trimaran.broker.space import Space


class Workers:
    """Reads never end; other works end at once."""

    def submit(self, lane, work):
        future = asyncio.get_running_loop().create_future()
        if lane is not Lane.READS:
            future.set_result(work.run())
        return future


@pytest.mark.asyncio
async def test_a_disk_that_fills_behind_a_long_search_is_noticed():
    seen = asyncio.Queue()
    free_bytes = iter([500, 50])
    space = Space(
        files=SimpleNamespace(free_bytes=lambda: next(free_bytes, 50)),
        workers=Workers(),
        reserve_bytes=400,
        changed=seen.put_nowait,
    )
    watching = asyncio.ensure_future(space.watch())
    try:
        assert await asyncio.wait_for(seen.get(), 5) is False
    finally:
        watching.cancel()
    assert space.free_bytes == 50
    assert not space.may_follow
