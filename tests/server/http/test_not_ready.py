"""A node that waits for others answers what it knows by itself, and says what it waits for."""

import json
import re
from types import SimpleNamespace

import pytest
from websockets.sync.client import connect

from tests.server.http.conftest import Api
from trimaran.ids import NodeId
from trimaran.server.http.app import is_early
from trimaran.server.http.table import ENDPOINTS
from trimaran.server.local import found_cluster
from trimaran.server.running import read_running

pytestmark = pytest.mark.cluster

PARAMETERS = {"topic": "t", "partition": "0", "offset": "0", "node": "1", "group": "g"}
PARAMETERS["action"] = "heal"


def path_of(row):
    return re.sub(r"{(\w+)}", lambda match: PARAMETERS[match[1]], row.path)


@pytest.fixture(scope="module")
def founded(tmp_path_factory):
    """Three nodes, of which one runs: it hears no majority."""
    cluster = found_cluster(tmp_path_factory.mktemp("alone") / "cluster", count=3)
    cluster.start(NodeId(1))
    yield cluster
    cluster.stop_all()


@pytest.fixture(scope="module")
def lone(founded):
    place = founded.nodes[NodeId(1)]
    api = Api(SimpleNamespace(http_address=lambda node: f"{place.host}:{place.http_port}"))
    api.wait(lambda: api.get("/health/live").status == 200)
    return api


def test_it_is_alive_and_says_why_it_is_not_ready(founded, lone):
    ready = lone.get("/health/ready")

    assert (ready.status, ready.body["type"]) == (503, "/problems/unavailable")
    assert "it waits for a leader of the metadata group" in ready.body["detail"]
    assert "a majority of the 3 nodes; it hears 1." in ready.body["detail"]
    assert int(ready.headers["retry-after"]) > 0
    assert read_running(founded.nodes[NodeId(1)].data).state == "listening"
    assert not founded.processes[NodeId(1)].poll_ready()


@pytest.mark.parametrize(
    "row", [row for row in ENDPOINTS if not is_early(row.path)], ids=lambda row: path_of(row)
)
def test_what_the_cluster_agreed_on_is_not_answered_yet(lone, row):
    answer = lone.ask(row.method, path_of(row), {} if row.has_body else None)

    assert (answer.status, answer.body["type"]) == (503, "/problems/unavailable")
    assert answer.body["detail"].startswith("node 1 is not ready")


@pytest.mark.parametrize(
    "row", [row for row in ENDPOINTS if is_early(row.path)], ids=lambda row: path_of(row)
)
def test_what_it_knows_by_itself_is_answered(founded, lone, row):
    answer = lone.ask(row.method, path_of(row), {} if row.has_body else None)

    assert answer.status < 500
    assert answer.status == 200 or answer.body["type"].startswith("/problems/")
    assert "Traceback" not in founded.nodes[NodeId(1)].log_path.read_text("utf-8")


def test_the_state_of_the_cluster_is_told_as_far_as_it_is_known(lone):
    health = lone.get("/v1/cluster/health").body

    assert health["status"] == "down"
    assert health["problems"][0]["what"] == "node 1 hears 1 of 3 nodes: no majority"
    assert [row["ready"] for row in health["nodes"]] == [False, False, False]
    assert [row["state"] for row in health["nodes"]] == ["up", "unreachable", "unreachable"]


def test_a_websocket_is_told_why_before_it_is_closed(lone):
    with connect(lone.url("/v1/stream").replace("http", "ws")) as socket:
        said = json.loads(socket.recv(timeout=10))
    assert said["type"] == "error"
    assert said["problem"]["detail"].startswith("node 1 is not ready")


def test_with_a_majority_it_becomes_ready(founded, lone):
    founded.start(NodeId(2))

    assert lone.wait(lambda: lone.get("/health/ready").status == 200)
    assert founded.processes[NodeId(1)].wait_ready(20).state == "ready"
    assert lone.get("/v1/topics").status == 200
