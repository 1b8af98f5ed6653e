"""Clients that stop reading are closed, slow ones are not, and neither holds up a stop."""

import asyncio
import json
import logging
import socket
from types import SimpleNamespace

import pytest
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route, WebSocketRoute
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from tests.server.http.edge import port_of, serving
from trimaran.config import NodeConfig
from trimaran.server.http.connections import HttpProtocol
from trimaran.server.http.stream import Streams
from trimaran.server.http.unread import UNREAD_S, UnreadWatch

pytestmark = pytest.mark.asyncio

WAIT_S = 10
ANSWER_BYTES = 24 << 20
"""More than the kernel keeps on both sides together."""
STEP_BYTES = 1 << 20
"""More than a client's side of the kernel keeps: with so much taken, something was sent."""
WINDOW_BYTES = 4_096
GET = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"
UPGRADE = (
    b"GET /ws HTTP/1.1\r\nhost: x\r\nupgrade: websocket\r\nconnection: upgrade\r\n"
    b"sec-websocket-key: MDEyMzQ1Njc4OWFiY2RlZg==\r\nsec-websocket-version: 13\r\n\r\n"
)


async def long_answer(_):
    return Response(bytes(ANSWER_BYTES))


async def talk(websocket):
    await websocket.accept()
    while True:
        await websocket.send_bytes(bytes(ANSWER_BYTES))


@pytest.fixture
def page(monkeypatch):
    monkeypatch.setattr(HttpProtocol, "connections_max", 100)
    return Starlette(routes=[Route("/", long_answer), WebSocketRoute("/ws", talk)])


async def one_that_asks(server, request):
    """Return a client's socket once the server has more for it than it takes by itself."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, WINDOW_BYTES)
    client.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(client, ("127.0.0.1", port_of(server)))
    await loop.sock_sendall(client, request)
    await until(lambda: any(unread_bytes(each) for each in connections_of(server)))
    return client


def connections_of(server):
    return list(server.server_state.connections)


def unread_bytes(connection):
    return connection.transport.get_write_buffer_size()


async def until(holds):
    async with asyncio.timeout(WAIT_S):
        while not holds():
            turn = asyncio.Event()
            asyncio.get_running_loop().call_later(0.001, turn.set)
            await turn.wait()


async def take(client, wanted_bytes):
    loop = asyncio.get_running_loop()
    while wanted_bytes > 0:
        received = await loop.sock_recv(client, min(wanted_bytes, 65_536))
        assert received, "the server closed the connection"
        wanted_bytes -= len(received)


@pytest.mark.parametrize("request_bytes", [GET, UPGRADE])
async def test_a_client_that_stopped_reading_is_closed(page, caplog, request_bytes):
    async with serving(page) as server:
        watch = UnreadWatch(server.server_state.connections)
        client = await one_that_asks(server, request_bytes)
        watch.look(0.0)
        watch.look(UNREAD_S - 1)
        assert len(connections_of(server)) == 1
        watch.look(UNREAD_S)
        await until(lambda: not connections_of(server) and not server.server_state.tasks)
        client.close()
    assert "closed HTTP clients count=1" in caplog.text


async def test_a_connection_that_was_closed_but_is_not_read_goes_too(page):
    async with serving(page) as server:
        watch = UnreadWatch(server.server_state.connections)
        client = await one_that_asks(server, GET)
        (connection,) = connections_of(server)
        connection.transport.close()
        watch.look(0.0)
        assert connections_of(server) == [connection]
        watch.look(UNREAD_S)
        await until(lambda: not connections_of(server))
        client.close()


@pytest.mark.parametrize("request_bytes", [GET, UPGRADE])
async def test_a_client_that_reads_slowly_but_steadily_is_not_closed(page, request_bytes):
    async with serving(page) as server:
        watch = UnreadWatch(server.server_state.connections)
        client = await one_that_asks(server, request_bytes)
        for step in range(10):
            watch.look(step * UNREAD_S)
            await take(client, STEP_BYTES)
        assert len(connections_of(server)) == 1
        assert unread_bytes(connections_of(server)[0]) > 0
        client.close()


async def test_a_client_with_nothing_unread_is_left_alone(page):
    async with serving(page) as server:
        watch = UnreadWatch(server.server_state.connections)
        _, writer = await asyncio.open_connection("127.0.0.1", port_of(server))
        await until(lambda: connections_of(server))
        for step in range(3):
            watch.look(step * UNREAD_S)
        assert not connections_of(server)[0].transport.is_closing()
        writer.close()


async def test_a_stop_does_not_wait_for_a_websocket_that_is_not_read(page):
    async with asyncio.timeout(WAIT_S):
        async with serving(page) as server:
            client = await one_that_asks(server, UPGRADE)
        assert not server.server_state.connections
        client.close()


@pytest.fixture
def streams(monkeypatch):
    monkeypatch.setattr(HttpProtocol, "connections_max", 100)
    config = NodeConfig.model_validate(
        {
            "node": {"id": 1, "data_directory": "data"},
            "cluster": {"nodes": [{"id": 1, "host": "127.0.0.1", "peer_port": 9_001}]},
            "http": {"streams_max": 1},
        }
    )
    broker = SimpleNamespace(cluster_id="c", node_id=1)
    node = SimpleNamespace(node_id=1, broker=broker, config=config, check_ready=lambda: None)
    return Streams(node)


async def one_that_follows(server):
    client = await connect(f"ws://127.0.0.1:{port_of(server)}/ws")
    assert json.loads(await client.recv())["type"] == "hello"
    return client


async def test_a_stop_tells_a_websocket_that_is_read(streams, caplog):
    page = Starlette(routes=[WebSocketRoute("/ws", streams.serve)])
    with caplog.at_level(logging.ERROR):
        async with asyncio.timeout(WAIT_S), serving(page) as server:
            client = await one_that_follows(server)
            closing = asyncio.ensure_future(client.recv())
            streams.close()
        with pytest.raises(ConnectionClosed, match="1012"):
            await closing
    assert caplog.messages == []


async def test_a_websocket_too_many_is_told_the_setting(streams):
    page = Starlette(routes=[WebSocketRoute("/ws", streams.serve)])
    async with asyncio.timeout(WAIT_S), serving(page) as server:
        first = await one_that_follows(server)
        second = await connect(f"ws://127.0.0.1:{port_of(server)}/ws")
        problem = json.loads(await second.recv())["problem"]
        assert (problem["status"], "http.streams_max" in problem["detail"]) == (429, True)
        with pytest.raises(ConnectionClosed, match="1008"):
            await second.recv()
        await first.close()


async def test_a_websocket_that_breaks_off_is_no_mistake_of_ours(streams, caplog):
    page = Starlette(routes=[WebSocketRoute("/ws", streams.serve)])
    with caplog.at_level(logging.ERROR):
        async with serving(page) as server:
            client = await one_that_follows(server)
            connections_of(server)[0].transport.abort()
            await until(lambda: not server.server_state.tasks)
            await client.wait_closed()
    assert caplog.messages == []
