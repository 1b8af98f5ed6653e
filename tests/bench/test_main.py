"""The command from arguments to exit code, against a broker that stores nothing."""

import json
import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import pytest

from trimaran.bench import main, target
from trimaran.bench.filesystem import DiskFigures
from trimaran.bench.histogram import Percentiles
from trimaran.bench.machine import describe
from trimaran.bench.results import Report, Row


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
        ["W6", "--events", "many"],
        ["W8", "--null"],
        ["--workload", "not-there.yaml"],
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
    # An idempotent client asks for its producer id again only after half a second.
    arguments += ["--seconds", "0.5", "--warm-up", "1.5", "--data", str(tmp_path)]

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


def test_target_that_is_not_kafka_ends_with_one_line_and_exit_code_2(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, ThreadPoolExecutor(1) as pool:
        port = server.getsockname()[1]
        pool.submit(answer_like_a_web_server, server)

        assert main.run(["--bootstrap", f"127.0.0.1:{port}"]) == 2

    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1
    assert "does not speak Kafka's protocol" in said[0]


def answer_like_a_web_server(server: socket.socket) -> None:
    one, _ = server.accept()
    with one:
        one.recv(1_000)
        one.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")


def test_bootstrap_without_a_port_ends_with_exit_code_2(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main.run(["--bootstrap", "localhost"]) == 2
    assert "expected HOST:PORT, found 'localhost'" in capsys.readouterr().err


def row(rate: float, p99_ms: float, *, seconds: float | None = 60.0) -> Row:
    disk = DiskFigures(fdatasync_p50_ms=0.1, fdatasync_p99_ms=0.2, sequential_mb_per_s=1_000.0)
    latency = Percentiles(
        count=1, mean_ms=1.0, p50_ms=1.0, p95_ms=1.0, p99_ms=p99_ms, p999_ms=9.0, max_ms=9.0
    )
    return Row(
        scenario="W1", target="3 nodes", load="some", offered_per_s=rate, answered_per_s=rate,
        mb_per_s=1.0, failed={}, unanswered=0, latency=latency, batch_latency=None,
        batch_events_mean=1.0, client_cores=0.1, queue_full=0, nodes=[], disk_before=disk,
        disk_after=disk, median=True, seconds=seconds,
    )  # fmt: skip


def written(path: Path, rows: list[Row]) -> str:
    report = Report(machine=describe([]), file_system="ext4", rows=rows)
    path.write_bytes(msgspec.json.encode(report))
    return str(path)


def test_comparison_shows_how_much_each_figure_changed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old = written(tmp_path / "old.json", [row(1_000, 10.0)])
    new = written(tmp_path / "new.json", [row(1_500, 5.0)])

    assert main.run(["--compare", old, new]) == 0

    said = capsys.readouterr().out
    assert "1,000 > 1,500 (1.50)" in said
    assert "10.00 > 5.00 (0.50)" in said


@pytest.mark.parametrize(
    ("old_s", "new_s", "shown"),
    [(60.0, 60.0, "60"), (60.0, 20.0, "60 > 20!"), (None, 60.0, "? > 60!"), (None, None, "?")],
)
def test_comparison_says_how_long_each_run_was_measured(
    old_s: float | None,
    new_s: float | None,
    shown: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    old = written(tmp_path / "old.json", [row(1_000, 10.0, seconds=old_s)])
    new = written(tmp_path / "new.json", [row(1_500, 5.0, seconds=new_s)])

    assert main.run(["--compare", old, new]) == 0

    said = capsys.readouterr().out
    assert f"│ {shown} " in " ".join(said.split())
    assert ("of different length" in said) == ("!" in shown)


def test_comparison_of_what_is_no_result_file_ends_with_exit_code_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old = written(tmp_path / "old.json", [])
    broken = tmp_path / "broken.json"
    broken.write_text("[]")

    assert main.run(["--compare", old, str(broken)]) == 2
    assert "not a result file" in capsys.readouterr().err
