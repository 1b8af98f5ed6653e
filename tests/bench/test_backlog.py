"""What a drained backlog is said to have reached: all of it, or nothing."""

import pytest

from trimaran.bench.backlog import drain_rate
from trimaran.bench.errors import BenchError
from trimaran.bench.task import Outcome


def reader_of(events):
    return Outcome(offered=0, answered=events, unanswered=0, took_s=2.0)


def test_a_drain_has_the_rate_of_what_was_stored_over_what_it_took():
    assert drain_rate(reader_of(1_000_000), stored=1_000_000, event_bytes=1_000) == 500.0


def test_a_drain_that_did_not_end_has_no_rate():
    with pytest.raises(BenchError, match="999999 of 1000000 events"):
        drain_rate(reader_of(999_999), stored=1_000_000, event_bytes=1_000)
