"""What broke others, scripted one by one: the scenarios that no other test plays by itself.

`tests/sim/scenarios.toml` is the table of all scenarios and who tests each.
"""

import asyncio
from copy import deepcopy

import pytest
from tests.sim import test_damage, test_retention

from trimaran.ids import METADATA_GROUP, TopicId, group_id
from trimaran.metadata.commands import CreateTopic, DeleteTopic
from trimaran.storage.segment import group_directory

pytestmark = pytest.mark.sim

HOUR_MS = 3_600_000
SECOND_LIFE = TopicId(b"the second topic")


def test_a_controller_with_a_damaged_image_deletes_nothing():
    async def scenario(bench):
        await bench.start()
        await bench.produce(3)

        def image_of(node):
            paths = bench.files(node, "", METADATA_GROUP)
            return [path for path in paths if "/state/image" in path]

        await bench.until(lambda: all(image_of(node) for node in bench.nodes))
        victim = bench.leader(METADATA_GROUP)
        bench.cluster.kill(victim)
        test_damage.flip(victim, image_of(victim)[0], 30)
        await bench.restarted(victim)
        await bench.until(lambda: bench.may_vote(victim, METADATA_GROUP))
        for node in bench.nodes:
            if bench.leader(METADATA_GROUP) is victim:
                break
            if node is not victim:  # whoever leads goes, until the mended one does
                bench.cluster.kill(node)
                await bench.until(lambda: bench.leader(METADATA_GROUP) is not None)
                await bench.restarted(node)

        await bench.produce(2)

        await bench.same_everywhere()
        assert bench.cluster.failures == []

    test_damage.Bench(seed=5).run(scenario)


@pytest.mark.parametrize("seed", [1, 2])
def test_a_disk_set_back_in_time_does_not_take_the_others_with_it(seed):
    async def scenario(bench):
        await bench.start()
        await bench.produce(8)
        await bench.flushed()
        victim = bench.follower()
        before = deepcopy((victim.disk.root, victim.disk.changes))
        await bench.produce(8)
        await bench.flushed()
        bench.cluster.kill(victim)
        victim.disk.root, victim.disk.changes = before
        leader = bench.leader()

        bench.cluster.kill(leader)  # two are left: one has all, one only what its old disk says
        await bench.restarted(victim)
        await bench.until(lambda: bench.leader() not in (None, leader))
        await bench.produce(1)
        await bench.restarted(leader)

        await bench.same_everywhere()
        assert len(bench.sent) == 17

    test_damage.Bench(seed=seed).run(scenario)


def test_disjoint_damage_on_every_disk_is_mended_from_the_others():
    async def scenario(bench):
        await bench.start()
        await bench.produce(60)
        await bench.flushed()
        for number, node in enumerate(bench.nodes):
            replica = bench.replica(node)
            replica.raft.log.release(replica.boundary.position.index)
            for path in bench.files(node, ".segment")[:2]:
                test_damage.flip(node, path, 60_000 + 300_000 * number)

        for node in bench.nodes:
            await node.process.start(node.broker._consensus.mending.scrub.scrub_all())
        await bench.until(
            lambda: (
                not any(node.broker.statistics().mending.segments_in_repair for node in bench.nodes)
            )
        )

        await bench.same_everywhere()
        repaired = [node.broker.statistics().mending.entries_repaired for node in bench.nodes]
        assert repaired == [2, 2, 2]

    test_damage.Bench().run(scenario)


def test_leaders_that_die_as_soon_as_they_lead_do_not_stop_the_group():
    async def scenario(bench):
        await bench.start()
        dead = None
        for _ in range(8):
            await bench.until(lambda: bench.leader() is not None)
            leader = bench.leader()
            if dead is not None:
                await bench.restarted(dead)
            bench.cluster.kill(leader)
            dead = leader
        await bench.restarted(dead)

        await bench.produce(2)

        await bench.same_everywhere()
        assert bench.replica(bench.leader()).raft.term < 40, "terms do not run away"

    test_damage.Bench().run(scenario)


def test_five_nodes_that_see_each_other_in_part_keep_one_leader():
    async def scenario(bench):
        await bench.start()
        network = bench.cluster.network
        names = [node.name for node in bench.nodes]
        network.cut([names[3]], [names[0], names[2], names[4]])  # 4 sees 2 alone
        network.cut([names[4]], [names[0], names[1], names[3]])  # 5 sees 3 alone
        start_s = bench.loop.now_s
        await bench.until(lambda: bench.loop.now_s > start_s + 5.0)
        await bench.produce(1)
        leader, term = bench.leader(), bench.replica(bench.leader()).raft.term

        settled_s = bench.loop.now_s
        await bench.until(lambda: bench.loop.now_s > settled_s + 15.0)
        await bench.produce(2)

        assert bench.leader() is leader
        assert bench.replica(leader).raft.term == term
        network.mend_all()
        await bench.same_everywhere()

    test_damage.Bench(nodes=5).run(scenario)


@pytest.mark.parametrize("jump_ms", [10 * HOUR_MS, -10 * HOUR_MS])
def test_a_clock_that_jumps_by_hours_deletes_nothing_fresh(jump_ms):
    async def scenario(bench):
        await bench.start(retention_ms=HOUR_MS, segment_bytes=1 << 20)
        await bench.produce(60)
        bench.leader().clock.jump(jump_ms)
        jumped_s = bench.loop.now_s
        await bench.produce(5)

        await bench.until(lambda: bench.loop.now_s > jumped_s + 5.0)

        await bench.starts_at(0)
        assert [bench.partition(node).high_watermark for node in bench.nodes] == [65] * 3

    test_retention.Bench(seed=3).run(scenario)


def test_a_topic_deleted_and_made_again_while_a_node_was_down_has_no_old_events_there():
    async def scenario(bench):
        await bench.start()
        await bench.produce(4)
        await bench.flushed()
        sleeper = bench.follower()
        bench.cluster.kill(sleeper)
        everyone = tuple(node.number for node in bench.nodes)
        awake = bench.leader()
        controller = awake.broker._controller
        await awake.process.start(
            controller.execute(DeleteTopic(topic_id=test_damage.TOPIC), timeout_s=30.0)
        )
        again = CreateTopic(
            name="events", topic_id=SECOND_LIFE, assignments=(everyone,), settings={}
        )
        await awake.process.start(controller.execute(again, timeout_s=30.0))
        old = group_directory(test_damage.GROUP) + "/"
        assert any(path.startswith(old) for path in sleeper.disk.file_paths())

        await bench.restarted(sleeper)
        new = group_id(SECOND_LIFE, 0)
        await bench.until(lambda: bench.replica(sleeper, new) is not None)
        await bench.until(lambda: bench.replica(sleeper) is None)
        await bench.until(
            lambda: not any(path.startswith(old) for path in sleeper.disk.file_paths())
        )

        assert bench.replica(sleeper, new).machine.log_end == 0

    test_damage.Bench().run(scenario)


def test_a_sound_member_that_starts_over_keeps_what_it_acknowledged():
    """Found by seed 127: it dropped an entry that the leader had counted, and still voted."""

    async def scenario(bench):
        await bench.start()
        await bench.produce(5)
        await bench.flushed()
        await bench.produce(1, size=100)
        victim = bench.follower()
        replica = bench.replica(victim)
        end = replica.raft.synced_index
        assert end > replica.boundary.position.index

        membership = victim.broker._membership
        await victim.process.start(membership.start_over(replica))
        while bench.replica(victim) is None:  # noqa: ASYNC110  (before the leader sends more)
            await asyncio.sleep(0.000_01)

        assert bench.replica(victim).raft.log.last_index >= end
        assert bench.may_vote(victim)
        await bench.same_everywhere()

    test_damage.Bench(seed=4).run(scenario)
