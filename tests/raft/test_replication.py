"""Entries on their way: what a leader sends and counts, what a follower says and when."""

import pytest

from trimaran.errors import NotLeaderError, ProposalRefusedError
from trimaran.raft.messages import AppendAnswer, AppendEntries
from trimaran.raft.progress import ProgressState, RaftLimits
from trimaran.raft.ready import OlderEntries
from trimaran.records.entry import EntryKind, LogPosition


def leading(lone, **settings):
    """A leader of term 1 whose two followers have acknowledged its first entry."""
    one = lone(**settings)
    one.lead()
    for peer in one.node.peers:
        one.acknowledge(peer, one.node.log.last_index)
    return one


def propose(one, payload=b"x"):
    return one.node.propose(EntryKind.RECORDS, payload, offset_count=1, log_time_ms=0)


def sent_to(messages, peer):
    return [message for receiver, message in messages if receiver == peer]


# The leader's half.


def test_only_a_leader_takes_proposals(lone) -> None:
    one = lone()

    with pytest.raises(NotLeaderError):
        propose(one)
    assert not one.node.has_ready


def test_log_time_is_never_below_its_predecessors(lone) -> None:
    one = leading(lone)

    times = [
        one.node.propose(EntryKind.COMMAND, b"", log_time_ms=time_ms).log_time_ms
        for time_ms in (50, 20, 70)
    ]

    assert times == [50, 50, 70]


def test_control_entries_take_no_offset(lone) -> None:
    one = leading(lone)

    offsets = [
        one.node.propose(EntryKind.RECORDS, b"", offset_count=3, log_time_ms=0).offset,
        one.node.propose(EntryKind.SETTINGS, b"", log_time_ms=0).offset,
        one.node.propose(EntryKind.RECORDS, b"", offset_count=1, log_time_ms=0).offset,
    ]

    assert offsets == [0, 3, 3]


def test_uncommitted_bytes_are_bounded_by_an_error(lone) -> None:
    one = leading(lone, limits=RaftLimits(uncommitted_bytes_max=200))
    propose(one, bytes(100))

    with pytest.raises(ProposalRefusedError, match="uncommitted"):
        propose(one, bytes(100))
    one.drive()
    one.acknowledge(2, 2)

    assert propose(one, bytes(100)).index == 3


def test_an_empty_uncommitted_tail_takes_an_entry_of_any_size(lone) -> None:
    one = leading(lone, limits=RaftLimits(uncommitted_bytes_max=10))

    assert propose(one, bytes(1000)).index == 2
    with pytest.raises(ProposalRefusedError):
        propose(one, b"")


def test_proposals_since_the_last_ready_travel_together(lone) -> None:
    one = leading(lone)
    entries = [propose(one), propose(one)]

    ready = one.take()

    assert ready.entries == entries
    assert sent_to(ready.messages, 2) == [AppendEntries(1, 1, 1, 1, entries, match=1)]


def test_a_leader_sends_before_its_own_disk_is_done_and_counts_itself_after(lone) -> None:
    one = leading(lone, voters=(1, 2))
    propose(one)
    ready = one.take()

    one.node.step(2, AppendAnswer(1, True, 2))
    before = one.node.commit_index
    one.node.synced(ready.token)

    assert len(ready.messages) == 1
    assert (before, one.node.commit_index) == (1, 2)


def test_a_leader_counts_itself_only_up_to_what_its_disk_holds(lone) -> None:
    one = leading(lone, voters=(1, 2))
    propose(one)
    first = one.take()
    propose(one)
    second = one.take()
    one.node.step(2, AppendAnswer(1, True, 3))

    one.node.synced(first.token)
    between = one.node.commit_index
    one.node.synced(second.token)

    assert (between, one.node.commit_index) == (2, 3)


def test_a_majority_without_the_leaders_own_disk_commits(lone) -> None:
    one = leading(lone)
    propose(one)
    one.take()

    for peer in (2, 3):
        one.node.step(peer, AppendAnswer(1, True, 2))

    assert (one.node.synced_index, one.node.commit_index) == (1, 2)
    assert one.node.synced_commit_index == 1


def test_messages_are_bounded_in_bytes_and_in_number(lone) -> None:
    limits = RaftLimits(message_bytes_max=150, inflight_messages_max=2)
    one = leading(lone, limits=limits)
    for _ in range(5):
        propose(one, bytes(36))

    first = sent_to(one.drive(), 2)
    second = sent_to(one.acknowledge(2, 2), 2)
    third = sent_to(one.acknowledge(2, 4), 2)

    assert [[entry.index for entry in message.entries] for message in first] == [[2], [3]]
    assert [[entry.index for entry in message.entries] for message in second] == [[4]]
    assert [[entry.index for entry in message.entries] for message in third] == [[5], [6]]


def test_unanswered_bytes_are_bounded(lone) -> None:
    one = leading(lone, limits=RaftLimits(inflight_bytes_max=100))
    propose(one, bytes(100))
    first = sent_to(one.drive(), 2)
    propose(one, bytes(100))

    held = sent_to(one.drive(), 2)
    after = sent_to(one.acknowledge(2, 2), 2)

    assert [len(first), len(held), len(after)] == [1, 0, 1]


def test_a_new_leader_probes_with_one_message_until_it_is_answered(lone) -> None:
    one = lone(terms=[1])
    probes = sent_to(one.lead(), 2)
    propose(one)

    held = sent_to(one.drive(), 2)
    after = sent_to(one.acknowledge(2, 2), 2)

    assert [len(message.entries) for message in probes] == [1]
    assert held == []
    assert [[entry.index for entry in message.entries] for message in after] == [[3]]


def test_a_reset_peer_is_probed_again_after_its_match(lone) -> None:
    one = leading(lone)
    propose(one)
    one.drive()

    one.node.peer_reset(2)
    again = one.drive()

    assert [(peer, len(m.entries), m.prev_index) for peer, m in again] == [(2, 1, 1)]
    assert one.node.progress[2].state is ProgressState.PROBE


def test_a_reset_peer_that_lacks_nothing_is_probed_with_an_empty_message(lone) -> None:
    one = leading(lone)

    one.node.peer_reset(2)

    assert one.drive() == [(2, AppendEntries(1, 1, 1, 1, [], match=1))]


def test_a_peer_that_is_reset_before_it_ever_answered_is_probed_where_the_probing_stood(
    lone,
) -> None:
    one = lone(terms=[1, 1, 1])
    one.lead()

    one.node.peer_reset(2)

    assert [(peer, m.prev_index) for peer, m in one.drive()] == [(2, 3)]


@pytest.mark.parametrize("call", ["peer_reset", "install_failed"])
def test_a_member_that_does_not_lead_has_no_peers_to_reset(lone, call) -> None:
    one = lone()

    getattr(one.node, call)(2)

    assert not one.node.has_ready
    assert one.node.follower_match(2) == 0


def test_a_commit_is_announced_at_once_only_if_that_is_asked_for(lone) -> None:
    said = {}
    for eager in (False, True):
        one = leading(lone, eager_commit=eager)
        propose(one)
        one.drive()
        said[eager] = one.acknowledge(2, 2)

    assert said[False] == []
    assert said[True] == [(peer, AppendEntries(1, 2, 1, 2, (), m)) for peer, m in ((2, 2), (3, 1))]


def test_a_commit_is_announced_once(lone) -> None:
    one = leading(lone, eager_commit=True)
    propose(one)
    one.drive()
    one.acknowledge(2, 2)

    assert one.acknowledge(3, 2) == []


def test_entries_that_left_memory_are_asked_of_the_driver_once(lone, entries) -> None:
    one = lone(terms=[1, 1, 1], commit=3)
    one.node.log.release(2)
    one.lead()

    one.hear(2, AppendAnswer(2, False, 3, 0, 0))
    propose(one)
    one.drive()
    asked = [older for ready in one.readies for older in ready.older]
    one.node.older_entries_read(2, LogPosition(), entries([1, 1]))
    read = one.drive()
    more = sent_to(one.acknowledge(2, 2), 2)

    assert asked == [OlderEntries(peer=2, start=1)]
    assert sent_to(read, 2) == [AppendEntries(2, 0, 0, 3, entries([1, 1]))]
    assert [entry.index for entry in more[0].entries] == [3, 4, 5]


def reading(lone):
    """A leader that has asked for entry 3, for a follower whose pipeline was full until now."""
    one = leading(lone, limits=RaftLimits(inflight_messages_max=1, message_bytes_max=1))
    for _ in range(4):
        propose(one)
    one.drive()
    for index in (2, 3, 4, 5):
        one.acknowledge(3, index)
    one.node.log.release(4)
    one.acknowledge(2, 2)
    assert one.readies[-1].older == [OlderEntries(peer=2, start=3)]
    return one


def test_older_entries_go_into_the_pipeline(lone, entries) -> None:
    one = reading(lone)

    one.node.older_entries_read(2, LogPosition(index=2, term=1), entries([1, 1], first=3))

    assert [(m.prev_index, len(m.entries)) for _, m in one.drive()] == [(2, 2)]
    assert one.node.progress[2].inflight_count == 1


def test_older_entries_that_come_too_late_are_dropped(lone, entries) -> None:
    one = reading(lone)

    one.acknowledge(2, 4)
    one.node.older_entries_read(2, LogPosition(index=2, term=1), entries([1], first=3))
    after_move = one.drive()
    one.node.older_entries_read(2, LogPosition(index=2, term=1), entries([1], first=3))
    unasked = one.drive()
    one.node.quorum_lost()
    one.node.older_entries_read(2, LogPosition(index=2, term=1), entries([1], first=3))

    assert [[entry.index for entry in message.entries] for _, message in after_move] == [[5]]
    assert unasked == []


def test_an_answer_about_a_log_that_this_term_never_had_is_ignored(lone) -> None:
    one = leading(lone)

    one.acknowledge(2, 99)

    assert one.node.follower_match(2) == 1


def test_a_refusal_leads_back_to_the_last_entry_that_can_match(lone) -> None:
    one = lone(terms=[1, 1, 2, 2, 5, 5])
    one.lead()

    said = one.hear(2, AppendAnswer(6, False, 6, 5, 3))

    assert [(message.prev_index, message.prev_term) for message in sent_to(said, 2)] == [(4, 2)]


def test_an_outdated_refusal_sends_nothing(lone) -> None:
    one = leading(lone, terms=[1, 1])

    assert one.hear(2, AppendAnswer(2, False, 2, 0, 0)) == []


def test_acknowledgements_that_do_not_count_move_progress_but_not_commit(lone) -> None:
    one = lone()
    one.lead()

    one.hear(2, AppendAnswer(1, True, 1, counts=False))
    before = (one.node.follower_match(2), one.node.commit_index)
    one.acknowledge(2, 1)

    assert before == (1, 0)
    assert one.node.commit_index == 1


def test_a_follower_that_lost_its_log_counts_for_nothing_and_is_filled_again(lone) -> None:
    one = leading(lone, voters=(1, 2, 3, 4, 5))
    propose(one)
    one.drive()
    one.acknowledge(2, 2)

    one.node.peer_reset(2)
    probe = sent_to(one.drive(), 2)
    refill = sent_to(one.hear(2, AppendAnswer(1, False, 2, 0, 0, counts=False)), 2)
    after_loss = one.node.follower_match(2)
    one.acknowledge(3, 2)

    assert (probe[0].prev_index, probe[0].match) == (2, 2)
    assert after_loss == 0
    assert [(message.prev_index, len(message.entries)) for message in refill] == [(0, 2)]
    assert one.node.commit_index == 1


# The follower's half.


def test_an_append_is_acknowledged_when_it_is_synced(lone) -> None:
    one = lone(term=1)
    message = AppendEntries(1, 0, 0, 0, lone(terms=[1, 1]).node.log.slice(1))
    one.node.step(2, message)

    ready = one.take()
    one.node.synced(ready.token)

    assert (ready.messages, len(ready.entries), ready.prev_term) == ([], 2, 0)
    assert one.take().messages == [(2, AppendAnswer(1, True, 2))]


def test_one_answer_serves_all_appends_of_a_sync(lone, entries) -> None:
    one = lone(term=1)
    for index in (1, 2, 3):
        message = AppendEntries(1, index - 1, min(1, index - 1), 0, entries([1], first=index))
        one.node.step(2, message)

    assert one.drive() == [(2, AppendAnswer(1, True, 3))]


def test_an_append_that_comes_right_after_a_sync_does_not_hold_back_the_answer(
    lone, entries
) -> None:
    one = lone(term=1)
    one.node.step(2, AppendEntries(1, 0, 0, 0, entries([1])))
    one.node.synced(one.take().token)

    one.node.step(2, AppendEntries(1, 1, 1, 0, entries([1], first=2)))

    assert one.take().messages == [(2, AppendAnswer(1, True, 1))]


def test_an_append_that_brings_nothing_new_is_answered_at_once_with_what_is_synced(
    lone, entries
) -> None:
    one = lone(term=1)
    message = AppendEntries(1, 0, 0, 0, entries([1, 1]))
    one.node.step(2, message)
    first = one.take()

    one.node.step(2, message)
    at_once = one.take().messages
    one.node.synced(first.token)
    synced = one.take().messages

    assert at_once == [(2, AppendAnswer(1, True, 0))]
    assert synced == [(2, AppendAnswer(1, True, 2))]


def test_an_answer_names_only_what_matches_the_leader(lone) -> None:
    one = lone(terms=[1, 1, 1, 1], term=2)

    assert one.append(2, 2, (2, 1)) == [(2, AppendAnswer(2, True, 2))]


def test_what_a_follower_knows_to_be_committed_matches_every_leader(lone) -> None:
    one = lone(terms=[1, 1, 1, 1], commit=3)

    assert one.append(2, 2, (1, 1), [1]) == [(2, AppendAnswer(2, True, 3))]
    assert one.log_terms == [1, 1, 1, 1]


def test_entries_below_the_commit_index_are_skipped_and_the_rest_appended(lone) -> None:
    one = lone(terms=[1, 1, 1], commit=2)
    one.node.log.release(2)

    answers = one.append(2, 2, (0, 0), [1, 1, 1, 2])

    assert answers == [(2, AppendAnswer(2, True, 4))]
    assert one.log_terms == [1, 2]


@pytest.mark.parametrize(
    ("terms", "commit", "prev", "hint"),
    [
        ([1, 1], 0, (9, 3), (2, 1)),
        ([1, 1, 2, 2], 0, (4, 1), (2, 1)),
        ([1, 1, 2, 2], 0, (4, 3), (4, 2)),
        ([2, 2, 2], 1, (3, 1), (1, 2)),
        ([2, 2, 2], 0, (3, 1), (0, 0)),
    ],
)
def test_a_refusal_hints_at_the_last_entry_that_could_match(
    lone, terms, commit, prev, hint
) -> None:
    one = lone(terms=terms, term=4, commit=commit)

    assert one.append(2, 4, prev) == [(2, AppendAnswer(4, False, prev[0], hint[0], hint[1]))]


def test_a_heartbeat_commits_up_to_what_matched_in_this_term(lone) -> None:
    one = lone(terms=[1, 1, 1], term=2)

    one.node.heard_leader(2, 2, 1)
    before = one.node.commit_index
    one.append(2, 2, (2, 1))
    one.node.heard_leader(2, 2, 1)

    assert (before, one.node.commit_index, one.node.leader) == (0, 1, 2)


def test_a_stale_heartbeat_changes_nothing(lone) -> None:
    one = lone(terms=[1], term=5)

    one.node.heard_leader(2, 4, 1)

    assert (one.node.leader, one.node.commit_index) == (None, 0)


def test_a_heartbeat_of_a_higher_term_moves_us_there(lone) -> None:
    one = lone(term=1)

    one.node.heard_leader(3, 4, 0)

    assert (one.node.term, one.node.leader) == (4, 3)
    assert one.drive() == []


def test_a_disk_that_went_back_in_time_shows_in_the_leaders_heartbeat(lone) -> None:
    one = lone(terms=[1, 1], term=1)

    one.node.heard_leader(2, 1, 3)

    assert not one.node.may_vote
    assert one.node.commit_index == 0


def test_a_disk_that_went_back_in_time_shows_in_the_leaders_probe(lone) -> None:
    one = lone(terms=[1, 1], term=1)

    said = one.hear(2, AppendEntries(1, 4, 1, 0, (), match=4))

    assert said == [(2, AppendAnswer(1, False, 4, 2, 1, counts=False))]
    assert not one.node.may_vote


def test_an_answer_still_goes_to_this_terms_leader_after_it_was_forgotten(lone, entries) -> None:
    one = lone(term=1)
    one.node.step(2, AppendEntries(1, 0, 0, 0, entries([1])))
    ready = one.take()

    one.node.forget_leader()
    one.node.synced(ready.token)

    assert one.take().messages == [(2, AppendAnswer(1, True, 1))]


def test_no_append_is_acknowledged_in_a_term_that_is_not_synced(lone, entries) -> None:
    one = lone(terms=[1])
    one.node.step(2, AppendEntries(2, 1, 1, 0, []))

    ready = one.take()
    one.node.synced(ready.token)

    assert ready.messages == []
    assert one.take().messages == [(2, AppendAnswer(2, True, 1))]


def test_a_late_sync_of_overwritten_entries_acknowledges_nothing(lone, entries) -> None:
    one = lone(term=1)
    one.node.step(2, AppendEntries(1, 0, 0, 0, entries([1, 1, 1])))
    overwritten = one.take()
    one.node.step(3, AppendEntries(2, 1, 1, 0, entries([2, 2], first=2)))
    replacing = one.take()

    one.node.synced(overwritten.token)
    early = one.take().messages
    one.node.synced(replacing.token)

    assert replacing.truncated_from == 2
    assert early == []
    assert one.take().messages == [(3, AppendAnswer(2, True, 3))]


def test_two_truncations_between_two_readies_are_reported_as_the_lower_one(lone, entries) -> None:
    one = lone(terms=[1, 1, 1, 1])
    one.node.step(2, AppendEntries(2, 1, 1, 0, entries([2], first=2)))
    one.node.step(3, AppendEntries(3, 2, 2, 0, entries([3], first=3)))
    one.node.step(2, AppendEntries(4, 2, 2, 0, entries([4], first=3)))

    ready = one.take()

    assert ready.truncated_from == 2
    assert [(entry.index, entry.term) for entry in ready.entries] == [(2, 2), (3, 4)]


def test_replacing_a_committed_entry_ends_the_process(lone, entries) -> None:
    one = lone(terms=[1, 1], commit=0)
    one.hear(2, AppendEntries(2, 2, 1, 0))

    with pytest.raises(AssertionError, match="never replaced"):
        one.node.step(2, AppendEntries(2, 1, 1, 0, entries([2], first=2)))
