"""One member of one Raft group: takes in what happened, gives out what to do (`ready.Ready`).

The whole control flow is here and small: each method hands one event to the rule module that knows
it and then lets the others look at what became possible (a commit releases reads, an answer
completes a transfer). Facts are the attributes of `roles.RaftState`; only the driver may read them
and only the rules write them.

    node = RaftNode(node_id=..., voters=..., log=..., hard_state=..., commit_index=...)
    node.step(sender, message); node.propose(...); node.campaign(); ...
    if node.has_ready:
        ready = node.ready()          # see ready.py for what to do with it
        ...
        node.synced(ready.token)      # when its hard state and entries are durable

Reading order: quorum, progress, log, durability; roles; election, replication, reads, transfer.
Does not: know time, chance, network or disk.
"""

from collections.abc import Sequence

from trimaran.ids import Index, NodeId, Term
from trimaran.raft import election, install, reads, replication, roles, transfer
from trimaran.raft.log import RaftLog
from trimaran.raft.messages import (
    AppendAnswer,
    AppendEntries,
    InstallAnswer,
    InstallBoundary,
    Message,
)
from trimaran.raft.progress import RaftLimits
from trimaran.raft.ready import Ready, Role, RoleChange
from trimaran.raft.roles import RaftState
from trimaran.records.entry import Entry, EntryKind, HardState, LogPosition, Payload

_NO_LIMITS_GIVEN = RaftLimits()


class RaftNode(RaftState):
    """A member's state plus everything that can happen to it."""

    __slots__ = ()

    def __init__(
        self,
        *,
        node_id: NodeId,
        voters: tuple[NodeId, ...],
        log: RaftLog,
        hard_state: HardState,
        commit_index: Index,
        limits: RaftLimits = _NO_LIMITS_GIVEN,
        may_vote: bool = True,
        eager_commit: bool = False,
    ) -> None:
        """Start as a follower with what was recovered; `log` and `hard_state` are synced.

        Args:
            node_id: this member; need not be a voter.
            voters: all voters in replica order, which is their rank.
            log: the tail above some committed position; owned by this node from now on.
            hard_state: term and vote.
            commit_index: what is known to be committed; cut to the log's end.
            limits: bounds of memory and traffic.
            may_vote: False for a damaged or new disk: never votes, campaigns or counts.
            eager_commit: as leader, announce a new commit index at once with an empty
                AppendEntries; else it rides with the next append or heartbeat.
        """
        super().__init__(
            node_id=node_id,
            voters=voters,
            log=log,
            hard_state=hard_state,
            commit_index=commit_index,
            limits=limits,
            may_vote=may_vote,
            eager_commit=eager_commit,
        )

    # Messages and proposals

    def step(self, sender: NodeId, message: Message) -> None:
        """Take in a message from `sender`. Strangers to the group are ignored."""
        if sender not in self.peers:
            return
        match message:
            case AppendEntries():
                replication.on_append(self, sender, message)
            case AppendAnswer():
                replication.on_append_answer(self, sender, message)
                if self.reads_pending:
                    reads.release_reads(self)
                if self.transfer_target is not None:
                    transfer.maybe_hand_over(self, sender)
            case InstallBoundary():
                install.on_install(self, sender, message)
            case InstallAnswer():
                install.on_install_answer(self, sender, message)
            case _:
                election.on_election_message(self, sender, message)

    def propose(
        self,
        kind: EntryKind,
        payload: Payload,
        *,
        offset_count: int = 0,
        log_time_ms: int,
        event_ids: bytes = b"",
    ) -> Entry:
        """Append an entry and return it, with its index and offset.

        `offset_count` is the number of offsets it takes (0 for control entries); `log_time_ms` is
        raised to its predecessor's if it lies below.

        Raises:
            NotLeaderError: this member does not lead.
            ProposalRefusedError: too many uncommitted bytes (`RaftLimits.uncommitted_bytes_max`;
                an empty uncommitted tail always takes one), or leadership is being handed over.
        """
        return replication.propose(
            self,
            kind,
            payload,
            offset_count=offset_count,
            log_time_ms=log_time_ms,
            event_ids=event_ids,
        )

    # Who leads

    def campaign(self) -> None:
        """Start a pre-vote round: the election deadline has passed. Leaders ignore it."""
        election.campaign(self)

    def forget_leader(self) -> None:
        """Stop believing in the leader (its connection broke, it fell silent): grant votes."""
        if self.role is not Role.LEADER and self.leader is not None:
            roles.become_follower(self, self.term, None)

    def quorum_lost(self) -> None:
        """Step down in the same term: no majority was heard (thesis section 6.2)."""
        if self.role is Role.LEADER:
            roles.become_follower(self, self.term, None)

    def heard_leader(self, sender: NodeId, term: Term, commit: Index) -> None:
        """Take in a heartbeat's claim; `commit` is min(the leader's, our match in `term`)."""
        if sender in self.peers:
            replication.hear_leader(self, sender, term, commit)

    def peer_term(self, sender: NodeId, term: Term) -> None:
        """Take in a term from a heartbeat answer: a higher one ends this term here."""
        if sender in self.peers and term > self.term:
            roles.become_follower(self, term, None)

    def transfer(self, target: NodeId) -> None:
        """Hand leadership to `target`, another voter; proposals are refused until it is over.

        Raises:
            NotLeaderError: this member does not lead.
        """
        transfer.start_transfer(self, target)

    def abort_transfer(self) -> None:
        """Take proposals again: the target did not take over in time."""
        transfer.abort_transfer(self)

    # Followers

    def peer_reset(self, peer: NodeId) -> None:
        """Probe `peer` again: its connection was re-established, messages may be lost."""
        replication.restart(self, peer)

    def peer_damaged(self, peer: NodeId) -> None:
        """`peer` has lost data: count it for no commit until it says that it may vote again."""
        replication.stop_counting(self, peer)

    def older_entries_read(self, peer: NodeId, prev: LogPosition, entries: Sequence[Entry]) -> None:
        """Take in what `Ready.older` asked for: at least one entry, after `prev`."""
        replication.send_older(self, peer, prev, entries)

    def start_install(self, peer: NodeId, boundary: LogPosition) -> None:
        """Answer `Ready.older` when the entries are below the log's start: move files instead."""
        install.start_install(self, peer, boundary)

    def install_done(self, peer: NodeId, index: Index) -> None:
        """`peer` holds the boundary at `index`, synced."""
        install.finish_install(self, peer, index)

    def install_failed(self, peer: NodeId) -> None:
        """The install did not succeed: probe again, which asks for older entries again."""
        install.abandon_install(self, peer)

    def boundary_installed(self, boundary: LogPosition) -> None:
        """On the follower: the files of `Ready.install` and the boundary itself are synced.

        The log starts over after `boundary`, unless it fits and goes on. Entries up to the
        boundary are not handed out as committed: the driver has their effect in the files.
        """
        install.take_boundary(self, boundary)

    # Reads

    def read(self, context: int, heartbeat_number: int) -> None:
        """Ask for a read index; the answer comes in `Ready.reads` under `context`.

        `heartbeat_number` is the number of the last heartbeat sent before the read was taken up.
        """
        reads.read(self, context, heartbeat_number)

    def heartbeat_answered(self, peer: NodeId, number: int) -> None:
        """`peer`, following us in our term, answered heartbeat `number`."""
        reads.heartbeat_answered(self, peer, number)

    # The disk and the driver

    def synced(self, token: int) -> None:
        """Everything handed out with tokens up to `token` is durable. May be late, or repeated."""
        self.messages += self.durability.synced(token)
        election.count_own_vote(self)
        replication.count_own_log(self)
        if self.reads_pending:
            reads.release_reads(self)

    def ready(self) -> Ready:
        """Return everything to be done since the last call, with a new token."""
        if self.append_due:
            replication.send_appends(self)
        if self.is_answer_due:
            replication.answer_append(self)
        ready = Ready(token=0, messages=self.messages)
        self.messages = []
        self._hand_out_changes(ready)
        if self.committed_handed < self.commit_index:
            ready.committed_from = Index(self.committed_handed + 1)
            ready.committed_to = self.committed_handed = self.commit_index
        if self.read_states:
            ready.reads, self.read_states = self.read_states, []
        if self.older:
            ready.older, self.older = self.older, []
        if self.role_maybe_changed:
            self._hand_out_role(ready)
        ready.install, self.install = self.install, None
        ready.truncated_from, self.truncated_from = self.truncated_from, None
        return ready

    def _hand_out_changes(self, ready: Ready) -> None:
        """Put what must be synced into `ready`, under a new token."""
        log = self.log
        durability = self.durability
        if durability.is_hard_state_due:
            ready.hard_state = HardState(term=self.term, vote=self.vote)
        start = Index(durability.handed_index + 1)
        if start <= log.last_index:
            prev_term = log.term_at(Index(start - 1))
            assert prev_term is not None, "unsynced entries are in memory"
            ready.entries = log.slice(start)
            ready.prev_term = prev_term
        ready.token = durability.hand_out(term=self.term, last_index=log.last_index)

    def _hand_out_role(self, ready: Ready) -> None:
        """Put the role into `ready` if anything about it differs from what was given out last."""
        self.role_maybe_changed = False
        change = RoleChange(term=self.term, role=self.role, leader=self.leader)
        if change != self.role_given:
            self.role_given = ready.role_change = change
