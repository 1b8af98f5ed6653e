"""Whose pages may change something: a name that anybody can point at a node is no proof."""

import socket
from types import SimpleNamespace

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from trimaran.config import HttpSection
from trimaran.server.http.origins import addresses, check_origin, is_ours
from trimaran.server.http.problems import ProblemError

REBOUND = "evil.example:8080"
"""A stranger's own name, pointed at this node after its page was loaded."""


def node(*places, **settings):
    """Return what origins are judged by: where nodes are, and this one's settings."""
    nodes = [SimpleNamespace(host=host, http_port=port) for host, port in places]
    config = SimpleNamespace(http=HttpSection(host="0.0.0.0", **settings))
    return SimpleNamespace(image=SimpleNamespace(nodes=nodes), config=config)


FAR = node(("a.example", 8080), ("B.example", 80), ("fd00::7", 8080))
"""Three machines, each known by the name that it registered."""


def test_a_page_of_a_name_that_was_rebound_to_this_node_is_refused():
    assert not is_ours(FAR, f"http://{REBOUND}", REBOUND)
    assert not is_ours(FAR, "https://evil.example", "evil.example")


@pytest.mark.parametrize(
    "origin",
    [
        "http://a.example:8080",
        "http://A.example:8080",
        "http://b.example",
        "http://b.example:80",
        "http://[fd00::7]:8080",
    ],
)
def test_a_page_of_any_node_is_ours_at_any_other(origin):
    assert is_ours(FAR, origin, "a.example:8080")


@pytest.mark.parametrize(
    "origin", ["http://a.example:9000", "http://a.example", "http://c.example"]
)
def test_another_port_or_name_beside_a_nodes_is_not_ours(origin):
    assert not is_ours(FAR, origin, "a.example:8080")


@pytest.mark.parametrize("host", ["127.0.0.1:8080", "localhost:31080", "10.1.2.3", "[::1]:8080"])
def test_what_no_name_server_can_rebind_is_ours_where_it_was_asked(host):
    assert is_ours(FAR, f"http://{host}", host)
    assert not is_ours(FAR, f"http://{host}", "a.example:8080")


@pytest.mark.parametrize("origin", ["null", "", "file://", "http://", "http://[", "http://a:b"])
def test_what_is_no_origin_is_not_ours(origin):
    assert not is_ours(FAR, origin, "a.example:8080")


def test_a_proxys_name_is_ours_once_the_settings_say_so():
    proxied = node(("a.example", 8080), allowed_origins=["https://events.example"])
    assert is_ours(proxied, "https://events.example", "a.example:8080")
    assert is_ours(proxied, "https://events.example:443", "events.example")
    assert not is_ours(proxied, "http://events.example", "events.example")


def test_who_is_refused_is_told_the_setting_that_would_allow_it():
    headers = {"origin": "https://events.example", "host": "events.example"}
    with pytest.raises(ProblemError, match=r"https://events\.example.*http\.allowed_origins"):
        check_origin(FAR, headers)


def test_a_node_without_a_port_has_no_pages():
    assert not is_ours(node(("a.example", 0)), "http://a.example", "a.example")


def test_a_nodes_own_name_counts_before_it_has_registered():
    early = node()
    early.config.http = HttpSection(host="a.example", port=8081)
    assert addresses(early) == ["a.example:8081"]


def rebound(api, node=1):
    """Return the headers of such a page's requests."""
    host = f"evil.example:{api.cluster.http_address(node).rpartition(':')[2]}"
    return {"host": host, "origin": f"http://{host}"}


@pytest.mark.cluster
@pytest.mark.parametrize("path", ["/v1/topics", "/v1/local/nodes/2/kill", "/v1/local/cut"])
def test_a_rebound_page_changes_and_breaks_nothing(api, path):
    answer = api.post(path, {"name": "rebound"}, headers=rebound(api))
    assert (answer.status, answer.body["type"]) == (403, "/problems/origin")
    assert api.get("/v1/topics/rebound").status == 404


@pytest.mark.cluster
def test_a_rebound_page_is_told_why_it_may_not_follow_and_follows_nothing(api):
    host, _, port = api.cluster.http_address(1).rpartition(":")
    with socket.create_connection((host, int(port)), timeout=10) as raw:
        page = rebound(api)
        more = {"sock": raw, "proxy": None, "additional_headers": {"origin": page["origin"]}}
        with connect(f"ws://{page['host']}/v1/stream", **more) as stream:
            told = stream.recv(timeout=10)
            with pytest.raises(ConnectionClosed):
                stream.recv(timeout=10)
    assert '"type":"error"' in told
    assert "http.allowed_origins" in told


@pytest.mark.cluster
def test_programs_without_an_origin_may_use_any_name(api):
    answer = api.post("/v1/topics", {"name": "by-name"}, headers={"host": rebound(api)["host"]})
    assert answer.status == 201
