"""Compacted topics in simulated clusters: the same records on every replica, whoever dies."""

import asyncio
from random import Random

import pytest

from trimaran.broker.keyed_batches import RECORDS_AT_ONCE
from trimaran.errors import ErrorCode, RequestError
from trimaran.ids import NodeId, Offset, TopicId, group_id
from trimaran.metadata.commands import AlterTopicSettings, CreateTopic, DeleteTopic
from trimaran.records.building import build_batch
from trimaran.records.iteration import Record, iterate_records
from trimaran.sim.checkers.checker import evidence_of
from trimaran.sim.checkers.compaction import Compaction, stored_events
from trimaran.sim.cluster import SimCluster
from trimaran.sim.history import History
from trimaran.sim.loop import SimLoop
from trimaran.sim.network import SimNetwork
from trimaran.sim.trace import EventLog
from trimaran.storage.segment import group_directory

pytestmark = pytest.mark.sim

TOPIC = TopicId(b"topic of ledgers")
ANEW = TopicId(b"topic made anew!")
GROUP = group_id(TOPIC, 0)
STEP_S = 0.05
VALUE_BYTES = 3_000
KEYS = 8
SETTINGS = {
    "cleanup.policy": "compact",
    "segment.bytes": str(1 << 20),
    "segment.ms": "1500",
    "min.cleanable.dirty.ratio": "0",
    "delete.retention.ms": "4000",
}


class Bench:
    """Three nodes and one compacted topic of one partition, driven from inside."""

    def __init__(self, seed):
        self.loop = SimLoop(chance=Random(f"{seed}/loop"))
        log = EventLog(lambda: self.loop.now_s)
        network = SimNetwork(self.loop, Random(f"{seed}/network"), log)
        self.cluster = SimCluster(
            seed=str(seed), node_count=3, loop=self.loop, log=log, network=network
        )
        self.nodes = self.cluster.nodes
        self.chance = Random(f"{seed}/keys")
        self.count = 0
        self.latest = {}
        self.sent = {}
        self.checker = Compaction()

    def run(self, scenario):
        try:
            self.loop.run_until_complete(scenario(self))
        finally:
            self.loop.close()

    async def until(self, what, *, limit_s=90.0):
        deadline = self.loop.now_s + limit_s
        while not what():
            assert self.loop.now_s < deadline, [*self.cluster.failures, *self.loop.failures]
            assert not self.cluster.failures
            assert list(self.checker.step(self.views())) == []
            await asyncio.sleep(STEP_S)

    def views(self):
        return [evidence_of(view) for view in self.cluster.views()]

    async def start(self, **settings):
        for node in self.nodes:
            self.cluster.start(node)
        await self.until(
            lambda: all(node.broker and len(image(node).nodes) == 3 for node in self.nodes)
        )
        await self.create("ledger", TOPIC, SETTINGS | settings)
        await self.until(lambda: self.leader() is not None)

    async def create(self, name, topic_id, settings):
        everyone = tuple(node.number for node in self.nodes)
        await self.command(
            CreateTopic(name=name, topic_id=topic_id, assignments=(everyone,), settings=settings)
        )

    async def command(self, command):
        node = next(node for node in self.nodes if node.broker is not None)
        await node.process.start(node.broker._controller.execute(command, timeout_s=30.0))

    def replica(self, node, group=GROUP):
        return None if node.broker is None else node.broker._consensus.groups.get(group)

    def partition(self, node):
        return self.replica(node).machine

    def leader(self, group=GROUP):
        for node in self.nodes:
            replica = self.replica(node, group)
            if replica is not None and replica.raft.has_own_commit and replica.machine.leader_ready:
                return node
        return None

    async def append(self, records, group=GROUP):
        """Append one batch, however often that takes; return its last base offset."""
        while True:
            await self.until(lambda: self.leader(group) is not None)
            leader = self.leader(group)
            batch = memoryview(build_batch(records))
            machine = self.replica(leader, group).machine
            pending = leader.process.run(lambda m=machine, b=batch: m.append(b, acks=-1))
            await self.until(lambda p=pending, at=leader: p.done or at.broker is None)
            if pending.done and pending.error is None:
                return pending.base_offset

    async def write(self, count):
        """Write to few keys; every fifth value is null."""
        for _ in range(count):
            key = b"key-%d" % self.chance.randrange(KEYS)
            fill = self.chance.randbytes(VALUE_BYTES)
            value = None if self.chance.random() < 0.2 else b"%d." % self.count + fill
            self.count += 1
            offset = await self.append([Record(value=value, key=key, timestamp_ms=0)])
            self.latest[key] = (offset, value)
            self.sent[offset] = (key, value)

    def generations(self):
        found = []
        for node in self.nodes:
            replica = self.replica(node)
            storage = replica.storage if replica is not None else None
            found.append(storage.generation if storage is not None else -1)
        return found

    async def compacted(self, at_least=1):
        """Wait until all replicas have done what was decided last, and not less."""

        def is_done():
            replicas = [self.replica(node) for node in self.nodes]
            if None in replicas or self.leader() is None:
                return False
            decided = [replica.machine.rules.compaction for replica in replicas]
            if None in decided or len({one.generation for one in decided}) > 1:
                return False
            return decided[0].generation >= at_least and all(
                generation == decided[0].generation for generation in self.generations()
            )

        await self.until(is_done)

    def stored(self, node):
        return stored_events(
            next(v for v in self.views() if v.node == node.name and v.group == GROUP)
        )


def image(node):
    return node.broker._controller.image


def held(node):
    """Return the files that the lane of reads has open."""
    return list(node.broker._store._shared.reads._open)


def judge(bench):
    """Every replica has the last value of each key, and nothing that was not written there."""
    for node in bench.nodes:
        events = {event.offset: (event.key, event.value) for event in bench.stored(node)}
        assert events.keys() <= bench.sent.keys()
        assert all(bench.sent[offset] == event for offset, event in events.items())
        replica = bench.replica(node)
        end = replica.storage.next_offset
        for key, (offset, value) in bench.latest.items():
            if offset < end and value is not None:
                assert events[offset] == (key, value)
            if value is None and offset not in events and offset < end:
                stale = [at for at, event in events.items() if event[0] == key]
                assert stale == []
    assert list(bench.checker.finish(History())) == []


@pytest.mark.parametrize("seed", [1, 2, 3, 4])
def test_all_replicas_keep_the_same_records_whoever_dies(seed):
    async def scenario(bench):
        await bench.start()
        chance = Random(seed)
        for _ in range(5):
            await bench.write(chance.randint(10, 40))
            victim = chance.choice(bench.nodes)
            bench.cluster.cut_power(victim)
            await bench.write(chance.randint(3, 10))
            bench.cluster.restart(victim)
            await bench.until(lambda v=victim: bench.replica(v) is not None)
        await bench.compacted(at_least=2)
        judge(bench)
        for node in bench.nodes:
            assert all(path in node.disk.file_paths() for path in held(node))
        sizes = [bench.replica(node).storage.size for node in bench.nodes]
        assert max(sizes) < bench.count * VALUE_BYTES / 3

    Bench(seed).run(scenario)


@pytest.mark.parametrize("seed", [5, 6, 7])
def test_a_follower_that_was_away_comes_back_over_compacted_ranges(seed):
    async def scenario(bench):
        await bench.start()
        await bench.write(20)
        victim = next(node for node in bench.nodes if node is not bench.leader())
        behind = bench.replica(victim).raft.log.last_index
        bench.cluster.kill(victim)
        others = [node for node in bench.nodes if node is not victim]

        def is_out_of_reach():
            replicas = [bench.replica(node) for node in others]
            return None not in replicas and all(
                replica.raft.log.first_index > behind + 1
                and replica.storage.whole_from.index > behind
                for replica in replicas
            )

        while not is_out_of_reach():
            await bench.write(30)
        bench.cluster.restart(victim)
        await bench.write(5)
        await bench.compacted()

        judge(bench)
        assert victim.broker.statistics().mending.installs >= 1

    Bench(seed).run(scenario)


def test_a_replaced_disk_gets_compacted_segments():
    async def scenario(bench):
        await bench.start()
        await bench.write(60)
        await bench.compacted()
        victim = bench.nodes[2]
        bench.cluster.kill(victim)
        bench.cluster.replace_disk(victim)
        bench.cluster.restart(victim)
        await bench.write(10)
        await bench.compacted()

        judge(bench)
        assert victim.disk_number == 2
        assert bench.replica(victim).damage is None

    Bench(8).run(scenario)


def test_a_reader_from_the_start_sees_the_last_value_of_each_key_and_gets_to_the_end():
    async def scenario(bench):
        await bench.start()
        await bench.write(80)
        await bench.until(lambda: min(bench.generations()) >= 1)
        seen, offset = {}, 0
        leader = bench.leader()
        end = bench.partition(leader).high_watermark
        while offset < end:
            found = leader.process.run(
                lambda at=offset: bench.partition(leader).read(Offset(at), 1 << 20)
            )
            batches = await found if isinstance(found, asyncio.Future) else found
            assert batches, f"nothing at {offset} although the log ends at {end}"
            for batch in batches:
                for record in iterate_records(batch):
                    assert record.offset >= offset
                    offset = record.offset + 1
                    seen[record.key] = (record.offset, record.value)
        for key, (at, value) in bench.latest.items():
            assert seen.get(key, (at, None)) == (at, value)

    Bench(9).run(scenario)


def test_an_event_without_a_key_is_refused_on_a_compacted_topic_only():
    async def scenario(bench):
        await bench.start()
        batch = build_batch([Record(value=b"v", key=b"k"), Record(value=b"v")])
        leader = bench.leader()
        with pytest.raises(RequestError) as raised:
            leader.process.run(lambda: bench.partition(leader).append(memoryview(batch), acks=-1))
        assert raised.value.code is ErrorCode.INVALID_RECORD
        assert raised.value.number == 1

        await bench.command(AlterTopicSettings(topic_id=TOPIC, set={"cleanup.policy": "delete"}))
        await bench.until(lambda: not bench.partition(leader).settings.is_compacted)
        assert await bench.append([Record(value=b"v")]) == 0

    Bench(10).run(scenario)


def test_no_batch_of_a_compacted_topic_passes_a_large_one_that_is_looked_through():
    async def scenario(bench):
        await bench.start()
        leader = bench.leader()
        large = [Record(value=b"v", key=b"k")] * (RECORDS_AT_ONCE + 1)
        sent = [large, [*large, Record(value=b"v")], large[:1]]

        def append(records):
            machine = bench.partition(leader)
            return machine.append(memoryview(build_batch(records)), acks=-1)

        pendings = leader.process.run(lambda: [append(records) for records in sent])
        await bench.until(lambda: all(pending.done for pending in pendings))

        stored, refused, behind = pendings
        assert (stored.error, stored.base_offset) == (None, 0)
        assert (refused.error, refused.refusal.number) == (ErrorCode.INVALID_RECORD, len(large))
        assert (behind.error, behind.base_offset) == (None, len(large))

    Bench(15).run(scenario)


def test_a_topic_of_both_policies_also_loses_what_is_old():
    async def scenario(bench):
        await bench.start(**{"cleanup.policy": "compact,delete"})
        await bench.write(60)
        await bench.compacted()
        await bench.command(AlterTopicSettings(topic_id=TOPIC, set={"retention.ms": "3000"}))
        await bench.until(
            lambda: all(
                bench.replica(node).machine.log_start == bench.replica(node).machine.log_end
                for node in bench.nodes
            )
        )
        await bench.until(lambda: all(bench.replica(n).storage.size < 1_000 for n in bench.nodes))
        bench.latest.clear()
        await bench.write(5)
        for node in bench.nodes:
            bench.cluster.kill(node)
            bench.cluster.restart(node)
        await bench.until(lambda: bench.leader() is not None)
        await bench.write(1)

        assert bench.partition(bench.leader()).log_start == 60

    Bench(11).run(scenario)


@pytest.mark.parametrize(
    ("suffix", "position"), [(0, 70), (2, 83)], ids=["a batch: by entry", "a row: by install"]
)
def test_damage_in_a_compacted_segment_is_mended_from_the_others(suffix, position):
    async def scenario(bench):
        await bench.start()
        await bench.write(60)
        await bench.compacted()
        victim = next(node for node in bench.nodes if node is not bench.leader())
        replica = bench.replica(victim)
        segment = next(part for part in replica.storage.segments if part.generation and part.size)
        rotten = victim.disk.file_node(segment.paths[suffix])
        before = rotten.read(segment.size, 0)
        rotten.flip_bit(position, 3)
        assert rotten.read(segment.size, 0) != before

        def mending():
            return victim.broker.statistics().mending

        await bench.until(lambda: mending().bad_entries_found > 0)
        if suffix == 0:
            await bench.until(lambda: mending().entries_repaired > 0)
        else:
            await bench.until(lambda: mending().installs > 0)
        await bench.until(lambda: mending().segments_in_repair == 0)
        await bench.until(lambda: bench.replica(victim) is not None)
        await bench.compacted()
        judge(bench)

    Bench(12).run(scenario)


@pytest.mark.parametrize("leads", [False, True])
def test_an_entry_that_rots_before_it_is_compacted_here_and_after_it_was_elsewhere(leads):
    """No member has that entry any more: the group starts over with what they made of it."""

    async def scenario(bench):
        await bench.start()
        await bench.until(lambda: bench.leader() is not None)
        victim = next(node for node in bench.nodes if (node is bench.leader()) is leads)
        compactor = victim.broker._compactor

        async def later(*_):
            pass

        compactor._carry_out = later
        await bench.write(60)
        number = bench.nodes.index(victim)
        await bench.until(
            lambda: all(g >= 1 for n, g in enumerate(bench.generations()) if n != number)
        )
        storage = bench.replica(victim).storage
        assert storage.generation == 0
        victim.disk.file_node(storage.segments[0].path + ".segment").flip_bit(VALUE_BYTES, 3)
        del compactor._carry_out

        await bench.until(lambda: victim.broker.statistics().mending.installs > 0)
        await bench.until(lambda: bench.replica(victim) is not None)
        await bench.compacted()
        await bench.until(lambda: victim.broker.statistics().mending.segments_in_repair == 0)
        judge(bench)

    Bench(14).run(scenario)


def test_a_deleted_topic_gives_its_space_back_and_one_of_its_name_begins_empty():
    async def scenario(bench):
        await bench.start()
        await bench.write(60)
        await bench.compacted()
        directory = group_directory(GROUP)
        for node in bench.nodes:
            raft = bench.replica(node).raft
            raft.log.release(bench.replica(node).boundary.position.index)
            await node.process.run(lambda at=node: bench.partition(at).read(Offset(0), 1 << 20))
            assert any(path.startswith(directory) for path in held(node))
        await bench.command(DeleteTopic(topic_id=TOPIC))
        await bench.until(
            lambda: (
                not any(
                    path.startswith(directory)
                    for node in bench.nodes
                    for path in node.disk.file_paths()
                )
            )
        )
        await bench.until(
            lambda: not any(path.startswith(directory) for n in bench.nodes for path in held(n))
        )
        await bench.create("ledger", ANEW, SETTINGS)
        anew = group_id(ANEW, 0)
        assert await bench.append([Record(value=b"new", key=b"k")], anew) == 0

        victim = bench.nodes[0]
        bench.cluster.cut_power(victim)
        bench.cluster.restart(victim)
        await bench.until(lambda: bench.replica(victim, anew) is not None)
        await bench.append([Record(value=b"newer", key=b"k")], anew)
        for node in bench.nodes:
            await bench.until(lambda at=node: bench.replica(at, anew).machine.high_watermark == 2)
            assert bench.replica(node) is None
            batches = node.process.run(
                lambda at=node: bench.replica(at, anew).machine.read(Offset(0), 1 << 20)
            )
            values = [record.value for batch in batches for record in iterate_records(batch)]
            assert values == [b"new", b"newer"]
        assert victim.number == NodeId(1)

    Bench(13).run(scenario)
