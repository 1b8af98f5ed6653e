"""A configuration is data: who votes, in which order, and what two majorities mean."""

from trimaran.raft.membership import Configuration
from trimaran.raft.quorum import VoteResult


def test_a_simple_configuration_needs_one_majority() -> None:
    simple = Configuration(voters=(3, 1, 2))

    assert not simple.is_joint
    assert simple.rank(3) == 0
    assert simple.rank(2) == 2
    assert simple.committed_index({1: 4, 2: 6, 3: 9}) == 6
    assert simple.vote_result({1: True, 3: True}) is VoteResult.WON


def test_a_joint_configuration_needs_a_majority_of_both_halves() -> None:
    joint = Configuration(voters=(1, 2, 3), outgoing=(4, 5))
    acked = {1: 9, 2: 9, 3: 9, 4: 2, 5: 8}

    assert joint.is_joint
    assert joint.committed_index(acked) == 2
    assert joint.vote_result({1: True, 2: True, 4: True}) is VoteResult.PENDING
    assert joint.vote_result({1: True, 2: True, 5: False}) is VoteResult.LOST


def test_learners_and_strangers_do_not_vote() -> None:
    configuration = Configuration(voters=(1,), outgoing=(2,), learners=(3,))

    assert [configuration.is_voter(node) for node in (1, 2, 3, 4)] == [True, True, False, False]
