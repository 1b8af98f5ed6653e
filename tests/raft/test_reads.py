"""Linearizable reads (thesis section 6.4): when a read may be answered, and with what."""

import pytest

from trimaran.raft.messages import AppendAnswer
from trimaran.raft.ready import ReadState


def leading(lone, **settings):
    one = lone(**settings)
    one.lead()
    for peer in one.node.peers:
        one.acknowledge(peer, one.node.log.last_index)
    one.drive()
    return one


def reads_of(one):
    one.drive()
    return [read for ready in one.readies for read in ready.reads]


def test_a_read_is_confirmed_by_a_majoritys_answers_to_a_later_heartbeat(lone) -> None:
    one = leading(lone)

    one.node.read(7, 4)
    before = reads_of(one)
    one.node.heartbeat_answered(2, 5)

    assert before == []
    assert reads_of(one) == [ReadState(context=7, index=1)]
    assert not one.node.has_reads


def test_an_answer_to_an_earlier_heartbeat_confirms_nothing(lone) -> None:
    one = leading(lone)
    one.node.read(7, 4)

    one.node.heartbeat_answered(2, 4)
    one.node.heartbeat_answered(3, 3)

    assert reads_of(one) == []
    assert one.node.has_reads


def test_an_answer_that_overtook_the_read_confirms_it_at_once(lone) -> None:
    one = leading(lone)
    one.node.heartbeat_answered(3, 9)

    one.node.read(7, 4)

    assert reads_of(one) == [ReadState(context=7, index=1)]


def test_an_older_answer_that_comes_later_takes_nothing_back(lone) -> None:
    one = leading(lone)
    one.node.read(7, 4)
    one.node.read(8, 6)

    one.node.heartbeat_answered(2, 5)
    one.node.heartbeat_answered(2, 3)
    one.node.heartbeat_answered(3, 7)

    assert reads_of(one) == [ReadState(context=7, index=1), ReadState(context=8, index=1)]


def test_reads_are_released_in_order(lone) -> None:
    one = leading(lone)
    for context, number in ((1, 4), (2, 4), (3, 5)):
        one.node.read(context, number)

    one.node.heartbeat_answered(2, 5)
    first = reads_of(one)
    one.node.heartbeat_answered(2, 6)

    assert [read.context for read in first] == [1, 2]
    assert [read.context for read in reads_of(one)] == [1, 2, 3]


def test_five_members_need_two_answers(lone) -> None:
    one = leading(lone, voters=range(1, 6))
    one.node.read(7, 4)

    one.node.heartbeat_answered(2, 5)
    before = reads_of(one)
    one.node.heartbeat_answered(4, 6)

    assert before == []
    assert reads_of(one) == [ReadState(context=7, index=1)]


def test_a_read_waits_until_the_leader_has_committed_in_its_term(lone) -> None:
    one = lone(terms=[1, 1], commit=1)
    one.lead()

    one.node.read(7, 4)
    one.node.heartbeat_answered(2, 5)
    before = reads_of(one)
    one.acknowledge(2, 3)

    assert before == []
    assert reads_of(one) == [ReadState(context=7, index=3)]


def test_a_single_voter_confirms_at_once_after_its_own_commit(lone) -> None:
    one = lone(voters=(1,))
    one.node.campaign()
    one.node.synced(one.take().token)

    one.node.read(7, 0)
    before = list(one.node.read_states)
    one.drive()
    one.node.read(8, 0)

    assert before == []
    assert reads_of(one) == [ReadState(context=7, index=1), ReadState(context=8, index=1)]


@pytest.mark.parametrize("how", ["quorum_lost", "higher_term"])
def test_all_reads_fail_when_the_leader_steps_down(lone, how) -> None:
    one = leading(lone)
    one.node.read(7, 4)
    one.node.read(8, 4)

    if how == "quorum_lost":
        one.node.quorum_lost()
    else:
        one.node.peer_term(2, 5)

    assert reads_of(one) == [ReadState(context=7, index=None), ReadState(context=8, index=None)]


def test_a_member_that_does_not_lead_fails_a_read_at_once(lone) -> None:
    one = lone()

    one.node.read(7, 4)
    one.node.heartbeat_answered(2, 5)

    assert reads_of(one) == [ReadState(context=7, index=None)]


def test_a_follower_that_may_not_vote_confirms_no_read(lone) -> None:
    one = leading(lone)
    one.hear(2, AppendAnswer(1, True, 1, counts=False))
    one.node.read(7, 4)

    one.node.heartbeat_answered(2, 5)

    assert reads_of(one) == []
