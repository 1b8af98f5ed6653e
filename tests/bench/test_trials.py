"""Many failures as distributions: what counts, what is resumed, what misses a limit."""

from pathlib import Path

import pytest

from trimaran.bench import main
from trimaran.bench.distribution import distribution, histogram
from trimaran.bench.filesystem import DiskFigures
from trimaran.bench.machine import describe
from trimaran.bench.probe import Probe, Stall, worst_ms
from trimaran.bench.results import Failover, Kill
from trimaran.bench.trials import Results, missed_limits, source_hash, split

DISK = DiskFigures(fdatasync_p50_ms=0.2, fdatasync_p99_ms=1.0, sequential_mb_per_s=900.0)


def kill(gap_ms: float, *, stall_ms: float = 0.0, metadata_ms: float | None = None) -> Kill:
    return Kill(
        victim=1,
        partitions=[0],
        gap_ms=gap_ms,
        usual_gap_ms=5.0,
        metadata_ms=metadata_ms,
        first_ack_ms=metadata_ms,
        stall_ms=stall_ms,
    )


def series(manner: str, *kills: Kill, lost: int = 0) -> Failover:
    return Failover(
        target="3 nodes", manner=manner, acks="all", rate=2_000.0, kills=list(kills),
        gap_median_ms=1.0, gap_max_ms=1.0, offered=10, answered=10, lost=lost, duplicated=0,
        out_of_order=0, disk_before=DISK,
    )  # fmt: skip


def results(*rounds: Failover) -> Results:
    return Results(source=source_hash(), machine=describe([]), rounds=list(rounds))


def test_percentiles_are_of_the_nearest_rank() -> None:
    found = distribution([float(value) for value in range(1, 101)])

    assert found is not None
    assert (found.count, found.p50_ms, found.p90_ms) == (100, 50.5, 90.0)
    assert (found.p99_ms, found.max_ms) == (99.0, 100.0)
    assert distribution([]) is None


def test_a_histogram_begins_at_the_shortest_and_loses_nothing() -> None:
    lines = histogram([60.0, 61.0, 199.0])

    assert [int(line.split()[-1]) for line in lines] == [2, 0, 1]


def test_a_failure_of_a_machine_that_stood_still_is_listed_apart() -> None:
    calm, stalled = split([kill(100.0), kill(900.0, stall_ms=300.0)])

    assert [one.gap_ms for one in calm] == [100.0]
    assert [one.gap_ms for one in stalled] == [900.0]
    assert missed_limits(results(series("kill", *calm, *stalled))) == []


def test_every_limit_is_checked() -> None:
    silent = [kill(1.0, metadata_ms=200.0) for _ in range(8)]
    slow = [kill(1.0, metadata_ms=700.0) for _ in range(2)]

    assert missed_limits(results(series("kill", kill(600.0))))
    assert missed_limits(results(series("kill", kill(10.0), lost=1)))
    assert missed_limits(results(series("kill", *[kill(10.0, stall_ms=200.0)] * 5)))
    assert missed_limits(results(series("cut", *silent, *slow)))
    assert missed_limits(results(series("freeze", kill(1.0, metadata_ms=1_000.0))))
    assert missed_limits(results(series("freeze", *silent, *silent, *slow[:1]))) == []


@pytest.mark.parametrize("manner", ["kill", "freeze", "cut"])
def test_a_few_stalls_excuse_a_few_failures_of_any_manner_but_not_more(manner: str) -> None:
    calm = [kill(10.0, metadata_ms=200.0)] * 45
    long = kill(30_000.0, metadata_ms=30_000.0, stall_ms=101.0)

    assert missed_limits(results(series(manner, *calm, *[long] * 4))) == []
    assert missed_limits(results(series(manner, *calm, *[long] * 5))) == [
        f"{manner}: the machine stood still during 5 of 50, at most 4 are left out"
    ]


@pytest.mark.parametrize("manner", ["kill", "freeze", "cut"])
def test_a_manner_all_of_whose_failures_are_left_out_is_not_measured(manner: str) -> None:
    stalled = kill(10.0, metadata_ms=200.0, stall_ms=101.0)

    assert missed_limits(results(series(manner, stalled))) == [
        f"{manner}: the machine stood still during all of 1: nothing is measured"
    ]


@pytest.mark.parametrize("manner", ["freeze", "cut"])
def test_the_ordinary_producers_gap_has_a_limit_however_quick_the_survivors_are(
    manner: str,
) -> None:
    waited_out = kill(2_499.0, metadata_ms=200.0)
    stood_still = kill(2_500.0, metadata_ms=200.0)

    assert missed_limits(results(series(manner, waited_out))) == []
    assert missed_limits(results(series(manner, stood_still))) == [f"{manner}: a gap of 2500.0 ms"]


def test_only_overlapping_stalls_count() -> None:
    stalls = [
        Stall(start_ns=0, end_ns=10, late_ms=50.0, sync_ms=1.0),
        Stall(start_ns=20, end_ns=30, late_ms=1.0, sync_ms=70.0),
    ]

    assert worst_ms(stalls, start_ns=12, end_ns=18) == 0.0
    assert worst_ms(stalls, start_ns=5, end_ns=25) == 70.0


def test_the_probe_ends_with_its_block_and_leaves_nothing(tmp_path: Path) -> None:
    with Probe(tmp_path) as probe:
        stalls = probe.stalls()

    assert all(stall.worst_ms >= 20.0 for stall in stalls)
    assert list(tmp_path.iterdir()) == []


def test_results_of_another_source_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "trials.json"
    path.write_text('{"source": "of another day"}')

    code = main.run(["trials", "--results", str(path), "--data", str(tmp_path)])

    assert code == 2
    assert "trials.json" in capsys.readouterr().out


@pytest.mark.cluster
def test_a_leader_cut_off_loses_nothing_and_is_not_measured_twice(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "trials.json"
    words = ["trials", "--kills", "0", "--freezes", "0", "--cuts", "1", "--busy-minutes", "0"]
    words += ["--results", str(path), "--data", str(tmp_path)]

    main.run(words)
    first = path.read_bytes()
    main.run(words)

    assert path.read_bytes() == first
    said = capsys.readouterr().out
    assert said.count("0 lost, 0 doubled, 0 out of order") == 2, said
