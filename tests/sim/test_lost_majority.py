"""Two of three disks are gone: nothing goes on by itself, and what people may do about it."""

import asyncio

import pytest
from tests.sim.test_damage import STEP_S, Bench

from trimaran.ids import METADATA_GROUP

pytestmark = pytest.mark.sim


async def two_new_disks(bench: Bench) -> None:
    """Stop everything, put new disks into all nodes but the first, start everything."""
    for node in bench.nodes:
        bench.cluster.kill(node)
    for node in bench.nodes[1:]:
        bench.cluster.replace_disk(node)
    for node in bench.nodes:
        bench.cluster.restart(node)


def test_new_disks_never_found_the_cluster_again():
    """Two of three disks are replaced: they are a majority, but know nothing."""

    async def scenario(bench: Bench) -> None:
        await bench.start()
        await bench.produce(8)
        await two_new_disks(bench)

        bench.cluster.kill(bench.nodes[0])
        for _ in range(200):
            await asyncio.sleep(STEP_S)
            assert bench.leader(METADATA_GROUP) is None

        bench.cluster.restart(bench.nodes[0])
        for _ in range(200):
            await asyncio.sleep(STEP_S)
            assert bench.leader(METADATA_GROUP) is None, "its log may lack what was acknowledged"
        assert bench.known(bench.nodes[0]) == len(bench.nodes)

    Bench().run(scenario)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_forced_recovery_goes_on_with_what_the_one_disk_holds_that_is_left(seed):
    async def scenario(bench: Bench) -> None:
        await bench.start()
        await bench.produce(30)
        await bench.same_everywhere()
        await two_new_disks(bench)
        await bench.until(lambda: bench.known(bench.nodes[0]) == len(bench.nodes))

        bench.cluster.forced_recovery = True
        for node in bench.nodes:
            bench.cluster.kill(node)
            bench.cluster.restart(node)
        await bench.same_everywhere()

        bench.cluster.forced_recovery = False
        for node in bench.nodes:
            await bench.restarted(node)
            await bench.same_everywhere()
        bench.cluster.kill(bench.nodes[0])
        await bench.produce(5)
        await bench.restarted(bench.nodes[0])
        await bench.same_everywhere()
        assert bench.cluster.failures == []

    Bench(seed=seed).run(scenario)


def test_forced_recovery_waits_for_every_voter():
    """A disk that is only away must not come back with another truth."""

    async def scenario(bench: Bench) -> None:
        await bench.start()
        await bench.produce(8)
        for node in bench.nodes:
            bench.cluster.kill(node)
        bench.cluster.replace_disk(bench.nodes[1])
        bench.cluster.forced_recovery = True
        bench.cluster.restart(bench.nodes[0])
        bench.cluster.restart(bench.nodes[1])

        for _ in range(200):
            await asyncio.sleep(STEP_S)
            assert bench.leader() is None

        bench.cluster.restart(bench.nodes[2])
        await bench.same_everywhere()

    Bench().run(scenario)
