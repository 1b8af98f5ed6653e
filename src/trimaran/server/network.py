"""TCP on the running asyncio loop.

Every socket has TCP_NODELAY: a round's frame must not wait for the answer to the one before it.
Listening sockets have SO_REUSEADDR, so a restarted node gets its port back at once.
Does not: frame, retry, or look at what is sent.
"""

import asyncio
import errno
import socket
from collections.abc import Callable

CONNECT_TIMEOUT_S = 2.0
"""A silent host (no answer to SYN) holds the caller no longer than this."""
BACKLOG = 512
"""Connections the kernel completes while the loop is busy; more than clients reconnect at once."""


class PortInUseError(OSError):
    """Another process listens there already."""

    def __init__(self, host: str, port: int) -> None:
        """Name the address; whoever knows the settings adds which of them to change."""
        super().__init__(errno.EADDRINUSE, f"port {port} on {host} is in use by another process")
        self.host = host
        self.port = port


class RealListener:
    """A listening socket and its port."""

    def __init__(self, server: asyncio.Server, port: int) -> None:
        assert port > 0
        self.port = port
        self._server = server

    def close(self) -> None:
        """Stop accepting; accepted connections stay."""
        self._server.close()


class RealNetwork:
    """Connects and listens with the running loop."""

    async def connect(self, host: str, port: int, factory: Callable[[], asyncio.Protocol]) -> None:
        """Connect and call `connection_made` on the factory's protocol.

        Raises:
            OSError: refused, unreachable, or silent for CONNECT_TIMEOUT_S (TimeoutError).
        """
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            transport, _ = await loop.create_connection(factory, host, port)
        send_without_delay(transport)

    async def listen(
        self, host: str, port: int, factory: Callable[[], asyncio.Protocol]
    ) -> RealListener:
        """Accept connections on `host`, one protocol for each; port 0 picks a free one.

        Raises:
            PortInUseError: somebody else has the port.
            OSError: no such address on this machine, or no right to use the port.
        """
        listening = await open_listening_socket(host, port)
        loop = asyncio.get_running_loop()
        server = await loop.create_server(factory, sock=listening, backlog=BACKLOG)
        return RealListener(server, int(listening.getsockname()[1]))


async def open_listening_socket(host: str, port: int) -> socket.socket:
    """Return a bound socket; asyncio's own binding would not tell which address failed.

    Raises:
        PortInUseError: somebody else has the port.
        OSError: no such address on this machine, or no right to use the port.
    """
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(
        host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )
    family, kind, protocol, _, address = found[0]
    listening = socket.socket(family, kind, protocol)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        listening.setblocking(False)
        listening.bind(address)
        listening.listen(BACKLOG)
    except OSError as error:
        listening.close()
        if error.errno == errno.EADDRINUSE:
            raise PortInUseError(host, port) from error
        raise
    return listening


def send_without_delay(transport: asyncio.BaseTransport) -> None:
    """Set TCP_NODELAY on a connection that we opened; accepted ones inherit it."""
    connected = transport.get_extra_info("socket")
    if connected is not None:
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
