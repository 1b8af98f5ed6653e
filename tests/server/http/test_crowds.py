"""More connections than a node serves: who comes too many is told so, and nobody else notices."""

import contextlib
import resource
import socket

import pytest

from trimaran.config import HttpSection

pytestmark = pytest.mark.cluster

MOST = HttpSection().connections_max
SPARE_FILES = 200


@pytest.fixture
def many_files():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, MOST + SPARE_FILES)), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_beyond_a_thousand_connections_requests_are_refused_until_some_leave(api, many_files):
    host, _, port = api.cluster.http_address(3).partition(":")
    with contextlib.ExitStack() as crowd:
        for _ in range(MOST + 1):
            crowd.enter_context(socket.create_connection((host, int(port)), timeout=10))
        refused = api.wait(lambda: _if_refused(api.get("/v1/cluster", node=3)))
        elsewhere = api.get("/v1/cluster", node=1)

    assert refused.headers["content-type"] == "application/problem+json"
    assert f"more than {MOST}" in refused.body["detail"]
    assert int(refused.headers["retry-after"]) > 0
    assert elsewhere.status == 200
    assert api.wait(lambda: api.get("/v1/cluster", node=3).status == 200)


def _if_refused(answer):
    return answer if answer.status == 503 else None
