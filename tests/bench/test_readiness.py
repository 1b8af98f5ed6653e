"""How long a cluster takes to be ready: measured, judged by its median, refused without a disk."""

import json
from pathlib import Path

import pytest

from trimaran.bench import main, target
from trimaran.bench.readiness import Readiness


def test_the_median_is_held_against_the_limit_of_its_size() -> None:
    assert Readiness(nodes=1, seconds=[0.8, 5.0, 0.9]).holds
    assert not Readiness(nodes=1, seconds=[0.8, 1.1, 1.2]).holds
    assert Readiness(nodes=3, seconds=[1.9]).holds
    assert not Readiness(nodes=3, seconds=[2.0]).holds
    assert Readiness(nodes=5, seconds=[60.0]).holds


@pytest.mark.cluster
def test_every_start_is_timed_and_reported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report_path = tmp_path / "report.json"
    words = ["ready", "--nodes", "1", "--starts", "2", "--data", str(tmp_path)]

    code = main.run([*words, "--json", str(report_path)])

    (size,) = json.loads(report_path.read_text())["sizes"]
    assert size["nodes"] == 1
    assert len(size["seconds"]) == 2
    assert all(seconds > 0 for seconds in size["seconds"])
    assert code == (0 if Readiness(**size).holds else 1)
    said = capsys.readouterr().out
    assert "1 node ready: median" in said
    assert "fdatasync p50" in said
    assert [path.name for path in tmp_path.iterdir()] == ["report.json"]


def test_without_a_disk_nothing_is_measured(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(target, "file_system", lambda _directory: ("tmpfs", "/tmp"))

    assert main.run(["ready"]) == 2
    assert main.run(["ready", "--nodes", "0"]) == 2
    assert "tmpfs" in capsys.readouterr().err
