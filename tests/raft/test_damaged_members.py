"""A member whose disk lost something: no vote, no ack that counts, until it is readmitted."""

from trimaran.raft.messages import AppendAnswer, PreVote, RequestVote, VoteAnswer
from trimaran.raft.ready import Role


def test_a_leader_drops_what_a_damaged_member_acknowledged_before(lone) -> None:
    one = lone(terms=[1], commit=1)
    one.lead()
    one.acknowledge(2, 1)

    one.node.peer_damaged(2)

    assert one.node.acked[2] == 0
    assert not one.node.progress[2].counts
    one.hear(2, AppendAnswer(one.node.term, True, 2, counts=False))
    assert one.node.commit_index == 1


def test_a_member_that_loses_its_vote_stands_no_more(lone) -> None:
    one = lone()
    one.node.campaign()
    assert one.node.role is Role.PRE_CANDIDATE

    one.node.lose_vote()
    one.node.campaign()

    assert one.node.role is Role.FOLLOWER
    assert not one.node.may_vote


def test_a_damaged_member_votes_for_its_rescuer_and_nobody_else(lone) -> None:
    one = lone(terms=[1], may_vote=False)
    one.node.rescuer = 3

    refused = one.hear(2, RequestVote(term=2, last_index=5, last_term=1))
    pre_vote = one.hear(3, PreVote(term=3, last_index=5, last_term=1))
    given = one.hear(3, RequestVote(term=3, last_index=5, last_term=1))
    too_short = one.hear(3, RequestVote(term=4, last_index=0, last_term=0))

    assert refused == [(2, VoteAnswer(term=2, granted=False))]
    assert pre_vote[0][1].granted
    assert given == [(3, VoteAnswer(term=3, granted=True))]
    assert too_short == [(3, VoteAnswer(term=4, granted=False))]
