"""Assignors: all that is wanted is given out once, evenly, and moves no more than it must."""

import sys
from itertools import chain

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimaran.groups.assignors import ASSIGNORS, Subscriber, by_range, uniform

TOPICS = [bytes([65 + number]) * 16 for number in range(4)]
A, B, C, D = TOPICS


def everybody(count, topics=(A,), current=None):
    current = current or {}
    return [
        Subscriber(
            member_id=f"m{number}",
            topics=frozenset(topics),
            current=current.get(f"m{number}", frozenset()),
        )
        for number in range(count)
    ]


def sizes(parts):
    return sorted(len(one) for one in parts.values())


def calls_made(work):
    """Return how many calls `work` makes, those into C as well, and what it returns.

    A count is the same on every machine, however busy; a time is not.
    """
    calls = 0

    def count_call(_frame, event, _argument):
        nonlocal calls
        calls += event in ("call", "c_call")

    sys.setprofile(count_call)
    try:
        found = work()
    finally:
        sys.setprofile(None)
    return calls, found


def moves(before, after):
    """Return how many partitions are somewhere else now, those of members that went aside."""
    return sum(len(parts - after[name]) for name, parts in before.items() if name in after)


subscriptions = st.lists(st.frozensets(st.sampled_from(TOPICS), max_size=4), min_size=1, max_size=7)
counts_of_topics = st.dictionaries(st.sampled_from(TOPICS), st.integers(1, 9))


@given(subscriptions, counts_of_topics, st.sampled_from(sorted(ASSIGNORS)))
def test_every_wanted_partition_is_given_to_one_member_that_wants_it(wanted, counts, name):
    members = [
        Subscriber(member_id=f"m{number}", topics=topics) for number, topics in enumerate(wanted)
    ]
    parts = ASSIGNORS[name](members, counts)

    all_wanted = frozenset(chain.from_iterable(wanted)) & counts.keys()
    given_out = sorted(chain.from_iterable(parts.values()))
    assert given_out == sorted((topic, n) for topic in all_wanted for n in range(counts[topic]))
    for member in members:
        assert {topic for topic, _ in parts[member.member_id]} <= member.topics


@given(st.integers(1, 9), st.dictionaries(st.sampled_from(TOPICS), st.integers(1, 30)))
def test_uniform_is_even_to_within_one(count, counts):
    parts = uniform(everybody(count, TOPICS), counts)

    assert sizes(parts)[-1] - sizes(parts)[0] <= 1


@given(st.integers(1, 8), st.integers(1, 8), st.integers(1, 40))
def test_uniform_moves_the_least_when_members_come_or_go(before, after, partitions):
    counts = {A: partitions}
    old = uniform(everybody(before), counts)
    new = uniform(everybody(after, current=old), counts)

    assert sizes(new)[-1] - sizes(new)[0] <= 1
    # Who stays gives up only what the others' equal share asks for.
    largest = sizes(new)[::-1]
    kept = sorted((len(old[name]) for name in old if name in new), reverse=True)
    assert moves(old, new) == sum(
        max(0, had - share) for had, share in zip(kept, largest, strict=False)
    )


@given(subscriptions, subscriptions, counts_of_topics)
def test_a_second_look_at_the_same_members_moves_nothing(wanted, other, counts):
    def of(subscription, current):
        return [
            Subscriber(
                member_id=f"m{number}",
                topics=topics,
                current=current.get(f"m{number}", frozenset()),
            )
            for number, topics in enumerate(subscription)
        ]

    first = uniform(of(other, {}), counts)
    second = uniform(of(wanted, first), counts)

    assert uniform(of(wanted, second), counts) == second


@given(subscriptions, counts_of_topics)
def test_no_single_move_would_make_unequal_subscriptions_more_even(wanted, counts):
    members = [
        Subscriber(member_id=f"m{number}", topics=topics) for number, topics in enumerate(wanted)
    ]
    parts = uniform(members, counts)

    for giver in members:
        for topic, _ in parts[giver.member_id]:
            for taker in members:
                if topic in taker.topics:
                    lead = len(parts[giver.member_id]) - len(parts[taker.member_id])
                    assert lead <= 1


def test_range_cuts_equal_topics_at_the_same_places():
    parts = by_range(everybody(2, (A, B)), {A: 3, B: 3})

    assert parts == {
        "m0": frozenset({(A, 0), (A, 1), (B, 0), (B, 1)}),
        "m1": frozenset({(A, 2), (B, 2)}),
    }


def test_range_puts_static_members_first_by_their_instance_id():
    members = [
        Subscriber(member_id="a", topics=frozenset({A})),
        Subscriber(member_id="z", instance_id="2", topics=frozenset({A})),
        Subscriber(member_id="y", instance_id="1", topics=frozenset({A})),
    ]

    assert {name: sorted(n for _, n in one) for name, one in by_range(members, {A: 3}).items()} == {
        "y": [0],
        "z": [1],
        "a": [2],
    }


def test_nobody_gets_nothing():
    assert uniform([], {A: 3}) == {}
    assert by_range([], {A: 3}) == {}


@pytest.mark.parametrize("topics", [[(A, B)] * 50, [(A, B), (A,)] * 25])
def test_a_large_group_is_shared_in_few_steps_a_partition(topics):
    members = [
        Subscriber(member_id=f"m{number}", topics=frozenset(wanted))
        for number, wanted in enumerate(topics)
    ]

    calls, parts = calls_made(lambda: uniform(members, {A: 500, B: 500}))

    assert calls < 10 * 1_000, "so many for each partition"
    assert sum(sizes(parts)) == 1_000
    assert sizes(parts)[-1] - sizes(parts)[0] <= 1


def test_what_one_member_had_is_shared_with_hundreds_in_few_steps_a_move():
    topics = [bytes([number]) * 16 for number in range(100)]
    counts = dict.fromkeys(topics, 50)
    everything = frozenset((topic, number) for topic in topics for number in range(50))
    members = [Subscriber(member_id="m0", topics=frozenset(topics), current=everything)]
    members += [
        Subscriber(member_id=f"m{number}", topics=frozenset(topics[number % 2 :]))
        for number in range(1, 500)
    ]

    calls, parts = calls_made(lambda: uniform(members, counts))

    assert calls < 8 * (500 * 100 + 5_000), "so many for each wish and each partition"
    assert sizes(parts) == [10] * 500
