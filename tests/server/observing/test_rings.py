"""An hour of numbers in memory of a known size."""

import sys

from trimaran.server.observing.groups import GROUPS_MAX, TOPICS_MAX
from trimaran.server.observing.rings import BYTES_MAX, IDLE_SECONDS, SECONDS, Rings
from trimaran.server.observing.series import (
    NODE_SERIES,
    PARTITION_SERIES,
    PEER_SERIES,
    TOPIC_SERIES,
)


def filled(rings, name, values, **how):
    for value in values:
        rings.begin(rings.tick + 1)
        rings.put(name, value, **how)
    return rings


def test_values_come_back_oldest_first_and_before_the_first_there_is_none():
    rings = filled(Rings(), "a", [1, 2, 3])

    assert rings.read("a", count=5, step=1) == [None, None, 1, 2, 3]
    assert rings.latest("a") == 3
    assert rings.read("unknown", count=2, step=1) == [None, None]


def test_after_its_hour_the_oldest_values_go():
    rings = filled(Rings(seconds=4), "a", range(10))

    assert rings.read("a", count=6, step=1) == [None, None, 6, 7, 8, 9]


def test_seconds_that_were_passed_over_have_no_value():
    rings = filled(Rings(seconds=10), "a", [1, 2])
    rings.begin(4)
    rings.put("a", 5)

    assert rings.read("a", count=5, step=1) == [1, 2, None, None, 5]


def test_after_a_longer_sleep_than_an_hour_nothing_old_is_left():
    rings = filled(Rings(seconds=4), "a", [1, 2, 3, 4])
    rings.begin(1_000)
    rings.put("a", 9)

    assert rings.read("a", count=4, step=1) == [None, None, None, 9]


def test_a_longer_step_is_the_mean_of_a_rate_and_the_last_of_an_offset():
    rings = Rings(seconds=10)
    for value in (1, 2, 6, 10):
        rings.begin(rings.tick + 1)
        rings.put("rate", value)
        rings.put("offset", value, is_exact=True)

    assert rings.read("rate", count=2, step=2) == [1.5, 8]
    assert rings.read("offset", count=2, step=2) == [2, 10]
    assert rings.read("rate", count=2, step=3) == [1, 6]


def test_offsets_beyond_what_four_bytes_hold_are_exact():
    offset = 2**40 + 1
    rings = filled(Rings(), "log_end", [offset], is_exact=True)

    assert rings.latest("log_end") == offset


def test_memory_never_passes_its_bound_however_many_series_ask():
    rings = Rings(seconds=100, bytes_max=10_000)
    rings.begin(0)
    taken = [rings.put(f"s{number}", 1.0, is_exact=number % 2 == 0) for number in range(1_000)]

    assert rings.bytes <= 10_000
    assert taken.count(True) == len(rings.names)
    assert rings.left_out == taken.count(False) > 900
    held = sum(sys.getsizeof(ring) for ring in rings._rings.values())
    assert held < 10_000 + 100 * len(rings.names)


def test_everything_that_a_node_of_seven_may_sample_fits():
    rings = Rings()
    rings.begin(0)
    names = [name for name, _, _ in NODE_SERIES]
    for kind, series, count in (
        ("peer", PEER_SERIES, 6),
        ("topic", TOPIC_SERIES, TOPICS_MAX),
    ):
        names += [f"{kind}/{n}/{name}" for n in range(count) for name, _, _ in series]
    for name in names:
        assert rings.put(name, 1.0)
    for number in range(GROUPS_MAX):
        for name, _, _ in PARTITION_SERIES:
            assert rings.put(f"partition/t/{number}/{name}", 1.0, is_exact=True)
    assert rings.bytes < 15 << 20
    assert rings.bytes <= BYTES_MAX
    assert SECONDS == 3_600


def test_an_idle_series_makes_room_for_a_new_one_and_goes_after_an_hour():
    rings = Rings(seconds=1_000, bytes_max=4_000)
    filled(rings, "old", [1.0])
    assert not rings.put("new", 2.0)
    rings.begin(IDLE_SECONDS)
    assert rings.put("new", 2.0)
    assert list(rings.names) == ["new"]

    lonely = filled(Rings(seconds=240), "gone", [1.0])
    lonely.begin(2 * IDLE_SECONDS)
    assert list(lonely.names) == []
    assert lonely.bytes == 0
