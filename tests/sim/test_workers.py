import asyncio
from random import Random

import pytest

from trimaran.broker.ports import Lane
from trimaran.sim.disk import Disk
from trimaran.sim.files import SimFiles
from trimaran.sim.loop import SimLoop
from trimaran.sim.ports import SimChance, SimClock
from trimaran.sim.process import Death
from trimaran.sim.trace import EventLog
from trimaran.sim.workers import SimWorkers


class Call:
    """A piece of work made of a function."""

    def __init__(self, function):
        self.run = function


class Node:
    """One process with a disk and workers."""

    def __init__(self, seed=1):
        self.loop = SimLoop()
        self.disk = Disk("disk", Random(seed), EventLog(lambda: self.loop.now_s))
        self.process = self.loop.new_process("node", "node")
        self.files = SimFiles(self.disk, who="node")
        self.workers = SimWorkers(self.loop, self.process, self.files, Random(seed))

    def submit(self, function, lane=Lane.JOURNAL):
        return self.process.run(self.workers.submit, lane, Call(function))

    def sleep(self, seconds):
        self.loop.run_until_complete(asyncio.sleep(seconds))


@pytest.fixture
def node():
    made = Node()
    yield made
    made.loop.close()


def test_a_result_comes_after_a_latency_and_never_at_once(node):
    future = node.submit(lambda: 42)
    assert not future.done()
    node.sleep(1)

    assert future.result() == 42


def test_opening_batches_does_not_wait_for_the_disk(node):
    node.disk.conditions.slow_s = 2.0
    opened = [node.submit(lambda: 42, Lane.CODECS) for _ in range(20)]
    written = [node.submit(lambda: 42, Lane.SEGMENTS) for _ in range(20)]
    node.sleep(1)

    assert all(future.done() for future in opened)
    assert not all(future.done() for future in written)


def test_an_exception_comes_through_the_future(node):
    future = node.submit(lambda: 1 // 0)
    node.sleep(1)

    assert isinstance(future.exception(), ZeroDivisionError)


@pytest.mark.parametrize("seed", range(10))
def test_works_of_one_lane_run_and_end_in_order(seed):
    node = Node(seed)
    ran, ended = [], []
    for number in range(20):
        future = node.submit(lambda n=number: ran.append(n))
        future.add_done_callback(lambda _, n=number: ended.append(n))
    node.sleep(1)

    assert ran == ended == list(range(20))
    node.loop.close()


@pytest.mark.parametrize("seed", range(10))
def test_a_work_that_is_cancelled_before_its_turn_does_not_run(seed):
    node = Node(seed)
    ran = []
    futures = [node.submit(lambda n=number: ran.append(n)) for number in range(6)]
    for number in (2, 3, 5):
        futures[number].cancel()
    node.sleep(1)

    assert ran == [0, 1, 4]
    node.loop.close()


def test_lanes_do_not_wait_for_each_other(node):
    node.disk.conditions.slow_s = 10
    file = node.files.open("a", create=True)
    slow = [node.submit(file.sync) for _ in range(5)]
    node.disk.conditions.slow_s = 0
    quick = node.submit(lambda: 1, Lane.READS)

    async def wait_for_both():
        await quick
        pending = [future.done() for future in slow]
        await asyncio.gather(*slow)
        return pending

    assert node.loop.run_until_complete(wait_for_both()) == [False] * 5


def test_the_effect_happens_at_the_start_or_at_the_end():
    at_start = set()
    for seed in range(20):
        node = Node(seed)
        ran = []
        node.submit(lambda ran=ran: ran.append(1))
        at_start.add(bool(ran))
        node.sleep(1)
        assert ran == [1]
        node.loop.close()

    assert at_start == {False, True}


def test_a_kill_leaves_a_work_undone_or_done_or_done_in_part():
    outcomes = set()
    for seed in range(80):
        node = Node(seed)
        steps = []

        def work(node=node, steps=steps):
            for number in range(5):
                node.files.exists("a")
                steps.append(number)

        future = node.submit(work)
        node.process.die(Death.KILLED)
        node.sleep(1)
        assert not future.done()
        outcomes.add(len(steps))
        node.loop.close()

    assert outcomes == {0, 1, 2, 3, 4, 5}


def test_works_that_had_not_started_never_run_after_a_kill(node):
    ran = []
    for number in range(10):
        node.submit(lambda n=number: ran.append(n))
    node.process.die(Death.KILLED)
    node.sleep(1)

    assert len(ran) <= 1


def test_a_paused_process_gets_results_after_it_resumes(node):
    future = node.submit(lambda: 1)
    node.process.pause()
    node.sleep(5)
    assert not future.done()
    node.process.resume()
    node.sleep(1)

    assert future.result() == 1


def test_disk_calls_inside_a_work_are_no_blocking_calls(node):
    node.files.blocking_allowed = False
    node.submit(lambda: node.files.exists("a"))
    node.sleep(1)
    assert node.files.blocked_calls == []

    node.files.exists("a")
    assert node.files.blocked_calls == ["exists a"]


def test_a_clock_jumps_and_drifts_on_its_own(node):
    right, wrong = SimClock(node.loop), SimClock(node.loop, offset_ms=500, drift=0.01)
    assert wrong.wall_ms() - right.wall_ms() == 500
    node.sleep(100)
    assert wrong.wall_ms() - right.wall_ms() == 1500
    wrong.jump(-3_600_000)

    assert wrong.wall_ms() - right.wall_ms() == 1500 - 3_600_000


def test_chance_is_equal_for_equal_seeds():
    def draw(seed):
        chance = SimChance(Random(seed))
        return chance.bytes(8), chance.uniform(1, 2)

    assert draw("a") == draw("a")
    assert draw("a") != draw("b")
    assert 1 <= draw("a")[1] <= 2
