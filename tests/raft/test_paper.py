"""One test for each sentence of the Raft paper (and thesis) that binds a member's behaviour.

The section is cited in each docstring; docs/raft-rules.md lists them all.
"""

import pytest

from trimaran.raft.messages import (
    AppendAnswer,
    AppendEntries,
    InstallAnswer,
    InstallBoundary,
    PreVote,
    PreVoteAnswer,
    RequestVote,
    TimeoutNow,
    VoteAnswer,
)
from trimaran.raft.ready import Role
from trimaran.records.entry import EntryKind, LogPosition
from trimaran.sim.core_cluster import CoreCluster


def follower(lone, term):
    return lone(term=term)


def candidate(lone, term):
    one = lone(term=term - 1)
    one.stand()
    return one


def leader(lone, term):
    one = lone(term=term - 1)
    one.lead()
    return one


HIGHER_TERM = [
    AppendEntries(9, 0, 0, 0),
    AppendAnswer(9, False, 0),
    RequestVote(term=9, last_index=99, last_term=8, transfer=True),
    VoteAnswer(term=9, granted=False),
    PreVoteAnswer(term=9, granted=False),
    InstallBoundary(term=9, boundary=LogPosition()),
    InstallAnswer(term=9, success=False, index=0),
]


@pytest.mark.parametrize("message", HIGHER_TERM)
@pytest.mark.parametrize("role", [follower, candidate, leader])
def test_a_higher_term_makes_anyone_a_follower_in_that_term(lone, role, message) -> None:
    """Section 5.1: current terms are exchanged whenever servers communicate."""
    one = role(lone, 4)

    one.hear(2, message)

    assert (one.node.term, one.node.role) == (9, Role.FOLLOWER)


@pytest.mark.parametrize(
    ("message", "answer"),
    [
        (AppendEntries(3, 0, 0, 0), AppendAnswer(4, False, 0)),
        (RequestVote(term=3, last_index=9, last_term=3), VoteAnswer(term=4, granted=False)),
        (PreVote(term=3, last_index=9, last_term=3), PreVoteAnswer(term=4, granted=False)),
        (
            InstallBoundary(term=3, boundary=LogPosition(index=5, term=2)),
            InstallAnswer(term=4, success=False, index=0),
        ),
    ],
)
@pytest.mark.parametrize("role", [follower, candidate, leader])
def test_a_request_of_a_stale_term_is_refused_with_our_own(lone, role, message, answer) -> None:
    """Section 5.1: a request with a stale term number is rejected."""
    one = role(lone, 4)

    assert one.hear(2, message) == [(2, answer)]
    assert one.node.term == 4


@pytest.mark.parametrize(
    "message",
    [
        AppendAnswer(3, True, 1),
        VoteAnswer(term=3, granted=True),
        PreVoteAnswer(term=3, granted=True),
        InstallAnswer(term=3, success=True, index=1),
        TimeoutNow(term=3),
    ],
)
@pytest.mark.parametrize("role", [follower, candidate, leader])
def test_an_answer_of_a_stale_term_changes_nothing(lone, role, message) -> None:
    """Section 5.1, seen from the asker: its question was another term's."""
    one = role(lone, 4)
    before = (one.node.role, one.node.commit_index, one.node.follower_match(2))

    assert one.hear(2, message) == []
    assert (one.node.role, one.node.commit_index, one.node.follower_match(2)) == before


def test_a_member_starts_as_follower_without_leader(lone) -> None:
    """Section 5.2: when servers start up, they begin as followers."""
    one = lone(terms=[1, 2], vote=3, commit=1)

    assert (one.node.role, one.node.leader) == (Role.FOLLOWER, None)
    assert (one.node.term, one.node.vote, one.node.commit_index) == (2, 3, 1)
    assert not one.node.has_ready


def test_a_leaders_heartbeat_keeps_its_followers() -> None:
    """Section 5.2: leaders send periodic heartbeats to maintain their authority.

    The driver sends them for all groups of a pair of nodes at once; the core takes in the fact.
    """
    cluster = CoreCluster(3)
    cluster.campaign(1)
    cluster.settle()

    cluster.beat(1)
    cluster.settle()

    assert [cluster.core(node).leader for node in (1, 2, 3)] == [1, 1, 1]
    assert [cluster.core(node).commit_index for node in (1, 2, 3)] == [1, 1, 1]


def test_a_follower_whose_deadline_passes_asks_for_pre_votes_then_for_votes(lone) -> None:
    """Section 5.2: it increments its term and requests votes; thesis 9.6: after a pre-vote."""
    one = lone(terms=[1, 1], term=4)

    one.node.campaign()
    asked = one.drive()
    role_between, term_between = one.node.role, one.node.term
    requested = one.hear(2, PreVoteAnswer(term=5, granted=True))

    assert asked == [(peer, PreVote(term=5, last_index=2, last_term=1)) for peer in (2, 3)]
    assert (role_between, term_between) == (Role.PRE_CANDIDATE, 4)
    assert requested == [(peer, RequestVote(term=5, last_index=2, last_term=1)) for peer in (2, 3)]
    assert (one.node.role, one.node.term, one.node.vote) == (Role.CANDIDATE, 5, 1)


def test_a_candidate_whose_deadline_passes_starts_another_election(lone) -> None:
    """Section 5.2: if no winner emerges, each candidate times out and starts a new election."""
    one = lone()
    one.stand()

    one.stand()

    assert (one.node.role, one.node.term, one.node.vote) == (Role.CANDIDATE, 2, 1)


@pytest.mark.parametrize(
    ("size", "granted", "refused", "role"),
    [
        (1, [], [], Role.LEADER),
        (3, [2], [], Role.LEADER),
        (3, [2], [3], Role.LEADER),
        (3, [], [2], Role.CANDIDATE),
        (3, [], [2, 3], Role.FOLLOWER),
        (5, [2], [], Role.CANDIDATE),
        (5, [2, 3], [], Role.LEADER),
        (5, [2, 2, 2], [], Role.CANDIDATE),
        (5, [2], [3, 4, 5], Role.FOLLOWER),
    ],
)
def test_a_candidate_wins_with_the_votes_of_a_majority(lone, size, granted, refused, role) -> None:
    """Section 5.2: a candidate wins if it receives votes from a majority in the same term."""
    one = lone(voters=range(1, size + 1))
    one.stand()

    for voter in granted:
        one.hear(voter, VoteAnswer(term=1, granted=True))
    for voter in refused:
        one.hear(voter, VoteAnswer(term=1, granted=False))

    assert (one.node.role, one.node.term) == (role, 1)


@pytest.mark.parametrize(
    ("vote", "asker", "granted"),
    [(None, 2, True), (None, 3, True), (2, 2, True), (3, 3, True), (2, 3, False), (3, 2, False)],
)
def test_a_member_votes_for_at_most_one_candidate_in_a_term(lone, vote, asker, granted) -> None:
    """Section 5.2: at most one candidate in a given term, first come, first served."""
    one = lone(term=1, vote=vote)

    answer = one.hear(asker, RequestVote(term=1, last_index=0, last_term=0))

    assert answer == [(asker, VoteAnswer(term=1, granted=granted))]
    assert one.node.vote == (asker if granted else vote)


@pytest.mark.parametrize("term", [1, 2])
def test_a_candidate_recognises_a_leader_of_its_term_or_a_later_one(lone, term) -> None:
    """Section 5.2: if the leader's term is at least as large, it returns to follower state."""
    one = lone()
    one.stand()

    one.hear(3, AppendEntries(term, 0, 0, 0))

    assert (one.node.role, one.node.term, one.node.leader) == (Role.FOLLOWER, term, 3)


def test_of_two_equal_pre_candidates_the_lower_rank_stands_and_the_other_yields() -> None:
    """Section 5.2 lets randomized time-outs resolve split votes; here the core does it by rank.

    The deadlines themselves are the driver's: the core takes `campaign` at any time.
    """
    cluster = CoreCluster(3)
    cluster.crash(1)

    for node in (3, 2):
        cluster.campaign(node)
    cluster.settle()

    assert cluster.leader() == 2
    assert cluster.core(3).term == 1


def test_candidates_that_split_the_votes_elect_one_in_the_next_round() -> None:
    """Section 5.2: split votes are resolved by another election, whoever begins it."""
    cluster = CoreCluster(2)
    for node in (1, 2):
        cluster.core(node).step(3 - node, TimeoutNow(term=0))
        cluster.collect(node)
    cluster.settle()
    split = cluster.leader()

    for node in (2, 1):
        if cluster.leader() is None:
            cluster.campaign(node)
            cluster.settle()

    assert split is None
    assert cluster.leader() is not None


def test_a_leader_appends_a_proposal_and_sends_it_to_all_followers(lone) -> None:
    """Section 5.3: the leader appends the command and issues AppendEntries in parallel."""
    one = lone(terms=[1])
    one.lead()
    for peer in (2, 3):
        one.acknowledge(peer, 2)

    entry = one.node.propose(EntryKind.RECORDS, b"x", offset_count=1, log_time_ms=5)
    ready = one.take()

    assert (entry.index, entry.term, entry.offset, entry.log_time_ms) == (3, 2, 1, 5)
    assert ready.entries == [entry]
    assert ready.messages == [
        (peer, AppendEntries(2, 2, 2, 2, [entry], match=2)) for peer in (2, 3)
    ]


def test_an_entry_is_committed_once_the_leader_knows_it_on_a_majority(lone) -> None:
    """Section 5.3: committed once the leader that created it has replicated it on a majority."""
    one = lone()
    one.lead()

    one.acknowledge(2, 1)

    assert one.node.commit_index == 1
    assert (one.readies[-1].committed_from, one.readies[-1].committed_to) == (1, 1)


@pytest.mark.parametrize(
    ("size", "answering", "committed"),
    [
        (1, [], True),
        (3, [], False),
        (3, [2], True),
        (5, [2], False),
        (5, [2, 3], True),
        (5, [2, 3, 4, 5], True),
    ],
)
def test_only_a_majority_of_acknowledgements_commits(lone, size, answering, committed) -> None:
    """Section 5.3: ... on a majority of the servers."""
    one = lone(voters=range(1, size + 1))
    one.lead()

    for peer in answering:
        one.acknowledge(peer, 1)

    assert (one.node.commit_index == 1) is committed


@pytest.mark.parametrize("terms", [[2], [1, 2], [1, 1], [1]])
def test_a_committed_entry_commits_all_before_it(lone, terms) -> None:
    """Section 5.3: this also commits all preceding entries, those of previous leaders included."""
    one = lone(terms=terms, term=2)
    one.lead()

    one.acknowledge(2, len(terms) + 1)

    committed = [(r.committed_from, r.committed_to) for r in one.readies if r.committed_to]
    assert committed == [(1, len(terms) + 1)]


def test_a_follower_hands_out_an_entry_once_it_learns_that_it_is_committed(lone) -> None:
    """Section 5.3: once a follower learns that an entry is committed, it applies it in order."""
    one = lone()

    one.append(2, 1, (0, 0), [1, 1, 1], commit=2)

    committed = [(r.committed_from, r.committed_to) for r in one.readies if r.committed_to]
    assert committed == [(1, 2)]


@pytest.mark.parametrize(
    ("prev", "success"),
    [
        ((0, 0), True),
        ((1, 1), True),
        ((2, 2), True),
        ((2, 1), False),
        ((1, 2), True),
        ((3, 2), False),
        ((3, 3), False),
    ],
)
def test_a_follower_refuses_entries_after_one_that_it_does_not_have(lone, prev, success) -> None:
    """Section 5.3: if it has no entry with that index and term, it refuses the new entries.

    At its commit index and below, any leader's entries are the same (here up to 1).
    """
    one = lone(terms=[1, 2], commit=1)

    ((peer, answer),) = one.append(2, 2, prev)

    assert peer == 2
    assert answer.success is success
    assert answer.index == (2 if success and prev[0] == 2 else max(prev[0], 1))


@pytest.mark.parametrize(
    ("prev", "terms", "log_after", "truncated_from"),
    [
        ((2, 2), [3], [1, 2, 3], None),
        ((1, 1), [3, 4], [1, 3, 4], 2),
        ((0, 0), [1], [1, 2], None),
        ((0, 0), [3], [3], 1),
    ],
)
def test_a_follower_replaces_what_conflicts_and_keeps_what_does_not(
    lone, prev, terms, log_after, truncated_from
) -> None:
    """Section 5.3: conflicting entries are overwritten with entries from the leader's log."""
    one = lone(terms=[1, 2], term=4)

    one.append(2, 4, prev, terms)

    assert one.log_terms == log_after
    assert one.readies[0].truncated_from == truncated_from


FIGURE_7 = {
    "a": [1, 1, 1, 4, 4, 5, 5, 6, 6],
    "b": [1, 1, 1, 4],
    "c": [1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 6],
    "d": [1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 7, 7],
    "e": [1, 1, 1, 4, 4, 4, 4],
    "f": [1, 1, 1, 2, 2, 2, 3, 3, 3, 3, 3],
}


@pytest.mark.parametrize("terms", FIGURE_7.values(), ids=FIGURE_7.keys())
def test_a_leader_brings_any_followers_log_into_agreement(lone, terms) -> None:
    """Section 5.3, figure 7: the leader forces the followers' logs to duplicate its own."""
    one = lone(terms=[1, 1, 1, 4, 4, 5, 5, 6, 6, 6], term=7)
    other = lone(node_id=2, terms=terms, term=7)

    messages = one.lead()
    for _ in range(10):
        answers = []
        for peer, message in messages:
            if peer == 2:
                answers += other.hear(1, message)
        messages = []
        for _, answer in answers:
            messages += one.hear(2, answer)

    assert other.log_terms == one.log_terms == [1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 8]
    assert one.node.follower_match(2) == 11


def test_a_vote_request_names_the_candidates_term_and_last_entry(lone) -> None:
    """Section 5.4.1: the RPC includes information about the candidate's log."""
    one = lone(terms=[1, 2])

    assert one.stand() == [
        (peer, RequestVote(term=3, last_index=2, last_term=2)) for peer in (2, 3)
    ]


@pytest.mark.parametrize(
    ("terms", "last", "granted"),
    [
        ([1], (1, 1), True),
        ([1], (2, 1), True),
        ([1, 1], (1, 1), False),
        ([1], (1, 2), True),
        ([1], (2, 2), True),
        ([1, 1], (1, 2), True),
        ([2], (1, 1), False),
        ([2], (2, 1), False),
        ([1, 2], (1, 1), False),
    ],
)
def test_a_voter_denies_its_vote_to_a_log_less_up_to_date(lone, terms, last, granted) -> None:
    """Section 5.4.1: by the last entries' terms, then by length."""
    one = lone(terms=terms, term=2)

    answer = one.hear(2, RequestVote(term=3, last_index=last[0], last_term=last[1]))

    assert answer == [(2, VoteAnswer(term=3, granted=granted))]


@pytest.mark.parametrize(("acknowledged", "commit"), [(1, 0), (2, 0), (3, 3)])
def test_only_entries_of_the_leaders_term_are_committed_by_counting(
    lone, acknowledged, commit
) -> None:
    """Section 5.4.2, figure 8: never commit entries from previous terms by counting replicas."""
    one = lone(terms=[1, 2], term=2)
    one.lead()

    one.acknowledge(2, acknowledged)

    assert one.node.commit_index == commit


def test_a_leader_that_hears_no_majority_steps_down_in_its_term(lone) -> None:
    """Thesis section 6.2: a leader steps down if an election time-out passes without a majority."""
    one = lone()
    one.lead()

    one.node.quorum_lost()

    assert (one.node.role, one.node.term, one.node.leader) == (Role.FOLLOWER, 1, None)


def test_a_pre_vote_changes_nobodys_term_or_vote(lone) -> None:
    """Thesis section 9.6: the pre-vote phase only asks."""
    one = lone(term=3, vote=3)

    answer = one.hear(2, PreVote(term=9, last_index=0, last_term=0))

    assert answer == [(2, PreVoteAnswer(term=9, granted=True))]
    assert (one.node.term, one.node.vote, one.readies[0].hard_state) == (3, 3, None)


def test_a_member_that_hears_its_leader_refuses_to_vote(lone) -> None:
    """Thesis section 4.2.3: servers ignore vote requests when they believe a leader exists."""
    one = lone(term=3)
    one.hear(3, AppendEntries(3, 0, 0, 0))

    pre_vote = one.hear(2, PreVote(term=9, last_index=9, last_term=3))
    vote = one.hear(2, RequestVote(term=9, last_index=9, last_term=3))

    assert pre_vote == [(2, PreVoteAnswer(term=3, granted=False))]
    assert vote == [(2, VoteAnswer(term=3, granted=False))]
    assert (one.node.term, one.node.leader) == (3, 3)
