"""A node that serves never waits for its disk on the loop, whatever is taken up meanwhile."""

import pytest
from tests.sim.test_damage import GROUP
from tests.sim.test_starting_over import StartingOver

from trimaran.ids import METADATA_GROUP

pytestmark = pytest.mark.sim


@pytest.mark.parametrize("group", [GROUP, METADATA_GROUP])
def test_a_group_that_starts_over_is_read_while_the_node_goes_on(group):
    async def scenario(bench):
        await bench.start()
        await bench.produce(60)
        await bench.flushed()
        await bench.until(
            lambda: all("/state/" in str(bench.files(n, "", group)) for n in bench.nodes)
        )
        follower = next(
            node
            for node in bench.nodes
            if node not in (bench.leader(), bench.leader(METADATA_GROUP))
        )
        before = bench.replica(follower, group)
        follower.files.blocked_calls.clear()

        follower.process.run(lambda: follower.broker._consensus._start_over(before))
        await bench.until(lambda: bench.installs(follower) == 1)
        await bench.until(lambda: bench.replica(follower, group) not in (before, None))

        await bench.same_everywhere()
        assert follower.files.blocked_calls == []

    StartingOver().run(scenario)
