"""What a set of voters has agreed on. Pure: no state, no I/O.

A joint configuration has two halves, each with its own majority; what holds needs both. An empty
half agrees with everything, so that a simple configuration is a joint one with an empty half.
Sources: Raft paper section 5.3 (commit rule), thesis section 4.3 (joint consensus).

Does not: know who the voters are, or what the numbers mean (log indexes and heartbeat numbers are
both counted here).
"""

from collections.abc import Mapping, Sequence
from enum import Enum

from trimaran.ids import Index, NodeId


class VoteResult(Enum):
    """What the votes counted so far decide."""

    PENDING = "pending"
    WON = "won"
    LOST = "lost"


def majority_count(voters: Sequence[NodeId]) -> int:
    """Return how many of `voters` are more than half of them."""
    return len(voters) // 2 + 1


def committed_index(voters: Sequence[NodeId], acked: Mapping[NodeId, Index]) -> Index | None:
    """Return the highest index that a majority of `voters` has acknowledged.

    None means "no limit": an empty half of a joint configuration agrees with everything, so that
    the other half decides alone.
    """
    if not voters:
        return None
    ascending = sorted([acked[voter] for voter in voters])
    committed = ascending[len(voters) - majority_count(voters)]
    assert ascending[0] <= committed
    assert committed <= ascending[-1]
    return committed


def joint_committed_index(
    incoming: Sequence[NodeId], outgoing: Sequence[NodeId], acked: Mapping[NodeId, Index]
) -> Index | None:
    """Return the highest index that a majority of each half has acknowledged, None if no limit."""
    new = committed_index(incoming, acked)
    old = committed_index(outgoing, acked)
    if new is None:
        return old
    return new if old is None else min(new, old)


def vote_result(voters: Sequence[NodeId], votes: Mapping[NodeId, bool]) -> VoteResult:
    """Return what `votes` (True: granted; no key: not heard yet) decide among `voters`.

    Votes of others than `voters` do not count. An empty half is won.
    """
    if not voters:
        return VoteResult.WON
    granted = sum(votes.get(voter, False) for voter in voters)
    refused = sum(not votes.get(voter, True) for voter in voters)
    assert granted + refused <= len(voters)
    if granted >= majority_count(voters):
        return VoteResult.WON
    if len(voters) - refused < majority_count(voters):
        return VoteResult.LOST
    return VoteResult.PENDING


def joint_vote_result(
    incoming: Sequence[NodeId], outgoing: Sequence[NodeId], votes: Mapping[NodeId, bool]
) -> VoteResult:
    """Return what `votes` decide when both halves must be won and one lost half loses."""
    results = (vote_result(incoming, votes), vote_result(outgoing, votes))
    if VoteResult.LOST in results:
        return VoteResult.LOST
    return VoteResult.PENDING if VoteResult.PENDING in results else VoteResult.WON
