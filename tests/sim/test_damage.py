"""Clusters with damaged disks: what is lost on one node comes back from the others (design D11)."""

import asyncio
import re
from collections.abc import Callable
from dataclasses import replace
from random import Random

import pytest

from trimaran.broker import repair
from trimaran.broker.ports import Lane
from trimaran.broker.replica import Replica
from trimaran.errors import CorruptionError
from trimaran.ids import METADATA_GROUP, GroupId, Index, TopicId, group_id
from trimaran.metadata.commands import CreateTopic
from trimaran.records.building import build_batch
from trimaran.records.iteration import Record
from trimaran.sim.cluster import SimCluster, SimNode
from trimaran.sim.disk import PAGE_BYTES
from trimaran.sim.loop import SimLoop
from trimaran.sim.network import SimNetwork
from trimaran.sim.trace import EventLog
from trimaran.storage.segment import group_directory
from trimaran.storage.sidecar import row_position

pytestmark = pytest.mark.sim

TOPIC = TopicId(b"a topic of tests")
GROUP: GroupId = group_id(TOPIC, 0)
SEGMENT_BYTES = 1 << 20
STEP_S = 0.05
JOURNAL = re.compile(r"journal/\d+(\.journal)?")


class Bench:
    """A cluster with one topic of one partition, driven from inside."""

    def __init__(self, *, seed: int = 1, nodes: int = 3) -> None:
        self.loop = SimLoop(chance=Random(f"{seed}/loop"))
        self.log = EventLog(lambda: self.loop.now_s)
        network = SimNetwork(self.loop, Random(f"{seed}/network"), self.log)
        self.cluster = SimCluster(
            seed=str(seed), node_count=nodes, loop=self.loop, log=self.log, network=network
        )
        self.nodes = self.cluster.nodes
        self.sent: list[bytes] = []

    def run(self, scenario: "Callable[[Bench], object]") -> None:
        try:
            self.loop.run_until_complete(scenario(self))
        finally:
            self.loop.close()

    async def until(
        self, what: Callable[[], object], *, limit_s: float = 60.0, step_s: float = STEP_S
    ) -> None:
        """Wait until `what()` is true; virtual time costs none."""
        deadline = self.loop.now_s + limit_s
        while not what():
            assert self.loop.now_s < deadline, self.story()
            await asyncio.sleep(step_s)

    def story(self) -> str:
        """Say where everybody stands, for a failing test."""
        lines = [repr(failure) for failure in [*self.cluster.failures, *self.loop.failures]]
        for view in self.cluster.views():
            raft = view.replica.raft
            lines.append(
                f"{view.node} {view.replica.group.hex()[-10:]} term {raft.term} {raft.role.value}"
                f" leader {raft.leader} commit {raft.commit_index} last {raft.log.last_index}"
                f" votes {raft.may_vote} damage {view.replica.damage}"
            )
        return "\n".join([*lines, *self.cluster.damage])

    async def start(self, *, replicas: int | None = None) -> None:
        """Start all nodes and make the topic, on all of them or on the first so many."""
        for node in self.nodes:
            self.cluster.start(node)
        everyone = tuple(node.number for node in self.nodes)
        await self.until(lambda: all(self.known(node) == len(everyone) for node in self.nodes))
        command = CreateTopic(
            name="events",
            topic_id=TOPIC,
            assignments=(everyone[:replicas],),
            settings={"segment.bytes": str(SEGMENT_BYTES)},
        )
        first = self.nodes[0]
        controller = first.broker._controller
        await first.process.start(controller.execute(command, timeout_s=30.0))
        await self.until(lambda: self.leader() is not None)

    def known(self, node: SimNode) -> int:
        """Return how many nodes this one knows to be registered."""
        return 0 if node.broker is None else len(list(node.broker._controller.image.nodes))

    def replica(self, node: SimNode, group: GroupId = GROUP) -> Replica | None:
        if node.broker is None:
            return None
        return node.broker._consensus.groups.get(group)

    def leader(self, group: GroupId = GROUP) -> SimNode | None:
        for node in self.nodes:
            replica = self.replica(node, group)
            if replica is not None and replica.raft.has_own_commit and not node.is_paused:
                return node
        return None

    def follower(self) -> SimNode:
        leader = self.leader()
        return next(node for node in self.nodes if node is not leader and node.is_running)

    async def produce(self, count: int, *, size: int = 40_000) -> None:
        """Append `count` batches through the leader, each acknowledged before the next."""
        for _ in range(count):
            await self.until(lambda: self.leader() is not None)
            value = b"%06d" % len(self.sent) + bytes(size)
            batch = memoryview(build_batch([Record(value=value, timestamp_ms=0)]))
            leader = self.leader()
            partition = self.replica(leader).machine
            pending = leader.process.run(lambda p=partition, b=batch: p.append(b, acks=-1))
            await self.until(lambda p=pending: p.done)
            assert pending.error is None
            self.sent.append(value)

    async def flushed(self) -> None:
        """Wait until every running node has everything in segments, under a boundary."""
        end = self.replica(self.leader()).raft.commit_index

        def is_flushed() -> bool:
            replicas = [self.replica(node) for node in self.nodes if node.is_running]
            return all(
                replica is not None and replica.boundary.position.index >= end
                for replica in replicas
            )

        await self.until(is_flushed)

    async def read(self, node: SimNode) -> list[bytes]:
        """Return what the node's own copy holds."""
        partition = self.replica(node).machine
        values: list[bytes] = []
        offset = 0
        while offset < partition.high_watermark:
            read = node.process.run(lambda at=offset: partition.read(at, 1 << 20))
            batches = await read if isinstance(read, asyncio.Future) else read
            for batch in batches:
                body = bytes(batch)
                values.append(body[body.index(b"%06d" % len(values)) :][:6])
                offset += 1
        return values

    async def same_everywhere(self) -> None:
        """Wait until all replicas have caught up and may vote; compare what they hold."""
        await self.until(lambda: self.leader() is not None)
        end = self.replica(self.leader()).machine.log_end

        def is_whole(node: SimNode) -> bool:
            replica = self.replica(node)
            return (
                replica is not None
                and replica.raft.may_vote
                and replica.machine.high_watermark == end
            )

        await self.until(lambda: all(is_whole(node) for node in self.nodes))
        expected = [value[:6] for value in self.sent]
        for node in self.nodes:
            assert await self.read(node) == expected, node.name

    def may_vote(self, node: SimNode, group: GroupId = GROUP) -> bool:
        replica = self.replica(node, group)
        return replica is not None and replica.raft.may_vote

    async def restarted(self, node: SimNode) -> None:
        self.cluster.restart(node)
        await self.until(lambda: node.broker is not None)

    def files(self, node: SimNode, suffix: str, group: GroupId = GROUP) -> list[str]:
        directory = group_directory(group) + "/"
        return [
            path
            for path in node.disk.file_paths()
            if path.startswith(directory) and path.endswith(suffix)
        ]

    def remove(self, node: SimNode, path: str) -> None:
        """Take a file away from a machine whose process is dead."""
        directory = node.disk.root
        *parents, name = path.split("/")
        for part in parents:
            directory = directory.entries[part]
        del directory.entries[name]
        directory.durable.pop(name, None)


def flip(node: SimNode, path: str, position: int) -> None:
    node.disk.file_node(path).flip_bit(position, 3)


def lose(node: SimNode, path: str, position: int) -> None:
    node.disk.file_node(path).unreadable[position // PAGE_BYTES] = None


def journal_of(node: SimNode) -> str:
    """Return the newest journal file."""
    return max(path for path in node.disk.file_paths() if JOURNAL.fullmatch(path))


def damage_journal(node: SimNode) -> None:
    """Rot a synced round in the middle of the journal: entries that were acknowledged."""
    path = journal_of(node)
    content = node.disk.file_node(path).content
    used = [at for at in range(0, len(content), 512) if any(content[at : at + 512])]
    flip(node, path, used[len(used) * 3 // 4] + 100)


def test_a_member_with_a_damaged_journal_votes_again_after_the_rule():
    async def scenario(bench: Bench) -> None:
        await bench.start()
        await bench.produce(4, size=4_000)
        victim = bench.follower()
        bench.cluster.kill(victim)
        damage_journal(victim)
        bench.cluster.start(victim)
        await bench.until(lambda: bench.replica(victim) is not None, step_s=0.001)
        assert bench.cluster.damage, "the damage was noticed"
        assert not bench.may_vote(victim)

        await bench.same_everywhere()

        assert bench.replica(victim).damage is None
        assert victim.broker.statistics().mending.readmissions >= 1
        bench.cluster.kill(victim)
        await bench.restarted(victim)
        await bench.until(lambda: bench.replica(victim) is not None)
        assert bench.may_vote(victim), "the repair is in the journal"

    Bench().run(scenario)


def test_a_member_whose_segments_are_gone_gets_them_from_the_leader():
    async def scenario(bench: Bench) -> None:
        await bench.start()
        await bench.produce(60)
        await bench.flushed()
        victim = bench.follower()
        bench.cluster.kill(victim)
        segments = bench.files(victim, ".segment")
        assert len(segments) >= 3
        bench.remove(victim, segments[1])
        await bench.produce(3)
        await bench.restarted(victim)

        await bench.same_everywhere()

        statistics = victim.broker.statistics().mending
        assert (statistics.installs, statistics.groups_waiting) == (1, 0)
        for suffix in (".segment", ".rows"):
            (first, *_), (mine, *_) = (
                bench.files(node, suffix) for node in (bench.leader(), victim)
            )
            content = bench.leader().disk.file_node(first).content
            assert victim.disk.file_node(mine).content == content
        bench.cluster.kill(victim)
        await bench.restarted(victim)
        await bench.until(lambda: bench.replica(victim) is not None)
        assert bench.may_vote(victim)

    Bench().run(scenario)


@pytest.mark.parametrize("at", [0.2, 0.5, 0.8])
def test_an_install_that_a_crash_interrupts_begins_anew(at):
    async def scenario(bench: Bench) -> None:
        await bench.start()
        await bench.produce(60)
        await bench.flushed()
        victim = bench.follower()
        bench.cluster.kill(victim)
        bench.remove(victim, bench.files(victim, ".rows")[0])
        await bench.restarted(victim)
        size = sum(
            len(bench.leader().disk.file_node(path).content)
            for path in bench.files(bench.leader(), ".segment")
        )
        await bench.until(
            lambda: victim.broker.statistics().mending.installed_bytes > at * size, step_s=0.001
        )
        bench.cluster.cut_power(victim)
        await bench.restarted(victim)

        await bench.same_everywhere()

        assert victim.broker.statistics().mending.installs == 1

    Bench(seed=int(at * 10)).run(scenario)


def test_damage_of_the_metadata_image_does_not_end_the_process():
    async def scenario(bench: Bench) -> None:
        await bench.start()
        await bench.produce(3)
        await bench.until(lambda: all(bench.files(n, "", METADATA_GROUP) for n in bench.nodes))
        victim = bench.follower()
        await bench.until(
            lambda: any("/state/image" in p for p in bench.files(victim, "", METADATA_GROUP))
        )
        bench.cluster.kill(victim)
        (image,) = [p for p in bench.files(victim, "", METADATA_GROUP) if "/state/image" in p]
        flip(victim, image, 30)
        await bench.restarted(victim)

        await bench.until(lambda: bench.may_vote(victim, METADATA_GROUP))
        await bench.same_everywhere()

        assert bench.cluster.failures == []
        images = [node.broker._controller.image.digest() for node in bench.nodes]
        assert images == images[:1] * 3

    Bench().run(scenario)


@pytest.mark.parametrize("spoil", [flip, lose])
def test_damage_in_an_old_segment_is_repaired_from_a_peer(spoil):
    async def scenario(bench: Bench) -> None:
        await bench.start()
        await bench.produce(60)
        await bench.flushed()
        leader = bench.leader()
        for node in bench.nodes:
            bench.replica(node).raft.log.release(bench.replica(node).boundary.position.index)
        spoil(leader, bench.files(leader, ".segment")[1], 100_000)
        spoil(leader, bench.files(leader, ".segment")[0], 50_000)
        spoil(leader, bench.files(leader, ".rows")[0], 80 * 9 + 30)

        assert await failing_reads(bench, leader) >= 1
        await bench.until(lambda: not leader.broker.statistics().mending.segments_in_repair)
        while await failing_reads(bench, leader):
            await bench.until(lambda: not leader.broker.statistics().mending.segments_in_repair)
        await bench.same_everywhere()

        rows = bench.replica(leader).storage.segments[0].row_count  # all of one page
        mended = leader.broker.statistics().mending.entries_repaired
        assert mended == (3 if spoil is flip else rows + 1)
        assert bench.leader() is leader, "damage in an old segment ends no leadership"
        assert bench.cluster.failures == []

    Bench().run(scenario)


async def failing_reads(bench: Bench, node: SimNode) -> int:
    """Read everything on `node`, a part at a time; return how many reads met damage."""
    partition = bench.replica(node).machine
    failed = 0
    for offset in range(len(bench.sent)):
        read = node.process.run(lambda at=offset: partition.read(at, 1))
        if isinstance(read, asyncio.Future):
            try:
                await read
            except CorruptionError:
                failed += 1
    return failed


@pytest.mark.parametrize("spoil", [flip, lose])
def test_a_leader_that_reads_a_damaged_entry_for_a_follower_repairs_it_and_goes_on(spoil):
    async def scenario(bench: Bench) -> None:
        await bench.start()
        lagging = bench.follower()
        bench.cluster.kill(lagging)
        await bench.produce(60)
        await bench.flushed()
        leader = bench.leader()
        raft = bench.replica(leader).raft
        raft.log.release(bench.replica(leader).boundary.position.index)
        spoil(leader, bench.files(leader, ".segment")[1], 100_000)
        await bench.restarted(lagging)

        await bench.same_everywhere()

        assert leader.broker.statistics().mending.entries_repaired == 1
        assert bench.cluster.failures == []

    Bench().run(scenario)


@pytest.mark.parametrize("spoil", [flip, lose])
def test_the_scrub_finds_and_repairs_what_nobody_reads(spoil):
    async def scenario(bench: Bench) -> None:
        await bench.start()
        await bench.produce(60)
        await bench.flushed()
        victim = bench.follower()
        spoil(victim, bench.files(victim, ".segment")[0], 300_000)
        scrub = victim.broker._consensus.mending.scrub

        await victim.process.start(scrub.scrub_all())
        await bench.until(lambda: not victim.broker.statistics().mending.segments_in_repair)
        await victim.process.start(scrub.scrub_all())

        found = victim.broker.statistics().mending
        assert (found.scrub.bad_entries, found.entries_repaired) == (1, 1)
        assert found.scrub.differing_segments == 0
        assert found.scrub.segments >= 4
        await bench.same_everywhere()

    Bench().run(scenario)


def test_a_follower_below_the_log_start_gets_the_files():
    async def scenario(bench: Bench) -> None:
        await bench.start()
        lagging = bench.follower()
        await bench.produce(5)
        bench.cluster.kill(lagging)
        await bench.produce(70)
        await bench.flushed()
        for node in bench.nodes:
            if node is not lagging:
                await drop_first_segments(bench, node)
        first = bench.replica(bench.leader()).storage.first_index
        assert first > 10
        await bench.restarted(lagging)

        replica = bench.replica
        end = replica(bench.leader()).machine.log_end
        await bench.until(lambda: replica(lagging) is not None)
        await bench.until(
            lambda: replica(lagging) and replica(lagging).machine.high_watermark == end
        )

        assert lagging.broker.statistics().mending.installs == 1
        assert replica(lagging).storage.first_index == first
        assert bench.may_vote(lagging)
        await bench.produce(3)
        bench.cluster.kill(lagging)
        await bench.restarted(lagging)
        await bench.until(lambda: replica(lagging) is not None)
        assert bench.may_vote(lagging), "an install leaves nothing damaged"

    Bench().run(scenario)


async def drop_first_segments(bench: Bench, node: SimNode) -> None:
    """Move the log start behind the second segment, as retention would."""
    replica = bench.replica(node)
    storage = replica.storage
    start = storage.segments[2].base
    storage.set_log_start(Index(start.index + 1), start.next_offset)
    boundary = replace(
        replica.boundary,
        log_start_index=Index(start.index + 1),
        log_start_offset=start.next_offset,
    )
    rounds = node.broker._consensus.rounds
    await node.process.run(lambda: rounds.store_boundary(boundary, replica))
    drop = storage.plan_drop_segments()
    await node.process.run(lambda: node.broker._ports.workers.submit(Lane.SEGMENTS, drop))
    replica.raft.log.release(replica.boundary.position.index)


def test_a_wiped_node_counts_again_only_after_the_rule():
    async def scenario(bench: Bench) -> None:
        await bench.start()
        await bench.produce(8)
        victim, leader = bench.follower(), bench.leader()
        third = next(node for node in bench.nodes if node not in (victim, leader))
        bench.cluster.kill(victim)
        bench.cluster.replace_disk(victim)
        bench.cluster.kill(third)
        bench.cluster.restart(victim)
        await bench.until(lambda: bench.leader() is None)
        for _ in range(100):
            await asyncio.sleep(STEP_S)
            assert bench.leader() is None
            assert bench.leader(METADATA_GROUP) is None, "its new disk gives no majority"

        await bench.restarted(third)
        await bench.same_everywhere()
        await bench.until(lambda: bench.may_vote(victim, METADATA_GROUP))

        disk = bench.leader().broker._controller.image.node(victim.number).disk_id
        assert disk == victim.broker._disk_id
        bench.cluster.kill(third)
        await bench.produce(3)
        await bench.restarted(third)
        await bench.same_everywhere()

    Bench().run(scenario)


def damage_last_round(node: SimNode) -> None:
    """Rot the journal's last round: nothing tells whether it was ever synced."""
    path = journal_of(node)
    content = node.disk.file_node(path).content
    used = [at for at in range(0, len(content), 512) if any(content[at : at + 512])]
    for at in range(20, 500, 3):
        if content[used[-1] + at]:
            flip(node, path, used[-1] + at)
            return
    raise AssertionError("the last round has a byte to flip")


@pytest.mark.parametrize("victims", [2, 3])
def test_the_longest_log_leads_when_no_leader_could_exist_without_damaged_members(victims):
    async def scenario(bench: Bench) -> None:
        await bench.start()
        await bench.produce(6, size=4_000)
        await bench.flushed()  # the last round holds nothing that was acknowledged
        for node in bench.nodes:
            bench.cluster.kill(node)
        for node in bench.nodes[:victims]:
            damage_last_round(node)
        for node in bench.nodes:
            await bench.restarted(node)
        assert len(bench.cluster.damage) >= victims

        await bench.same_everywhere()

        await bench.until(lambda: all(bench.may_vote(node, METADATA_GROUP) for node in bench.nodes))
        await bench.produce(3)
        await bench.same_everywhere()

    Bench(seed=victims).run(scenario)


def test_the_group_asks_for_people_when_a_majority_lost_what_it_had_synced():
    async def scenario(bench: Bench) -> None:
        await bench.start()
        await bench.produce(6, size=4_000)
        for node in bench.nodes:
            bench.cluster.kill(node)
        for node in bench.nodes[:2]:
            damage_journal(node)
        for node in bench.nodes:
            bench.cluster.restart(node)
        await bench.until(lambda: all(node.broker is not None for node in bench.nodes))

        def stuck(node: SimNode) -> int:
            return node.broker.statistics().mending.groups_stuck

        await bench.until(lambda: all(stuck(node) for node in bench.nodes))
        assert bench.leader(METADATA_GROUP) is None

    Bench().run(scenario)


@pytest.mark.parametrize("suffix", [".segment", ".rows"])
def test_the_scrub_mends_the_last_segment_and_the_header_of_its_rows(suffix):
    async def scenario(bench: Bench) -> None:
        await bench.start()
        await bench.produce(10)
        await bench.flushed()
        victim = bench.follower()
        (path,) = bench.files(victim, suffix)
        flip(victim, path, 40)
        scrub = victim.broker._consensus.mending.scrub

        await victim.process.start(scrub.scrub_all())
        await bench.until(lambda: not victim.broker.statistics().mending.segments_in_repair)
        await victim.process.start(scrub.scrub_all())

        found = victim.broker.statistics().mending
        assert (found.scrub.bad_entries, found.entries_repaired) == (1, 1)
        (other,) = bench.files(bench.leader(), suffix)
        assert victim.disk.file_node(path).content == bench.leader().disk.file_node(other).content

    Bench().run(scenario)


def test_a_row_that_rots_behind_the_look_of_a_repair_is_mended_too(monkeypatch):
    """An entry is put back by the row before it, which had passed its check."""
    monkeypatch.setattr(repair, "LOOK_BYTES", 50_000)  # of one entry

    async def scenario(bench: Bench) -> None:
        await bench.start()
        await bench.produce(12)
        await bench.flushed()
        victim = bench.follower()
        others = [node.name for node in bench.nodes if node is not victim]
        (path,) = bench.files(victim, ".rows")
        flip(victim, path, row_position(5) + 4)
        bench.cluster.network.cut([victim.name], others)
        await victim.process.start(victim.broker._consensus.mending.scrub.scrub_all())
        await bench.until(lambda: victim.broker.statistics().mending.bad_entries_found > 1)
        flip(victim, path, row_position(4) + 4)
        await bench.until(lambda: victim.broker.statistics().mending.bad_entries_found > 3)

        bench.cluster.network.mend([victim.name], others)

        await bench.until(lambda: not victim.broker.statistics().mending.segments_in_repair)
        assert victim.broker.statistics().mending.entries_repaired == 2
        await bench.same_everywhere()

    Bench().run(scenario)
