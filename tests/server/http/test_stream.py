"""The WebSocket of a real cluster: tails, samples, happenings, and clients that do not keep up."""

import json
import threading
import time
from contextlib import ExitStack

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

pytestmark = pytest.mark.cluster


class Client:
    """A WebSocket that keeps what it read past."""

    def __init__(self, api, node=1, **more):
        self._address = f"ws://{api.cluster.http_address(node)}/v1/stream"
        self._more = {"close_timeout": 1, **more}

    def __enter__(self):
        self._manager = connect(self._address, **self._more)
        self._socket = self._manager.__enter__()
        return self

    def __exit__(self, *error):
        return self._manager.__exit__(*error)

    def send(self, **message):
        self._socket.send(json.dumps(message))

    def send_text(self, text):
        self._socket.send(text)

    def next(self, kind, timeout_s=15.0):
        """Return the next message of a type; others are passed over."""
        deadline = time.monotonic() + timeout_s
        while True:
            message = json.loads(self._socket.recv(timeout=max(0.01, deadline - time.monotonic())))
            if message["type"] == kind:
                return message

    def tail(self, topic, *, name="t", **more):
        self.send(type="subscribe", id=name, feed="tail", topic=topic, **more)
        assert self.next("subscribed")["id"] == name

    def events(self, count, timeout_s=15.0):
        """Return `count` events, and how many were missed meanwhile."""
        items, missed = [], 0
        while len(items) < count:
            message = self.next("events", timeout_s)
            items += message["items"]
            missed += message["missed"]
        return items, missed


@pytest.fixture
def client(api):
    with Client(api) as found:
        hello = found.next("hello")
        assert (hello["served_by"], hello["cluster_id"] != "") == (1, True)
        yield found


def test_a_tail_shows_events_as_they_come(api, client):
    api.create("tailed", partitions=3)
    client.tail("tailed")
    # The reader stands at the end once it answered the first look; events come until one is seen.
    seen = api.wait(lambda: published_and_seen(api, client, "tailed"))
    assert seen["topic"] == "tailed"
    assert seen["value"]["data"] == {"n": 1}


def published_and_seen(api, client, topic):
    assert api.publish(topic, {"value": {"n": 1}, "key": "k"}).status == 201
    try:
        return client.events(1, timeout_s=1.0)[0][0]
    except TimeoutError:
        return None


def test_a_tail_begins_with_the_last_events_if_asked(api, client):
    api.create("history", partitions=1)
    assert api.publish("history", *[{"value": number} for number in range(10)]).status == 201
    client.tail("history", **{"from": "last", "last": 3})
    items, missed = client.events(3)
    assert [row["offset"] for row in items] == [7, 8, 9]
    assert missed == 0
    assert api.publish("history", {"value": 10}).status == 201
    assert client.events(1)[0][0]["offset"] == 10


def test_a_filter_lets_pass_what_it_holds_for(api, client):
    api.create("sieve", partitions=1)
    client.tail("sieve", filter="value.n == 7", **{"from": "last"})
    client.next("events")
    assert api.publish("sieve", *[{"value": {"n": number}} for number in range(10)]).status == 201
    items, _ = client.events(1)
    assert [row["value"]["data"]["n"] for row in items] == [7]
    client.send(type="filter", id="t", filter=None)
    assert api.publish("sieve", {"value": {"n": 1}}).status == 201
    assert client.events(1)[0][0]["value"]["data"]["n"] == 1


def test_a_paused_tail_counts_what_it_misses(api, client):
    api.create("paused", partitions=1)
    client.tail("paused", **{"from": "last"})
    client.next("events")
    client.send(type="pause", id="t")
    client.next("paused")
    with Client(api) as other:  # it tells when the reader has offered them to both
        other.tail("paused", **{"from": "last"})
        other.next("events")
        assert api.publish("paused", *[{"value": number} for number in range(20)]).status == 201
        assert len(other.events(20)[0]) == 20
    client.send(type="resume", id="t")
    client.next("resumed")
    assert api.publish("paused", {"value": 20}).status == 201
    message = client.next("events")
    assert [row["value"]["data"] for row in message["items"]] == [20]
    assert message["missed_total"] == 20


def test_a_tail_samples_what_is_too_much_and_says_how_much_it_left_out(api, client):
    api.create("flood", partitions=1)
    client.tail("flood", **{"from": "last"})
    client.next("events")
    total = 4_000
    for _ in range(4):
        rows = [{"value": number} for number in range(total // 4)]
        assert api.publish("flood", *rows).status == 201
    begin = time.monotonic()
    message = {"missed_total": 0, "seen_total": 0}
    seen = 0
    while message["missed_total"] + message["seen_total"] < total:
        message = client.next("events")
        seen += len(message["items"])
    elapsed_s = time.monotonic() - begin
    assert message["missed_total"] + message["seen_total"] == total
    assert seen == message["seen_total"]
    assert seen <= 500 * (elapsed_s + 2)


def test_a_client_that_does_not_read_holds_nobody_up(api):
    api.create("stuck", partitions=1)
    value = "x" * 7_000
    with Client(api, max_queue=1) as stuck, Client(api) as other:
        stuck.next("hello")
        stuck.tail("stuck", **{"from": "last"})
        other.tail("stuck", **{"from": "last"})
        other.next("events")
        for _ in range(20):
            rows = [{"value": value} for _ in range(60)]
            assert api.publish("stuck", *rows).status == 201
        message = {"missed_total": 0, "seen_total": 0}
        while message["missed_total"] + message["seen_total"] < 1_200:
            message = other.next("events")
    assert api.get("/health/live").status == 200


def test_samples_of_every_node_come_at_each_interval(client):
    client.send(type="subscribe", id="m", feed="metrics", interval_ms=250)
    first, second = client.next("metrics"), client.next("metrics")
    assert sorted(first["nodes"]) == ["1", "2", "3"]
    assert second["at_ms"] > first["at_ms"]
    assert first["unreachable"] == []


def test_the_cluster_is_told_with_its_edges(api, client):
    api.wait_well()
    client.send(type="subscribe", id="c", feed="cluster", interval_ms=250)
    news = client.next("cluster")
    assert (news["health"]["status"], news["health"]["problems"]) == ("ok", [])
    assert [row["node_id"] for row in news["nodes"]] == [1, 2, 3]
    assert len(news["edges"]) == 6
    assert all(edge["reachable"] for edge in news["edges"])


def test_partitions_groups_and_happenings_are_followed(api, client):
    api.create("followed", partitions=1)
    client.send(
        type="subscribe", id="p", feed="partition", topic="followed", partition=0, interval_ms=250
    )
    assert client.next("partition")["state"]["topic"] == "followed"
    body = {"topic": "followed", "to": {"kind": "latest"}, "dry_run": False}
    assert api.post("/v1/groups/watched/reset-offsets", body).status == 200
    client.send(type="subscribe", id="g", feed="group", group_id="watched", interval_ms=250)
    assert client.next("group")["group"]["group_id"] == "watched"
    client.send(type="subscribe", id="h", feed="happenings")
    assert isinstance(client.next("happenings")["items"], list)


@pytest.mark.parametrize(
    ("message", "status"),
    [
        ("no json", 400),
        ('{"type": "nosuch"}', 422),
        ('{"type": "subscribe", "id": "x", "feed": "tail", "nosuch": 1}', 422),
        ('{"type": "subscribe", "id": "x", "feed": "tail"}', 422),
        ('{"type": "subscribe", "id": "x", "feed": "tail", "topic": "nosuch"}', 404),
        ('{"type": "subscribe", "id": "x", "feed": "metrics", "nodes": [9]}', 422),
        ('{"type": "subscribe", "id": "x", "feed": "tail", "topic": "any", "filter": "1 +"}', 400),
        ('{"type": "pause", "id": "nosuch"}', 404),
        ("[" * 10_000, 422),
        ('{"type": "ping", "nonce": ' + "[" * 10_000, 400),
    ],
)
def test_what_is_not_understood_is_told_and_the_connection_stays(api, client, message, status):
    if api.get("/v1/topics/any").status == 404:
        api.create("any", partitions=1)
    client.send_text(message)
    assert client.next("error")["problem"]["status"] == status
    client.send(type="ping", nonce=7)
    assert client.next("pong")["nonce"] == 7


def test_an_over_long_message_closes_the_connection(client):
    client.send_text("x" * 20_000)
    with pytest.raises(ConnectionClosed):
        client.next("pong")


def test_a_page_of_somebody_else_is_refused(api):
    strange = Client(api, additional_headers={"origin": "https://elsewhere.example"})
    with strange as client:
        assert client.next("error")["problem"]["type"] == "/problems/origin"
        with pytest.raises(ConnectionClosed):
            client.next("hello")
    own = f"http://{api.cluster.http_address(2)}"
    with Client(api, additional_headers={"origin": own}) as client:
        assert client.next("hello")["served_by"] == 1


def test_a_deleted_topic_ends_its_tail(api, client):
    api.create("brief", partitions=1)
    client.tail("brief", **{"from": "last"})
    client.next("events")
    assert api.ask("DELETE", "/v1/topics/brief").status == 204
    assert client.next("error")["problem"]["status"] == 404


def test_many_tails_share_one_reader(api):
    api.create("shared", partitions=2)
    with ExitStack() as stack:
        clients = [stack.enter_context(Client(api)) for _ in range(10)]
        for client in clients:
            client.tail("shared", **{"from": "last"})
            client.next("events")
        assert api.publish("shared", *[{"value": number} for number in range(30)]).status == 201
        found = []

        def read(client):
            found.append(len(client.events(30)[0]))

        threads = [threading.Thread(target=read, args=(client,)) for client in clients]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(timeout=20)
        assert found == [30] * 10


def test_what_a_get_answers_is_followed(api, client):
    api.create("answered", partitions=2)
    client.send(type="subscribe", id="a", feed="answer", path="/v1/topics?search=answered")
    first = client.next("answer")
    assert [row["name"] for row in first["body"]["items"]] == ["answered"]
    api.create("answered-too", partitions=1)
    api.wait(lambda: len(client.next("answer")["body"]["items"]) == 2)


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/v1/nowhere", "not-found"),
        ("/v1/topics/nowhere", "not-found"),
        ("/v1/topics?limit=0", "unprocessable"),
        ("/metrics", "not-found"),
    ],
)
def test_a_path_that_cannot_be_followed_is_told(client, path, kind):
    client.send(type="subscribe", id="a", feed="answer", path=path)
    assert client.next("error")["problem"]["type"] == f"/problems/{kind}"


def test_whether_nodes_can_be_broken_is_told_to_whom_it_concerns(client):
    client.send(type="subscribe", id="a", feed="answer", path="/v1/local")
    assert client.next("answer")["body"] == {"available": False, "nodes": [], "served_by": 1}
