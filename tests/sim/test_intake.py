"""A follower whose segment writer does not keep up takes no more than it can hold (design D5)."""

import asyncio
from contextlib import suppress

import pytest
from tests.sim.test_damage import GROUP, Bench

from trimaran.broker.ports import Lane
from trimaran.ids import TopicId
from trimaran.metadata.commands import CreateTopic
from trimaran.raft.messages import AppendEntries
from trimaran.sim.cluster import MIB, STORE

pytestmark = pytest.mark.sim

JOURNAL_BYTES_MAX = STORE.journal.total_bytes_max
UNFLUSHED_BYTES_MAX = MIB
RESERVE_BYTES = 4 * MIB
BATCH_BYTES = 100_000
OTHER_TOPIC = TopicId(b"made meanwhile..")


class SlowSegments:
    """Each work on segments begins late; the journal is as fast as ever."""

    def __init__(self, workers, delay_s):
        self._workers = workers
        self._delay_s = delay_s
        self.mended = asyncio.Event()

    def submit(self, lane, work):
        assert lane is Lane.SEGMENTS
        return asyncio.get_running_loop().create_task(self._late(work))

    async def _late(self, work):
        with suppress(TimeoutError):
            async with asyncio.timeout(self._delay_s):
                await self.mended.wait()
        return await self._workers.submit(Lane.SEGMENTS, work)


class Slowed:
    """A node whose segment writer is slow from now on, and the most it ever held."""

    def __init__(self, node, delay_s, *, unflushed_bytes_max=UNFLUSHED_BYTES_MAX):
        self.node = node
        flusher = node.broker._flusher
        self.workers = flusher._workers = SlowSegments(flusher._workers, delay_s)
        node.broker._consensus.intake._unflushed_bytes_max = unflushed_bytes_max
        self.journal_bytes = self.unflushed_bytes = self.appends = 0
        step = node.broker._consensus.inbox._message

        def seen(peer, group, message):
            self.appends += isinstance(message, AppendEntries) and len(message.entries) > 0
            step(peer, group, message)
            statistics = node.broker.gauges
            self.journal_bytes = max(self.journal_bytes, statistics.journal_bytes)
            self.unflushed_bytes = max(self.unflushed_bytes, statistics.unflushed_bytes)

        node.broker._consensus.inbox._message = seen

    def mend(self):
        self.workers.mended.set()


def term(bench):
    return bench.leader() and bench.replica(bench.leader()).raft.term


async def catches_up(bench, node):
    end = bench.replica(bench.leader()).raft.commit_index
    await bench.until(lambda: bench.replica(node).raft.synced_index >= end, limit_s=300.0)


def test_a_follower_with_slow_segments_holds_its_leader_back_and_then_catches_up():
    async def scenario(bench):
        await bench.start()
        slow, began = Slowed(bench.follower(), 600.0), term(bench)

        await bench.produce(120, size=BATCH_BYTES)

        behind = bench.replica(slow.node).raft
        assert behind.synced_index < bench.replica(bench.leader()).raft.commit_index
        assert slow.unflushed_bytes < 3 * UNFLUSHED_BYTES_MAX
        assert slow.journal_bytes <= JOURNAL_BYTES_MAX
        assert term(bench) == began
        slow.mend()
        await catches_up(bench, slow.node)
        assert term(bench) == began

    Bench(seed=1).run(scenario)


def test_a_node_that_leads_nothing_answers_its_clients_while_it_catches_up():
    async def scenario(bench):
        await bench.start()
        node = next(one for one in bench.nodes if not one.broker._consensus.heartbeats.is_leading)
        slow, clients = Slowed(node, 600.0), node.broker._clients

        await bench.produce(120, size=BATCH_BYTES)

        assert not node.broker._consensus.intake.from_clients
        assert not clients.is_paused
        node.broker._consensus.heartbeats._led[GROUP] = bench.replica(node)
        node.broker.intake_changed()
        assert clients.is_paused, "what it leads brings more"
        node.broker._consensus.disk_full(True)
        assert not clients.is_paused, "a full disk takes no events, and answers the rest"
        node.broker._consensus.disk_full(False)
        assert clients.is_paused
        del node.broker._consensus.heartbeats._led[GROUP]
        slow.mend()
        await bench.until(lambda: node.broker._consensus.intake.from_clients, limit_s=120.0)
        assert not clients.is_paused

    Bench(seed=6).run(scenario)


def test_a_journal_that_may_not_grow_holds_leaders_back_until_its_files_can_go():
    async def scenario(bench):
        await bench.start()
        slow = Slowed(bench.follower(), 600.0, unflushed_bytes_max=1 << 40)

        await bench.produce(200, size=BATCH_BYTES)

        assert JOURNAL_BYTES_MAX - 2 * MIB < slow.journal_bytes <= JOURNAL_BYTES_MAX + MIB
        slow.mend()
        await catches_up(bench, slow.node)
        await bench.flushed()
        await bench.until(lambda: slow.node.broker.gauges.journal_bytes <= 3 * MIB)

    Bench(seed=2).run(scenario)


def test_a_follower_that_takes_no_events_is_not_sent_them_again_and_again():
    async def scenario(bench):
        await bench.start()
        slow = Slowed(bench.follower(), 600.0)
        await bench.produce(60, size=BATCH_BYTES)
        held = bench.replica(slow.node).raft.synced_index
        sent = slow.appends

        await asyncio.sleep(5.0)

        assert bench.replica(slow.node).raft.synced_index == held
        assert slow.appends == sent

    Bench(seed=3).run(scenario)


def test_two_slow_followers_slow_their_leader_down_and_keep_it():
    async def scenario(bench):
        await bench.start()
        leader, began = bench.leader(), term(bench)
        slow = [Slowed(node, 1.5) for node in bench.nodes if node is not leader]

        await bench.produce(120, size=BATCH_BYTES)

        assert bench.leader() is leader
        assert term(bench) == began
        assert max(one.unflushed_bytes for one in slow) < 3 * UNFLUSHED_BYTES_MAX
        for one in slow:
            one.mend()
        await bench.flushed()

    Bench(seed=4).run(scenario)


def test_control_entries_of_other_groups_pass_a_node_that_takes_no_events():
    async def scenario(bench):
        await bench.start()
        slow = Slowed(bench.follower(), 600.0)
        await bench.produce(60, size=BATCH_BYTES)
        assert not slow.node.broker._consensus.intake.from_leaders

        image = slow.node.broker._controller.image
        other = next(node for node in bench.nodes if node is not slow.node)
        await other.process.start(_create(other, "made-meanwhile"))

        await bench.until(lambda: image.topic("made-meanwhile") is not None, limit_s=5.0)

    Bench(seed=5).run(scenario)


def test_a_follower_keeps_half_of_its_reserve_and_catches_up_when_it_has_room():
    async def scenario(bench):
        await bench.start()
        node, began = bench.follower(), term(bench)
        node.broker._consensus.space._reserve_bytes = RESERVE_BYTES
        node.disk.conditions.capacity = node.disk.used_bytes() + 2 * RESERVE_BYTES
        least = RESERVE_BYTES * 2

        for _ in range(20):
            await bench.produce(10, size=BATCH_BYTES)
            await asyncio.sleep(0.2)
            least = min(least, node.disk.free_bytes())

        assert not node.broker._consensus.intake.from_leaders
        assert RESERVE_BYTES // 4 < least < RESERVE_BYTES // 2
        assert term(bench) == began
        node.disk.conditions.capacity = None
        await catches_up(bench, node)

    Bench(seed=6).run(scenario)


def _create(node, name):
    return node.broker._controller.execute(
        CreateTopic(name=name, topic_id=OTHER_TOPIC, assignments=((1, 2, 3),), settings={}),
        timeout_s=30.0,
    )
