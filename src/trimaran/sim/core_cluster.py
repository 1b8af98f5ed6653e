"""A group of consensus cores in memory: a wire, disks that sync when told, crashes.

The smallest driver of `RaftNode` there is. Nothing happens by itself: the caller delivers, drops
or repeats messages, finishes syncs, campaigns, crashes. What was handed to a disk and not synced is
lost in a crash, except for as many rounds as the caller lets the disk have. `CoreChecks` watches
every step, and `trace` tells it as text.

Does not: draw chance or measure time; tests and scripts choose each step.
"""

from collections.abc import Sequence

from trimaran.ids import Index, NodeId, Term
from trimaran.raft.log import RaftLog
from trimaran.raft.node import RaftNode
from trimaran.raft.progress import RaftLimits
from trimaran.raft.ready import OlderEntries, ReadState, Ready, Role
from trimaran.records.entry import Entry, EntryKind, LogPosition
from trimaran.sim.core_checks import CoreChecks, Disk
from trimaran.sim.core_letters import (
    Beat,
    BeatAnswer,
    Envelope,
    Letter,
    describe_entries,
    describe_round,
)

SETTLE_STEPS_MAX = 10_000
"""More deliveries than any healthy group of a test needs to come to rest."""


class Member:
    """One node: its core (None while it is down), its disk, and what it has applied."""

    def __init__(self, node_id: NodeId) -> None:
        """Begin down, with an empty disk."""
        self.node_id = node_id
        self.disk = Disk()
        self.start = LogPosition()
        self.log_start = Index(1)
        self.may_vote = True
        self.applied: list[Entry] = []
        self.pending: list[Ready] = []
        self.reads: list[ReadState] = []
        self.node: RaftNode | None = None

    @property
    def core(self) -> RaftNode:
        """The running core."""
        assert self.node is not None, f"node {self.node_id} is down"
        return self.node

    def log_terms(self) -> list[Term]:
        """Return the terms of the whole log, from index 1."""
        core = self.core
        below = [entry.term for entry in self.applied[: core.log.first_index - 1]]
        return below + [entry.term for entry in core.log.slice(core.log.first_index)]


class CoreCluster:
    """Cores, wire, disks. Every method is one step, checked when it is over."""

    def __init__(
        self,
        size: int,
        *,
        limits: RaftLimits | None = None,
        eager_commit: bool = False,
    ) -> None:
        """Start `size` members, numbered from 1, all of them voters."""
        self.voters = tuple(NodeId(number) for number in range(1, size + 1))
        self.members = {voter: Member(voter) for voter in self.voters}
        self.wire: list[Envelope] = []
        self.trace: list[str] = []
        self.checks = CoreChecks(voter_count=size)
        self.beat_number = 0
        self._limits = limits or RaftLimits()
        self._eager_commit = eager_commit
        for voter in self.voters:
            self.restart(voter)

    def core(self, node_id: int) -> RaftNode:
        """Return the running core of a member."""
        return self.members[NodeId(node_id)].core

    def leader(self) -> NodeId | None:
        """Return the leader of the highest term, if that one is up."""
        leaders = [
            member.node
            for member in self.members.values()
            if member.node is not None and member.node.is_leader
        ]
        return max(leaders, key=lambda core: core.term).node_id if leaders else None

    # Steps of one member

    def collect(self, node_id: int) -> None:
        """Take the member's Ready objects and carry out all but the syncs."""
        member = self.members[NodeId(node_id)]
        while member.core.has_ready:
            ready = member.core.ready()
            self._carry_out(member, ready)
        self.checks.moved(member.core)

    def campaign(self, node_id: int) -> None:
        """Let the member's election deadline pass."""
        self.core(node_id).campaign()
        self.collect(node_id)

    def propose(self, node_id: int, payload: bytes) -> Entry:
        """Propose one event."""
        entry = self.core(node_id).propose(
            EntryKind.RECORDS, payload, offset_count=1, log_time_ms=0
        )
        self.collect(node_id)
        return entry

    def sync(self, node_id: int, rounds: int | None = None) -> None:
        """Let the disk finish the oldest `rounds` rounds, all of them by default."""
        member = self.members[NodeId(node_id)]
        finished = member.pending[:rounds]
        del member.pending[: len(finished)]
        for ready in finished:
            member.disk.store(ready.hard_state, ready.entries)
        if finished:
            self.trace.append(f"{node_id} synced {describe_round(finished)}")
            member.core.synced(finished[-1].token)
            member.disk.commit_hint = member.core.synced_commit_index
            self.collect(node_id)

    def crash(self, node_id: int, *, rounds_kept: int = 0) -> None:
        """Stop the member; of what was not synced, `rounds_kept` rounds reach the disk anyway."""
        member = self.members[NodeId(node_id)]
        for ready in member.pending[:rounds_kept]:
            member.disk.store(ready.hard_state, ready.entries)
        member.pending.clear()
        member.node = None

    def restart(self, node_id: int) -> None:
        """Start the member from its disk."""
        member = self.members[NodeId(node_id)]
        assert member.node is None
        member.node = RaftNode(
            node_id=member.node_id,
            voters=self.voters,
            log=RaftLog(member.start, member.disk.entries),
            hard_state=member.disk.hard_state,
            commit_index=member.disk.commit_hint,
            limits=self._limits,
            may_vote=member.may_vote,
            eager_commit=self._eager_commit,
        )
        del member.applied[member.node.commit_index :]
        self.checks.restarted(member.node_id)

    def wipe(self, node_id: int) -> None:
        """Replace the disk of a crashed member; it comes back without a vote."""
        fresh = Member(NodeId(node_id))
        assert self.members[fresh.node_id].node is None
        fresh.may_vote = False
        self.members[fresh.node_id] = fresh

    def release(self, node_id: int, up_to: int) -> None:
        """Drop committed entries from memory; they stay readable."""
        core = self.core(node_id)
        core.log.release(Index(min(up_to, core.commit_index)))

    def compact(self, node_id: int, up_to: int) -> None:
        """Move the member's log start: entries up to `up_to` can be sent to nobody any more."""
        member = self.members[NodeId(node_id)]
        self.release(node_id, up_to)
        member.log_start = Index(min(up_to, member.core.commit_index) + 1)

    def beat(self, node_id: int) -> None:
        """Send a heartbeat to every other member."""
        core = self.core(node_id)
        if not core.is_leader:
            return
        self.beat_number += 1
        for peer in core.peers:
            commit = min(core.commit_index, core.follower_match(peer))
            beat = Beat(term=core.term, commit=commit, number=self.beat_number)
            self._post(core.node_id, peer, beat)

    def read(self, node_id: int, context: int) -> None:
        """Ask for a read index."""
        self.core(node_id).read(context, self.beat_number)
        self.collect(node_id)

    # Steps of the wire

    def deliver(self, position: int = 0) -> Envelope:
        """Deliver the message at `position` of the wire; one to a member that is down is lost."""
        envelope = self.wire.pop(position)
        member = self.members[envelope.receiver]
        if member.node is not None:
            self._receive(member.node, envelope.sender, envelope.letter)
            self.collect(envelope.receiver)
        return envelope

    def drop(self, position: int = 0) -> Envelope:
        """Lose the message at `position` of the wire."""
        return self.wire.pop(position)

    def reset(self, node_id: int, peer: int) -> None:
        """Tell a member that its connection to `peer` was made anew."""
        self.core(node_id).peer_reset(NodeId(peer))
        self.collect(node_id)

    def settle(self, cut_off: Sequence[int] = ()) -> None:
        """Deliver and sync until nothing is left to do.

        `cut_off` members hear and say nothing, and their disks stand still.
        """
        for _ in range(SETTLE_STEPS_MAX):
            if self.wire:
                ends = (self.wire[0].sender, self.wire[0].receiver)
                if ends[0] in cut_off or ends[1] in cut_off:
                    self.drop()
                else:
                    self.deliver()
                continue
            waiting = [
                member.node_id
                for member in self.members.values()
                if member.pending and member.node_id not in cut_off
            ]
            if not waiting:
                return
            self.sync(waiting[0])
        raise AssertionError(f"no rest after {SETTLE_STEPS_MAX} steps")

    # The driver's part

    def _receive(self, core: RaftNode, sender: NodeId, letter: Letter) -> None:
        if isinstance(letter, Beat):
            core.heard_leader(sender, letter.term, letter.commit)
            is_sure = core.may_vote and core.is_hard_state_synced
            answer = BeatAnswer(
                term=core.synced_term,
                number=letter.number,
                follows=is_sure and core.leader == sender and core.term == letter.term,
            )
            self._post(core.node_id, sender, answer)
        elif not isinstance(letter, BeatAnswer):
            core.step(sender, letter)
        elif letter.follows and letter.term == core.term:
            core.heartbeat_answered(sender, letter.number)
        elif not letter.follows:
            core.peer_term(sender, letter.term)

    def _carry_out(self, member: Member, ready: Ready) -> None:
        core = member.core
        if ready.role_change is not None:
            change = ready.role_change
            self.trace.append(
                f"{core.node_id} {change.role.value} term={change.term} leader={change.leader}"
            )
            if change.role is Role.LEADER:
                self.checks.led_by(core, member.log_terms())
        if ready.truncated_from is not None:
            self.trace.append(f"{core.node_id} truncates from {ready.truncated_from}")
            assert ready.truncated_from > len(member.applied)
        if ready.must_sync:
            member.pending.append(ready)
            self.checks.appended(ready.prev_term, ready.entries)
        for peer, message in ready.messages:
            self.checks.sent(core, peer, message, member.disk)
            self._post(core.node_id, peer, message)
        self._apply(member, ready)
        for read in ready.reads:
            member.reads.append(read)
            found = "fails" if read.index is None else f"at {read.index}"
            self.trace.append(f"{core.node_id} read {read.context} {found}")
        for older in ready.older:
            self._read_older(member, older)
        if ready.install is not None:
            self._install(member, ready.install)

    def _apply(self, member: Member, ready: Ready) -> None:
        if ready.committed_from is None or ready.committed_to is None:
            return
        core = member.core
        entries = core.log.slice(ready.committed_from, Index(ready.committed_to + 1))
        assert entries[0].index == len(member.applied) + 1
        disks = [each.disk for each in self.members.values()]
        self.checks.committed_by(core, entries, disks)
        member.applied += entries
        self.trace.append(f"{core.node_id} commits {describe_entries(entries)}")

    def _read_older(self, member: Member, older: OlderEntries) -> None:
        core = member.core
        if older.start < member.log_start:
            at = member.applied[member.log_start - 2]
            core.start_install(older.peer, _position(at))
            return
        before = LogPosition()
        if older.start > 1:
            before = _position(member.applied[older.start - 2])
        end = core.log.first_index - 1
        core.older_entries_read(older.peer, before, member.applied[older.start - 1 : end])

    def _install(self, member: Member, boundary: LogPosition) -> None:
        """Move the leader's files at once: the history is the same on every node.

        The boundary is synced after everything that was on its way to the disk before it.
        """
        disk = member.disk
        for ready in member.pending:
            disk.store(ready.hard_state, ready.entries)
            member.core.synced(ready.token)
        member.pending.clear()
        if boundary.index > member.core.commit_index:
            disk.install(boundary.index, boundary.term)
            member.start = boundary
            member.log_start = disk.first_index
            member.applied = self.checks.committed[: boundary.index]
        self.trace.append(f"{member.node_id} installs boundary {boundary.index}/{boundary.term}")
        member.core.boundary_installed(boundary)

    def _post(self, sender: NodeId, receiver: NodeId, letter: Letter) -> None:
        envelope = Envelope(sender=sender, receiver=receiver, letter=letter)
        self.wire.append(envelope)
        self.trace.append(str(envelope))


def _position(entry: Entry) -> LogPosition:
    return LogPosition(
        index=entry.index,
        term=entry.term,
        next_offset=entry.next_offset,
        log_time_ms=entry.log_time_ms,
    )
