"""`trimaran doctor`: each finding has a severity, and what is wrong has an advice."""

import json
import socket
import time

import pytest
from confluent_kafka import Producer

from trimaran.bench.filesystem import DiskFigures
from trimaran.cli import doctor
from trimaran.cli.doctor_checks import (
    Finding,
    Severity,
    judge_disk,
    judge_file_system,
    machine_findings,
)
from trimaran.cli.doctor_cluster import cluster_findings, node_findings, port_findings
from trimaran.cli.main import main
from trimaran.config import load_config
from trimaran.testing import Cluster


def figures(p50: float, p99: float, rate: float = 900.0) -> DiskFigures:
    return DiskFigures(fdatasync_p50_ms=p50, fdatasync_p99_ms=p99, sequential_mb_per_s=rate)


@pytest.mark.parametrize(
    ("p50", "p99", "severity"),
    [
        (0.3, 2.0, Severity.OK),
        (0.005, 0.01, Severity.FAIL),
        (12.0, 40.0, Severity.WARN),
        (1.0, 150.0, Severity.FAIL),
    ],
)
def test_sync_must_be_real_and_in_time(p50: float, p99: float, severity: Severity) -> None:
    sync, _ = judge_disk(figures(p50, p99))
    assert sync.severity is severity
    assert bool(sync.advice) == (severity is not Severity.OK)


def test_slow_disk_is_said_to_be_slow() -> None:
    _, throughput = judge_disk(figures(0.3, 1.0, rate=40.0))
    assert throughput.severity is Severity.WARN


@pytest.mark.parametrize(
    ("kind", "severity"),
    [("ext4", Severity.OK), ("tmpfs", Severity.FAIL), ("nfs4", Severity.WARN)],
)
def test_memory_is_no_disk(kind: str, severity: Severity) -> None:
    assert judge_file_system(kind, "/data").severity is severity


def test_directory_that_is_not_there_yet_is_measured_above(tmp_path) -> None:
    checks = [finding.check for finding in machine_findings(tmp_path / "not" / "yet")]
    assert "fsync" in checks
    assert "clock" in checks
    assert list(tmp_path.iterdir()) == []


def test_port_in_use_names_the_field_that_changes_it() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        text = f"""
        node: {{id: 1, data_directory: /nowhere}}
        cluster: {{nodes: [{{id: 1, host: 127.0.0.1, peer_port: 1}}]}}
        kafka: {{port: {port}}}
        """
        by_field = {each.check: each for each in port_findings(load_config(text, {}))}
    assert by_field["kafka.port"].severity is Severity.WARN
    assert "set another kafka.port" in by_field["kafka.port"].advice


def test_cluster_that_is_not_there_is_a_failure_with_advice() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    (finding,) = cluster_findings(f"127.0.0.1:{port}", 0.5)
    assert finding.severity is Severity.FAIL
    assert finding.advice


def test_exit_code_is_the_worst_finding(tmp_path, capsys) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["doctor", "--data", str(tmp_path), "-o", "json"])
    said = json.loads(capsys.readouterr().out)
    assert ended.value.code == Severity[said["worst"]]
    assert max(Severity[row["severity"]] for row in said["findings"]) == ended.value.code


@pytest.mark.parametrize("worst", Severity)
def test_a_script_can_tell_warnings_from_failures(worst, monkeypatch, capsys) -> None:
    """Exit codes 0, 1 and 2, and an advice for what is not all right, whatever else is."""
    found = [
        Finding("clock", Severity.OK, "synchronized"),
        Finding("fsync", worst, "as found", "buy a disk"),
        Finding("space", Severity.OK, "9 GB free"),
    ]
    monkeypatch.setattr(doctor, "machine_findings", lambda _directory: found)
    with pytest.raises(SystemExit) as ended:
        main(["doctor"])
    assert (ended.value.code or 0) == int(worst)
    told = capsys.readouterr().out
    assert told.count("->") == (worst is not Severity.OK)
    assert ("-> buy a disk" in told) == (worst is not Severity.OK)


def findings_once(bootstrap, replicas, *, limit_s=20.0):
    """Return the findings by check, once the one of the replicas has that severity."""
    deadline_s = time.monotonic() + limit_s
    while True:
        found = {each.check: each for each in cluster_findings(bootstrap, 5.0)}
        if "replicas" in found and found["replicas"].severity is replicas:
            return found
        assert time.monotonic() < deadline_s, found


def test_running_cluster_is_well_until_a_node_is_missing() -> None:
    with Cluster(nodes=3) as cluster:
        producer = Producer({"bootstrap.servers": cluster.bootstrap_servers})
        producer.produce("events", b"1")
        assert producer.flush(10) == 0
        well = findings_once(cluster.bootstrap_servers, Severity.OK)
        assert {finding.severity for finding in well.values()} == {Severity.OK}
        assert sum(check.endswith("advertised") for check in well) == 3
        nodes = {each.check: each.severity for each in node_findings(cluster.http_address(1), 5.0)}
        assert nodes == dict.fromkeys(("nodes", "versions", "clocks"), Severity.OK)
        cluster.kill(1)
        ill = findings_once(cluster.bootstrap_servers, Severity.WARN)
        silent = node_findings(cluster.http_address(2), 5.0)[0]
    assert "a node is away" in ill["replicas"].advice
    assert (silent.severity, silent.found) == (Severity.WARN, "no answer from node 1")


def test_the_cluster_of_the_context_is_looked_at(tmp_path, monkeypatch, capsys) -> None:
    """Nobody is there: it is said, and is the worst finding."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setattr(doctor, "machine_findings", lambda _directory: [])
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(SystemExit):
        main(["context", "set", "gone", "--http", f"127.0.0.1:{port}"])
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        main(["doctor"])
    assert ended.value.code == int(Severity.FAIL)
    assert f"127.0.0.1:{port}" in capsys.readouterr().out
