"""Connections that bring nothing, or something else than HTTP: neither may cost much."""

import asyncio
from types import SimpleNamespace

import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from websockets.asyncio.client import connect

from tests.server.http.edge import port_of, serving
from trimaran.ids import NodeId, TopicId
from trimaran.metadata.topology import Topic
from trimaran.server.http import app, connections, facts
from trimaran.server.http.fellows import Fellows
from trimaran.server.http.models.base import NoBody, NoQuery
from trimaran.server.http.models.cluster import NodeFacts
from trimaran.server.http.paging import decode_cursor

pytestmark = pytest.mark.asyncio

RECEIVE_S = 0.15
MOST = 3
SPARE = 2
HEAD = b"GET / HTTP/1.1\r\nhost: x\r\n"


async def answer(_):
    return PlainTextResponse("here")


async def echo(websocket):
    await websocket.accept()
    while True:
        await websocket.send_text(await websocket.receive_text())


@pytest.fixture(autouse=True)
def short_time_and_much_room(monkeypatch):
    monkeypatch.setattr(connections, "RECEIVE_S", RECEIVE_S)
    monkeypatch.setattr(connections.HttpProtocol, "connections_max", 100)


@pytest.fixture
def page():
    return Starlette(routes=[Route("/", answer), WebSocketRoute("/ws", echo)])


@pytest.mark.parametrize("begun", [b"", HEAD])
@pytest.mark.parametrize("is_first", [True, False])
async def test_a_connection_whose_request_does_not_arrive_is_closed(page, begun, is_first):
    async with serving(page) as server, asyncio.timeout(5):
        reader, writer = await asyncio.open_connection("127.0.0.1", port_of(server))
        if not is_first:
            writer.write(HEAD + b"\r\n")
            assert b"here" in await reader.readuntil(b"here")
            begun = begun or HEAD[:5]
        writer.write(begun)
        assert await reader.read() == b""
        writer.close()
        await writer.wait_closed()


async def test_connections_that_are_used_stay(page):
    loop = asyncio.get_running_loop()
    async with (
        serving(page) as server,
        asyncio.timeout(5),
        connect(f"ws://127.0.0.1:{port_of(server)}/ws") as live,
    ):
        reader, writer = await asyncio.open_connection("127.0.0.1", port_of(server))
        passed = loop.create_future()
        loop.call_later(2 * RECEIVE_S, passed.set_result, None)
        while not passed.done():
            writer.write(HEAD + b"\r\n")
            assert b"here" in await reader.readuntil(b"here")
            await live.send("ping")
            assert await live.recv() == "ping"
        writer.close()
        await writer.wait_closed()


@pytest.fixture
def few(monkeypatch):
    """Room for MOST connections, for SPARE more to be refused, and time for them to be."""
    monkeypatch.setattr(connections, "RECEIVE_S", 30.0)
    monkeypatch.setattr(connections, "HTTP_SPARE", SPARE)
    monkeypatch.setattr(connections.HttpProtocol, "connections_max", MOST)


async def test_silent_connections_above_the_limit_and_its_spare_are_closed_at_once(page, few):
    async with serving(page) as server, asyncio.timeout(5):
        crowd = [
            await asyncio.open_connection("127.0.0.1", port_of(server))
            for _ in range(MOST + SPARE + 4)
        ]
        for reader, _ in crowd[MOST + SPARE :]:
            assert await reader.read() == b""
        assert len(server.server_state.connections) == MOST + SPARE
        assert not any(reader.at_eof() for reader, _ in crowd[: MOST + SPARE])
        for _, writer in crowd:
            writer.close()


async def test_a_connection_that_is_refused_is_closed_and_others_get_its_place(page, few):
    async with serving(page) as server, asyncio.timeout(5):
        crowd = [
            await asyncio.open_connection("127.0.0.1", port_of(server)) for _ in range(MOST + 1)
        ]
        crowd[0][1].write(HEAD + b"\r\n")
        refused = await crowd[0][0].read()
        crowd[1][1].write(HEAD + b"\r\n")
        answered = await crowd[1][0].readuntil(b"here")
        for _, writer in crowd:
            writer.close()
    assert refused.startswith(b"HTTP/1.1 503")
    assert f"more than {MOST}".encode() in refused
    assert answered.startswith(b"HTTP/1.1 200")


async def test_a_body_that_does_not_arrive_is_a_problem(monkeypatch):
    monkeypatch.setattr(app, "RECEIVE_S", RECEIVE_S)
    sent = []

    async def receive():
        await asyncio.Event().wait()

    async def send(message):
        sent.append(message)

    node = SimpleNamespace(
        node_id=1,
        check_ready=lambda: None,
        image=SimpleNamespace(nodes=[]),
        config=SimpleNamespace(http=SimpleNamespace(body_bytes_max=10, host="127.0.0.1")),
    )
    row = SimpleNamespace(query=NoQuery, body=NoBody)
    scope = {"type": "http", "method": "POST", "path": "/v1/x", "headers": [], "query_string": b""}
    async with asyncio.timeout(5):
        await app.PathEndpoint(node, {"POST": row})(
            {**scope, "root_path": "", "server": ("x", 1), "scheme": "http"}, receive, send
        )
    assert sent[0]["status"] == 408
    assert b"/problems/late" in sent[1]["body"]


@pytest.mark.parametrize(
    "said", [b"", b"SSH-2.0-other\r\n\r\n", b"HTTP/1.1\r\n\r\n", b"x" * 70_000, b"\r\n\r\n"]
)
async def test_who_speaks_no_http_where_a_node_should_be_has_not_answered(said):
    async def speak(reader, writer):
        writer.write(said)
        writer.close()

    server = await asyncio.start_server(speak, "127.0.0.1", 0)
    async with server:
        place = server.sockets[0].getsockname()[:2]
        fellows = Fellows(node_id=NodeId(1), address=lambda _: place)
        assert await fellows.get(NodeId(2), "/v1/node", NodeFacts) is None
        assert await fellows.post(NodeId(2), "/v1/local/cut", {}) is None


async def test_only_the_partitions_that_are_wanted_are_asked_for():
    asked = []

    class Silent:
        async def get(self, member, path, shape, *, timeout_s):
            asked.append(dict(part.split("=") for part in path.partition("?")[2].split("&")))

    topic = Topic(
        name="t",
        topic_id=TopicId(bytes(16)),
        partitions=tuple((NodeId(2),) for _ in range(2_500)),
        settings={},
    )
    node = SimpleNamespace(
        node_id=1,
        fellows=Silent(),
        alive=lambda: [1, 2],
        broker=SimpleNamespace(replica=lambda group: None),
    )
    await facts.partitions_of(node, topic, [700])
    assert asked[0]["limit"] == "1"
    assert decode_cursor(asked[0]["after"]) == facts.place_key(topic, 699)
    await facts.partitions_of(node, topic, [0])
    assert (asked[1]["limit"], "after" in asked[1]) == ("1", False)
