"""The gap around a failure, from the times of delivery reports."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from trimaran.bench.gaps import by_partition, longest_gap_ns


def test_gap_runs_from_the_last_report_before_to_the_first_after() -> None:
    answered = [0, 10, 20, 30, 400, 410, 420]

    assert longest_gap_ns(answered, start_ns=35, end_ns=415) == 370


def test_report_that_was_under_way_at_the_kill_does_not_hide_the_gap() -> None:
    answered = [0, 10, 20, 30, 36, 400, 410]

    assert longest_gap_ns(answered, start_ns=33, end_ns=405) == 364


def test_long_pause_elsewhere_is_not_the_gap() -> None:
    answered = [0, 1_000, 1_010, 1_020, 1_100, 1_110, 5_000]

    assert longest_gap_ns(answered, start_ns=1_015, end_ns=1_105) == 80


def test_too_few_reports_say_nothing() -> None:
    assert longest_gap_ns([], start_ns=0, end_ns=10) is None
    assert longest_gap_ns([5], start_ns=0, end_ns=10) is None
    assert longest_gap_ns([1, 2, 3], start_ns=7, end_ns=10) is None


@given(
    times=st.lists(st.integers(0, 1_000), min_size=2, unique=True).map(sorted),
    bounds=st.tuples(st.integers(0, 1_000), st.integers(0, 1_000)).map(sorted),
)
def test_gap_is_that_of_the_pairs_that_touch_the_window(
    times: list[int], bounds: list[int]
) -> None:
    start_ns, end_ns = bounds

    found = longest_gap_ns(times, start_ns=start_ns, end_ns=end_ns)

    pairs = [
        after - before
        for before, after in itertools.pairwise(times)
        if after > start_ns and before < end_ns
    ]
    assert found == max(pairs, default=None)


def test_reports_are_sorted_within_each_partition() -> None:
    assert by_partition([(1, 5), (0, 3), (1, 2)]) == {1: [2, 5], 0: [3]}
