"""Log starts in simulated clusters: decided once, the same on every replica, whoever dies."""

import asyncio
from random import Random

import pytest

from trimaran.errors import ErrorCode, RequestError
from trimaran.ids import Offset, TopicId, group_id
from trimaran.metadata.commands import AlterTopicSettings, CreateTopic
from trimaran.records.building import build_batch
from trimaran.records.iteration import Record
from trimaran.sim.cluster import SimCluster
from trimaran.sim.loop import SimLoop
from trimaran.sim.network import SimNetwork
from trimaran.sim.trace import EventLog
from trimaran.storage.segment import group_directory

pytestmark = pytest.mark.sim

TOPIC = TopicId(b"topic of old age")
GROUP = group_id(TOPIC, 0)
STEP_S = 0.05
EVENT_BYTES = 40_000


class Bench:
    """Three nodes, one topic of one partition, driven from inside."""

    def __init__(self, seed):
        self.loop = SimLoop(chance=Random(f"{seed}/loop"))
        log = EventLog(lambda: self.loop.now_s)
        network = SimNetwork(self.loop, Random(f"{seed}/network"), log)
        self.cluster = SimCluster(
            seed=str(seed), node_count=3, loop=self.loop, log=log, network=network
        )
        self.nodes = self.cluster.nodes

    def run(self, scenario):
        try:
            self.loop.run_until_complete(scenario(self))
        finally:
            self.loop.close()

    async def until(self, what, *, limit_s=90.0):
        deadline = self.loop.now_s + limit_s
        while not what():
            assert self.loop.now_s < deadline, [*self.cluster.failures, *self.loop.failures]
            await asyncio.sleep(STEP_S)

    async def start(self, **settings):
        for node in self.nodes:
            self.cluster.start(node)
        await self.until(
            lambda: all(node.broker and len(image(node).nodes) == 3 for node in self.nodes)
        )
        texts = {key.replace("_", "."): str(value) for key, value in settings.items()}
        everyone = tuple(node.number for node in self.nodes)
        await self.command(
            CreateTopic(name="ages", topic_id=TOPIC, assignments=(everyone,), settings=texts)
        )
        await self.until(lambda: self.leader() is not None)

    async def command(self, command):
        node = next(node for node in self.nodes if node.broker is not None)
        await node.process.start(node.broker._controller.execute(command, timeout_s=30.0))

    def replica(self, node):
        return None if node.broker is None else node.broker._consensus.groups.get(GROUP)

    def partition(self, node):
        return self.replica(node).machine

    def leader(self):
        for node in self.nodes:
            replica = self.replica(node)
            if replica is not None and replica.raft.has_own_commit and replica.machine.leader_ready:
                return node
        return None

    async def ask(self, work):
        """Do `work` with the leader's partition until it is settled without an error."""
        while True:
            await self.until(lambda: self.leader() is not None)
            leader = self.leader()
            pending = leader.process.run(lambda at=leader: work(self.partition(at)))
            await self.until(lambda p=pending, at=leader: p.done or at.broker is None)
            if pending.done and pending.error is None:
                return

    async def produce(self, count):
        for _ in range(count):
            batch = build_batch([Record(value=bytes(EVENT_BYTES), timestamp_ms=0)])
            await self.ask(lambda p, b=batch: p.append(memoryview(b), acks=-1))

    async def starts_at(self, offset):
        """Wait until every replica has everything in segments and begins at `offset`."""

        def is_there():
            leader = self.leader()
            if leader is None:
                return False
            end = self.replica(leader).raft.commit_index
            return all(
                (replica := self.replica(node)) is not None
                and replica.machine.log_start == offset
                and replica.boundary.log_start_offset == offset
                and replica.boundary.position.index >= end
                for node in self.nodes
            )

        await self.until(is_there)

    def files(self, node):
        directory = group_directory(GROUP) + "/"
        return {
            path: node.disk.file_node(path).content
            for path in node.disk.file_paths()
            if path.startswith(directory) and path.endswith((".segment", ".rows"))
        }

    async def same_files(self):
        """Wait until all replicas have the same files, byte for byte; return their names."""
        await self.until(lambda: self.files(self.nodes[0]) == self.files(self.nodes[1]))
        await self.until(lambda: self.files(self.nodes[0]) == self.files(self.nodes[2]))
        return sorted(self.files(self.nodes[0]))

    def read_error(self, node, offset):
        try:
            node.process.run(lambda: self.partition(node).read(Offset(offset), 1))
        except RequestError as error:
            return error.code
        return None


def image(node):
    return node.broker._controller.image


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_large_topic_loses_its_oldest_segments_on_every_replica_whoever_dies(seed):
    async def scenario(bench):
        await bench.start(segment_bytes=1 << 20, retention_bytes=2 << 20)
        chance = Random(seed)
        for _ in range(4):
            await bench.produce(30)
            victim = chance.choice(bench.nodes)
            bench.cluster.kill(victim)
            await bench.produce(chance.randint(1, 5))
            bench.cluster.restart(victim)
            await bench.until(lambda v=victim: bench.replica(v) is not None)
        await bench.until(lambda: bench.leader() is not None)

        def is_small():
            size = bench.replica(bench.leader()).storage.size if bench.leader() else 1 << 30
            return size < 3_200_000

        await bench.until(is_small)
        await bench.starts_at(bench.partition(bench.leader()).log_start)
        names = await bench.same_files()

        start = bench.partition(bench.leader()).log_start
        assert start > 25
        assert len(names) <= 8
        for node in bench.nodes:
            assert bench.read_error(node, start) is None
            assert bench.read_error(node, start - 1) is ErrorCode.OFFSET_OUT_OF_RANGE

    Bench(seed).run(scenario)


def test_an_idle_topic_ends_up_empty_and_goes_on_at_its_offset():
    async def scenario(bench):
        await bench.start()
        await bench.produce(5)
        await bench.command(AlterTopicSettings(topic_id=TOPIC, set={"retention.ms": "1000"}))

        await bench.starts_at(5)
        await bench.until(lambda: all(bench.replica(n).storage.size < 100 for n in bench.nodes))
        for node in bench.nodes:
            bench.cluster.kill(node)
            bench.cluster.restart(node)
        await bench.until(lambda: bench.leader() is not None)
        await bench.produce(1)

        await bench.until(lambda: bench.partition(bench.leader()).high_watermark == 6)
        assert bench.partition(bench.leader()).log_start == 5

    Bench(4).run(scenario)


def test_deleted_records_stay_deleted_after_every_node_died():
    async def scenario(bench):
        await bench.start()
        await bench.produce(6)
        await bench.ask(lambda partition: partition.delete_records(4))
        assert bench.partition(bench.leader()).log_start == 4
        for node in bench.nodes:
            bench.cluster.kill(node)
        for node in bench.nodes:
            bench.cluster.restart(node)
        await bench.until(lambda: bench.leader() is not None)

        await bench.starts_at(4)

        for node in bench.nodes:
            assert bench.read_error(node, 3) is ErrorCode.OFFSET_OUT_OF_RANGE
            assert bench.read_error(node, 4) is None

    Bench(5).run(scenario)


def test_a_segment_ends_at_its_age_on_every_replica():
    async def scenario(bench):
        await bench.start(segment_ms=2_000)
        await bench.produce(2)
        await bench.until(
            lambda: all(bench.replica(node).storage.segment_count == 2 for node in bench.nodes)
        )
        await bench.produce(1)

        await bench.until(
            lambda: all(bench.replica(node).storage.segment_count == 3 for node in bench.nodes)
        )
        names = await bench.same_files()
        assert len(names) == 6
        assert bench.partition(bench.leader()).log_start == 0

    Bench(6).run(scenario)


def test_a_topics_segment_size_is_in_its_log_and_survives():
    async def scenario(bench):
        await bench.start(segment_bytes=1 << 20)
        await bench.produce(40)
        for node in bench.nodes:
            bench.cluster.kill(node)
            bench.cluster.restart(node)
        await bench.until(lambda: bench.leader() is not None)
        await bench.produce(40)

        await bench.until(
            lambda: all(bench.replica(node).storage.segment_count == 4 for node in bench.nodes)
        )
        assert len(await bench.same_files()) == 8
        for node in bench.nodes:
            assert bench.replica(node).storage.segment_bytes == 1 << 20
            assert bench.partition(node).rules.settings.segment_bytes == 1 << 20

    Bench(7).run(scenario)
