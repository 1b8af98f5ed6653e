"""Wall time, chance, and how late the loop is."""

import asyncio
import time

import pytest

from trimaran.server.clock import RealChance, RealClock
from trimaran.server.lag import INTERVAL_S, LoopLag


def test_wall_time_is_milliseconds_since_the_epoch():
    before = time.time_ns() // 1_000_000
    now = RealClock().wall_ms()
    assert before <= now <= time.time_ns() // 1_000_000


def test_chance_stays_in_its_bounds_and_does_not_repeat():
    chance = RealChance()
    assert all(0.15 <= chance.uniform(0.15, 0.3) <= 0.3 for _ in range(1_000))
    assert len(chance.bytes(16)) == 16
    assert chance.bytes(16) != chance.bytes(16)


@pytest.mark.asyncio
async def test_a_held_loop_shows_as_lag_and_warns(caplog):
    lag = LoopLag()
    lag.start()
    held_s = INTERVAL_S + 0.15
    deadline = time.perf_counter() + held_s
    while time.perf_counter() < deadline:
        pass
    loop = asyncio.get_running_loop()
    measured = loop.create_future()
    loop.call_later(0.001, measured.set_result, None)  # due after the late timer
    await measured
    lag.stop()
    statistics = lag.statistics()
    assert statistics.max_ms >= 140
    assert statistics.mean_ms <= statistics.max_ms
    assert "event loop was" in caplog.text
