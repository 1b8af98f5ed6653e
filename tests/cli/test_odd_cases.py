"""Half a cluster, a wrong address, a reader who left: what the command line makes of them."""

import http.server
import io
import json
import os
import socket
import subprocess
import sys
import tarfile
import threading

import pytest
import yaml
from rich.console import Console

from trimaran.cli import bundle, cluster, http_client, leader, top
from trimaran.cli.bundle import without_secrets
from trimaran.cli.doctor_checks import Severity
from trimaran.cli.doctor_cluster import judge_clocks, judge_versions
from trimaran.cli.exits import CommandError

HEALTH = {
    "status": "ok",
    "nodes_up": 3,
    "nodes_total": 3,
    "partitions_without_leader": 0,
    "partitions_total": 4,
    "partitions_under_replicated": 0,
    "nodes": [],
    "problems": [],
}
SILENT = CommandError("no node answers HTTP at here\nis the cluster up?")


class Node(http.server.BaseHTTPRequestHandler):
    """Answers what the test says: by path, a document or a status."""

    answers: dict[str, object]
    is_node = True

    def do_GET(self):
        path = self.path.partition("?")[0]
        found = self.answers.get(path, 404)
        problem = {"detail": f"no {path}"}
        status, body = (found, problem) if isinstance(found, int) else (200, found)
        self.send_response(status)
        if self.is_node:
            self.send_header("trimaran-node", "1")
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())

    do_POST = do_GET  # noqa: N815 - as the class it is of

    def log_message(self, *_):
        pass


@pytest.fixture
def node_of():
    servers = []

    def start(answers, *, is_node=True):
        kind = type("Node", (Node,), {"answers": answers, "is_node": is_node})
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), kind)
        servers.append(server)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        return f"127.0.0.1:{server.server_address[1]}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def scripted(monkeypatch, module, *steps):
    """Have `module` asked in vain where a step is an error, and be interrupted at the end."""
    left = list(steps)

    def ask(*_, **__):
        step = left.pop(0)
        if isinstance(step, CommandError):
            raise step
        return step

    def sleep(_):
        if not left:
            raise KeyboardInterrupt

    monkeypatch.setattr(module, "ask", ask)
    if hasattr(module, "ask_list"):
        monkeypatch.setattr(module, "ask_list", ask)
    if hasattr(module, "time"):
        monkeypatch.setattr(module.time, "sleep", sleep)


def test_a_watch_of_health_outlives_the_node_it_asks(run, monkeypatch):
    scripted(monkeypatch, cluster, HEALTH, SILENT, HEALTH)
    code, out, err = run("cluster", "health", "--watch")
    assert code == 130
    assert out.count("ok: 3 of 3 nodes up") == 2
    assert err.count("no node answers HTTP at here") == 1


def test_top_outlives_the_node_it_asks(run, monkeypatch):
    node = {"node_id": 1, "state": "up", "is_controller": True, "leaders": 4, "facts": None}
    answers = [
        {"cluster_id": "C", "controller_id": 1, "topics_total": 0, "partitions_total": 0},
        {"items": [node]},
        {"items": []},
    ]
    scripted(monkeypatch, top, *answers, SILENT, *answers)
    shown = io.StringIO()
    monkeypatch.setattr(top, "Console", lambda: Console(file=shown, force_terminal=True, width=100))
    code, _, _ = run("top")
    assert code == 130
    assert "no node answers HTTP at here" in shown.getvalue()


def test_top_names_the_busiest_topics_of_all_however_many_there_are(monkeypatch):
    idle = {"partitions": 1, "events_in_per_s": 0.0, "size_bytes": 0, "worst_lag_s": None}
    answers = {
        "/v1/cluster": {
            "cluster_id": "C",
            "controller_id": 1,
            "topics_total": 1001,
            "partitions_total": 1001,
        },
        "/v1/nodes": {"items": []},
        "/v1/topics?limit=1000": {
            "items": [{"name": f"a{number}", **idle} for number in range(1_000)],
            "next": "more",
        },
        "/v1/topics?limit=1000&after=more": {
            "items": [{"name": "busy", **idle, "events_in_per_s": 5.0}],
            "next": None,
        },
    }
    for module in (http_client, top):
        monkeypatch.setattr(module, "ask", lambda _http, path, _timeout_s: answers[path])
    shown = io.StringIO()

    Console(file=shown, width=80).print(top.look("here", 1.0))

    assert "busy" in shown.getvalue()


def test_top_tells_how_far_a_node_is_behind_its_leaders():
    nodes = [
        {"node_id": 1, "facts": {"series": {"peer/2/lag_events": 5.0}}},
        {"node_id": 2, "facts": None},
        {"node_id": 3, "facts": {"series": {"peer/2/lag_events": 2.0}}},
    ]
    assert top.behind(2, nodes) == 7.0
    assert top.behind(1, nodes) is None


def test_a_balance_that_left_partitions_where_they_were_failed(run, monkeypatch):
    failed = [{"topic": "t", "partition": 3, "to": 2, "reason": "node 2 is not heard of"}]
    scripted(monkeypatch, leader, {"moved": [], "failed": failed}, {"moved": [], "failed": []})
    code, out, _ = run("leader", "balance")
    assert code == 1
    assert "not moved: t-3: node 2 is not heard of" in out
    assert run("leader", "balance", "-o", "json")[0] == 0


def test_the_address_of_the_dashboard_is_an_address(run, node_of):
    place = node_of({"/v1/cluster/health": HEALTH})
    assert run("cluster", "health", "--http", f"http://{place}/#token=x")[0] == 0
    assert run("cluster", "health", "--http", f"https://{place}")[0] == 2


def test_of_several_addresses_one_that_answers_is_enough(run, node_of):
    place = node_of({"/v1/cluster/health": HEALTH})
    assert run("cluster", "health", "--http", f"127.0.0.1:1,{place}")[0] == 0
    code, _, err = run("cluster", "health", "--http", "127.0.0.1:1, 127.0.0.1:2")
    assert (code, "127.0.0.1:2" in err) == (1, True)
    assert run("cluster", "health", "--http", f"{place},nowhere")[0] == 2


def test_a_change_is_not_asked_for_twice_when_the_first_may_have_heard_it(run, node_of):
    done = {"moved": [], "failed": []}
    other = node_of({"/v1/leaders/balance": done})
    with socket.create_server(("127.0.0.1", 0)) as silent:
        place = f"127.0.0.1:{silent.getsockname()[1]}"
        asking = ("leader", "balance", "--timeout", "0.2", "--http")
        code, _, err = run(*asking, f"{place},{other}")
    assert (code, "may still be done" in err) == (1, True)
    assert run(*asking, f"127.0.0.1:1,{other}")[0] == 0


def test_top_fits_a_terminal_of_eighty_columns():
    facts = {
        "series": {
            "events_in_per_s": 123_456.0,
            "events_out_per_s": 123_456.0,
            "fsync_p99_ms": 123.45,
            "loop_lag_ms": 123.4,
            "peer/1/lag_events": 123_456.0,
        },
        "rss_bytes": 2_000 << 20,
        "cpu_percent": 100.0,
    }
    row = {"state": "unreachable", "is_controller": True, "leaders": 1_000, "facts": facts}
    shown = io.StringIO()
    Console(file=shown, width=80).print(top.node_table([{**row, "node_id": 1}]))
    assert "…" not in shown.getvalue()
    assert "123.45 ms" in shown.getvalue()
    assert shown.getvalue().split()[-1] == "2,000"


def test_somebody_elses_server_is_told_from_a_node(run, node_of):
    place = node_of({"/v1/cluster/health": {"hello": 1}}, is_node=False)
    code, _, err = run("cluster", "health", "--http", place)
    assert code == 1
    assert "is no node of Trimaran" in err


def test_a_node_that_takes_long_is_told_from_one_that_is_not_there(run):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        place = f"127.0.0.1:{silent.getsockname()[1]}"
        asking = ("leader", "balance", "--http", place, "--timeout", "0.2")
        code, _, err = run(*asking)
    assert code == 1
    assert "did not answer within 0.2 s; what was asked for may still be done" in err
    assert "--timeout" in err


def page(*items):
    return {"items": list(items), "next": None, "total": len(items), "served_by": 1}


def test_a_bundle_of_a_sick_cluster_holds_what_there_is_and_says_what_is_not(
    run, node_of, tmp_path
):
    answers = {
        f"/v1/{path}": page() if path in bundle.PAGED else {"told": path}
        for path in (*bundle.CLUSTER_PATHS, *bundle.NODE_PATHS)
    }
    place = node_of({**answers, "/metrics": "x", "/v1/topics": 503, "/v1/node/happenings": 500})
    port = int(place.rpartition(":")[2])
    nodes = [
        {"node_id": 1, "host": "127.0.0.1", "http_port": port},
        {"node_id": 2, "host": None, "http_port": None},
        {"node_id": 3, "host": "127.0.0.1", "http_port": 1},
    ]
    place = node_of({**answers, "/v1/nodes": page(*nodes), "/v1/topics": 503})
    target = tmp_path / "b.tar.gz"
    code, out, _ = run("bundle", str(target), "--http", place)
    assert code == 1
    told = [line for line in out.splitlines() if line.startswith("not in it: ")]
    assert [line.split(" at ")[0] for line in told] == [
        "not in it: cluster, topics",
        "not in it: node-1, node/happenings",
        "not in it: node-2: it never said where its HTTP port is",
        "not in it: node-3",
    ]
    with tarfile.open(target) as archive:
        names = archive.getnames()
    assert "trimaran-bundle/cluster/groups.json" in names
    assert "trimaran-bundle/node-1/metrics.txt" in names


def test_a_long_list_is_asked_for_page_by_page(monkeypatch):
    pages = {
        "/v1/topics?limit=1000": {"items": [1], "next": "a+b"},
        "/v1/topics?limit=1000&after=a%2Bb": {"items": [2], "next": None},
    }
    monkeypatch.setattr(http_client, "ask", lambda _address, path, _timeout_s: pages[path])
    assert http_client.ask_list("here", "/v1/topics", 1.0) == {"items": [1, 2], "next": None}


def test_a_bundle_that_failed_leaves_the_one_before(run, tmp_path):
    target = tmp_path / "b.tar.gz"
    target.write_bytes(b"the one before")
    code, _, err = run("bundle", str(target), "--http", "127.0.0.1:1", "--timeout", "1")
    assert code == 1
    assert "no node answers" in err
    assert [path.name for path in tmp_path.iterdir()] == ["b.tar.gz"]
    assert target.read_bytes() == b"the one before"


def test_settings_of_the_same_name_are_all_in_the_bundle(run, node_of, tmp_path):
    answers = {
        f"/v1/{path}": page() if path in bundle.PAGED else {} for path in bundle.CLUSTER_PATHS
    }
    words = ["bundle", str(tmp_path / "b.tar.gz"), "--http", node_of(answers)]
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "node.yaml").write_text(f"node: {{id: {name}}}\n")
        words += ["--config", str(tmp_path / name / "node.yaml")]
    assert run(*words)[0] == 0
    with tarfile.open(tmp_path / "b.tar.gz") as archive:
        settings = [name for name in archive.getnames() if "/settings/" in name]
    assert len(set(settings)) == 2


@pytest.mark.parametrize(
    "text",
    [
        "a: {password: hunter2}",
        "sasl: {user: me, passwd: hunter2, more: [1]}",
        "password: |\n  hunter2\n  hunter2",
        "tokens:\n  - hunter2",
        "list:\n  - api_key: hunter2",
        "# the password is hunter2\na: 1",
        "registry: https://me:hunter2@example.org/x",
        "a: 'unfinished\npassword: hunter2",
        "TRIMARAN_PASSWORD=hunter2",
        "private_key: {pem: hunter2}",
    ],
)
def test_no_secret_stays_however_it_is_written(text):
    assert "hunter2" not in without_secrets(text)


def test_what_is_no_secret_stays():
    text = "node: {id: 1}\nlist: [1, a, null, 1.5]\nhost: https://example.org/a@b\n"
    assert yaml.safe_load(without_secrets(text)) == yaml.safe_load(text)


def test_versions_and_clocks_of_nodes_are_compared():
    assert judge_versions({1: "1.0", 2: "1.0"}).severity is Severity.OK
    mixed = judge_versions({1: "1.0", 2: "1.1", 3: "1.1"})
    assert (mixed.severity, mixed.found) == (Severity.WARN, "1.0 on 1; 1.1 on 2, 3")
    assert judge_clocks({1: 5_000, 2: 5_900}).severity is Severity.OK
    apart = judge_clocks({1: 9_000, 2: 5_000})
    assert (apart.severity, apart.found) == (Severity.WARN, "node 2 is 4.0 s behind node 1")
    assert judge_clocks({}).severity is Severity.OK


def test_a_reader_who_left_is_no_complaint(tmp_path):
    reading, writing = os.pipe()
    os.close(reading)
    try:
        ended = subprocess.run(
            [sys.executable, "-m", "trimaran", "context", "list"],
            stdout=writing,
            stderr=subprocess.PIPE,
            env={**os.environ, "XDG_CONFIG_HOME": str(tmp_path)},
            check=False,
        )
    finally:
        os.close(writing)
    assert ended.stderr == b""
    assert ended.returncode in (0, 1)
