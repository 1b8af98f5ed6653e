"""A network that can be cut: silence while it is, an end for what lost bytes when it heals."""

import asyncio

import pytest

from trimaran.server.control_file import CONTROL_FILE, read_control, remove_control, write_control
from trimaran.server.cutting import CuttableNetwork


class Peer(asyncio.Protocol):
    def __init__(self):
        self.received = bytearray()
        self.news = asyncio.Event()
        self.lost = asyncio.get_running_loop().create_future()

    def connection_made(self, transport):
        self.transport = transport
        self.news.set()

    def data_received(self, data):
        self.received += data
        self.news.set()

    def connection_lost(self, exc):
        if not self.lost.done():
            self.lost.set_result(exc)


async def until(peer, holds):
    async with asyncio.timeout(5):
        while not holds():
            peer.news.clear()
            await peer.news.wait()


async def pair(network):
    """Return a peer of the network that can be cut, and one at the other end of the wire."""
    inside, outside = Peer(), Peer()
    listener = await network.listen("127.0.0.1", 0, lambda: inside)
    loop = asyncio.get_running_loop()
    await loop.create_connection(lambda: outside, "127.0.0.1", listener.port)
    async with asyncio.timeout(5):
        await inside.news.wait()
    return listener, inside, outside


@pytest.mark.asyncio
async def test_nothing_passes_while_cut_and_the_connection_ends_when_healed():
    network = CuttableNetwork()
    listener, inside, outside = await pair(network)
    inside.transport.write(b"before")
    await until(outside, lambda: outside.received == b"before")

    network.cut()
    inside.transport.write(b"lost")
    outside.transport.write(b"unread")
    assert not inside.transport.is_closing()
    network.heal()
    async with asyncio.timeout(5):
        await outside.lost
        await inside.lost
    assert (outside.received, inside.received) == (b"before", b"")
    listener.close()


@pytest.mark.asyncio
async def test_a_connection_made_while_cut_is_silent():
    network = CuttableNetwork()
    network.cut()
    listener, inside, outside = await pair(network)
    inside.transport.write(b"x")
    assert inside.transport.is_cut
    assert outside.received == b""
    network.heal()
    async with asyncio.timeout(5):
        await outside.lost
    listener.close()


@pytest.mark.asyncio
async def test_a_whole_network_is_like_any_other():
    network = CuttableNetwork()
    listener, inside, outside = await pair(network)
    inside.transport.pause_reading()
    outside.transport.write(b"x")
    inside.transport.resume_reading()
    await until(inside, lambda: inside.received == b"x")
    inside.transport.writelines([b"a", b"b"])
    await until(outside, lambda: outside.received == b"ab")
    inside.transport.close()
    async with asyncio.timeout(5):
        assert await outside.lost is None
    listener.close()


@pytest.mark.asyncio
async def test_a_node_that_is_cut_off_connects_to_nobody(monkeypatch):
    monkeypatch.setattr("trimaran.server.cutting.CONNECT_TIMEOUT_S", 0)
    network = CuttableNetwork()
    network.cut()
    with pytest.raises(TimeoutError, match="cut off"):
        await network.connect("127.0.0.1", 9, Peer)


def test_the_token_of_a_run_is_for_this_user_alone(tmp_path):
    assert read_control(tmp_path) is None
    token = write_control(tmp_path)
    assert read_control(tmp_path) == token
    assert (tmp_path / CONTROL_FILE).stat().st_mode & 0o077 == 0
    assert write_control(tmp_path) != token
    remove_control(tmp_path)
    assert read_control(tmp_path) is None
    (tmp_path / CONTROL_FILE).write_text("[]")
    assert read_control(tmp_path) is None
