"""Failures of a real cluster, measured and accounted for."""

import json
from pathlib import Path

import pytest
from rich.console import Console

from trimaran.bench import failover, failures, main
from trimaran.bench.errors import BenchError
from trimaran.bench.failover import judge
from trimaran.bench.failures import Failure
from trimaran.bench.filesystem import DiskFigures
from trimaran.bench.machine import describe
from trimaran.bench.results import Failover, Report
from trimaran.bench.table import show

MILLISECOND = 1_000_000


def report(*, acks: str, lost: int) -> Report:
    series = Failover(
        target="3 nodes", manner="kill", acks=acks, rate=2_000.0, kills=[], gap_median_ms=1.0,
        gap_max_ms=1.0, offered=100, answered=100, lost=lost, duplicated=0, out_of_order=0,
        disk_before=DiskFigures(
            fdatasync_p50_ms=0.2, fdatasync_p99_ms=1.0, sequential_mb_per_s=900.0
        ),
    )  # fmt: skip
    return Report(machine=describe([]), file_system="ext4", failovers=[series])


@pytest.mark.parametrize(("acks", "code"), [("1", main.OK), ("0", main.OK), ("all", main.FAILED)])
def test_what_weaker_acknowledgements_lose_is_counted_and_printed_and_no_failure(
    acks: str, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    lossy = report(acks=acks, lost=7)

    show(lossy, Console(width=220))

    said = " ".join(capsys.readouterr().out.split())
    assert f"acks={acks}" in said
    assert "answered 100 lost 7 duplicated 0" in said
    assert main.exit_code(lossy) == code


def failure(*, partitions: list[int]) -> Failure:
    return Failure(
        victim=1,
        partitions=partitions,
        at_ns=5_000 * MILLISECOND,
        over_ns=7_000 * MILLISECOND,
    )


def reports(*, resumed_ms: int) -> list[int]:
    """Return reports every 10 ms, with a gap from 5,000 ms to `resumed_ms`."""
    before = range(0, 5_001, 10)
    after = range(resumed_ms, 8_000, 10)
    return [time_ms * MILLISECOND for time_ms in (*before, *after)]


def test_gap_is_that_of_the_worst_partition_the_victim_led() -> None:
    times = {
        0: reports(resumed_ms=5_120),
        1: reports(resumed_ms=5_300),
        2: reports(resumed_ms=6_900),
    }

    found = judge(failure(partitions=[0, 1]), times)

    assert found.gap_ms == 300.0
    assert found.usual_gap_ms == 10.0


def test_partition_without_answers_around_the_failure_cannot_be_judged() -> None:
    with pytest.raises(BenchError, match="partition 0 had no answers"):
        judge(failure(partitions=[0]), {0: []})


@pytest.mark.cluster
def test_killed_and_frozen_leaders_lose_nothing_that_was_answered(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (failover, failures):
        monkeypatch.setattr(module, "SETTLE_S", 1.0)
    report_path = tmp_path / "report.json"
    arguments = ["failover", "--kills", "1", "--freezes", "1", "--rate", "500"]

    code = main.run([*arguments, "--data", str(tmp_path), "--json", str(report_path)])

    assert code == 0, capsys.readouterr()
    report = json.loads(report_path.read_text())
    assert [one["manner"] for one in report["failovers"]] == ["kill", "freeze"]
    for one in report["failovers"]:
        assert one["answered"] > 500
        assert (one["lost"], one["duplicated"], one["out_of_order"]) == (0, 0, 0)
        assert 0 < one["gap_max_ms"] == one["kills"][0]["gap_ms"]
    frozen = report["failovers"][1]["kills"][0]
    assert frozen["stale_answers"] == 0
    assert 0 < frozen["metadata_ms"] <= frozen["first_ack_ms"]


@pytest.mark.cluster
def test_killed_node_is_in_sync_again_on_what_it_had_stored(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report_path = tmp_path / "report.json"

    code = main.run(
        ["rejoin", "--megabytes", "10", "--data", str(tmp_path), "--json", str(report_path)]
    )

    assert code == 0, capsys.readouterr()
    (rejoin,) = json.loads(report_path.read_text())["rejoins"]
    assert rejoin["stored_mb"] >= 10
    assert 0 < rejoin["ready_ms"] <= rejoin["in_sync_ms"]


@pytest.mark.cluster
def test_a_load_is_measured_alone_and_beside_compaction(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report_path = tmp_path / "report.json"
    load = ["--rate", "500", "--producers", "1", "--partitions", "3", "--batch", "8"]
    times = ["--seconds", "2", "--warm-up", "0.5", "--megabytes", "12"]

    code = main.run(
        ["compaction", *load, *times, "--data", str(tmp_path), "--json", str(report_path)]
    )

    assert code == 0, capsys.readouterr()
    (cost,) = json.loads(report_path.read_text())["compactions"]
    assert cost["stored_mb"] >= 12
    assert cost["left_mb"] < cost["stored_mb"] / 2
    assert cost["alone"]["count"] > 500
    assert cost["beside"]["count"] > 500
