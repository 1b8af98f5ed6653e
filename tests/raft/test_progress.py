"""A follower as its leader sees it: how it moves between probing, replicating and installing."""

import pytest

from trimaran.raft.progress import Progress, ProgressState, RaftLimits

LIMITS = RaftLimits(inflight_messages_max=2, inflight_bytes_max=100)


def replicating(match: int) -> Progress:
    progress = Progress(next_index=match + 1)
    progress.accepted(match)
    return progress


def test_a_probe_is_one_message_until_it_is_answered() -> None:
    progress = Progress(next_index=5)
    before = progress.is_paused(LIMITS)

    progress.sent(6, message_bytes=10)

    assert not before
    assert progress.is_paused(LIMITS)
    assert progress.next == 5
    assert progress.inflight_count == 0


def test_success_begins_the_pipeline_after_the_match() -> None:
    progress = Progress(next_index=5)
    progress.sent(6, message_bytes=10)

    progress.accepted(6)

    assert progress.state is ProgressState.REPLICATE
    assert (progress.match, progress.next) == (6, 7)
    assert not progress.is_paused(LIMITS)


def test_the_pipeline_is_bounded_by_messages() -> None:
    progress = replicating(0)
    progress.sent(1, message_bytes=1)
    progress.sent(2, message_bytes=1)
    full = progress.is_paused(LIMITS)

    progress.accepted(1)

    assert full
    assert not progress.is_paused(LIMITS)
    assert (progress.inflight_count, progress.inflight_bytes) == (1, 1)


def test_the_pipeline_is_bounded_by_bytes() -> None:
    progress = replicating(0)

    progress.sent(1, message_bytes=100)

    assert progress.is_paused(LIMITS)


def test_one_answer_frees_all_messages_up_to_its_index() -> None:
    progress = replicating(0)
    progress.sent(3, message_bytes=20)
    progress.sent(5, message_bytes=30)

    progress.accepted(4)
    between = (progress.inflight_count, progress.inflight_bytes)
    progress.accepted(5)

    assert between == (1, 30)
    assert (progress.inflight_count, progress.inflight_bytes, progress.match) == (0, 0, 5)


def test_an_acknowledged_index_beyond_next_moves_next() -> None:
    progress = replicating(3)

    progress.accepted(8)

    assert (progress.match, progress.next) == (8, 9)


def test_a_refused_probe_goes_back_to_the_hint() -> None:
    progress = Progress(next_index=10)
    progress.sent(12, message_bytes=1)

    moved = progress.maybe_retreat(9, hint=4)

    assert moved
    assert progress.next == 5
    assert not progress.is_paused(LIMITS)


def test_a_hint_above_the_refused_index_still_goes_back() -> None:
    progress = Progress(next_index=10)

    assert progress.maybe_retreat(9, hint=20)
    assert progress.next == 9


def test_a_refusal_that_answers_no_current_probe_is_ignored() -> None:
    progress = Progress(next_index=10)

    assert not progress.maybe_retreat(7, hint=2)
    assert progress.next == 10


def test_a_refusal_at_or_below_the_match_is_out_of_date() -> None:
    progress = replicating(6)

    assert not progress.maybe_retreat(6, hint=2)
    assert progress.state is ProgressState.REPLICATE
    assert progress.maybe_retreat(8, hint=2)
    assert (progress.state, progress.match, progress.next) == (ProgressState.PROBE, 6, 7)


def test_a_reset_while_replicating_goes_on_after_the_match() -> None:
    progress = replicating(6)
    progress.sent(9, message_bytes=50)

    progress.become_probe()

    assert (progress.state, progress.next) == (ProgressState.PROBE, 7)
    assert (progress.inflight_count, progress.inflight_bytes) == (0, 0)


def test_a_reset_while_probing_goes_on_where_the_probing_stood() -> None:
    progress = Progress(next_index=10)
    progress.sent(10, message_bytes=1)

    progress.become_probe()

    assert progress.next == 10
    assert not progress.is_paused(LIMITS)


def test_nothing_is_sent_while_files_are_moved_or_older_entries_read() -> None:
    installing = replicating(2)
    installing.become_install(20)
    reading = replicating(2)
    reading.is_reading = True

    assert installing.is_paused(LIMITS)
    assert reading.is_paused(LIMITS)
    with pytest.raises(AssertionError):
        installing.sent(21, message_bytes=1)


def test_an_install_ignores_refusals_and_ends_when_the_boundary_is_acknowledged() -> None:
    progress = replicating(2)
    progress.become_install(20)

    refused = progress.maybe_retreat(19, hint=3)
    progress.accepted(10)
    behind = progress.state
    progress.accepted(20)

    assert not refused
    assert behind is ProgressState.INSTALL
    assert (progress.state, progress.next) == (ProgressState.REPLICATE, 21)


def test_a_follower_that_lost_its_log_is_probed_from_the_refused_index() -> None:
    progress = replicating(9)

    progress.forget_match(9)

    assert (progress.state, progress.match, progress.next) == (ProgressState.PROBE, 0, 10)
    assert progress.maybe_retreat(9, hint=0)
    assert progress.next == 1
