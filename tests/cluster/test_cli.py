"""The command line against real nodes."""

import json
import os
import re
import signal
import subprocess
import sys
import time

import pytest

from trimaran.server.ports import free_ports
from trimaran.server.running import running_pid

pytestmark = [pytest.mark.cluster, pytest.mark.clients]


def trimaran(*words, given=None, code=0, timeout=60):
    ended = subprocess.run(
        [sys.executable, "-m", "trimaran", *words],
        input=given,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    assert ended.returncode == code, ended.stdout + ended.stderr
    return ended.stdout


@pytest.fixture
def at(cluster):
    return ["--bootstrap", cluster.bootstrap_servers]


def test_a_topic_is_created_listed_described_and_deleted(at):
    assert "created topic made" in trimaran("topic", "create", "made", "--partitions", "2", *at)
    listed = json.loads(trimaran("topic", "list", "-o", "json", *at))
    assert {"topic": "made", "partitions": 2, "replicas": 3} in listed
    rows = json.loads(trimaran("topic", "describe", "made", "-o", "json", *at))["partitions"]
    assert [row["partition"] for row in rows] == [0, 1]
    assert all(sorted(row["replicas"]) == [1, 2, 3] for row in rows)
    trimaran("topic", "create", "made", *at, code=1)
    assert "deleted topic made" in trimaran("topic", "delete", "made", *at)
    trimaran("topic", "describe", "made", *at, code=1)
    trimaran("topic", "delete", "made", *at, code=1)


def test_lines_go_in_and_come_out_as_json_with_everything(at):
    trimaran("topic", "create", "lines", "--partitions", "1", *at)
    given = "a:first\nb:second\nwithout key\n"
    out = trimaran("produce", "lines", "-K", ":", "--header", "h=1", *at, given=given)
    assert out == "acked 3 failed 0\n"
    out = trimaran("consume", "lines", "-e", "-o", "json", *at)
    events = [json.loads(line) for line in out.splitlines()]
    assert [event["offset"] for event in events] == [0, 1, 2]
    assert [(event["key"], event["value"]) for event in events] == [
        ("a", "first"),
        ("b", "second"),
        (None, "without key"),
    ]
    assert events[0]["headers"] == [["h", "1"]]
    assert trimaran("consume", "lines", "--offset", "1", "-c", "1", *at) == "second\n"
    assert trimaran("consume", "lines", "--offset", "-1", "-e", *at) == "without key\n"
    assert trimaran("consume", "lines", "--keys", "-c", "1", *at) == "a\tfirst\n"
    trimaran("consume", "lines", "--offset", "99", *at, code=2)
    trimaran("consume", "lines", "-p", "7", *at, code=2)


def test_lines_before_one_that_is_too_long_are_stored_and_counted(at):
    trimaran("topic", "create", "cut", "--partitions", "1", *at)
    given = "".join(f"line {number}\n" for number in range(1_000)) + "x" * 2_000_000 + "\nlast\n"
    assert trimaran("produce", "cut", *at, given=given, code=1) == "acked 1000 failed 0\n"
    assert len(trimaran("consume", "cut", "-e", *at).splitlines()) == 1_000


def test_a_topic_is_altered_while_it_runs(at):
    trimaran("topic", "create", "altered", "--partitions", "1", *at)
    changes = ["--config", "retention.ms=60000", "--config", "max.message.bytes=2000"]
    assert "altered topic altered" in trimaran("topic", "alter", "altered", *changes, *at)
    trimaran("topic", "alter", "altered", "--unset", "max.message.bytes", "--partitions", "3", *at)
    described = trimaran("topic", "describe", "altered", *at).splitlines()
    assert described[-1] == "retention.ms = 60000"
    told = json.loads(trimaran("topic", "describe", "altered", "-o", "json", *at))
    assert (len(told["partitions"]), told["settings"]) == (3, {"retention.ms": "60000"})
    trimaran("topic", "alter", "altered", "--config", "retention.ms=soon", *at, code=1)
    trimaran("topic", "alter", "altered", *at, code=2)


def test_asking_for_an_unknown_topic_does_not_create_it(at):
    trimaran("consume", "never", *at, code=1)
    assert "never" not in trimaran("topic", "list", *at)


def test_the_status_names_nodes_and_leaders(cluster, at):
    status = json.loads(trimaran("cluster", "status", "-o", "json", *at))
    assert [node["node"] for node in status["nodes"]] == [1, 2, 3]
    assert [node["address"] for node in status["nodes"]] == [
        cluster.address(node) for node in cluster.nodes
    ]
    assert len(status["cluster_id"]) == 22
    assert status["without_leader"] == []


def gone(data, within_s=20.0):
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        if running_pid(data) is None:
            return True
        os.sched_yield()
    return False


def test_a_detached_cluster_lives_on_is_found_again_and_ends_with_down(tmp_path):
    directory = tmp_path / "c"
    port = free_ports(1)[0]
    up = ["up", "-n", "1", "--data", str(directory), "--kafka-port", str(port), "--detach"]
    try:
        out = trimaran(*up)
        assert f"bootstrap servers: 127.0.0.1:{port}" in out
        content = json.loads((directory / "cluster.json").read_text())
        (node,) = content["nodes"]
        assert running_pid(directory / "node-1") == node["pid"]
        at = ["--bootstrap", content["bootstrap"]]
        trimaran("produce", "kept", *at, given="one\n")
        os.kill(node["pid"], signal.SIGKILL)
        assert gone(directory / "node-1")
        trimaran(*up)
        assert trimaran("consume", "kept", "-e", *at) == "one\n"
        assert "runs already" in trimaran(*up)
    finally:
        out = trimaran("down", "--data", str(directory))
    assert "stopped nodes 1" in out
    assert running_pid(directory / "node-1") is None
    assert "no node was running" in trimaran("down", "--data", str(directory))


def test_up_in_the_foreground_ends_its_nodes_with_itself(tmp_path):
    directory = tmp_path / "c"
    port = free_ports(1)[0]
    up = ["up", "-n", "1", "--data", str(directory), "--kafka-port", str(port)]
    process = subprocess.Popen(
        [sys.executable, "-m", "trimaran", *up], stdout=subprocess.PIPE, text=True
    )
    try:
        lines = iter(process.stdout.readline, "")
        assert any("producer.flush()" in line for line in lines)
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
        assert running_pid(directory / "node-1") is None
    finally:
        process.kill()
        process.communicate()


def test_the_demo_ends_with_its_verdict():
    out = trimaran("demo", "--headless", "--seconds", "6", timeout=180)
    assert re.fullmatch(
        r"sent (\d+) acked \1 lost 0 duplicated 0 out of order 0 failovers 2 "
        r"failover max \d+ ms",
        out.splitlines()[-1],
    ), out


def test_a_group_goes_on_where_its_last_reader_stopped(at):
    trimaran("topic", "create", "shared", "--partitions", "1", *at)
    assert (
        trimaran("produce", "shared", "--key", "k", *at, given="1\n2\n3\n") == "acked 3 failed 0\n"
    )
    member = ("consume", "shared", "--group", "readers", "--keys", *at)
    assert trimaran(*member, "-c", "2") == "k\t1\nk\t2\n"
    assert trimaran(*member, "-c", "1") == "k\t3\n"
    (row,) = json.loads(trimaran("group", "describe", "readers", "-o", "json", *at))
    assert (row["committed"], row["lag"]) == (3, 0)
    trimaran(*member, "-p", "0", code=2)
    trimaran(*member, "-e", code=2)
    trimaran(*member, "--offset", "1", code=2)
    trimaran("produce", "shared", "--key", "k", "-K", ":", *at, code=2)
