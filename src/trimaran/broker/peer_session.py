"""One connection between two nodes: greeting, then frames.

The side that dialed says HELLO first; the other checks it and answers with its own HELLO or with
REFUSED and a reason. Does not: know what frames mean, or reconnect.
"""

import asyncio
import logging
from collections.abc import Sequence
from typing import Protocol, cast

from trimaran.broker.counters import PeerCounters
from trimaran.broker.peer_frames import (
    Frame,
    FrameBuffer,
    Hello,
    PeerLane,
    Refused,
    read_frame,
    write_hello,
    write_refused,
)
from trimaran.errors import PeerError

log = logging.getLogger(__name__)

CHOKED_BYTES = 64 << 20
"""What may wait to be sent on one connection before no more entries are put on it."""


class SessionOwner(Protocol):
    """Who decides about sessions and gets their frames."""

    def own_hello(self, lane: PeerLane) -> Hello:
        """Return how this node introduces itself."""

    def admit(self, session: "PeerSession", hello: Hello) -> None:
        """Take the session up. Raises PeerError with the reason to refuse it."""

    def received(self, session: "PeerSession", frames: Sequence[Frame]) -> None:
        """Handle frames in order. Raises PeerError to close the session."""

    def drained(self, session: "PeerSession") -> None:
        """The connection takes more again, after it was choked."""

    def lost(self, session: "PeerSession") -> None:
        """The connection is gone; called once, also for sessions never admitted."""

    def fail(self, error: BaseException) -> None:
        """End the process: an invariant of ours is broken."""


class PeerSession(asyncio.Protocol):
    """asyncio protocol of one peer connection."""

    def __init__(self, owner: SessionOwner, dialed: PeerLane | None) -> None:
        """`dialed` is the lane this node dialed, None for an accepted connection."""
        self._owner = owner
        self._dialed = dialed
        self._buffer = FrameBuffer()
        self._transport: asyncio.Transport | None = None
        self.bytes_in = 0
        self.bytes_out = 0
        self.is_choked = False
        """Whether more waits to be sent than should: CHOKED_BYTES."""
        self.hello: Hello | None = None
        """The other side's greeting; None until it was admitted."""
        self.counters = PeerCounters()
        """The node's own ones of this peer, once it was admitted."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Asyncio's callback; the dialing side greets."""
        # A cast: uvloop's transports are asyncio's by shape, not by class.
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(high=CHOKED_BYTES)
        if self._dialed is not None:
            self.send(write_hello(self._owner.own_hello(self._dialed)))

    def data_received(self, data: bytes) -> None:
        """Asyncio's callback; whole frames go to the owner."""
        self.bytes_in += len(data)
        self.counters.bytes_in += len(data)
        try:
            self._handle([read_frame(frame) for frame in self._buffer.feed(data)])
        except PeerError as error:
            log.warning("peer connection closed peer=%s reason=%s", self.name, error)
            self.close(str(error))
        except AssertionError as error:
            self._owner.fail(error)

    def connection_lost(self, exc: Exception | None) -> None:
        """Asyncio's callback."""
        self._transport = None
        self._owner.lost(self)

    def pause_writing(self) -> None:
        """Asyncio's callback: the other side takes less than is sent."""
        self.is_choked = True

    def resume_writing(self) -> None:
        """Asyncio's callback: most of it has left."""
        self.is_choked = False
        self._owner.drained(self)

    def send(self, buffers: list[bytes | memoryview]) -> None:
        """Queue one frame; dropped when the connection is closing."""
        if self._transport is not None and not self._transport.is_closing():
            size = sum(map(len, buffers))
            self.bytes_out += size
            self.counters.bytes_out += size
            self._transport.writelines(buffers)

    def close(self, reason: str | None = None) -> None:
        """Close, telling the other side why if a `reason` is given."""
        if self._transport is None:
            return
        if reason is not None:
            self.send(write_refused(reason))
        self._transport.close()

    def abort(self) -> None:
        """Close at once, without sending what is queued."""
        if self._transport is not None:
            self._transport.abort()

    @property
    def is_open(self) -> bool:
        """Whether frames can still be sent."""
        return self._transport is not None and not self._transport.is_closing()

    @property
    def name(self) -> str:
        """The other side as logs name it."""
        if self.hello is not None:
            return f"node-{self.hello.node_id}"
        if self._transport is None:
            return "unknown"
        return str(self._transport.get_extra_info("peername"))

    def _handle(self, frames: list[Frame]) -> None:
        if self.hello is None and frames:
            self._greet(frames.pop(0))
        if frames:
            self._owner.received(self, frames)

    def _greet(self, frame: Frame) -> None:
        if isinstance(frame, Refused):
            raise PeerError(f"refused by the other side: {frame.reason}")
        if not isinstance(frame, Hello):
            raise PeerError(f"first frame is {type(frame).__name__}; expected Hello")
        if self._dialed is not None and frame.lane is not self._dialed:
            raise PeerError(f"dialed lane {self._dialed.name}, answered {frame.lane.name}")
        if self._dialed is None:
            self.hello = frame
            try:
                self._owner.admit(self, frame)
            except PeerError:
                self.hello = None
                raise
            self.send(write_hello(self._owner.own_hello(frame.lane)))
            return
        self.hello = frame
        self._owner.admit(self, frame)
