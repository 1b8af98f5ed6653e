"""Latencies counted in microseconds and merged over processes."""

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from trimaran.bench.histogram import encode, merge, percentiles

latencies = st.lists(st.integers(1, 10_000_000), min_size=1, max_size=200)


@settings(max_examples=25)
@given(first=latencies, second=latencies)
def test_merged_histograms_equal_the_histogram_of_all_values(
    first: list[int], second: list[int]
) -> None:
    merged = merge([encode(Counter(first)), encode(Counter(second))])

    assert percentiles(merged) == percentiles(encode(Counter(first + second)))


def test_percentiles_are_those_of_the_values_to_three_digits() -> None:
    found = percentiles(encode({1_000: 98, 5_000: 1, 90_000: 1}))

    assert found.count == 100
    assert abs(found.p50_ms - 1.0) < 0.01
    assert abs(found.p99_ms - 5.0) < 0.01
    assert abs(found.max_ms - 90.0) < 0.1


def test_value_beyond_the_range_is_kept_at_its_end() -> None:
    found = percentiles(encode({10**12: 1, -5: 1}))

    assert found.count == 2
    assert abs(found.max_ms - 3_600_000) < 4_000


def test_empty_histogram_has_no_percentiles() -> None:
    assert percentiles(merge([])).count == 0
