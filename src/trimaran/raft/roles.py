"""One member's state, and its ways from role to role (Raft paper figure 4, thesis section 9.6).

    FOLLOWER --campaign--> PRE_CANDIDATE --majority would--> CANDIDATE --majority did--> LEADER
       ^                        |                                |                         |
       +----- a leader, a higher term, a lost round, or lost quorum takes anyone back -----+

`RaftState` is plain: the rules (election, replication, install, reads, transfer) are functions that
work on it, and `node.RaftNode` calls them. What belongs to one role is reset by the `become_*`
function that enters or leaves it, here and nowhere else.

Invariants: the term never falls, a vote within a term never changes, the commit index never falls
and never passes the log's end.
Does not: decide when to change a role.
"""

from collections import deque

from trimaran.ids import Index, NodeId, Term
from trimaran.raft.durability import Durability
from trimaran.raft.log import RaftLog
from trimaran.raft.membership import Configuration
from trimaran.raft.messages import Message
from trimaran.raft.progress import Progress, RaftLimits
from trimaran.raft.ready import OlderEntries, ReadState, Role, RoleChange
from trimaran.records.entry import Entry, EntryKind, HardState, LogPosition


class RaftState:
    """Everything one member knows. Facts to read for the driver, to write for the rule modules."""

    __slots__ = (
        "acked",
        "answer_now",
        "answered",
        "append_due",
        "append_sender",
        "commit_index",
        "committed_handed",
        "configuration",
        "durability",
        "eager_commit",
        "heartbeat_answers",
        "install",
        "leader",
        "limits",
        "log",
        "matched",
        "may_vote",
        "messages",
        "node_id",
        "older",
        "peers",
        "progress",
        "read_states",
        "reads_pending",
        "rescuer",
        "role",
        "role_given",
        "role_maybe_changed",
        "term",
        "term_start",
        "transfer_target",
        "truncated_from",
        "vote",
        "voters",
        "votes",
    )

    def __init__(
        self,
        *,
        node_id: NodeId,
        voters: tuple[NodeId, ...],
        log: RaftLog,
        hard_state: HardState,
        commit_index: Index,
        limits: RaftLimits,
        may_vote: bool,
        eager_commit: bool,
    ) -> None:
        """Start as a follower with what was recovered; `log` and `hard_state` are synced.

        A `commit_index` beyond the log's end is what a node knew to be committed before its own
        entries were synced: it is cut to what is there, and learned again.
        """
        assert hard_state.term >= log.last_term
        assert len(dict.fromkeys(voters)) == len(voters)
        self.node_id = node_id
        self.configuration = Configuration(voters=voters)
        self.voters = voters
        self.peers = tuple(voter for voter in voters if voter != node_id)
        self.limits = limits
        self.may_vote = may_vote
        self.rescuer: NodeId | None = None
        """Whom this member votes for although it may not vote: see the driver's last resort."""
        self.eager_commit = eager_commit

        self.log = log
        self.durability = Durability(term=hard_state.term, last_index=log.last_index)
        self.term = hard_state.term
        self.vote = hard_state.vote
        self.role = Role.FOLLOWER
        self.leader: NodeId | None = None
        self.commit_index = max(log.before.index, min(commit_index, log.last_index))

        # (Pre-)candidates: who answered what in this round.
        self.votes: dict[NodeId, bool] = {}

        # Followers: what is known of this term's leader's log, and what is owed to it.
        self.matched = Index(0)
        self.append_sender: NodeId | None = None
        self.answered = Index(0)
        self.answer_now = False

        # Leaders: the followers, what counts of them for commit (self included), and the rest.
        self.progress: dict[NodeId, Progress] = {}
        self.acked: dict[NodeId, Index] = {}
        self.term_start = Index(0)
        self.append_due = False
        self.transfer_target: NodeId | None = None
        self.reads_pending: deque[tuple[int, int]] = deque()
        self.heartbeat_answers: dict[NodeId, Index] = {}

        # What the next Ready takes.
        self.messages: list[tuple[NodeId, Message]] = []
        self.read_states: list[ReadState] = []
        self.older: list[OlderEntries] = []
        self.install: LogPosition | None = None
        self.truncated_from: Index | None = None
        self.committed_handed = self.commit_index
        self.role_given = RoleChange(term=self.term, role=self.role, leader=self.leader)
        self.role_maybe_changed = False

    @property
    def is_leader(self) -> bool:
        """Whether this member leads its group in its term."""
        return self.role is Role.LEADER

    @property
    def is_candidate_able(self) -> bool:
        """Whether this member may stand for election: a voter whose disk is whole."""
        return self.may_vote and self.configuration.is_voter(self.node_id)

    @property
    def is_hard_state_synced(self) -> bool:
        """Whether term and vote are durable."""
        return self.durability.is_hard_state_synced

    @property
    def synced_term(self) -> Term:
        """The last durable term; what may be said of this member's term."""
        return self.durability.synced_term

    @property
    def synced_index(self) -> Index:
        """The end of what is durable of the log as it now stands."""
        return self.durability.synced_index

    @property
    def synced_commit_index(self) -> Index:
        """What may be written to disk as known to be committed.

        The commit index itself will not do: it may cover entries that are not synced yet, while
        the disk still holds others at their indexes. A restart would take those for committed.
        """
        return min(self.commit_index, self.durability.synced_index)

    @property
    def has_own_commit(self) -> bool:
        """Whether this leader has committed an entry of its term."""
        return self.role is Role.LEADER and self.commit_index >= self.term_start

    @property
    def has_reads(self) -> bool:
        """Whether reads wait for heartbeat answers."""
        return len(self.reads_pending) > 0

    @property
    def is_transferring(self) -> bool:
        """Whether leadership is being handed over; proposals are refused meanwhile."""
        return self.transfer_target is not None

    @property
    def is_answer_due(self) -> bool:
        """Whether an append answer can be given now that says something new or was asked for."""
        return (
            self.append_sender is not None
            and self.durability.is_hard_state_synced
            and (self.answer_now or min(self.matched, self.synced_index) > self.answered)
        )

    @property
    def has_ready(self) -> bool:
        """Whether the next `Ready` would hold anything."""
        durability = self.durability
        return bool(
            self.append_due
            or self.messages
            or durability.handed_index != self.log.last_index
            or durability.is_hard_state_due
            or self.committed_handed != self.commit_index
            or self.is_answer_due
            or self.role_maybe_changed
            or self.read_states
            or self.older
            or self.install is not None
            or self.truncated_from is not None
        )

    def lose_vote(self) -> None:
        """Neither vote, campaign nor count from now on: this member's disk lost something."""
        self.may_vote = False
        if self.role is not Role.FOLLOWER:
            become_follower(self, self.term, None)

    def readmit(self) -> None:
        """Vote, campaign and count again: the driver knows that what was lost is replaced."""
        if not self.may_vote:
            self.may_vote = True
            self.answer_now = self.append_sender is not None

    def follower_match(self, peer: NodeId) -> Index:
        """Return the end of what `peer` has synced of this leader's log; 0 if not known."""
        progress = self.progress.get(peer)
        return Index(0) if progress is None else progress.match


def send(state: RaftState, peer: NodeId, message: Message) -> None:
    """Send `message` now, or as soon as the term and vote of this moment are synced.

    Otherwise a node that crashes could have told one thing and then vote for another.
    """
    if state.durability.is_hard_state_synced:
        state.messages.append((peer, message))
    else:
        state.durability.hold(peer, message)


def advance_commit(state: RaftState, index: Index) -> bool:
    """Commit up to `index`, unless that is known already. Never goes back."""
    if index <= state.commit_index:
        return False
    assert index <= state.log.last_index, "only what is here can be known to be committed"
    state.commit_index = index
    return True


def follow(state: RaftState, term: Term, leader: NodeId) -> None:
    """Follow `leader`, which was heard of in `term`, ours or a later one."""
    assert term >= state.term
    if term > state.term or state.role is not Role.FOLLOWER:
        assert term > state.term or state.role is not Role.LEADER, "one leader in a term"
        become_follower(state, term, leader)
    elif state.leader != leader:
        assert state.leader is None, "one leader in a term"
        state.leader = leader
        state.role_maybe_changed = True


def become_follower(state: RaftState, term: Term, leader: NodeId | None) -> None:
    """Follow `leader` (None: nobody yet) in `term`; a leader's reads fail, its handover ends."""
    assert term >= state.term
    if term > state.term:
        _enter_term(state, term, vote=None)
    if state.role is Role.LEADER:
        _leave_leadership(state)
    state.role = Role.FOLLOWER
    state.leader = leader
    state.votes = {}
    state.role_maybe_changed = True


def become_pre_candidate(state: RaftState) -> None:
    """Ask who would vote; nothing that must be synced changes."""
    assert state.role is not Role.LEADER
    assert state.is_candidate_able
    state.role = Role.PRE_CANDIDATE
    state.leader = None
    state.votes = {state.node_id: True}
    state.role_maybe_changed = True


def become_candidate(state: RaftState) -> None:
    """Enter the next term with a vote for ourselves, which counts once it is synced."""
    assert state.role is not Role.LEADER
    assert state.is_candidate_able
    _enter_term(state, Term(state.term + 1), vote=state.node_id)
    state.role = Role.CANDIDATE
    state.leader = None
    state.votes = {}
    state.role_maybe_changed = True


def become_leader(state: RaftState) -> None:
    """Lead: append this term's first entry and probe every follower with it.

    Only an entry of the own term can be committed by counting (paper section 5.4.2); this one is
    there so that nothing inherited waits for a client.
    """
    assert state.role is Role.CANDIDATE
    assert state.is_hard_state_synced
    log = state.log
    start = Index(log.last_index + 1)
    state.role = Role.LEADER
    state.leader = state.node_id
    state.votes = {}
    state.role_maybe_changed = True
    state.term_start = start
    state.progress = {peer: Progress(next_index=start) for peer in state.peers}
    state.acked = {voter: Index(0) for voter in state.voters}
    state.acked[state.node_id] = state.synced_index
    state.heartbeat_answers = {voter: Index(0) for voter in state.voters}
    state.append_due = True
    log.append(
        Entry(
            start, state.term, EntryKind.LEADER_START, log.next_offset, 0, log.last_log_time_ms, b""
        )
    )


def _enter_term(state: RaftState, term: Term, *, vote: NodeId | None) -> None:
    assert term > state.term
    state.term = term
    state.vote = vote
    state.durability.hard_state_changed()
    state.matched = Index(0)
    state.append_sender = None
    state.answered = Index(0)
    state.answer_now = False


def _leave_leadership(state: RaftState) -> None:
    state.progress = {}
    state.acked = {}
    state.heartbeat_answers = {}
    state.append_due = False
    state.transfer_target = None
    state.older = []
    while state.reads_pending:
        context, _ = state.reads_pending.popleft()
        state.read_states.append(ReadState(context=context, index=None))
