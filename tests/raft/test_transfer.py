"""Handing leadership over (thesis section 3.10)."""

import pytest

from trimaran.errors import NotLeaderError, ProposalRefusedError
from trimaran.raft.messages import AppendAnswer, RequestVote, TimeoutNow
from trimaran.raft.ready import Role
from trimaran.records.entry import EntryKind
from trimaran.sim.core_cluster import CoreCluster


def leading(lone):
    one = lone()
    one.lead()
    for peer in one.node.peers:
        one.acknowledge(peer, 1)
    return one


def propose(one):
    return one.node.propose(EntryKind.RECORDS, b"x", offset_count=1, log_time_ms=0)


def test_a_target_that_has_everything_is_told_at_once(lone) -> None:
    one = leading(lone)

    one.node.transfer(3)

    assert one.drive() == [(3, TimeoutNow(term=1))]


def test_a_target_is_told_when_it_has_synced_everything(lone) -> None:
    one = leading(lone)
    propose(one)
    one.drive()

    one.node.transfer(3)
    before = one.drive()
    other = one.acknowledge(2, 2)
    after = one.acknowledge(3, 2)

    assert before == other == []
    assert after == [(3, TimeoutNow(term=1))]


def test_proposals_are_refused_until_the_handover_is_aborted(lone) -> None:
    one = leading(lone)
    one.node.transfer(3)

    with pytest.raises(ProposalRefusedError, match="node 3"):
        propose(one)
    was_transferring = one.node.is_transferring
    one.node.abort_transfer()

    assert was_transferring
    assert propose(one).index == 2


def test_another_target_replaces_the_first(lone) -> None:
    one = leading(lone)
    propose(one)
    one.drive()
    one.node.transfer(3)

    one.node.transfer(2)

    assert one.acknowledge(3, 2) == []
    assert one.acknowledge(2, 2) == [(2, TimeoutNow(term=1))]


def test_leadership_is_not_handed_to_one_that_may_not_vote(lone) -> None:
    one = leading(lone)
    one.hear(3, AppendAnswer(1, True, 1, counts=False))

    one.node.transfer(3)

    assert one.drive() == []


def test_only_a_leader_can_hand_over(lone) -> None:
    one = lone()

    with pytest.raises(NotLeaderError):
        one.node.transfer(2)
    one.node.abort_transfer()
    assert not one.node.has_ready


def test_a_leader_cannot_hand_over_to_itself(lone) -> None:
    one = leading(lone)

    with pytest.raises(AssertionError):
        one.node.transfer(1)


def test_the_target_campaigns_without_asking_first(lone) -> None:
    one = lone(terms=[1])

    said = one.hear(3, TimeoutNow(term=1))

    assert one.node.role is Role.CANDIDATE
    assert said == [
        (peer, RequestVote(term=2, last_index=1, last_term=1, transfer=True)) for peer in (2, 3)
    ]


def test_stepping_down_ends_the_handover(lone) -> None:
    one = leading(lone)
    one.node.transfer(3)

    one.node.peer_term(2, 5)

    assert not one.node.is_transferring


def test_a_whole_group_hands_over_without_losing_anything() -> None:
    cluster = CoreCluster(3)
    cluster.campaign(1)
    cluster.settle()
    cluster.propose(1, b"a")

    cluster.core(1).transfer(2)
    cluster.collect(1)
    cluster.settle()

    assert cluster.leader() == 2
    assert [bytes(entry.payload) for entry in cluster.members[2].applied] == [b"", b"a", b""]
    assert cluster.core(1).leader == 2
