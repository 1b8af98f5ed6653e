"""Members that start over from another's files: what they had of another log never comes back."""

import pytest
from tests.sim.test_damage import Bench, drop_first_segments

from trimaran.records.building import build_batch
from trimaran.records.iteration import Record

pytestmark = pytest.mark.sim


async def append_alone(bench, leader, count):
    """Let a leader without followers journal `count` batches that nobody else will have."""
    before = bench.replica(leader).raft.synced_index
    for number in range(count):
        batch = memoryview(build_batch([Record(value=b"alone" * number, timestamp_ms=0)]))
        partition = bench.replica(leader).machine
        leader.process.run(lambda p=partition, b=batch: p.append(b, acks=1))
    await bench.until(lambda: bench.replica(leader).raft.synced_index >= before + count)
    return before + count


@pytest.mark.parametrize("appended", [0, 2])
def test_a_deposed_leader_that_started_over_starts_again(appended):
    async def scenario(bench):
        await bench.start()
        await bench.produce(3)
        deposed = bench.leader()
        others = [node for node in bench.nodes if node is not deposed]
        for node in others:
            bench.cluster.kill(node)
        end = await append_alone(bench, deposed, 90)
        bench.cluster.kill(deposed)
        for node in others:
            await bench.restarted(node)
        await bench.produce(80)
        await bench.flushed()
        assert bench.replica(bench.leader()).boundary.position.index < end
        for node in others:
            await drop_first_segments(bench, node)

        await bench.restarted(deposed)
        await bench.until(lambda: bench.installs(deposed) == 1)
        await bench.produce(appended)
        for _ in range(2):
            bench.cluster.kill(deposed)
            await bench.restarted(deposed)
            await bench.until(lambda: bench.replica(deposed) is not None)
            assert bench.replica(deposed).damage is None

        await bench.same_at_end()
        assert not bench.cluster.failures

    StartingOver(seed=1 + appended).run(scenario)


class StartingOver(Bench):
    """A cluster of which some log starts are above 1."""

    def installs(self, node):
        return node.broker.statistics().mending.installs

    async def same_at_end(self):
        """Wait until all replicas end alike."""
        leader = self.replica(self.leader())
        await self.until(
            lambda: all(
                self.replica(node).raft.log.last_index == leader.raft.log.last_index
                and self.replica(node).raft.log.last_term == leader.raft.log.last_term
                for node in self.nodes
            )
        )
