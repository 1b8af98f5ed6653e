"""Clients that take nothing any more are closed, whatever else their connections wait for.

A transport that is closed keeps its descriptor and what it has to send until the client has taken
all of that, so none of the other time-outs gets rid of a client that stopped reading. How much one
has taken shows in two places: in what waits here, and in what the kernel still holds of what it got
from here. A slow client is moving in one of them, though the kernel takes new data from here only
when there is room for a good part of what it can hold.
Does not: end requests or feeds; they see that the connection is lost.
"""

import asyncio
import fcntl
import logging
import sys
import termios
from collections.abc import Collection
from dataclasses import dataclass
from typing import Protocol

UNREAD_S = 30.0
"""A client that takes nothing for so long is closed, as the Kafka side does."""
LOOK_S = UNREAD_S / 6

log = logging.getLogger(__name__)


class Connection(Protocol):
    """What uvicorn keeps of a client."""

    transport: asyncio.Transport


@dataclass(frozen=True, slots=True, kw_only=True)
class Unread:
    """What a client had not taken."""

    waiting_bytes: int
    """Here."""
    sent_bytes: int
    """In the kernel: sent, but not known to have arrived."""
    since_s: float


class UnreadWatch:
    """Looks at all connections of a server, again and again."""

    def __init__(self, connections: Collection[Connection]) -> None:
        """`connections`: as it is at each look."""
        self._connections = connections
        self._unread: dict[asyncio.Transport, Unread] = {}

    async def run(self) -> None:
        """Look until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            self.look(loop.time())
            await asyncio.sleep(LOOK_S)

    def look(self, now_s: float) -> None:
        """Close the clients that have taken nothing for UNREAD_S."""
        unread: dict[asyncio.Transport, Unread] = {}
        transports = [connection.transport for connection in self._connections]
        for transport in transports:
            if transport.get_write_buffer_size() > 0:
                unread[transport] = self._unread_by(transport, now_s)
        stuck = [each for each, what in unread.items() if now_s - what.since_s >= UNREAD_S]
        for transport in stuck:
            transport.abort()
        if stuck:
            log.warning(
                "closed HTTP clients count=%d reason=take nothing for %g s", len(stuck), UNREAD_S
            )
        self._unread = unread

    def _unread_by(self, transport: asyncio.Transport, now_s: float) -> Unread:
        """Return what a client has not taken, and since when that did not become less."""
        found = Unread(
            waiting_bytes=transport.get_write_buffer_size(),
            sent_bytes=kernel_bytes(transport),
            since_s=now_s,
        )
        before = self._unread.get(transport)
        if before is None or found.sent_bytes != before.sent_bytes:
            return found
        return before if found.waiting_bytes >= before.waiting_bytes else found


def kernel_bytes(transport: asyncio.Transport) -> int:
    """Return how much the kernel keeps for a client until it has arrived; 0 if it does not tell."""
    descriptor = transport.get_extra_info("socket").fileno()
    try:
        answer = fcntl.ioctl(descriptor, termios.TIOCOUTQ, bytes(4))
    except OSError:
        return 0
    return int.from_bytes(answer, sys.byteorder)
