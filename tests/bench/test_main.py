"""The command from arguments to exit code, against a broker that stores nothing."""

import json
import socket
from pathlib import Path

import pytest

from trimaran.bench import main, target


@pytest.mark.parametrize(
    "arguments",
    [
        ["nonsense"],
        ["--rate", "fast"],
        ["--rate", "0"],
        ["--rate", "1,2,3", "--nodes", "1,3"],
        ["--nodes", "0"],
        ["--nodes", "1,100"],
        ["--size", "7"],
        ["--nodes", "3", "--bootstrap", "127.0.0.1:9092"],
        ["failover", "--null"],
        ["failover", "--nodes", "1"],
        ["--seconds", "inf"],
    ],
)
def test_wrong_arguments_end_with_exit_code_2(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.run(arguments) == 2
    assert "error: " in capsys.readouterr().err


def test_help_is_no_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["--help"]) == 0
    assert "open-loop" in capsys.readouterr().out.lower()


def test_target_that_is_not_there_ends_with_one_line_and_exit_code_2(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(target, "CONNECT_S", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]

    assert main.run(["--bootstrap", f"127.0.0.1:{port}"]) == 2

    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1
    assert f"no Kafka-protocol broker answers at 127.0.0.1:{port}" in said[0]


def test_data_directory_on_tmpfs_ends_with_exit_code_2(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(target, "file_system", lambda _directory: ("tmpfs", "/tmp"))

    assert main.run(["--nodes", "1"]) == 2
    assert "tmpfs" in capsys.readouterr().err


@pytest.mark.clients
@pytest.mark.parametrize("scenario", ["throughput", "single", "latency"])
def test_scenario_measures_a_null_broker_and_writes_json(
    scenario: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report_path = tmp_path / "report.json"
    arguments = [scenario, "--null", "--rate", "2000", "--producers", "2", "--repeats", "1"]
    arguments += ["--seconds", "0.5", "--warm-up", "0.2", "--data", str(tmp_path)]

    code = main.run([*arguments, "--json", str(report_path)])

    assert code == 0
    report = json.loads(report_path.read_text())
    assert report["machine"]["command"].startswith(f"trimaran bench {scenario}")
    assert report["file_system"]
    for row in report["rows"]:
        assert row["answered_per_s"] > 0
        assert row["failed"] == {}
        assert row["unanswered"] == 0
        assert row["disk_before"]["fdatasync_p99_ms"] > 0
        assert row["client_cores"] > 0
    assert sum(row["median"] for row in report["rows"]) == (2 if scenario == "throughput" else 1)
    assert "answered/s" in capsys.readouterr().out
