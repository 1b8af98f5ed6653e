"""What is mended while the cluster goes on: load, deletions, settings, log starts that move."""

import asyncio
from contextlib import suppress
from dataclasses import replace

import pytest
from tests.sim.test_damage import GROUP, TOPIC, Bench, damage_journal

from trimaran.broker.ports import Lane
from trimaran.errors import RequestError
from trimaran.ids import METADATA_GROUP, Index
from trimaran.metadata.commands import AlterTopicSettings, DeleteTopic
from trimaran.records.building import build_batch
from trimaran.records.iteration import Record
from trimaran.storage.damage import Damage, DamageKind

pytestmark = pytest.mark.sim

APPEND_EVERY_S = 0.001
SLOW_SYNC_S = 0.004
VOTES_AGAIN_S = 2.0
LOOK_S = 0.005


async def steady_load(bench):
    """Append a small batch each millisecond, for ever."""
    batch = memoryview(build_batch([Record(value=b"steady", timestamp_ms=0)]))
    while True:
        leader = bench.leader()
        if leader is not None:
            partition = bench.replica(leader).machine
            with suppress(RequestError):  # between two leaders
                leader.process.run(lambda at=partition: at.append(batch, acks=-1))
        await asyncio.sleep(APPEND_EVERY_S)


@pytest.mark.parametrize("seed", [1, 2])
def test_a_repaired_member_votes_again_under_load(seed):
    """Its journal holds entries of the group in the very round that says that it is repaired."""

    async def scenario(bench):
        await bench.start()
        await bench.produce(4, size=4_000)
        victim = bench.follower()
        bench.cluster.kill(victim)
        damage_journal(victim)
        load = asyncio.get_running_loop().create_task(steady_load(bench))
        bench.cluster.start(victim)
        await bench.until(lambda: bench.replica(victim) is not None, step_s=LOOK_S)
        assert bench.replica(victim).damage is not None
        victim.disk.conditions.slow_s = SLOW_SYNC_S

        await bench.until(lambda: bench.may_vote(victim), limit_s=VOTES_AGAIN_S, step_s=LOOK_S)
        for _ in range(200):
            assert bench.replica(victim).damage is None, "and it never says that it lost anything"
            await asyncio.sleep(LOOK_S)

        load.cancel()
        assert not bench.cluster.failures

    Bench(seed=seed).run(scenario)


async def drop_all_but_last(bench, node):
    """Move the node's log start to its last segment, as retention would."""
    replica = bench.replica(node)
    storage = replica.storage
    start = storage.segments[-1].base
    storage.set_log_start(Index(start.index + 1), start.next_offset)
    boundary = replace(
        replica.boundary, log_start_index=Index(start.index + 1), log_start_offset=start.next_offset
    )
    rounds = node.broker._consensus.rounds
    await node.process.run(lambda: rounds.store_boundary(boundary, replica))
    workers = node.broker._ports.workers
    await node.process.run(lambda: workers.submit(Lane.SEGMENTS, storage.plan_drop_segments()))
    replica.raft.log.release(replica.boundary.position.index)


class HeldWorks:
    """An installing node's works on its files: some wait until they are let go."""

    def __init__(self, installs):
        self._submit = installs._submit
        installs._submit = self.submit
        self.adopting = asyncio.Event()
        self.may_adopt = asyncio.Event()
        self.may_tidy = asyncio.Event()

    async def submit(self, work):
        kind = type(work).__name__
        if kind == "AdoptStaged":
            self.adopting.set()
            await self.may_adopt.wait()
        elif kind == "DiscardStaged" and self.may_adopt.is_set():
            await self.may_tidy.wait()
        return await self._submit(work)


def test_an_install_that_is_wanted_while_one_is_tidied_up_is_done():
    """The log start moves on while a member checks what it fetched; it follows, and cannot."""

    async def scenario(bench):
        await bench.start()
        lagging = bench.follower()
        others = [node for node in bench.nodes if node is not lagging]
        await bench.produce(5)
        bench.cluster.kill(lagging)

        async def move_on():
            await bench.produce(70)
            await bench.until(lambda: all(bench.replica(node) for node in others))
            await bench.until(
                lambda: all(
                    bench.replica(node).boundary.position.index
                    >= bench.replica(bench.leader()).raft.commit_index
                    for node in others
                )
            )
            for node in others:
                await drop_all_but_last(bench, node)

        await move_on()
        await bench.restarted(lagging)
        installs = lagging.broker._consensus.mending.installs
        works = HeldWorks(installs)
        await bench.until(works.adopting.is_set)
        await move_on()
        works.may_adopt.set()
        await bench.until(lambda: installs.count == 1, step_s=LOOK_S)
        await bench.until(lambda: bench.replica(lagging) is None, step_s=LOOK_S)
        works.may_tidy.set()

        end = bench.replica(bench.leader()).machine.log_end
        await bench.until(
            lambda: bench.replica(lagging) and bench.replica(lagging).machine.log_end == end
        )
        assert installs.count == 2
        assert not bench.cluster.failures

    Bench(seed=1).run(scenario)


def test_settings_that_changed_while_the_metadata_started_over_hold():
    async def scenario(bench):
        await bench.start()
        controlling = bench.leader(METADATA_GROUP)
        member = next(node for node in bench.nodes if node is not controlling)
        consensus = member.broker._consensus
        held, install = asyncio.Event(), consensus.mending.installs._install

        async def later(found):
            await held.wait()
            return await install(found)

        consensus.mending.installs._install = later
        metadata = bench.replica(member, METADATA_GROUP)
        member.process.run(lambda: consensus._start_over(metadata))
        await bench.until(lambda: bench.replica(member, METADATA_GROUP) is None)
        controller = controlling.broker._controller
        command = AlterTopicSettings(topic_id=TOPIC, set={"event.dedup.enable": "true"})
        await controlling.process.start(controller.execute(command, timeout_s=30.0))
        replica = bench.replica(controlling, METADATA_GROUP)
        end = replica.raft.commit_index
        await bench.until(lambda: replica.boundary.position.index >= end)
        held.set()

        await bench.until(lambda: bench.replica(member, METADATA_GROUP) is not None)
        await bench.until(
            lambda: all(bench.replica(at).machine.settings.event_dedup_enable for at in bench.nodes)
        )
        assert not bench.cluster.failures

    Bench(seed=1).run(scenario)


def lose(bench, node):
    """Let the node find out that its member of the group is damaged for certain."""
    replica = bench.replica(node)
    consensus = node.broker._consensus

    def found():
        replica.damage = Damage(kind=DamageKind.CORRUPT, text="payload rotted")
        replica.raft.lose_vote()
        consensus.rounds.store_damage(replica.group, replica.damage)
        consensus.vote_changed(replica)

    node.process.run(found)


def test_a_topic_that_needed_people_needs_nobody_when_it_is_deleted():
    async def scenario(bench):
        await bench.start()
        await bench.produce(2)
        for node in bench.nodes[:2]:
            lose(bench, node)
        whole = bench.nodes[2]
        replica = bench.replica(whole)
        whole.process.run(replica.raft.quorum_lost)
        whole.process.run(lambda: whole.broker._consensus.touched(replica))

        def stuck():
            return [node.broker.statistics().mending.groups_stuck for node in bench.nodes]

        await bench.until(lambda: any(stuck()))
        controlling = bench.leader(METADATA_GROUP)
        controller = controlling.broker._controller
        delete = DeleteTopic(topic_id=TOPIC)
        await controlling.process.start(controller.execute(delete, timeout_s=30.0))
        await bench.until(lambda: all(bench.replica(node, GROUP) is None for node in bench.nodes))

        await bench.until(lambda: not any(stuck()))
        assert not bench.cluster.failures

    Bench(seed=1).run(scenario)
