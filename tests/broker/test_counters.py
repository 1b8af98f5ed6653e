"""Counts and histograms that the way of an event adds to."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimaran.broker.counters import SECONDS, Counters, Histogram, PartitionCounters
from trimaran.errors import ErrorCode
from trimaran.ids import NodeId


def test_a_value_counts_under_the_first_bound_that_is_not_below_it():
    histogram = Histogram((1.0, 2.0, 5.0))
    for value in (0.5, 1.0, 1.1, 5.0, 5.1):
        histogram.add(value)

    assert histogram.counts == [2, 1, 1, 1]
    assert histogram.count == 5
    assert histogram.total == pytest.approx(12.7)


@given(st.lists(st.floats(min_value=0, max_value=20), min_size=1), st.floats(0.01, 1))
def test_a_quantile_lies_in_the_bucket_of_the_value_it_stands_for(values, share):
    histogram = Histogram(SECONDS)
    for value in values:
        histogram.add(value)
    rank = max(1, -int(-share * len(values) // 1))
    exact = sorted(values)[rank - 1]

    found = histogram.quantile(share)

    bounds = (0.0, *SECONDS)
    low = max((bound for bound in bounds if bound < exact), default=0.0)
    high = min((bound for bound in SECONDS if bound >= exact), default=SECONDS[-1])
    assert low <= found <= high or found == SECONDS[-1]


def test_a_quantile_can_be_of_what_came_since_a_copy_was_taken():
    histogram = Histogram((1.0, 2.0))
    histogram.add(0.5)
    before = list(histogram.counts)
    histogram.add(1.5)

    assert 1.0 < histogram.quantile(0.5, since=before) <= 2.0
    assert histogram.quantile(0.5, since=list(histogram.counts)) == 0.0


def test_a_partition_counts_what_is_stored_and_read():
    counts = PartitionCounters()
    counts.stored(64, 4_000)
    counts.stored(1, 100)
    counts.read(2, 65, 4_100)

    assert (counts.batches, counts.events, counts.bytes) == (2, 65, 4_100)
    assert (counts.read_batches, counts.read_events, counts.read_bytes) == (2, 65, 4_100)


def test_requests_errors_and_peers_are_counted_by_what_they_are():
    counters = Counters()
    counters.answered(0, 0.001)
    counters.answered(0, 0.002)
    counters.refused(1, ErrorCode.NOT_LEADER_OR_FOLLOWER)
    counters.refused(1, ErrorCode.NOT_LEADER_OR_FOLLOWER)

    assert counters.request_seconds[0].count == 2
    assert counters.errors == {(1, 6): 2}
    assert counters.peer(NodeId(2)) is counters.peer(NodeId(2))
