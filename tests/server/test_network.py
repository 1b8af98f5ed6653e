"""Real sockets: delay off, ports reused, and a port in use that says which."""

import asyncio
import socket

import pytest

from trimaran.server.network import PortInUseError, RealListener, RealNetwork


class Recorder(asyncio.Protocol):
    def __init__(self):
        self.received = asyncio.get_running_loop().create_future()
        self.transport = None

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.received.set_result(data)


def no_delay(transport):
    connected = transport.get_extra_info("socket")
    return connected.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


async def connected_pair(network: RealNetwork) -> tuple[RealListener, Recorder, Recorder]:
    accepted = asyncio.get_running_loop().create_future()

    def accept():
        protocol = Recorder()
        accepted.set_result(protocol)
        return protocol

    listener = await network.listen("127.0.0.1", 0, accept)
    client = Recorder()
    await network.connect("127.0.0.1", listener.port, lambda: client)
    return listener, client, await accepted


@pytest.mark.asyncio
async def test_bytes_arrive_and_neither_side_delays_them():
    listener, client, server = await connected_pair(RealNetwork())
    client.transport.write(b"hello")
    assert await asyncio.wait_for(server.received, 5) == b"hello"
    assert no_delay(client.transport)
    assert no_delay(server.transport)
    for protocol in (client, server):
        protocol.transport.close()
    listener.close()


@pytest.mark.asyncio
async def test_a_port_in_use_is_named():
    network = RealNetwork()
    listener = await network.listen("127.0.0.1", 0, Recorder)
    with pytest.raises(PortInUseError, match=f"port {listener.port} on 127.0.0.1 is in use"):
        await network.listen("127.0.0.1", listener.port, Recorder)
    listener.close()


@pytest.mark.asyncio
async def test_a_port_is_free_again_at_once_after_connections_were_open():
    network = RealNetwork()
    listener, client, server = await connected_pair(network)
    server.transport.abort()
    client.transport.abort()
    listener.close()
    again = await network.listen("127.0.0.1", listener.port, Recorder)
    assert again.port == listener.port
    again.close()


@pytest.mark.asyncio
async def test_an_address_of_another_machine_is_refused_as_such():
    with pytest.raises(OSError, match=r"(?i)assign|address"):
        await RealNetwork().listen("192.0.2.1", 0, Recorder)


@pytest.mark.asyncio
async def test_connecting_where_nobody_listens_is_refused():
    network = RealNetwork()
    listener = await network.listen("127.0.0.1", 0, Recorder)
    listener.close()
    with pytest.raises(ConnectionRefusedError):
        await network.connect("127.0.0.1", listener.port, Recorder)
