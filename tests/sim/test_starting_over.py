"""Members that start over from another's files: what they had of another log never comes back."""

import pytest
from tests.sim.test_damage import Bench, drop_first_segments

from trimaran.ids import TopicId, group_id
from trimaran.metadata.commands import CreateTopic
from trimaran.records.building import build_batch
from trimaran.records.iteration import Record

pytestmark = pytest.mark.sim

OTHER_TOPIC = TopicId(b"a topic of peace")
OTHER = group_id(OTHER_TOPIC, 0)
ROOM_BYTES = 1 << 20


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


def staged_bytes(node):
    return sum(
        len(node.disk.file_node(path).content)
        for path in node.disk.file_paths()
        if path.startswith("staging/")
    )


@pytest.mark.parametrize("is_found_out_late", [False, True])
def test_a_group_without_room_stages_nothing_and_holds_up_no_other(is_found_out_late):
    async def scenario(bench):
        await bench.start()
        await bench.add_other()
        await bench.produce(60)
        await bench.flushed()
        victim = bench.follower()
        bench.cluster.kill(victim)
        bench.remove(victim, bench.files(victim, ".rows")[0])
        disk = victim.disk
        if not is_found_out_late:
            disk.conditions.capacity = disk.used_bytes() + 2 * ROOM_BYTES
        await bench.restarted(victim)
        if is_found_out_late:
            await bench.until(lambda: staged_bytes(victim) > ROOM_BYTES, step_s=0.001)
            disk.conditions.capacity = disk.used_bytes() + ROOM_BYTES
            await bench.until(lambda: staged_bytes(victim) == 0, limit_s=5, step_s=0.001)
        await bench.until(lambda: bench.follows(victim, OTHER))
        other = bench.replica(victim, OTHER)
        victim.process.run(lambda: victim.broker._consensus._start_over(other))
        await bench.until(lambda: bench.installs(victim) == 1)
        assert bench.replica(victim, OTHER) is not other

        assert staged_bytes(victim) == 0
        assert disk.free_bytes() > 0
        disk.conditions.capacity = None
        await bench.same_everywhere()
        assert bench.installs(victim) == 2

    StartingOver().run(scenario)


class StartingOver(Bench):
    """A cluster of which some log starts are above 1."""

    async def add_other(self):
        """Make a second topic, which stays empty."""
        everyone = tuple(node.number for node in self.nodes)
        command = CreateTopic(
            name="others", topic_id=OTHER_TOPIC, assignments=(everyone,), settings={}
        )
        first = self.nodes[0]
        controller = first.broker._controller
        await first.process.start(controller.execute(command, timeout_s=30.0))
        await self.until(lambda: self.leader(OTHER) is not None)

    def follows(self, node, group):
        replica = self.replica(node, group)
        return replica is not None and replica.raft.leader is not None

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
