"""A real cluster for the REST API, and a small client that knows problem documents."""

import json
import threading
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from typing import Any

import pytest

from trimaran.testing import Cluster

ANSWER_S = 30.0
POLL_S = 0.02


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    raw: bytes
    body: Any = field(init=False)

    def __post_init__(self):
        kind = self.headers.get("content-type", "")
        self.body = json.loads(self.raw) if "json" in kind else self.raw


class Api:
    """Requests to any node of a cluster."""

    def __init__(self, cluster):
        self.cluster = cluster

    def url(self, path, node=1):
        return f"http://{self.cluster.http_address(node)}{path}"

    def ask(self, method, path, body=None, *, node=1, headers=None):
        content = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        sent = {"content-type": "application/json", **(headers or {})}
        request = urllib.request.Request(
            self.url(path, node), data=content, method=method, headers=sent
        )
        try:
            with urllib.request.urlopen(request, timeout=ANSWER_S) as found:
                return Answer(found.status, dict_of(found.headers), found.read())
        except urllib.error.HTTPError as found:
            with found:
                return Answer(found.code, dict_of(found.headers), found.read())

    def get(self, path, **more):
        return self.ask("GET", path, **more)

    def post(self, path, body, **more):
        return self.ask("POST", path, body, **more)

    def create(self, name, **more):
        answer = self.post("/v1/topics", {"name": name, **more})
        assert answer.status == 201, answer.body
        return answer.body

    def publish(self, topic, *events, node=1, headers=None, **more):
        path = f"/v1/topics/{topic}/events"
        return self.post(path, {"events": list(events), **more}, node=node, headers=headers)

    def wait_well(self, timeout_s=20.0):
        """Return the cluster's health once it is ok: a topic made just now elects its leaders."""
        found = {}

        def is_well():
            found.update(self.get("/v1/cluster/health").body)
            return found["status"] == "ok"

        try:
            self.wait(is_well, timeout_s)
        except AssertionError as error:
            raise AssertionError(f"not well in {timeout_s} s: {found['problems']}") from error
        return found

    def wait(self, holds, timeout_s=20.0):
        """Return the first truth that `holds()` returns."""
        deadline = time.monotonic() + timeout_s
        pause = threading.Event()
        while True:
            try:
                found = holds()
            except (urllib.error.URLError, ConnectionError, TimeoutError):
                found = None
            if found:
                return found
            assert time.monotonic() < deadline, f"{holds} did not hold in {timeout_s} s"
            pause.wait(POLL_S)


def dict_of(headers):
    return {name.lower(): value for name, value in headers.items()}


@pytest.fixture(scope="package")
def http_cluster():
    """Three nodes that stay whole: tests that break nodes start their own."""
    with Cluster(nodes=3) as cluster:
        api = Api(cluster)
        for node in cluster.nodes:
            api.wait(lambda node=node: api.get("/health/ready", node=node).status == 200)
        yield cluster


@pytest.fixture
def api(http_cluster):
    return Api(http_cluster)


@pytest.fixture
def api_of():
    """Return a client of another cluster."""
    return Api
