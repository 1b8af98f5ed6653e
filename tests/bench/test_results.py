"""Outcomes added up, medians chosen."""

from trimaran.bench.consuming import LATE_NS
from trimaran.bench.filesystem import DiskFigures
from trimaran.bench.histogram import Percentiles, encode
from trimaran.bench.results import Row, combine, combine_read, mark_median
from trimaran.bench.task import Outcome


def disk(rate: float = 1_000.0) -> DiskFigures:
    return DiskFigures(fdatasync_p50_ms=1.0, fdatasync_p99_ms=2.0, sequential_mb_per_s=rate)


def row(p99_ms: float, *, disk_rate: float = 1_000.0) -> Row:
    latency = Percentiles(
        count=1, mean_ms=1.0, p50_ms=1.0, p95_ms=1.0, p99_ms=p99_ms, p999_ms=9.0, max_ms=9.0
    )
    return Row(
        scenario="throughput",
        target="3 nodes",
        load="",
        offered_per_s=1.0,
        answered_per_s=1.0,
        mb_per_s=1.0,
        failed={},
        unanswered=0,
        latency=latency,
        batch_latency=None,
        batch_events_mean=64.0,
        client_cores=0.1,
        queue_full=0,
        nodes=[],
        disk_before=disk(disk_rate),
        disk_after=disk(),
    )


def marked(rows: list[Row]) -> list[float]:
    mark_median(rows)
    return [row.latency.p99_ms for row in rows if row.median and row.latency is not None]


def test_median_of_three_is_the_middle_p99() -> None:
    assert marked([row(9.0), row(3.0), row(5.0)]) == [5.0]


def test_median_of_two_is_the_worse_one() -> None:
    assert marked([row(3.0), row(9.0)]) == [9.0]


def test_runs_on_a_slow_disk_do_not_decide_where_there_are_others() -> None:
    rows = [row(3.0), row(99.0, disk_rate=100.0), row(4.0), row(5.0)]

    assert marked(rows) == [4.0]


def test_outcomes_of_several_producers_add_up() -> None:
    one = Outcome(
        offered=10,
        answered=9,
        unanswered=0,
        failed={"timed out": 1},
        answers_in_window=9,
        event_histogram=encode({1_000: 10}),
        chunk_histogram=encode({500: 10}),
        cpu_cores=0.25,
        batch_events_mean=64.0,
    )

    sum_of_two = combine([one, one])

    assert sum_of_two.outcome.offered == 20
    assert sum_of_two.outcome.failed == {"timed out": 2}
    assert sum_of_two.outcome.cpu_cores == 0.5
    assert sum_of_two.latency is not None
    assert sum_of_two.latency.count == 20
    assert sum_of_two.batch_latency is not None
    assert round(sum_of_two.batch_latency.p50_ms, 2) == 0.5


def test_outcomes_without_latencies_have_no_percentiles() -> None:
    silent = Outcome(offered=10, answered=10, unanswered=0)

    assert combine([silent]).latency is None


def read(stamped: int) -> Outcome:
    """Return the outcome of a consumer that had each event after 2 ms."""
    return Outcome(
        offered=stamped,
        answered=stamped,
        unanswered=0,
        stamped=stamped,
        event_histogram=encode({2_000: stamped}),
    )


def test_answered_events_that_no_consumer_read_count_as_waiting_until_the_consumers_ended() -> None:
    found = combine_read([read(40), read(58)], answered=100)

    assert found.outcome.unanswered == 2
    assert found.latency is not None
    assert found.latency.count == 100
    assert round(found.latency.p50_ms) == 2
    assert round(found.latency.p99_ms, -2) == LATE_NS / 1e6


def test_what_was_read_and_never_answered_makes_nothing_unread() -> None:
    found = combine_read([read(40), read(61)], answered=100)

    assert found.outcome.unanswered == 0
    assert found.latency is not None
    assert found.latency.count == 101
