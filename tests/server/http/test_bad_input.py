"""What is wrong with a request is told as a problem document that names the field."""

import http.client

import pytest

pytestmark = pytest.mark.cluster


def problem(answer, status, slug):
    assert answer.status == status, answer.body
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.body["type"] == f"/problems/{slug}"
    assert answer.body["status"] == status
    return answer.body


def test_an_unknown_field_is_named_with_those_that_are_known(api):
    found = problem(api.post("/v1/topics", {"name": "x", "nosuch": 1}), 422, "unprocessable")
    assert found["errors"][0]["field"] == "nosuch"
    assert "partitions" in found["errors"][0]["allowed"]


def test_a_wrong_type_is_named_with_what_is_expected(api):
    found = problem(api.post("/v1/topics", {"name": "x", "partitions": "3"}), 422, "unprocessable")
    assert found["errors"][0]["field"] == "partitions"
    assert "int" in found["errors"][0]["detail"]


def test_a_field_deep_inside_is_named_by_its_path(api):
    api.create("deep", partitions=1)
    events = {"events": [{"value": 1}, {"value": 2, "headers": [{"name": 3}]}]}
    found = problem(api.post("/v1/topics/deep/events", events), 422, "unprocessable")
    assert found["errors"][0]["field"] == "events[1].headers[0].name"
    bad = {"events": [{"value": "?", "value_encoding": "base64"}]}
    found = problem(api.post("/v1/topics/deep/events", bad), 422, "unprocessable")
    assert found["errors"][0]["field"] == "events[0].value"


def test_parameters_are_as_strict_as_bodies(api):
    for query in ("limit=0", "limit=x", "nosuch=1", "limit=1&limit=2"):
        problem(api.get(f"/v1/topics?{query}"), 422, "unprocessable")
    found = problem(api.get("/v1/topics?after=%21"), 422, "unprocessable")
    assert found["errors"][0]["field"] == "after"


def test_what_is_no_json_is_a_bad_request(api):
    problem(api.post("/v1/topics", b"{"), 400, "bad-request")
    deep = b'{"events": [{"value": ' + b"[" * 100_000
    problem(api.post("/v1/topics/any/events", deep), 400, "bad-request")
    found = problem(api.post("/v1/topics", b"\xff"), 400, "bad-request")
    assert "no JSON" in found["detail"]


def test_another_content_type_is_told_which_one_is_wanted(api):
    answer = api.post("/v1/topics", b"name: x", headers={"content-type": "text/yaml"})
    found = problem(answer, 415, "unsupported-media")
    assert "application/json" in found["errors"][0]["allowed"]


def test_an_over_long_body_is_refused_before_it_was_sent(api):
    host, _, port = api.cluster.http_address(1).partition(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=10)
    connection.putrequest("POST", "/v1/topics/any/events")
    connection.putheader("content-type", "application/json")
    connection.putheader("content-length", str(1 << 30))
    connection.endheaders()
    answer = connection.getresponse()
    assert answer.status == 413
    connection.close()


def test_an_over_long_body_of_unknown_length_is_refused(api):
    parts = (b"x" * 1_000_000 for _ in range(12))
    host, _, port = api.cluster.http_address(1).partition(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=10)
    try:
        connection.request(
            "POST",
            "/v1/topics/any/events",
            body=parts,
            headers={"content-type": "application/json"},
            encode_chunked=True,
        )
        assert connection.getresponse().status == 413
    except (BrokenPipeError, ConnectionResetError):
        pass  # it closed while we still sent
    finally:
        connection.close()
    assert api.get("/health/live").status == 200


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/topics/nosuch"),
        ("GET", "/v1/topics/nosuch/events"),
        ("GET", "/v1/topics/__consumer_offsets/events"),
        ("GET", "/v1/groups/nosuch"),
        ("GET", "/v1/nosuch"),
        ("DELETE", "/v1/topics/nosuch"),
        ("GET", "/assets/nosuch.js"),
    ],
)
def test_what_does_not_exist_is_not_found(api, method, path):
    found = problem(api.ask(method, path), 404, "not-found")
    assert found["instance"] == path


def test_a_method_that_a_path_has_not_is_told_which_it_has(api):
    answer = api.ask("PUT", "/v1/topics")
    problem(answer, 405, "method")
    assert answer.headers["allow"] == "GET, HEAD, POST"


def test_a_strange_page_may_not_write(api):
    answer = api.post("/v1/topics", {"name": "x"}, headers={"origin": "https://elsewhere.example"})
    problem(answer, 403, "origin")
    problem(api.post("/v1/topics", {"name": "x"}, headers={"origin": "null"}), 403, "origin")
    own = {"origin": f"http://{api.cluster.http_address(2)}"}
    assert api.post("/v1/topics", {"name": "from-a-page"}, headers=own).status == 201


def test_a_strange_page_may_not_read_either(api):
    strange = api.get("/v1/topics", headers={"origin": "https://elsewhere.example"})
    assert "access-control-allow-origin" not in strange.headers
    own = f"http://{api.cluster.http_address(3)}"
    answer = api.get("/v1/topics", headers={"origin": own})
    assert answer.headers["access-control-allow-origin"] == own


def test_an_id_and_its_header_exclude_each_other(api):
    api.create("twice-named", partitions=1)
    event = {"value": 1, "id": "a", "headers": [{"name": "event-id", "value": "b"}]}
    found = problem(api.publish("twice-named", event), 422, "unprocessable")
    assert found["errors"][0]["field"] == "events[0].id"
    problem(api.publish("twice-named", {"value": 1, "id": "x" * 300}), 422, "unprocessable")


def test_an_event_that_is_too_large_is_refused_and_not_stored(api):
    api.create("small", partitions=1, config={"max.message.bytes": "1000"})
    problem(api.publish("small", {"value": "x" * 2_000}), 413, "too-large")
    assert api.get("/v1/topics/small/events").body["items"] == []


def test_settings_out_of_range_name_the_range(api):
    answer = api.post("/v1/topics", {"name": "x", "config": {"segment.bytes": "1"}})
    found = problem(answer, 422, "unprocessable")
    assert "1048576" in found["detail"]


def test_what_is_no_http_gets_a_problem_document(api):
    head, found = said_to(api, b"\x00\x01nonsense\r\n\r\n")
    assert b" 400 " in head
    assert b"trimaran-node: 1\r\n" in head
    assert b"application/problem+json" in head
    assert found["type"] == "/problems/bad-request"


def test_a_head_that_is_too_long_gets_a_problem_document(api):
    head, found = said_to(api, b"GET /v1/topics?search=" + b"x" * 200_000 + b" HTTP/1.1\r\n\r\n")
    assert b" 400 " in head
    assert b"trimaran-node: 1\r\n" in head
    assert "65536 bytes" in found["detail"]


def said_to(api, sent):
    """Return head and document of the answer to some bytes."""
    import json
    import socket

    host, _, port = api.cluster.http_address(1).partition(":")
    with socket.create_connection((host, int(port)), timeout=10) as raw:
        raw.sendall(sent)
        received = b""
        while part := raw.recv(65_536):
            received += part
    head, _, body = received.partition(b"\r\n\r\n")
    return head + b"\r\n", json.loads(body)


def test_a_page_of_another_node_asks_first_and_may_write_a_strange_one_may_not(api):
    own = f"http://{api.cluster.http_address(3)}"
    answer = api.ask("OPTIONS", "/v1/topics", headers={"origin": own})
    assert answer.status == 204
    assert answer.headers["access-control-allow-origin"] == own
    assert "POST" in answer.headers["access-control-allow-methods"]
    assert "trimaran-token" in answer.headers["access-control-allow-headers"]
    strange = api.ask("OPTIONS", "/v1/topics", headers={"origin": "https://elsewhere.example"})
    assert strange.status == 405
    assert "access-control-allow-origin" not in strange.headers


@pytest.mark.parametrize("path", ["/", "/topics/x", "/docs", "/openapi.json", "/v1/nowhere"])
@pytest.mark.parametrize("method", ["OPTIONS", "POST", "PROPFIND"])
def test_whatever_the_method_what_is_refused_is_a_problem_of_a_node(api, method, path):
    answer = api.ask(method, path)
    assert answer.status in (404, 405)
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["trimaran-node"] == "1"
    assert ("allow" in answer.headers) == (answer.status == 405)
