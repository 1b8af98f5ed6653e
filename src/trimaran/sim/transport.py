"""A simulated TCP connection: two transports and, between them, a pipe for each direction.

Bytes arrive whole, once and in order, or the connection ends; what varies is when, and in pieces
of which size. A pipe is `unsent` (the sender's own buffer, lost with its process) and `wire` (what
its kernel took: it still arrives after the process died). The wire holds at most `capacity` bytes
that the receiver has not read and acknowledged, as a TCP window does; what is above stays unsent,
and `pause_writing` follows from it.

Does not: decide on latency, loss or partitions (`network.Link` does).
"""

import asyncio
import zlib
from collections import deque
from collections.abc import Iterable
from enum import Enum
from typing import TYPE_CHECKING, Any

from trimaran.sim.process import Process

if TYPE_CHECKING:
    from trimaran.sim.network import Link, SimNetwork

HIGH_WATER_BYTES = 64 * 1024
"""asyncio's default limit of a transport's write buffer."""
READ_BYTES_MAX = 256 * 1024
"""asyncio reads at most this much at once."""


class End(Enum):
    """How a direction ends, in order after its bytes (FIN) or instead of them (RST)."""

    FIN = "FIN"
    RST = "RST"


class Pipe:
    """One direction of a connection."""

    __slots__ = (
        "_network",
        "_timer",
        "capacity",
        "ended",
        "held",
        "hold_count",
        "last_arrival_s",
        "link",
        "name",
        "source",
        "stall_watched",
        "stuck",
        "target",
        "unacked_bytes",
        "unsent",
        "unsent_bytes",
        "wire",
        "wire_bytes",
    )

    def __init__(
        self,
        network: "SimNetwork",
        link: "Link",
        name: str,
        *,
        source: "SimTransport",
        target: "SimTransport",
    ) -> None:
        self._network = network
        self._timer: asyncio.TimerHandle | None = None
        self.link = link
        self.name = name
        self.source = source
        self.target = target
        self.unsent: deque[bytes] = deque()
        self.unsent_bytes = 0
        self.wire: deque[tuple[float, bytes | End]] = deque()
        self.wire_bytes = 0
        self.unacked_bytes = 0
        self.capacity = network.draw_capacity()
        self.last_arrival_s = 0.0
        self.held = link.blocked
        self.hold_count = 0
        self.stall_watched = False
        self.stuck = False
        """This connection alone passes nothing, whatever its link does."""
        self.ended: End | None = None

    @property
    def blocked(self) -> bool:
        """Whether nothing passes now."""
        return self.stuck or self.link.blocked

    def send(self, chunk: bytes) -> None:
        """Take bytes from the sending process."""
        assert chunk
        self.unsent.append(chunk)
        self.unsent_bytes += len(chunk)
        if len(self.unsent) == 1:
            self.pump()

    def pump(self) -> None:
        """Move unsent bytes to the wire, as far as the window allows."""
        while self.unsent:
            room = self.capacity - self.wire_bytes - self.unacked_bytes
            if room <= 0:
                return
            chunk = self.unsent.popleft()
            taken = min(len(chunk), self._network.draw_piece(min(len(chunk), room)))
            if taken < len(chunk):
                self.unsent.appendleft(chunk[taken:])
            self.unsent_bytes -= taken
            self._put(chunk[:taken], taken)
        self.source.drained()

    def end(self, end: End) -> None:
        """Send FIN behind all bytes, or RST, which destroys what has not arrived.

        Nobody repeats an RST: one that meets a broken link may be lost, and the other side stays
        half open until it sends something itself.
        """
        if self.ended is End.RST or self.ended is end:
            return
        self.unsent.clear()
        self.unsent_bytes = 0
        if end is End.RST:
            self._drop_wire()
            if self.held and self._network.draw_loss():
                return
        self.ended = end
        self._put(end, 0)

    def vanish(self) -> None:
        """Forget everything: the sending machine lost its power."""
        self.unsent.clear()
        self.unsent_bytes = 0
        self.ended = None
        self._drop_wire()

    def hold(self) -> None:
        """The link broke: nothing arrives any more until `release`."""
        self.held = True
        self.hold_count += 1
        self._cancel()
        if self.wire:
            self._network.watch_stalled(self)

    def release(self, delay_s: float) -> None:
        """The link works again; what was held arrives after `delay_s` (retransmission)."""
        self.held = False
        arrival = self._network.loop.now_s + delay_s
        waiting, self.wire = self.wire, deque()
        self.last_arrival_s = 0.0
        for _, item in waiting:
            size = 0 if isinstance(item, End) else len(item)
            arrival = max(arrival, self._network.loop.now_s + self.link.draw_delay_s(size))
            self.wire.append((arrival, item))
        self.last_arrival_s = arrival
        self.schedule()

    def acknowledge(self) -> None:
        """The way back works again: the receiver's acknowledgements open the window."""
        if self.unacked_bytes:
            self.unacked_bytes = 0
            self._pump_soon()

    def schedule(self) -> None:
        """Set the timer for the next arrival, in the receiver's name while it lives."""
        if self._timer is not None or not self.wire or self.held:
            return
        target = self.target
        takes_all = target.gone or self.wire[0][1] is End.RST
        if not takes_all and not (target.attached and target.reading):
            return
        process = target.process if target.process.alive else self._network.loop.world
        delay = max(0.0, self.wire[0][0] - self._network.loop.now_s)
        self._timer = self._network.loop.call_io(process, delay, self._arrive)

    def reschedule(self) -> None:
        """The receiver died or started to listen: choose again who handles the next arrival."""
        self._cancel()
        self.schedule()

    def _put(self, item: bytes | End, size: int) -> None:
        arrival = self._network.loop.now_s + self.link.draw_delay_s(size)
        self.last_arrival_s = max(arrival, self.last_arrival_s)
        self.wire.append((self.last_arrival_s, item))
        self.wire_bytes += size
        if self.held:
            self._network.watch_stalled(self)
        else:
            self.schedule()

    def _arrive(self) -> None:
        self._timer = None
        target = self.target
        due = self._take_due()
        if target.gone:
            if not self.source.gone and any(not isinstance(item, End) for item in due):
                self._network.log_connection(self.name, "refused: nobody is there")
                target.outgoing.end(End.RST)
            self.schedule()
            return
        pieces = [item for item in due if not isinstance(item, End)]
        if pieces:
            self._deliver(b"".join(pieces))
        if due and isinstance(due[-1], End) and not target.gone:
            self._network.log_connection(self.name, due[-1].value)
            target.ended_by_peer(due[-1])
        self.schedule()

    def _take_due(self) -> list[bytes | End]:
        """Take what has arrived; FIN and bytes wait while the receiver does not read."""
        now_s = self._network.loop.now_s
        due: list[bytes | End] = []
        taken = 0
        while self.wire and self.wire[0][0] <= now_s and taken < READ_BYTES_MAX:
            item = self.wire[0][1]
            if not self.target.reading and not self.target.gone and item is not End.RST:
                break
            self.wire.popleft()
            due.append(item)
            if isinstance(item, End):
                break
            taken += len(item)
        self.wire_bytes -= taken
        if self.link.reverse().blocked:
            self.unacked_bytes += taken
        elif self.unsent:
            self._pump_soon()
        return due

    def _deliver(self, data: bytes) -> None:
        self._network.log_connection(self.name, f"{len(data)} bytes {zlib.crc32(data):08x}")
        self.target.deliver(data)

    def _pump_soon(self) -> None:
        if self.source.process.alive:
            self._network.loop.call_io(self.source.process, 0.0, self.pump)

    def _drop_wire(self) -> None:
        self._cancel()
        self.wire.clear()
        self.wire_bytes = 0
        self.last_arrival_s = 0.0

    def _cancel(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class SimTransport(asyncio.Transport):
    """One end of a connection, as the protocol on it sees it."""

    def __init__(
        self,
        network: "SimNetwork",
        process: Process,
        *,
        own: tuple[str, int],
        peer: tuple[str, int],
    ) -> None:
        """Make an end that no protocol is attached to yet."""
        super().__init__()
        self.process = process
        self.attached = False
        self.reading = True
        self.gone = False
        """Nobody is there any more: the socket is closed, or its process died."""
        self.outgoing: Pipe
        self.incoming: Pipe
        self._network = network
        self._addresses = {"sockname": own, "peername": peer}
        self._protocol: asyncio.Protocol | None = None
        self._closing = False
        self._lost = False
        self._writing_paused = False
        self._high = HIGH_WATER_BYTES
        self._low = HIGH_WATER_BYTES // 4

    # What the network does to it

    def attach(self, protocol: asyncio.Protocol) -> None:
        """Give the connection its protocol; bytes that already arrived follow."""
        assert not self.attached
        self.attached = True
        self._protocol = protocol
        protocol.connection_made(self)
        self.incoming.reschedule()

    def deliver(self, data: bytes) -> None:
        """Hand bytes to the protocol; its exception closes the connection, as in asyncio."""
        assert self._protocol is not None
        if self._closing:
            return
        try:
            self._protocol.data_received(data)
        except Exception as error:  # noqa: BLE001  (what asyncio's transports do)
            self._fail(error, "protocol.data_received() raised")

    def ended_by_peer(self, end: End) -> None:
        """The other side closed (FIN) or is gone (RST)."""
        if end is End.RST:
            self.lose(ConnectionResetError("connection reset by peer"))
            return
        assert self._protocol is not None
        if self._closing:
            return
        try:
            keep_open = self._protocol.eof_received()
        except Exception as error:  # noqa: BLE001  (what asyncio's transports do)
            self._fail(error, "protocol.eof_received() raised")
            return
        if not keep_open:
            self.close()

    def lose(self, error: Exception | None) -> None:
        """End this side at once; the protocol hears of it in its next turn."""
        if self._lost:
            return
        self._lost = True
        self._closing = True
        self.gone = True
        self.outgoing.unsent.clear()
        self.outgoing.unsent_bytes = 0
        self._network.forget(self)
        if self.process.alive and self.attached:
            context = self.process.context
            self._network.loop.call_soon(self._tell_lost, error, context=context)
        self.incoming.reschedule()

    def drained(self) -> None:
        """All that was written is on its way."""
        if self._closing and not self._lost:
            self.outgoing.end(End.FIN)
            self.lose(None)
        elif self._writing_paused:
            self._maybe_resume_writing()

    # What the protocol does with it

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send a copy of `data`; dropped when the connection is closing."""
        if not isinstance(data, bytes | bytearray | memoryview):
            raise TypeError(f"data must be bytes-like, not {type(data).__name__}")
        if self._closing or len(data) == 0:
            return
        self.outgoing.send(bytes(data))
        self._maybe_pause_writing()

    def writelines(self, list_of_data: Iterable[bytes | bytearray | memoryview]) -> None:
        """Send the parts as one piece."""
        self.write(b"".join(list_of_data))

    def close(self) -> None:
        """Stop reading, send what was written, then close."""
        if self._closing:
            return
        self._closing = True
        self.reading = False
        if not self.outgoing.unsent:
            self.drained()

    def abort(self) -> None:
        """Close at once; unsent bytes are lost."""
        if self._lost:
            return
        self.outgoing.end(self._network.draw_end())
        self.lose(None)

    def is_closing(self) -> bool:
        """Whether the connection is closed or about to be."""
        return self._closing

    def pause_reading(self) -> None:
        """Stop `data_received`; the window fills, then the sender waits."""
        if not self._closing:
            self.reading = False

    def resume_reading(self) -> None:
        """Go on reading."""
        if self._closing or self.reading:
            return
        self.reading = True
        self.incoming.schedule()

    def is_reading(self) -> bool:
        """Whether bytes are handed to the protocol."""
        return self.reading and not self._closing

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Pause the writer above `high` unsent bytes, resume it at `low`."""
        if high is None:
            high = HIGH_WATER_BYTES if low is None else 4 * low
        if low is None:
            low = high // 4
        if not high >= low >= 0:
            raise ValueError(f"high ({high}) must be >= low ({low}) must be >= 0")
        self._high, self._low = high, low
        self._maybe_pause_writing()

    def get_write_buffer_limits(self) -> tuple[int, int]:
        """Return (low, high)."""
        return self._low, self._high

    def get_write_buffer_size(self) -> int:
        """Return the bytes that the kernel has not taken."""
        return self.outgoing.unsent_bytes

    def can_write_eof(self) -> bool:
        """No: nothing of ours closes one direction alone."""
        return False

    def get_extra_info(self, name: str, default: Any = None) -> Any:  # noqa: ANN401
        """Return `peername` or `sockname`; there is no `socket`."""
        return self._addresses.get(name, default)

    def get_protocol(self) -> asyncio.BaseProtocol:
        """Return the protocol on this end."""
        assert self._protocol is not None
        return self._protocol

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Put another protocol on this end."""
        assert isinstance(protocol, asyncio.Protocol)
        self._protocol = protocol

    def _maybe_pause_writing(self) -> None:
        if self._writing_paused or self._closing or self.outgoing.unsent_bytes <= self._high:
            return
        assert self._protocol is not None
        self._writing_paused = True
        self._protocol.pause_writing()

    def _maybe_resume_writing(self) -> None:
        if self.outgoing.unsent_bytes > self._low or self._lost:
            return
        assert self._protocol is not None
        self._writing_paused = False
        self._protocol.resume_writing()

    def _tell_lost(self, error: Exception | None) -> None:
        assert self._protocol is not None
        self._protocol.connection_lost(error)

    def _fail(self, error: Exception, message: str) -> None:
        self._network.loop.call_exception_handler(
            {"message": f"{self.process.name}: {message}", "exception": error, "transport": self}
        )
        self.outgoing.end(End.RST)
        self.lose(error)
