"""Where a batch's time goes: four stages that add up."""

import asyncio
from types import SimpleNamespace

import pytest

from trimaran.broker.counters import Counters
from trimaran.broker.produce_timing import GIVEN_UP_S, ProduceTiming

READY = SimpleNamespace(entries=["entry"])


class Bench:
    def __init__(self):
        self.now_s = 50.0
        self.counters = Counters()
        self.timing = ProduceTiming(self.counters, lambda: self.now_s)
        self.replica = SimpleNamespace(
            applied=6,
            removed=False,
            raft=SimpleNamespace(is_leader=True, synced_index=6, log=SimpleNamespace(last_index=7)),
        )

    def wait(self, ms):
        self.now_s += ms / 1000

    def begin(self):
        self.timing.proposed(self.replica)
        self.wait(1)
        self.timing.handed_out(READY)
        self.wait(1)
        self.timing.closed(self.now_s)

    def sync(self):
        self.replica.raft.synced_index = 7
        self.timing.synced(self.now_s)

    async def commit(self, answer_ms=0.5):
        self.replica.applied = 7
        self.timing.handled(self.replica)
        self.wait(answer_ms)
        await asyncio.sleep(0)

    def stages_ms(self):
        counters = self.counters
        stages = (counters.queue, counters.disk, counters.network, counters.answer)
        assert {stage.count for stage in stages} == {1}
        assert sum(stage.total for stage in stages) == pytest.approx(counters.produce.total)
        return [round(stage.total * 1000, 3) for stage in stages]


@pytest.fixture
def bench():
    return Bench()


@pytest.mark.asyncio
async def test_the_own_disk_comes_first_then_what_followers_add(bench):
    bench.begin()
    bench.wait(3)
    bench.sync()
    bench.wait(4)
    await bench.commit()

    assert bench.stages_ms() == [2, 3, 4, 0.5]
    assert bench.counters.replication.total == pytest.approx(0.008)
    assert bench.timing.replica is None


@pytest.mark.asyncio
async def test_what_a_majority_of_others_held_first_did_not_wait_for_the_own_disk(bench):
    bench.begin()
    bench.wait(5)
    await bench.commit()

    assert bench.stages_ms() == [2, 0, 5, 0.5]


@pytest.mark.asyncio
async def test_without_followers_there_is_no_network(bench):
    bench.begin()
    bench.wait(3)
    bench.sync()
    await bench.commit()

    assert bench.stages_ms() == [2, 3, 0, 0.5]


@pytest.mark.asyncio
async def test_a_commit_before_the_round_is_closed_ends_the_wait_for_it(bench):
    bench.timing.proposed(bench.replica)
    bench.timing.handed_out(READY)
    bench.wait(6)
    await bench.commit()

    assert bench.stages_ms() == [6, 0, 0, 0.5]


@pytest.mark.asyncio
async def test_earlier_syncs_and_commits_are_not_those_of_the_batch(bench):
    bench.begin()
    bench.timing.synced(bench.now_s)
    bench.timing.handled(bench.replica)
    await asyncio.sleep(0)
    assert bench.counters.produce.count == 0
    bench.wait(1)
    bench.timing.closed(bench.now_s)  # a later round
    bench.wait(2)
    bench.sync()
    await bench.commit()

    assert bench.stages_ms() == [2, 3, 0, 0.5]


@pytest.mark.asyncio
@pytest.mark.parametrize("loss", ["deposed", "removed", "waits too long"])
async def test_what_will_not_be_committed_here_is_let_go_of(bench, loss):
    bench.begin()
    bench.timing.check()
    assert bench.timing.replica is bench.replica
    bench.replica.raft.is_leader = loss != "deposed"
    bench.replica.removed = loss == "removed"
    bench.wait(GIVEN_UP_S * 1_001 if loss == "waits too long" else 0)
    bench.timing.check()

    assert bench.timing.replica is None
    assert bench.counters.produce.count == 0


@pytest.mark.asyncio
async def test_a_batch_committed_under_another_leader_is_not_counted(bench):
    bench.begin()
    bench.replica.raft.is_leader = False
    await bench.commit()

    assert bench.timing.replica is None
    assert bench.counters.produce.count == 0
