"""Bugs that other Raft implementations had, one regression test each.

Where each was found is listed in docs/raft-rules.md.
"""

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
from trimaran.raft.progress import ProgressState
from trimaran.raft.ready import ReadState, Role
from trimaran.records.entry import EntryKind, HardState, LogPosition
from trimaran.sim.core_cluster import CoreCluster


def elected(size=3):
    cluster = CoreCluster(size)
    cluster.campaign(1)
    cluster.settle()
    cluster.propose(1, b"a")
    cluster.settle()
    cluster.beat(1)
    cluster.settle()
    return cluster


def payloads(cluster, node):
    return [bytes(entry.payload) for entry in cluster.members[node].applied]


def test_the_commit_index_does_not_go_back_with_an_older_message(lone) -> None:
    one = lone(term=1)
    one.append(2, 1, (0, 0), [1, 1, 1], commit=3)

    one.append(2, 1, (0, 0), [1], commit=1)
    one.node.heard_leader(2, 1, 2)

    assert one.node.commit_index == 3


def test_the_commit_index_does_not_pass_what_matches_the_leader(lone) -> None:
    one = lone(terms=[1, 1, 1, 1], term=2)

    one.append(2, 2, (1, 1), commit=4)

    assert one.node.commit_index == 1


def test_reordered_and_repeated_acknowledgements_do_not_move_a_match_back(lone) -> None:
    one = lone()
    one.lead()
    for _ in range(3):
        one.node.propose(EntryKind.RECORDS, b"x", offset_count=1, log_time_ms=0)
    one.drive()

    for index in (4, 2, 4, 1):
        one.acknowledge(2, index)

    progress = one.node.progress[2]
    assert (progress.match, progress.next) == (4, 5)


def test_a_late_refusal_does_not_move_next_below_the_match(lone) -> None:
    one = lone(terms=[1, 1, 1])
    one.lead()
    one.acknowledge(2, 4)

    for refused in (1, 3, 4):
        one.hear(2, AppendAnswer(2, False, refused, 0, 0))

    progress = one.node.progress[2]
    assert (progress.match, progress.next) == (4, 5)
    assert progress.state is ProgressState.REPLICATE


def test_a_leader_does_not_commit_entries_of_older_terms_by_counting(lone) -> None:
    one = lone(terms=[1, 2, 2])
    one.lead()

    one.acknowledge(2, 3)
    one.acknowledge(3, 3)

    assert one.node.commit_index == 0


def test_a_delayed_append_does_not_delete_entries_that_match(lone) -> None:
    one = lone(term=1)
    one.append(2, 1, (0, 0), [1, 1, 1])

    answers = one.append(2, 1, (0, 0), [1])

    assert one.log_terms == [1, 1, 1]
    assert answers == [(2, AppendAnswer(1, True, 3))]


def test_an_entry_of_an_older_term_does_not_keep_later_ones_from_committing(lone) -> None:
    one = lone(terms=[1, 2], term=4)
    one.lead()
    one.acknowledge(2, 2)

    one.acknowledge(2, 3)

    assert one.node.commit_index == 3


def test_an_append_from_the_logs_beginning_does_not_bypass_the_check_after_a_boundary(lone) -> None:
    one = lone(terms=[1, 1, 1, 2], commit=2)
    one.node.log.release(2)

    one.append(2, 3, (0, 0), [1, 1, 3])

    assert one.log_terms == [3]
    assert (one.node.log.last_index, one.node.matched) == (3, 3)


def test_a_follower_below_the_log_start_gets_an_install_and_no_empty_append() -> None:
    cluster = elected()
    cluster.crash(3)
    for payload in (b"b", b"c", b"d"):
        cluster.propose(1, payload)
        cluster.settle()
    cluster.compact(1, 4)
    cluster.restart(3)
    cluster.trace.clear()

    cluster.reset(1, 3)
    cluster.settle()

    installs = [line for line in cluster.trace if "1>3 install" in line]
    assert installs == ["1>3 install term=1 boundary=4/1"]
    assert payloads(cluster, 3) == [b"", b"a", b"b", b"c", b"d"]


def test_an_install_is_not_refused_because_the_logs_disagree(lone) -> None:
    one = lone(terms=[1, 2, 2], term=4, commit=1)
    boundary = LogPosition(index=3, term=3, next_offset=3)
    one.hear(2, InstallBoundary(term=4, boundary=boundary))

    one.node.boundary_installed(boundary)

    assert one.drive() == [(2, InstallAnswer(term=4, success=True, index=3))]


def test_one_lost_message_does_not_end_replication() -> None:
    cluster = elected()
    cluster.propose(1, b"b")
    while cluster.wire:
        cluster.drop()

    for peer in (2, 3):
        cluster.reset(1, peer)
    cluster.settle()

    assert payloads(cluster, 1) == [b"", b"a", b"b"]


def test_no_message_of_an_older_term_lowers_the_term(lone) -> None:
    one = lone(term=5)

    for message in (
        AppendEntries(4, 0, 0, 0),
        RequestVote(term=3, last_index=9, last_term=3, transfer=True),
        TimeoutNow(term=4),
        PreVoteAnswer(term=2, granted=False),
        InstallBoundary(term=1, boundary=LogPosition(index=9, term=1)),
    ):
        one.hear(2, message)
    one.node.peer_term(2, 1)
    one.node.heard_leader(2, 4, 0)

    assert (one.node.term, one.node.leader) == (5, None)


def test_a_leader_grants_no_pre_vote(lone) -> None:
    one = lone()
    one.lead()

    assert one.hear(2, PreVote(term=2, last_index=9, last_term=1)) == [
        (2, PreVoteAnswer(term=1, granted=False))
    ]


def test_votes_of_an_earlier_term_elect_nobody(lone) -> None:
    one = lone(voters=range(1, 6))
    one.stand()
    one.stand()

    for voter in (2, 3, 4, 5):
        one.hear(voter, VoteAnswer(term=1, granted=True))

    assert (one.node.role, one.node.term) == (Role.CANDIDATE, 2)


def test_a_deposed_leader_that_does_not_know_it_serves_no_read() -> None:
    cluster = elected()
    cluster.core(1).read(1, cluster.beat_number)
    for node in (2, 3):
        cluster.core(node).forget_leader()
    cluster.campaign(2)
    cluster.settle(cut_off=[1])
    cluster.propose(2, b"b")
    cluster.settle(cut_off=[1])

    cluster.beat(1)
    cluster.settle()

    assert cluster.members[1].reads == [ReadState(context=1, index=None)]


def test_a_restarted_voter_remembers_term_and_vote(lone) -> None:
    one = lone()
    one.hear(2, RequestVote(term=3, last_index=0, last_term=0))
    stored = [ready.hard_state for ready in one.readies if ready.hard_state]

    again = lone(term=stored[-1].term, vote=stored[-1].vote)

    assert stored == [HardState(term=3, vote=2)]
    assert again.hear(3, RequestVote(term=3, last_index=9, last_term=2)) == [
        (3, VoteAnswer(term=3, granted=False))
    ]


def test_all_members_restarting_at_once_lose_nothing_that_was_committed() -> None:
    cluster = elected()
    cluster.propose(1, b"b")
    cluster.settle(cut_off=[3])
    for node in (1, 2, 3):
        cluster.crash(node)
        cluster.restart(node)

    cluster.campaign(3)
    cluster.settle()

    assert cluster.leader() in (1, 2)
    assert payloads(cluster, cluster.leader())[:3] == [b"", b"a", b"b"]


def test_a_commit_index_ahead_of_the_recovered_log_is_learned_again(lone) -> None:
    one = lone(terms=[1, 1], commit=9)

    assert one.node.commit_index == 2
    one.append(2, 1, (2, 1), [1], commit=3)
    assert one.node.commit_index == 3


def test_a_commit_index_written_to_disk_covers_only_synced_entries(lone, entries) -> None:
    one = lone(terms=[1, 1, 1])

    one.node.step(2, AppendEntries(2, 1, 1, 3, entries([2, 2], first=2)))
    ready = one.take()
    before = (one.node.commit_index, one.node.synced_commit_index)
    one.node.synced(ready.token)

    assert before == (3, 1)
    assert one.node.synced_commit_index == 3


def test_a_member_that_hears_only_some_others_does_not_unseat_their_leader() -> None:
    cluster = elected(5)
    cluster.core(5).forget_leader()

    for _ in range(3):
        cluster.campaign(5)
        cluster.settle(cut_off=[1])

    assert [cluster.core(node).term for node in range(1, 6)] == [1] * 5
    assert cluster.leader() == 1


def test_a_leader_that_reaches_no_majority_gives_way_to_those_who_do() -> None:
    cluster = elected(5)

    cluster.core(1).quorum_lost()
    for node in (2, 3, 4, 5):
        cluster.core(node).forget_leader()
    cluster.campaign(3)
    cluster.settle(cut_off=[1])

    assert cluster.leader() == 3
    assert cluster.core(1).role is Role.FOLLOWER


def test_a_candidate_stuck_in_a_higher_term_is_freed_by_the_leaders_heartbeat() -> None:
    cluster = elected()
    cluster.core(3).step(1, TimeoutNow(term=1))
    cluster.collect(3)
    cluster.sync(3)
    cluster.wire.clear()
    stuck = (cluster.core(3).role, cluster.core(3).term)

    cluster.beat(1)
    cluster.settle()
    deposed = cluster.core(1).term
    cluster.core(2).forget_leader()
    cluster.campaign(1)
    cluster.settle()

    assert stuck == (Role.CANDIDATE, 2)
    assert deposed == 2
    assert cluster.leader() == 1
    assert cluster.core(3).leader == 1


def test_a_leader_does_not_count_its_own_entries_of_a_term_it_has_left(lone) -> None:
    one = lone()
    one.lead()
    one.node.propose(EntryKind.RECORDS, b"x", offset_count=1, log_time_ms=0)
    ready = one.take()

    one.node.peer_term(2, 5)
    one.node.synced(ready.token)

    assert (one.node.commit_index, one.node.synced_index) == (0, 2)
