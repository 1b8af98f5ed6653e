"""Seeded random runs of whole groups.

Faults: loss, repetition, reordering, members cut off, crashes that lose what was not synced, slow
disks, released and compacted logs, wiped disks. `CoreChecks` judges every step; at the end the
faults stop, and the group must make progress.
"""

import random

import pytest

from trimaran.errors import ProposalRefusedError
from trimaran.ids import Index, NodeId
from trimaran.raft.messages import TimeoutNow
from trimaran.raft.progress import RaftLimits
from trimaran.sim.core_cluster import CoreCluster

RUN_COUNT = 240
STEP_COUNT = 1_000
SMALL_LIMITS = RaftLimits(
    inflight_messages_max=3,
    inflight_bytes_max=700,
    message_bytes_max=200,
    uncommitted_bytes_max=2_000,
)


class Run:
    """One group, one source of chance, and what the promises of reads need to be remembered."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        size = self.chance.choice([1, 2, 3, 3, 3, 5])
        limits = self.chance.choice([RaftLimits(), SMALL_LIMITS])
        self.cluster = CoreCluster(size, limits=limits, eager_commit=self.chance.random() < 0.5)
        self.sent = 0
        self.reads: dict[int, Index] = {}
        self.may_wipe = self.chance.random() < 0.3
        self.loss = self.chance.choice([0.0, 0.02, 0.2])
        self.unheard: NodeId | None = None
        self.steps = [
            (100, self.deliver),
            (50, self.sync),
            (14, self.propose),
            (6, self.beat),
            (2, self.read),
            (3, self.repeat),
            (5, self.campaign),
            (1.5, self.forget),
            (2, self.reset),
            (0.6, self.crash),
            (3, self.restart),
            (2, self.release),
            (1, self.compact),
            (0.4, self.transfer),
            (0.3, self.lose_quorum),
            (1, self.hand_over_late),
            (1.5, self.cut_off),
        ]

    def run(self) -> None:
        weights = [weight for weight, _ in self.steps]
        for _, step in self.chance.choices(self.steps, weights, k=STEP_COUNT):
            step()
            self.check_reads()

    def node(self) -> NodeId | None:
        up = [each.node_id for each in self.cluster.members.values() if each.node is not None]
        return self.chance.choice(up) if up else None

    def leader(self) -> NodeId | None:
        members = self.cluster.members.values()
        leaders = [each.node_id for each in members if each.node and each.node.is_leader]
        return self.chance.choice(leaders) if leaders else None

    def position(self) -> int:
        """Mostly the oldest message, sometimes any: links are nearly in order."""
        if self.chance.random() < 0.8:
            return 0
        return self.chance.randrange(len(self.cluster.wire))

    def deliver(self) -> None:
        if not self.cluster.wire:
            return
        position = self.position()
        envelope = self.cluster.wire[position]
        is_cut_off = self.unheard in (envelope.sender, envelope.receiver)
        if is_cut_off or self.chance.random() < self.loss:
            self.cluster.drop(position)
        else:
            self.cluster.deliver(position)

    def cut_off(self) -> None:
        """Cut a member off, or let it back."""
        self.unheard = self.leader() if self.unheard is None else None

    def repeat(self) -> None:
        if self.cluster.wire:
            envelope = self.cluster.deliver(self.position())
            self.cluster.wire.insert(self.chance.randint(0, len(self.cluster.wire)), envelope)

    def sync(self) -> None:
        node = self.node()
        if node is not None:
            self.cluster.sync(node, self.chance.choice([1, 1, None]))

    def propose(self) -> None:
        leader = self.leader()
        if leader is not None:
            self.sent += 1
            payload = b"%d" % self.sent * self.chance.randint(1, 20)
            try:
                self.cluster.propose(leader, payload)
            except ProposalRefusedError:
                core = self.cluster.core(leader)
                assert core.is_transferring or core.commit_index < core.log.last_index

    def beat(self) -> None:
        leader = self.leader()
        if leader is not None:
            self.cluster.beat(leader)

    def read(self) -> None:
        node = self.leader() or self.node()
        if node is not None:
            context = len(self.reads)
            self.reads[context] = Index(len(self.cluster.checks.committed))
            self.cluster.read(node, context)

    def check_reads(self) -> None:
        for member in self.cluster.members.values():
            for read in member.reads:
                if read.index is not None:
                    assert read.index >= self.reads[read.context], "a stale read"
            member.reads.clear()

    def campaign(self) -> None:
        node = self.node()
        if node is not None and self.cluster.core(node).leader is None:
            self.cluster.campaign(node)

    def forget(self) -> None:
        for member in self.cluster.members.values():
            if member.node is not None:
                member.node.forget_leader()
                self.cluster.collect(member.node_id)

    def reset(self) -> None:
        leader = self.leader()
        if leader is not None and self.cluster.core(leader).peers:
            self.cluster.reset(leader, self.chance.choice(self.cluster.core(leader).peers))

    def crash(self) -> None:
        node = self.node()
        if node is not None:
            self.cluster.crash(node, rounds_kept=self.chance.choice([0, 0, 1, 2]))
            if self.may_wipe and len(self.cluster.voters) >= 3:
                self.may_wipe = False
                self.cluster.wipe(node)
                self.cluster.checks.wiped(node)

    def restart(self) -> None:
        down = [each for each in self.cluster.members.values() if each.node is None]
        if down:
            self.cluster.restart(self.chance.choice(down).node_id)

    def release(self) -> None:
        node = self.node()
        if node is not None:
            self.cluster.release(node, self.cluster.core(node).commit_index - 1)

    def compact(self) -> None:
        node = self.node()
        if node is not None:
            self.cluster.compact(node, self.cluster.core(node).commit_index - 2)

    def transfer(self) -> None:
        leader = self.leader()
        if leader is None or not self.cluster.core(leader).peers:
            return
        core = self.cluster.core(leader)
        if core.is_transferring:
            core.abort_transfer()
        else:
            core.transfer(self.chance.choice(core.peers))
            self.cluster.collect(leader)

    def lose_quorum(self) -> None:
        leader = self.leader()
        if leader is not None:
            self.cluster.core(leader).quorum_lost()
            self.cluster.collect(leader)

    def hand_over_late(self) -> None:
        """A leader's TimeoutNow arrives at any time in its term: an election without pre-votes."""
        node = self.node()
        if node is None:
            return
        core = self.cluster.core(node)
        sender = self.cluster.checks.leaders.get(core.term)
        if sender is not None and sender != node:
            core.step(sender, TimeoutNow(term=core.term))
            self.cluster.collect(node)

    def heal(self) -> None:
        """Faults are over: everybody is up, links are new, nobody is believed to lead."""
        cluster = self.cluster
        cluster.wire.clear()
        for member in cluster.members.values():
            if member.node is None:
                cluster.restart(member.node_id)
            member.core.abort_transfer()
            member.core.quorum_lost()
            member.core.forget_leader()
            cluster.collect(member.node_id)
        cluster.settle()
        for _ in range(3):
            for voter in cluster.voters:
                if cluster.leader() is None:
                    cluster.campaign(voter)
                    cluster.settle()

    def finish(self) -> None:
        """Progress must come: a new event reaches every member."""
        cluster = self.cluster
        leader = cluster.leader()
        assert leader is not None, "a healthy majority elects a leader"
        cluster.propose(leader, b"last")
        cluster.settle()
        cluster.beat(leader)
        cluster.settle()
        cluster.beat(leader)
        cluster.settle()
        for member in cluster.members.values():
            assert member.core.leader == leader
            assert [entry.payload for entry in member.applied] == [
                entry.payload for entry in cluster.checks.committed
            ]
        assert cluster.checks.committed[-1].payload == b"last"


@pytest.mark.parametrize("seed", range(RUN_COUNT))
def test_a_group_keeps_its_promises_under_faults_and_recovers_after_them(seed: int) -> None:
    run = Run(seed)

    run.run()
    run.heal()
    run.check_reads()
    run.finish()
