"""Who is in sync, as every node tells it: not before it holds what is committed, whoever leads."""

import asyncio

import pytest
from tests.sim.test_damage import GROUP, Bench

pytestmark = pytest.mark.sim

LOOK_S = 0.001


def behind(node):
    return node.broker.services.behind(GROUP)


def match(bench, node):
    return bench.leader() and bench.replica(bench.leader()).raft.follower_match(node.number)


async def comes_into_sync_holding(bench, victim, end):
    """Whether all others call `victim` in sync in the end, and none while it lacks entry `end`."""
    others = [node for node in bench.nodes if node is not victim]
    for _ in range(60_000):
        told = [victim.number not in behind(node) for node in others]
        held = bench.replica(victim).raft.synced_index if bench.replica(victim) else 0
        if any(told) and held < end:
            return False
        if all(told):
            return True
        await asyncio.sleep(LOOK_S)
    return False


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_node_that_was_down_is_in_sync_once_it_holds_what_it_missed(seed):
    async def scenario(bench):
        await bench.start()
        await bench.produce(3)
        victim = bench.follower()
        bench.cluster.kill(victim)
        others = [node for node in bench.nodes if node is not victim]
        await bench.until(lambda: all(behind(node) == (victim.number,) for node in others))
        await bench.produce(40)
        end = bench.replica(bench.leader()).raft.commit_index

        bench.cluster.start(victim)

        assert await comes_into_sync_holding(bench, victim, end), bench.story()
        await bench.until(lambda: behind(victim) == ())

    Bench(seed=seed).run(scenario)


def test_an_election_leaves_the_one_who_was_behind_behind():
    async def scenario(bench):
        await bench.start()
        await bench.produce(3)
        leader, victim = bench.leader(), bench.follower()
        (third,) = [node for node in bench.nodes if node not in (leader, victim)]
        names = [leader.name, third.name]
        bench.cluster.network.cut([victim.name], names)
        await bench.until(lambda: behind(third) == (victim.number,))
        await bench.produce(3)

        leader.broker._consensus.handover.hand_over(bench.replica(leader), third.number)
        await bench.until(lambda: bench.leader() is third)

        assert behind(third) == (victim.number,)
        await bench.until(lambda: behind(leader) == (victim.number,))
        end = bench.replica(third).raft.commit_index
        bench.cluster.network.mend([victim.name], names)
        assert await comes_into_sync_holding(bench, victim, end), bench.story()

    Bench(seed=4).run(scenario)


def test_a_node_whose_disk_hangs_is_heard_of_and_yet_not_in_sync():
    async def scenario(bench):
        await bench.start()
        await bench.produce(3)
        victim = bench.follower()
        victim.disk.conditions.slow_s = 8.0
        await bench.produce(3)
        others = [node for node in bench.nodes if node is not victim]

        await bench.until(lambda: all(behind(node) == (victim.number,) for node in others))

        assert all(node.broker._consensus.heartbeats.is_alive(victim.number) for node in others)
        assert match(bench, victim) < bench.replica(bench.leader()).raft.commit_index
        await bench.until(lambda: all(behind(node) == () for node in others), limit_s=120.0)

    Bench(seed=5).run(scenario)


def test_a_node_that_was_cut_off_learns_who_came_into_sync_meanwhile():
    """It is no member of the group, and has forgotten who leads: what it was told is void."""

    async def scenario(bench):
        await bench.start(replicas=3)
        await bench.produce(3)
        leader, victim, outsider = bench.leader(), bench.follower(), bench.nodes[3]
        victim.disk.conditions.slow_s = 8.0
        await bench.produce(3)
        await bench.until(lambda: behind(outsider) == (victim.number,))
        others = [node.name for node in bench.nodes[:3]]
        bench.cluster.network.cut([outsider.name], others)
        victim.disk.conditions.slow_s = 0.0
        await bench.until(lambda: behind(leader) == (), limit_s=120.0)
        assert outsider.broker.services.leader_hint(GROUP)[0] is None
        bench.cluster.network.mend([outsider.name], others)

        await bench.until(lambda: outsider.broker.services.leader_hint(GROUP)[0] == leader.number)
        await bench.until(lambda: behind(outsider) == ())

    Bench(seed=6, nodes=4).run(scenario)
