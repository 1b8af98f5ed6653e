"""Agreement, checked against a second implementation that counts subsets."""

from itertools import combinations

from hypothesis import given
from hypothesis import strategies as st

from trimaran.raft.quorum import (
    VoteResult,
    committed_index,
    joint_committed_index,
    joint_vote_result,
    vote_result,
)

voter_sets = st.lists(st.integers(1, 7), max_size=7, unique=True)
acked_maps = st.fixed_dictionaries({voter: st.integers(0, 9) for voter in range(1, 8)})
vote_maps = st.dictionaries(st.integers(1, 9), st.booleans())


def subset_committed(voters: list[int], acked: dict[int, int]) -> int | None:
    """The best that any set of more than half has in common."""
    best = None
    for count in range(len(voters) + 1):
        for group in combinations(voters, count):
            if 2 * count > len(voters):
                common = min(acked[voter] for voter in group)
                best = common if best is None else max(best, common)
    return best


def subset_vote(voters: list[int], votes: dict[int, bool]) -> VoteResult:
    """Try every way in which the missing votes could come."""
    missing = [voter for voter in voters if voter not in votes]
    outcomes = {
        2 * sum(votes.get(voter, voter in yes) for voter in voters) > len(voters)
        for count in range(len(missing) + 1)
        for yes in combinations(missing, count)
    }
    if not voters or outcomes == {True}:
        return VoteResult.WON
    return VoteResult.LOST if outcomes == {False} else VoteResult.PENDING


@given(voter_sets, acked_maps)
def test_committed_index_is_the_best_common_index_of_a_majority(voters, acked) -> None:
    assert committed_index(voters, acked) == subset_committed(voters, acked)


@given(voter_sets, vote_maps)
def test_vote_result_is_what_no_missing_vote_can_change(voters, votes) -> None:
    assert vote_result(voters, votes) is subset_vote(voters, votes)


@given(voter_sets, voter_sets, acked_maps)
def test_joint_committed_index_needs_both_halves(incoming, outgoing, acked) -> None:
    halves = [subset_committed(half, acked) for half in (incoming, outgoing) if half]

    assert joint_committed_index(incoming, outgoing, acked) == (min(halves) if halves else None)


@given(voter_sets, voter_sets, vote_maps)
def test_joint_vote_is_lost_with_one_half_and_won_with_both(incoming, outgoing, votes) -> None:
    halves = {subset_vote(incoming, votes), subset_vote(outgoing, votes)}

    result = joint_vote_result(incoming, outgoing, votes)

    if VoteResult.LOST in halves:
        assert result is VoteResult.LOST
    elif halves == {VoteResult.WON}:
        assert result is VoteResult.WON
    else:
        assert result is VoteResult.PENDING


def test_an_empty_half_agrees_with_everything() -> None:
    assert committed_index((), {}) is None
    assert vote_result((), {}) is VoteResult.WON
    assert joint_committed_index((1, 2, 3), (), {1: 5, 2: 4, 3: 0}) == 4


def test_one_voter_alone_is_a_majority() -> None:
    assert committed_index((1,), {1: 7}) == 7
    assert vote_result((1,), {}) is VoteResult.PENDING
    assert vote_result((1,), {1: True}) is VoteResult.WON


def test_half_of_an_even_number_is_no_majority() -> None:
    assert committed_index((1, 2), {1: 9, 2: 3}) == 3
    assert vote_result((1, 2, 3, 4), {1: True, 2: True}) is VoteResult.PENDING
    assert vote_result((1, 2, 3, 4), {1: False, 2: False}) is VoteResult.LOST
