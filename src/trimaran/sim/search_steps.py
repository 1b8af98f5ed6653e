"""What one event does to one member: computed once by the real core, remembered ever after.

The core is deterministic, so an event at a member depends on nothing but the two. A search of
millions of group states meets far fewer pairs of (member, event): each is run once, and the rest of
the search works with numbers. Members, messages and facts are numbered in the order in which they
were first met, the same in every run.

What only concerns one member is judged here, as part of its step: the core's own assertions, that
nothing it knows for certain falls, that it speaks only of what its disk holds, that a leader
commits by counting in its own term only.

Does not: know the group's state or what is under way (search_group does).
"""

import traceback
from collections.abc import Hashable
from typing import Generic, TypeAlias, TypeVar

from trimaran.ids import NodeId, Term
from trimaran.raft.log import RaftLog
from trimaran.raft.messages import RequestVote, VoteAnswer
from trimaran.raft.node import RaftNode
from trimaran.raft.progress import RaftLimits
from trimaran.raft.ready import Ready, Role
from trimaran.records.entry import EntryKind
from trimaran.sim import search_bounds as kinds
from trimaran.sim.core_checks import CoreChecks, Disk
from trimaran.sim.core_letters import Beat, BeatAnswer, Envelope, Letter
from trimaran.sim.search_bounds import SHIFT_OF, Bounds
from trimaran.sim.search_state import Facts, SearchMember, message_key

VOTERS = (NodeId(1), NodeId(2), NodeId(3))

Vote: TypeAlias = tuple[NodeId, Term, NodeId]
"""Voter, term, candidate."""

KIND_BITS = 4

Item = TypeVar("Item")


class Numbers(Generic[Item]):
    """Things numbered from 0 in the order in which they were first met."""

    def __init__(self) -> None:
        self.items: list[Item] = []
        self._numbers: dict[Hashable, int] = {}

    def number(self, key: Hashable, item: Item) -> int:
        """Return the number of what has `key`; `item` is kept if it is new."""
        number = self._numbers.setdefault(key, len(self.items))
        if number == len(self.items):
            self.items.append(item)
        return number


class Step:
    """What became of a member: its number now, what it sent, what it said of votes."""

    __slots__ = ("error", "is_noted", "member", "sent", "votes")

    def __init__(self, member: int, sent: list[int], votes: int) -> None:
        self.member = member
        self.sent = sent
        """Numbers of envelopes."""
        self.votes = votes
        """Number of the votes that were spoken of, 0 for none."""
        self.is_noted = True
        """Whether the rules of the group have anything new to look at."""
        self.error = ""
        """What was wrong; nothing else counts then."""


class Steps:
    """All members, messages and steps that a search has met."""

    def __init__(self, bounds: Bounds) -> None:
        self.bounds = bounds
        self.members: Numbers[SearchMember] = Numbers()
        self.envelopes: Numbers[Envelope] = Numbers()
        self.facts: Numbers[Facts] = Numbers()
        self.votes: Numbers[tuple[Vote, ...]] = Numbers()
        self.votes.number((), ())
        self.facts_of: list[int] = []
        """Number of the facts of each member."""
        self.term_of: list[Term] = []
        """Term of each member."""
        self.links: list[int] = []
        """Sender and receiver of each envelope, from 0, two bits each."""
        self._steps: list[dict[int, Step]] = []
        self._events: list[list[tuple[int, int]] | None] = []
        limits = RaftLimits(message_bytes_max=1) if bounds.one_entry_messages else RaftLimits()
        self._limits = limits
        self.first = [
            self._enter(SearchMember(self._start(voter, Disk()), Disk(), [])) for voter in VOTERS
        ]

    def step(self, member: int, event: int) -> Step:
        """Return what `event` (kind and argument) does to a member."""
        steps = self._steps[member]
        known = steps.get(event)
        if known is None:
            known = steps[event] = self._compute(member, event)
        return known

    def events(self, member: int) -> list[tuple[int, int]]:
        """Return (shift of its count or -1, event) for what can happen besides messages."""
        known = self._events[member]
        if known is None:
            kind_mask = (1 << KIND_BITS) - 1
            known = self._events[member] = [
                (SHIFT_OF.get(event & kind_mask, -1), event)
                for event in self._possible(self.members.items[member])
            ]
        return known

    # What can happen

    def _possible(self, member: SearchMember) -> list[int]:
        node = member.node
        events: list[int] = []
        if member.pending:
            events.append(kinds.SYNC)
        if node.has_ready:
            events.append(kinds.HAND_OUT)
        if node.is_leader:
            events += [kinds.STEP_DOWN, kinds.BEAT]
            events += [code(kinds.RESET, peer) for peer in node.peers]
            if node.is_transferring:
                events.append(kinds.ABORT)
            else:
                events.append(kinds.PROPOSE)
                events += [code(kinds.TRANSFER, peer) for peer in node.peers]
        elif node.node_id in self.bounds.standing:
            events.append(kinds.CAMPAIGN)
        if node.leader is not None and not node.is_leader:
            events.append(kinds.FORGET)
        events += [code(kinds.RESTART, kept) for kept in range(len(member.pending) + 1)]
        return events

    # What it does

    def _compute(self, number: int, event: int) -> Step:
        before = self.members.items[number]
        after = before.copy()
        checks = CoreChecks(voter_count=len(VOTERS))
        letters: list[tuple[NodeId, Letter]] = []
        kind = event & ((1 << KIND_BITS) - 1)
        try:
            checks.moved(before.node)
            if kind == kinds.RESTART:
                checks.restarted(before.node.node_id)
            self._act(after, kind, event >> KIND_BITS, letters)
            if not self.bounds.is_batched or kind == kinds.HAND_OUT:
                self._collect(after, checks, letters)
            checks.moved(after.node)
            assert after.node.may_vote, "a member whose disk is whole takes it for damaged"
            if self.bounds.judges_members:
                _check_commit(before.node, after.node)
        except (AssertionError, LookupError) as error:
            return _failed(error)
        return self._step(number, after, letters)

    def _act(
        self, member: SearchMember, kind: int, argument: int, letters: list[tuple[NodeId, Letter]]
    ) -> None:
        node = member.node
        match kind:
            case kinds.DELIVER:
                self._receive(node, self.envelopes.items[argument], letters)
            case kinds.SYNC:
                _sync(member)
            case kinds.RESTART:
                for ready in member.pending[:argument]:
                    member.disk.store(ready.hard_state, ready.entries)
                member.node = self._start(node.node_id, member.disk)
                member.pending = []
            case kinds.PROPOSE:
                payload = b"e%d" % argument
                node.propose(EntryKind.RECORDS, payload, offset_count=1, log_time_ms=0)
            case kinds.BEAT:
                for peer in node.peers:
                    commit = min(node.commit_index, node.follower_match(peer))
                    letters.append((peer, Beat(term=node.term, commit=commit, number=0)))
            case _:
                _order(node, kind, NodeId(argument))

    def _receive(
        self, node: RaftNode, envelope: Envelope, letters: list[tuple[NodeId, Letter]]
    ) -> None:
        sender, letter = envelope.sender, envelope.letter
        if isinstance(letter, Beat):
            node.heard_leader(sender, letter.term, letter.commit)
            if node.synced_term > letter.term:
                # Only a higher term in an answer does anything where nobody reads.
                answer = BeatAnswer(term=node.synced_term, number=0, follows=False)
                letters.append((sender, answer))
        elif isinstance(letter, BeatAnswer):
            node.peer_term(sender, letter.term)
        else:
            node.step(sender, letter)

    def _collect(
        self, member: SearchMember, checks: CoreChecks, letters: list[tuple[NodeId, Letter]]
    ) -> None:
        """Take Ready objects as long as there are any, and carry them out but for the disk."""
        node = member.node
        while node.has_ready or (self.bounds.is_synced_at_once and member.pending):
            if not node.has_ready:
                _sync(member)
                continue
            ready = node.ready()
            assert not ready.older, "whole logs are in memory"
            assert ready.install is None, "whole logs are in memory"
            if ready.must_sync:
                member.pending.append(ready)
            for peer, message in ready.messages:
                if self.bounds.judges_members:
                    checks.sent(node, peer, message, member.disk)
                letters.append((peer, message))

    def _step(self, before: int, after: SearchMember, letters: list[tuple[NodeId, Letter]]) -> Step:
        node_id = after.node.node_id
        sent: list[int] = []
        votes: list[Vote] = []
        for peer, letter in letters:
            envelope = Envelope(sender=node_id, receiver=peer, letter=letter)
            sent.append(self.envelopes.number((node_id, peer, message_key(letter)), envelope))
            if sent[-1] == len(self.links):
                self.links.append((node_id - 1) << 2 | (peer - 1))
            if isinstance(letter, RequestVote):
                votes.append((node_id, letter.term, node_id))
            elif isinstance(letter, VoteAnswer) and letter.granted:
                votes.append((node_id, letter.term, peer))
        number = self._enter(after)
        key = tuple(votes)
        step = Step(number, sent, self.votes.number(key, key))
        step.is_noted = self.facts_of[number] != self.facts_of[before] or step.votes > 0
        return step

    def _enter(self, member: SearchMember) -> int:
        number = self.members.number(member.snapshot(), member)
        if number == len(self._steps):
            facts = Facts(member)
            self.term_of.append(facts.term)
            self.facts_of.append(self.facts.number(facts.key(), facts))
            self._steps.append({})
            self._events.append(None)
        return number

    def _start(self, node_id: NodeId, disk: Disk) -> RaftNode:
        return RaftNode(
            node_id=node_id,
            voters=VOTERS,
            log=RaftLog(None, disk.entries),
            hard_state=disk.hard_state,
            commit_index=disk.commit_hint,
            limits=self._limits,
            eager_commit=self.bounds.eager_commit,
        )


def code(kind: int, argument: int) -> int:
    """Return the number of an event."""
    assert argument >= 0
    return argument << KIND_BITS | kind


def _order(node: RaftNode, kind: int, peer: NodeId) -> None:
    match kind:
        case kinds.CAMPAIGN:
            node.campaign()
        case kinds.FORGET:
            node.forget_leader()
        case kinds.STEP_DOWN:
            node.quorum_lost()
        case kinds.RESET:
            node.peer_reset(peer)
        case kinds.TRANSFER:
            node.transfer(peer)
        case kinds.ABORT:
            node.abort_transfer()
        case _:
            assert kind == kinds.HAND_OUT


def _sync(member: SearchMember) -> None:
    """Finish the oldest round."""
    ready: Ready = member.pending.pop(0)
    member.disk.store(ready.hard_state, ready.entries)
    member.node.synced(ready.token)
    member.disk.commit_hint = member.node.synced_commit_index


def _check_commit(before: RaftNode, after: RaftNode) -> None:
    if after.role is Role.LEADER and after.commit_index > before.commit_index:
        term = after.log.term_at(after.commit_index)
        assert term == after.term, f"a leader of term {after.term} committed up to one of {term}"


def first_line(error: Exception) -> str:
    """Return what is wrong; an assertion may have been told in more detail by its test runner."""
    return str(error).partition("\n")[0]


def _failed(error: Exception) -> Step:
    step = Step(0, [], 0)
    at = traceback.extract_tb(error.__traceback__)[-1]
    rule = first_line(error)
    if not rule or rule.startswith("assert "):
        rule = at.line or type(error).__name__
    step.error = f"{rule} ({at.name} in {at.filename.rpartition('/')[2]})"
    return step
