"""What many partitions cost: measured on a few, judged by the limits."""

import json
from pathlib import Path

import msgspec
import pytest

from trimaran.bench import main, target
from trimaran.bench.machine import describe
from trimaran.bench.partitions import PartitionsReport

A_DEATH = {
    "victim": 1, "partitions": 333, "writable_median_ms": 90.0, "writable_max_ms": 400.0,
    "rejoin_ms": 900.0,
}  # fmt: skip


def report(*, cpu_cores: float = 0.05, rss_mb: float = 120.0, **death: float) -> PartitionsReport:
    disk = {"fdatasync_p50_ms": 1.0, "fdatasync_p99_ms": 2.0, "sequential_mb_per_s": 100.0}
    use = {"node_id": 1, "cpu_cores": cpu_cores, "rss_mb": rss_mb, "rss_max_mb": rss_mb}
    told = {
        "machine": msgspec.to_builtins(describe([])), "file_system": "ext4", "disk_before": disk,
        "partitions": 1000,
        "created_s": 5.0, "at_rest_s": 20.0, "at_rest": [use], "deaths": [A_DEATH | death],
    }  # fmt: skip
    return msgspec.convert(told, PartitionsReport)


def test_each_figure_is_held_against_its_limit() -> None:
    assert report().holds
    assert not report(cpu_cores=0.1).holds
    assert not report(rss_mb=300.0).holds
    assert not report(writable_max_ms=2_000.0).holds


@pytest.mark.cluster
def test_rest_and_death_are_measured(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report_path = tmp_path / "report.json"
    words = ["partitions", "--count", "12", "--seconds", "1", "--deaths", "1"]

    code = main.run([*words, "--data", str(tmp_path), "--json", str(report_path)])

    told = json.loads(report_path.read_text())
    assert [use["node_id"] for use in told["at_rest"]] == [1, 2, 3]
    (death,) = told["deaths"]
    assert death["partitions"] == 4
    assert 0 < death["writable_median_ms"] <= death["writable_max_ms"]
    assert code == (0 if msgspec.convert(told, PartitionsReport).holds else 1)
    assert "node 1 killed: its 4 partitions writable again after" in capsys.readouterr().out
    assert [path.name for path in tmp_path.iterdir()] == ["report.json"]


def test_without_a_disk_or_a_number_nothing_is_measured(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(target, "file_system", lambda _directory: ("tmpfs", "/tmp"))

    assert main.run(["partitions"]) == 2
    assert main.run(["partitions", "--count", "0"]) == 2
    assert "tmpfs" in capsys.readouterr().err
