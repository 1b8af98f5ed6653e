"""Threads by lane: order, results, failures, and what a round trip costs."""

import asyncio
import threading
import time
from dataclasses import dataclass, field

import pytest
import uvloop

from trimaran.broker.ports import Lane
from trimaran.errors import StorageError
from trimaran.server.workers import RealWorkers


@dataclass
class Note:
    seen: list
    value: object
    gate: threading.Event | None = None

    def run(self):
        if self.gate is not None:
            assert self.gate.wait(5)
        self.seen.append((self.value, threading.current_thread().name))
        return self.value


@dataclass
class Broken:
    error: Exception = field(default_factory=lambda: StorageError("no disk"))

    def run(self):
        raise self.error


@pytest.fixture
def workers_of():
    made = []

    def make(loop):
        made.append(RealWorkers(loop))
        return made[-1]

    yield make
    for workers in made:
        workers.close()


@pytest.mark.asyncio
async def test_works_of_a_lane_run_in_order_on_its_own_thread(workers_of):
    workers = workers_of(asyncio.get_running_loop())
    seen = []
    futures = [workers.submit(Lane.JOURNAL, Note(seen, number)) for number in range(200)]
    assert await asyncio.gather(*futures) == list(range(200))
    assert seen == [(number, "trimaran-journal") for number in range(200)]


@pytest.mark.asyncio
async def test_a_busy_lane_does_not_hold_another(workers_of):
    workers = workers_of(asyncio.get_running_loop())
    gate = threading.Event()
    slow = workers.submit(Lane.SEGMENTS, Note([], "slow", gate))
    assert await asyncio.wait_for(workers.submit(Lane.JOURNAL, Note([], "fast")), 5) == "fast"
    assert not slow.done()
    gate.set()
    assert await asyncio.wait_for(slow, 5) == "slow"


@pytest.mark.asyncio
async def test_a_failure_reaches_who_asked_and_the_lane_goes_on(workers_of):
    workers = workers_of(asyncio.get_running_loop())
    with pytest.raises(StorageError, match="no disk"):
        await workers.submit(Lane.JOURNAL, Broken())
    assert await workers.submit(Lane.JOURNAL, Note([], 1)) == 1


@pytest.mark.asyncio
async def test_a_cancelled_wait_does_not_disturb_the_others(workers_of):
    workers = workers_of(asyncio.get_running_loop())
    gate = threading.Event()
    given_up = workers.submit(Lane.JOURNAL, Note([], "x", gate))
    waited_for = workers.submit(Lane.JOURNAL, Note([], "y"))
    given_up.cancel()
    gate.set()
    assert await asyncio.wait_for(waited_for, 5) == "y"


@pytest.mark.asyncio
async def test_a_work_that_is_cancelled_before_its_turn_does_not_run(workers_of):
    workers = workers_of(asyncio.get_running_loop())
    gate, seen = threading.Event(), []
    workers.submit(Lane.READS, Note(seen, "first", gate))
    for number in range(100):
        workers.submit(Lane.READS, Note(seen, number)).cancel()
    last = workers.submit(Lane.READS, Note(seen, "last"))
    gate.set()
    assert await asyncio.wait_for(last, 5) == "last"
    assert [value for value, _ in seen] == ["first", "last"]


def test_closing_finishes_what_was_submitted():
    loop = asyncio.new_event_loop()
    workers = RealWorkers(loop)
    seen = []
    loop.run_until_complete(submit_all(workers, seen))
    workers.close()
    loop.close()
    assert [value for value, _ in seen] == list(range(50))


async def submit_all(workers, seen):
    for number in range(50):
        workers.submit(Lane.READS, Note(seen, number))


def test_many_works_share_their_way_back():
    async def cost_us(count):
        workers = RealWorkers(asyncio.get_running_loop())
        try:
            begin = time.perf_counter()
            works = [workers.submit(Lane.JOURNAL, Note([], 0)) for _ in range(count)]
            await asyncio.gather(*works)
            return (time.perf_counter() - begin) / count * 1e6
        finally:
            workers.close()

    # Alone about 3 us; the bound only catches a wake-up of the loop for each result.
    assert min(uvloop.run(cost_us(2_000)) for _ in range(3)) < 60
