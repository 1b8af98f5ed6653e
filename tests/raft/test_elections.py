"""Who gives way to whom: ranks, forgetful voters, handovers, damaged disks, late syncs."""

import pytest

from trimaran.raft.messages import (
    AppendAnswer,
    AppendEntries,
    PreVote,
    PreVoteAnswer,
    RequestVote,
    TimeoutNow,
    VoteAnswer,
)
from trimaran.raft.ready import Role, RoleChange
from trimaran.records.entry import HardState
from trimaran.sim.core_cluster import CoreCluster


def test_a_pre_candidate_yields_to_a_longer_log_whatever_its_rank(lone) -> None:
    one = lone(node_id=1, terms=[1])
    one.node.campaign()
    one.drive()

    answer = one.hear(3, PreVote(term=2, last_index=2, last_term=1))

    assert answer == [(3, PreVoteAnswer(term=2, granted=True))]
    assert one.node.role is Role.FOLLOWER


def test_on_equal_logs_the_higher_rank_yields(lone) -> None:
    one = lone(node_id=2, terms=[1])
    one.node.campaign()
    one.drive()

    answer = one.hear(1, PreVote(term=2, last_index=1, last_term=1))

    assert answer == [(1, PreVoteAnswer(term=2, granted=True))]
    assert one.node.role is Role.FOLLOWER


def test_on_equal_logs_the_lower_rank_refuses_stands_and_asks_again(lone) -> None:
    one = lone(node_id=2, voters=(3, 2, 1), terms=[1])
    one.node.campaign()
    one.drive()

    said = one.hear(1, PreVote(term=2, last_index=1, last_term=1))

    assert said == [
        (1, PreVoteAnswer(term=1, granted=False)),
        (1, PreVote(term=2, last_index=1, last_term=1)),
    ]
    assert one.node.role is Role.PRE_CANDIDATE


def test_a_pre_candidate_with_the_longer_log_refuses_stands_and_asks_again(lone) -> None:
    one = lone(node_id=3, terms=[1, 1])
    one.node.campaign()
    one.drive()

    said = one.hear(1, PreVote(term=2, last_index=1, last_term=1))

    assert said == [
        (1, PreVoteAnswer(term=1, granted=False)),
        (1, PreVote(term=2, last_index=2, last_term=1)),
    ]
    assert one.node.role is Role.PRE_CANDIDATE


def test_one_who_refused_because_it_still_had_a_leader_is_asked_again_when_it_campaigns() -> None:
    cluster = CoreCluster(3)
    cluster.campaign(1)
    cluster.settle()
    cluster.crash(1)
    cluster.core(2).forget_leader()
    cluster.campaign(2)
    cluster.settle()
    alone = cluster.leader()

    cluster.core(3).forget_leader()
    cluster.campaign(3)
    cluster.settle()

    assert alone is None
    assert cluster.leader() == 2


def test_a_forgetful_voter_that_refuses_a_shorter_log_campaigns_at_once(lone) -> None:
    one = lone(node_id=3, terms=[1, 1])

    said = one.hear(2, PreVote(term=2, last_index=1, last_term=1))

    assert said == [
        (2, PreVoteAnswer(term=1, granted=False)),
        (1, PreVote(term=2, last_index=2, last_term=1)),
        (2, PreVote(term=2, last_index=2, last_term=1)),
    ]
    assert one.node.role is Role.PRE_CANDIDATE


def test_a_voter_with_a_leader_or_without_a_vote_refuses_a_shorter_log_quietly(lone) -> None:
    faithful = lone(node_id=3, terms=[1, 1])
    faithful.hear(1, AppendEntries(1, 2, 1, 0))
    damaged = lone(node_id=3, terms=[1, 1], may_vote=False)
    request = PreVote(term=2, last_index=1, last_term=1)

    for one in (faithful, damaged):
        assert one.hear(2, request) == [(2, PreVoteAnswer(term=1, granted=False))]
        assert one.node.role is Role.FOLLOWER


def test_a_forgotten_leader_is_no_reason_to_refuse(lone) -> None:
    one = lone(term=1)
    one.hear(3, AppendEntries(1, 0, 0, 0))

    one.node.forget_leader()

    assert one.drive() == []
    assert one.readies[-1].role_change == RoleChange(term=1, role=Role.FOLLOWER, leader=None)
    assert one.hear(2, PreVote(term=2, last_index=0, last_term=0)) == [
        (2, PreVoteAnswer(term=2, granted=True))
    ]


@pytest.mark.parametrize("state", ["pre-candidate", "candidate", "leader"])
def test_forgetting_a_leader_leaves_those_without_one_alone(lone, state) -> None:
    one = lone()
    if state == "pre-candidate":
        one.node.campaign()
    elif state == "candidate":
        one.stand()
    else:
        one.lead()
    one.drive()

    one.node.forget_leader()

    assert one.node.role.value == state
    assert not one.node.has_ready


def test_a_leader_refuses_pre_votes_and_votes(lone) -> None:
    one = lone()
    one.lead()

    assert one.hear(2, PreVote(term=9, last_index=9, last_term=9)) == [
        (2, PreVoteAnswer(term=1, granted=False))
    ]
    assert one.hear(2, RequestVote(term=9, last_index=9, last_term=9)) == [
        (2, VoteAnswer(term=1, granted=False))
    ]
    assert one.node.is_leader


def test_a_handover_overrides_a_live_leader(lone) -> None:
    one = lone(term=3)
    one.hear(3, AppendEntries(3, 0, 0, 0))

    answer = one.hear(2, RequestVote(term=4, last_index=0, last_term=0, transfer=True))

    assert answer == [(2, VoteAnswer(term=4, granted=True))]
    assert (one.node.term, one.node.vote, one.node.leader) == (4, 2, None)


def test_a_handover_does_not_override_a_longer_log(lone) -> None:
    one = lone(terms=[3, 3])
    one.hear(3, AppendEntries(3, 2, 3, 0))

    answer = one.hear(2, RequestVote(term=4, last_index=1, last_term=3, transfer=True))

    assert answer == [(2, VoteAnswer(term=4, granted=False))]


def test_a_vote_is_repeated_to_the_same_candidate_only(lone) -> None:
    one = lone()
    request = RequestVote(term=1, last_index=0, last_term=0)
    one.hear(2, request)

    assert one.hear(2, request) == [(2, VoteAnswer(term=1, granted=True))]
    assert one.hear(3, request) == [(3, VoteAnswer(term=1, granted=False))]


def test_nobody_joins_an_election_of_the_term_whose_leader_it_follows(lone) -> None:
    one = lone(term=3)
    one.hear(3, AppendEntries(3, 0, 0, 0))

    answer = one.hear(2, RequestVote(term=3, last_index=9, last_term=3, transfer=True))

    assert answer == [(2, VoteAnswer(term=3, granted=False))]
    assert one.node.vote is None


def test_a_pre_candidate_that_votes_for_another_gives_up(lone) -> None:
    one = lone(term=1)
    one.node.campaign()
    one.drive()

    answer = one.hear(2, RequestVote(term=1, last_index=0, last_term=0))

    assert answer == [(2, VoteAnswer(term=1, granted=True))]
    assert one.node.role is Role.FOLLOWER


def test_a_pre_vote_for_the_current_term_needs_a_free_vote(lone) -> None:
    request = PreVote(term=3, last_index=0, last_term=0)

    grants = [lone(term=3, vote=vote).hear(2, request)[0][1].granted for vote in (None, 2, 3)]

    assert grants == [True, True, False]


def test_a_pre_candidate_refused_from_a_higher_term_moves_there(lone) -> None:
    one = lone()
    one.node.campaign()
    one.drive()

    one.hear(2, PreVoteAnswer(term=7, granted=False))

    assert (one.node.role, one.node.term, one.node.vote) == (Role.FOLLOWER, 7, None)


def test_a_lost_round_of_pre_votes_ends_the_candidacy_in_the_same_term(lone) -> None:
    one = lone(term=2)
    one.node.campaign()
    one.drive()

    for voter in (2, 3):
        one.hear(voter, PreVoteAnswer(term=2, granted=False))

    assert (one.node.role, one.node.term) == (Role.FOLLOWER, 2)


def test_grants_of_another_rounds_term_do_not_count(lone) -> None:
    one = lone(term=2)
    one.node.campaign()
    one.drive()

    for voter in (2, 3):
        one.hear(voter, PreVoteAnswer(term=2, granted=True))

    assert one.node.role is Role.PRE_CANDIDATE


def test_answers_to_a_pre_vote_mean_nothing_to_one_who_asks_no_more(lone) -> None:
    one = lone()
    one.stand()

    one.hear(3, PreVoteAnswer(term=2, granted=True))

    assert one.node.role is Role.CANDIDATE


@pytest.mark.parametrize(("node_id", "may_vote"), [(1, False), (9, True)])
def test_a_damaged_member_or_a_stranger_never_stands(lone, node_id, may_vote) -> None:
    one = lone(node_id=node_id, may_vote=may_vote, term=3)

    one.node.campaign()
    one.hear(3, TimeoutNow(term=3))

    assert (one.node.role, one.node.term) == (Role.FOLLOWER, 3)


def test_a_damaged_member_follows_terms_but_never_votes(lone) -> None:
    one = lone(may_vote=False)

    pre_vote = one.hear(2, PreVote(term=1, last_index=9, last_term=0))
    vote = one.hear(2, RequestVote(term=1, last_index=9, last_term=0))

    assert pre_vote == [(2, PreVoteAnswer(term=0, granted=False))]
    assert vote == [(2, VoteAnswer(term=1, granted=False))]
    assert (one.node.term, one.node.vote) == (1, None)


def test_a_readmitted_member_votes_and_counts_again(lone) -> None:
    one = lone(may_vote=False)
    ((_, before),) = one.append(3, 1, (0, 0), [1])

    one.node.readmit()
    ((_, after),) = one.drive()
    one.node.readmit()

    assert (before.counts, after.counts) == (False, True)
    assert not one.node.has_ready
    one.node.forget_leader()
    assert one.hear(2, RequestVote(term=2, last_index=1, last_term=1)) == [
        (2, VoteAnswer(term=2, granted=True))
    ]


def test_no_request_for_votes_leaves_before_term_and_vote_are_synced(lone) -> None:
    one = lone()
    one.node.campaign()
    one.drive()
    one.node.step(2, PreVoteAnswer(term=1, granted=True))

    ready = one.take()
    before = (ready.messages, ready.hard_state)
    one.node.synced(ready.token)

    assert before == ([], HardState(term=1, vote=1))
    assert one.take().messages == [
        (peer, RequestVote(term=1, last_index=0, last_term=0)) for peer in (2, 3)
    ]


def test_no_vote_leaves_before_it_is_synced(lone) -> None:
    one = lone()
    one.node.step(2, RequestVote(term=1, last_index=0, last_term=0))

    ready = one.take()
    one.node.synced(ready.token - 1)
    before = one.node.has_ready
    one.node.synced(ready.token)

    assert (ready.messages, ready.hard_state) == ([], HardState(term=1, vote=2))
    assert not before
    assert one.take().messages == [(2, VoteAnswer(term=1, granted=True))]


def test_no_refusal_speaks_of_a_term_that_is_not_synced(lone) -> None:
    one = lone()
    one.node.peer_term(2, 5)

    one.node.step(3, PreVote(term=2, last_index=0, last_term=0))
    ready = one.take()
    one.node.synced(ready.token)

    assert ready.messages == []
    assert one.take().messages == [(3, PreVoteAnswer(term=5, granted=False))]


def test_a_single_voter_leads_only_when_its_vote_is_synced(lone) -> None:
    one = lone(voters=(1,))
    one.node.campaign()

    ready = one.take()
    before = one.node.role
    one.node.synced(ready.token)

    assert before is Role.CANDIDATE
    assert one.node.is_leader
    assert one.node.commit_index == 0
    one.drive()
    assert one.node.commit_index == 1


def test_a_late_sync_of_something_else_does_not_count_for_the_candidates_vote(lone) -> None:
    one = lone(voters=(1,))
    earlier = one.take()
    one.node.campaign()

    one.node.synced(earlier.token)

    assert (one.node.role, one.node.term) == (Role.CANDIDATE, 1)
    assert one.node.votes == {}


def test_a_candidate_whose_vote_is_still_being_synced_does_not_start_over(lone) -> None:
    one = lone(voters=(1, 2))
    one.node.campaign()
    one.drive()
    one.node.step(2, PreVoteAnswer(term=1, granted=True))
    ready = one.take()

    one.node.campaign()
    one.node.synced(ready.token)

    assert (one.node.role, one.node.term) == (Role.CANDIDATE, 1)


def test_a_leader_does_not_campaign(lone) -> None:
    one = lone()
    one.lead()

    one.node.campaign()

    assert one.node.is_leader
    assert not one.node.has_ready


def test_a_stranger_is_not_heard(lone) -> None:
    one = lone()

    assert one.hear(9, RequestVote(term=5, last_index=9, last_term=4)) == []
    one.node.heard_leader(9, 5, 0)
    one.node.peer_term(9, 5)
    assert (one.node.term, one.node.leader) == (0, None)


def test_a_lower_or_equal_term_in_a_heartbeat_answer_changes_nothing(lone) -> None:
    one = lone()
    one.lead()

    one.node.peer_term(2, 1)

    assert one.node.is_leader


def test_a_higher_term_in_a_heartbeat_answer_ends_the_leadership(lone) -> None:
    one = lone()
    one.lead()

    one.node.peer_term(2, 6)

    assert (one.node.role, one.node.term, one.node.leader) == (Role.FOLLOWER, 6, None)


def test_losing_a_quorum_means_nothing_to_a_follower(lone) -> None:
    one = lone(term=2)

    one.node.quorum_lost()

    assert not one.node.has_ready


def test_a_role_that_came_back_before_anyone_looked_is_not_reported(lone) -> None:
    one = lone(term=2)
    one.node.heard_leader(3, 2, 0)
    one.drive()

    one.node.forget_leader()
    one.node.heard_leader(3, 2, 0)

    assert one.take().role_change is None


def test_a_second_leader_in_one_term_ends_the_process(lone) -> None:
    one = lone()
    one.lead()

    with pytest.raises(AssertionError, match="one leader in a term"):
        one.node.step(2, AppendEntries(1, 0, 0, 0))


def test_a_stale_leaders_append_is_answered_with_the_higher_term(lone) -> None:
    one = lone(term=5)

    assert one.hear(2, AppendEntries(4, 0, 0, 0)) == [(2, AppendAnswer(5, False, 0))]


def test_a_leader_that_asks_for_votes_in_a_later_term_leads_no_more(lone) -> None:
    follower = lone(node_id=2, terms=[1])
    follower.hear(1, AppendEntries(1, 1, 1, 0))
    assert follower.node.leader == 1

    answer = follower.hear(1, PreVote(term=2, last_index=1, last_term=1))

    assert answer == [(1, PreVoteAnswer(term=2, granted=True))]
    assert follower.node.leader is None


def test_a_leader_that_stands_again_gets_the_vote_of_its_follower(lone) -> None:
    follower = lone(node_id=2, terms=[1])
    follower.hear(1, AppendEntries(1, 1, 1, 0))

    answer = follower.hear(1, RequestVote(term=2, last_index=1, last_term=1))

    assert answer == [(1, VoteAnswer(term=2, granted=True))]


def test_a_pre_vote_from_before_its_election_does_not_unseat_a_leader(lone) -> None:
    follower = lone(node_id=2, terms=[1])
    follower.hear(1, AppendEntries(2, 1, 1, 0))

    follower.hear(1, PreVote(term=2, last_index=1, last_term=1))

    assert follower.node.leader == 1
