"""What must hold in every state of a group (Raft paper, figure 3), and what must be remembered.

Most of the rules speak of the past: who led, who voted for whom, what was committed and in which
term. That history is part of a state, so that two ways to the same members are only taken for one
if they remember the same; otherwise the way that is not followed could be the wrong one.

- election safety: one leader in a term; no member votes twice in a term, over restarts;
- log matching: two logs that agree in a term at an index agree up to there;
- leader completeness: a leader's log holds all that was committed in its term or before;
- state-machine safety: one entry for each committed index, whoever commits it;
- durability: what is committed is on the disks of a majority, from then on and for ever.

Does not: know steps or messages, or judge what concerns one member alone (search_steps does).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from trimaran.ids import NodeId, Term
from trimaran.sim.search_state import Entries, Facts
from trimaran.sim.search_steps import Numbers, Steps, Vote, first_line

MAJORITY = 2
"""Of three."""


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """What happened so far, as far as a rule can ask for it."""

    leaders: tuple[tuple[Term, NodeId], ...] = ()
    """Sorted by term."""
    votes: tuple[Vote, ...] = ()
    """Sorted."""
    committed: Entries = ()
    """The one history."""
    committed_in: tuple[Term, ...] = ()
    """The lowest term in which a member knew each of them to be committed."""


class Rules:
    """Judges each combination of history and facts once."""

    def __init__(self, steps: Steps) -> None:
        self.histories: Numbers[History] = Numbers()
        self.first = self._number(History())
        self._steps = steps
        self._judged: dict[tuple[int, ...], int | str] = {}

    def judge(self, history: int, facts: tuple[int, int, int], votes: int) -> int | str:
        """Return the number of the history with what the members' facts add, or what is wrong."""
        key = (history, *facts, votes)
        found = self._judged.get(key)
        if found is None:
            items = self._steps.facts.items
            before = self.histories.items[history]
            spoken = self._steps.votes.items[votes]
            try:
                found = self._number(judged(before, [items[number] for number in facts], spoken))
            except AssertionError as error:
                found = first_line(error)
            self._judged[key] = found
        return found

    def _number(self, history: History) -> int:
        return self.histories.number(history, history)


def judged(history: History, members: Sequence[Facts], votes: Sequence[Vote]) -> History:
    """Return `history` and what is new.

    Raises:
        AssertionError: a rule is broken; its text is the rule.
    """
    history = replace(
        history,
        leaders=_with_leaders(history, members),
        votes=_with_votes(history, votes),
    )
    history = _with_commits(history, members)
    for at, entry in enumerate(history.committed):
        holders = sum(member.disk_log[at : at + 1] == (entry,) for member in members)
        assert holders >= MAJORITY, f"durability: entry {at + 1} is on {holders} disks"
    _check_leaders_complete(history, members)
    for at, member in enumerate(members):
        for other in members[at + 1 :]:
            _check_match(member, other)
    return history


def _with_leaders(history: History, members: Sequence[Facts]) -> tuple[tuple[Term, NodeId], ...]:
    leaders = dict(history.leaders)
    for member in members:
        if member.is_leader:
            known = leaders.setdefault(member.term, member.node_id)
            assert known == member.node_id, (
                f"election safety: {known} and {member.node_id} lead in term {member.term}"
            )
    return tuple(sorted(leaders.items()))


def _with_votes(history: History, votes: Sequence[Vote]) -> tuple[Vote, ...]:
    known = {(voter, term): candidate for voter, term, candidate in history.votes}
    for voter, term, candidate in votes:
        earlier = known.setdefault((voter, term), candidate)
        assert earlier == candidate, (
            f"election safety: {voter} votes for {earlier} and {candidate} in term {term}"
        )
    return tuple(sorted((*key, candidate) for key, candidate in known.items()))


def _with_commits(history: History, members: Sequence[Facts]) -> History:
    """Take in what members know to be committed, which must be what others knew before."""
    committed = history.committed
    committed_in = history.committed_in
    for member in sorted(members, key=lambda member: member.term):
        known = member.log[: member.commit_index]
        shared = min(len(known), len(committed))
        assert known[:shared] == committed[:shared], (
            f"state-machine safety: {member.node_id} has {known[:shared]} committed, "
            f"others had {committed[:shared]}"
        )
        committed += known[shared:]
        committed_in += (member.term,) * (len(known) - shared)
    return replace(history, committed=committed, committed_in=committed_in)


def _check_leaders_complete(history: History, members: Sequence[Facts]) -> None:
    for member in members:
        if not member.is_leader:
            continue
        for at, entry in enumerate(history.committed):
            if history.committed_in[at] <= member.term:
                assert member.log[at : at + 1] == (entry,), (
                    f"leader completeness: {member.node_id}, leader of term {member.term}, lacks "
                    f"entry {at + 1} of term {entry[0]}"
                )


def _check_match(one: Facts, other: Facts) -> None:
    shared = min(len(one.log), len(other.log))
    while shared > 0 and one.log[shared - 1][0] != other.log[shared - 1][0]:
        shared -= 1
    assert one.log[:shared] == other.log[:shared], (
        f"log matching: {one.node_id} and {other.node_id} differ at or below index {shared}"
    )
