"""What is synced, when several Ready objects are under way and the log changes below them."""

import pytest

from trimaran.raft.durability import Durability
from trimaran.raft.messages import VoteAnswer

ANSWER = VoteAnswer(term=1, granted=True)


def test_what_was_recovered_counts_as_synced() -> None:
    durability = Durability(term=3, last_index=7)

    assert durability.synced_index == durability.handed_index == 7
    assert durability.synced_term == 3
    assert durability.is_hard_state_synced
    assert not durability.is_hard_state_due


def test_a_token_makes_durable_what_it_covers_and_nothing_newer() -> None:
    durability = Durability(term=1, last_index=0)
    first = durability.hand_out(term=1, last_index=3)
    second = durability.hand_out(term=1, last_index=5)

    durability.synced(first)
    after_first = durability.synced_index
    durability.synced(second)

    assert (after_first, durability.synced_index) == (3, 5)


def test_a_later_token_covers_the_earlier_ones_and_a_late_one_changes_nothing() -> None:
    durability = Durability(term=1, last_index=0)
    first = durability.hand_out(term=1, last_index=3)
    second = durability.hand_out(term=1, last_index=5)

    durability.synced(second)
    durability.synced(first)
    durability.synced(second)

    assert durability.synced_index == 5


def test_tokens_grow_even_when_there_is_nothing_to_sync() -> None:
    durability = Durability(term=1, last_index=2)

    tokens = [durability.hand_out(term=1, last_index=2) for _ in range(3)]

    assert tokens == [1, 2, 3]
    assert durability.synced(3) == []


def test_a_sync_of_replaced_entries_does_not_count_for_their_replacements() -> None:
    durability = Durability(term=1, last_index=0)
    overwritten = durability.hand_out(term=1, last_index=5)
    durability.truncated(3)
    replacing = durability.hand_out(term=1, last_index=5)

    durability.synced(overwritten)
    before = durability.synced_index
    durability.synced(replacing)

    assert before == 2
    assert durability.synced_index == 5


def test_truncation_takes_back_what_was_synced() -> None:
    durability = Durability(term=1, last_index=9)

    durability.truncated(4)

    assert durability.synced_index == durability.handed_index == 3


def test_messages_wait_for_the_hard_state_of_their_moment() -> None:
    durability = Durability(term=1, last_index=0)
    durability.hard_state_changed()
    durability.hold(2, ANSWER)
    first = durability.hand_out(term=2, last_index=0)
    durability.hard_state_changed()
    durability.hold(3, ANSWER)
    second = durability.hand_out(term=3, last_index=0)

    freed_first = durability.synced(first)
    term_between = durability.synced_term
    is_synced_between = durability.is_hard_state_synced
    freed_second = durability.synced(second)

    assert freed_first == [(2, ANSWER)]
    assert term_between == 2
    assert not is_synced_between
    assert freed_second == [(3, ANSWER)]
    assert durability.is_hard_state_synced


def test_a_hard_state_that_was_never_handed_out_is_not_synced_by_an_old_token() -> None:
    durability = Durability(term=1, last_index=0)
    token = durability.hand_out(term=1, last_index=2)
    durability.hard_state_changed()

    durability.synced(token)

    assert durability.is_hard_state_due
    assert not durability.is_hard_state_synced


def test_an_installed_boundary_is_durable_without_a_token() -> None:
    durability = Durability(term=1, last_index=2)

    durability.installed(9)

    assert durability.synced_index == durability.handed_index == 9


def test_a_token_that_was_never_handed_out_is_our_own_mistake() -> None:
    durability = Durability(term=1, last_index=0)

    with pytest.raises(AssertionError):
        durability.synced(1)


def test_asking_again_during_a_slow_sync_adds_nothing_to_what_waits() -> None:
    durability = Durability(term=1, last_index=0)
    durability.hard_state_changed()
    token = durability.hand_out(term=2, last_index=0)
    for term in range(2, 1_000):
        durability.hold(2, VoteAnswer(term=term, granted=False))
    durability.hold(3, ANSWER)

    assert durability.synced(token) == [(2, VoteAnswer(term=999, granted=False)), (3, ANSWER)]
