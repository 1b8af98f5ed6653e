"""One client's connection without I/O: bytes in, frames out; answers in the order of the requests.

*In.* Made for asyncio's BufferedProtocol: `get_buffer` says where the next bytes go and
`buffer_updated` returns the frames they completed. Every frame is a writable view on a buffer of
its own (so that a batch can be stamped in place and keeps nothing else alive). Bytes are read into
a scratch buffer and a frame that ends in it is copied once; of a larger one only the beginning is,
the rest is received straight into the frame's buffer. What a size announces is not believed before
bytes came: a frame's buffer starts with `FRAME_START_BYTES` and doubles. Between two calls the
scratch buffer is empty: an edge whose `get_buffer`, read and `buffer_updated` follow each other
without a pause (as on every event loop that waits for readiness) may share one among all its
connections.

*Out.* Each request opens a slot; an answer leaves when all slots before it were filled. A request
without an answer (Produce with acks 0) fills its slot with nothing.

    frame: size i32, then that many bytes (a request or an answer without its size)

Does not: decode (`codec`), read or write sockets, know time.
"""

from collections import deque
from collections.abc import Callable, Sequence
from itertools import islice, takewhile
from typing import Final

from trimaran.errors import ProtocolError
from trimaran.records.entry import Payload

FRAME_BYTES_MAX: Final = 100 * 1024 * 1024
"""Kafka's default socket.request.max.bytes."""
SCRATCH_BYTES: Final = 64 * 1024
"""A usual frame with a full batch arrives with one read."""
FRAME_START_BYTES: Final = 1024 * 1024 + SCRATCH_BYTES
"""What is allocated at once for an announced frame: a full batch of a megabyte fits."""
REQUESTS_IN_FLIGHT_MAX: Final = 100
BYTES_IN_FLIGHT_MAX: Final = 32 * 1024 * 1024
"""Bytes of requests without an answer; a single larger request still passes, alone."""

_SIZE_BYTES = 4


class Slot:
    """The place of one answer in the order of answers."""

    __slots__ = ("_buffers", "filled", "is_patient", "on_overtaken", "request_bytes")

    def __init__(self, request_bytes: int) -> None:
        self.request_bytes = request_bytes
        self.filled = False
        self.on_overtaken: Callable[[], None] | None = None
        """Called when a later answer is ready and waits for this one: who waits on purpose (a
        Metadata parked during an election) can answer now."""
        self.is_patient = False
        """Whether nobody in front has to hurry for its answer, which is a matter of routine."""
        self._buffers: Sequence[Payload | bytearray] = ()

    @property
    def has_answer(self) -> bool:
        """Whether it holds something to send."""
        return len(self._buffers) > 0

    def hold(self, buffers: Sequence[Payload | bytearray]) -> None:
        """Keep the answer until its turn."""
        assert not self.filled, "a slot is filled once"
        self.filled = True
        self.on_overtaken = None
        self._buffers = buffers

    def release(self) -> Sequence[Payload | bytearray]:
        """Give the answer out."""
        assert self.filled
        return self._buffers


class KafkaConnection:
    """The state of one client's connection."""

    __slots__ = (
        "_bytes_in_flight_max",
        "_filling",
        "_frame",
        "_frame_bytes_max",
        "_frame_size",
        "_received",
        "_requests_in_flight_max",
        "_scratch",
        "_size_part",
        "_slots",
        "bytes_in_flight",
        "error",
    )

    def __init__(
        self,
        *,
        frame_bytes_max: int = FRAME_BYTES_MAX,
        requests_in_flight_max: int = REQUESTS_IN_FLIGHT_MAX,
        bytes_in_flight_max: int = BYTES_IN_FLIGHT_MAX,
        scratch: bytearray | None = None,
    ) -> None:
        """Start with nothing received. `scratch` may be shared: see the module's text."""
        assert frame_bytes_max > 0
        self._frame_bytes_max = frame_bytes_max
        self._requests_in_flight_max = requests_in_flight_max
        self._bytes_in_flight_max = bytes_in_flight_max
        self._scratch = memoryview(bytearray(SCRATCH_BYTES) if scratch is None else scratch)
        self._size_part = b""
        self._frame: memoryview | None = None
        self._frame_size = 0
        self._received = 0
        self._filling = False
        self._slots: deque[Slot] = deque()
        self.bytes_in_flight = 0
        """Bytes of the requests that have a slot."""
        self.error: ProtocolError | None = None
        """Why what came last is no frame: a size that is negative or above the limit. Nothing is
        allocated for it and nothing after it is taken; frames before it are requests like any
        others, and the connection is to be closed once they are answered."""

    @property
    def requests_in_flight(self) -> int:
        """Requests that have a slot: not answered, or answered and waiting for their turn."""
        return len(self._slots)

    @property
    def should_pause(self) -> bool:
        """Whether so much is in flight that nothing more should be read."""
        return (
            len(self._slots) >= self._requests_in_flight_max
            or self.bytes_in_flight >= self._bytes_in_flight_max
        )

    @property
    def is_mid_frame(self) -> bool:
        """Whether a frame was begun and is not complete (for time-outs on slow senders)."""
        return self._frame is not None or len(self._size_part) > 0

    @property
    def announced_bytes(self) -> int:
        """Size of the frame that was begun and is not complete; 0 if there is none."""
        return 0 if self._frame is None else self._frame_size

    def get_buffer(self) -> memoryview:
        """Return where the next bytes are to be received; never empty."""
        if self._frame is not None:
            self._filling = True
            return self._frame[self._received :]
        self._filling = False
        return self._scratch

    def buffer_updated(self, count: int) -> list[memoryview]:
        """Take note of `count` bytes in the last buffer given; return the frames now complete.

        There are no more once there is an `error`.
        """
        assert count > 0
        if self._filling:
            return self._filled_by(count)
        assert count <= len(self._scratch)
        return self._split(self._scratch[:count])

    def receive(self, data: Payload) -> list[memoryview]:
        """Take `data` as if it had been read; return the frames now complete.

        For edges that are given bytes instead of a buffer to fill; it copies once more.
        """
        frames = []
        position = 0
        while position < len(data) and self.error is None:
            buffer = self.get_buffer()
            part = data[position : position + len(buffer)]
            buffer[: len(part)] = part
            position += len(part)
            frames += self.buffer_updated(len(part))
        return frames

    def open_slot(self, request_bytes: int) -> Slot:
        """Reserve the next place in the order of answers, for a request of that many bytes."""
        assert request_bytes >= 0
        slot = Slot(request_bytes)
        self._slots.append(slot)
        self.bytes_in_flight += request_bytes
        return slot

    def fill(self, slot: Slot, buffers: Sequence[Payload | bytearray]) -> list[Payload | bytearray]:
        """Put the answer into its slot; return all buffers that may leave now, in order.

        `buffers` is empty for a request that gets no answer. If an answer must wait, earlier slots
        are told (`Slot.on_overtaken`); such a callback may fill its slot at once.
        """
        slot.hold(buffers)
        if buffers and not slot.is_patient and self._slots[0] is not slot:
            self._tell_overtaken(slot)
        leaving: list[Payload | bytearray] = []
        while self._slots and self._slots[0].filled:
            first = self._slots.popleft()
            self.bytes_in_flight -= first.request_bytes
            leaving += first.release()
        assert self.bytes_in_flight >= 0
        return leaving

    def is_overtaken(self, slot: Slot) -> bool:
        """Whether a later answer is ready and waits for `slot`'s."""
        later = islice(self._slots, self._slots.index(slot) + 1, None)
        return any(other.has_answer and not other.is_patient for other in later)

    def _tell_overtaken(self, slot: Slot) -> None:
        """Call `on_overtaken` of the earlier slots that wait, once each."""
        earlier = list(takewhile(lambda other: other is not slot, self._slots))
        for waiting in earlier:
            callback = waiting.on_overtaken
            waiting.on_overtaken = None
            if callback is not None:
                callback()

    def _split(self, data: memoryview) -> list[memoryview]:
        """Cut `data` into frames; what is left over becomes the next frame's beginning."""
        frames: list[memoryview] = []
        position = 0
        while position < len(data) and self.error is None:
            if len(self._size_part) + len(data) - position < _SIZE_BYTES:
                self._size_part += bytes(data[position:])
                break
            body = position + _SIZE_BYTES - len(self._size_part)
            size = int.from_bytes(self._size_part + bytes(data[position:body]), "big", signed=True)
            self._size_part = b""
            if not 0 <= size <= self._frame_bytes_max:
                self._refuse(size)
                break
            part = data[body : body + size]
            frame = memoryview(bytearray(min(size, FRAME_START_BYTES)))
            frame[: len(part)] = part
            position = body + len(part)
            if len(part) == size:
                frames.append(frame)
            else:
                self._frame = frame
                self._frame_size = size
                self._received = len(part)
        return frames

    def _filled_by(self, count: int) -> list[memoryview]:
        """Take note of `count` bytes received into the frame's own buffer."""
        frame = self._frame
        assert frame is not None
        self._received += count
        assert self._received <= len(frame) <= self._frame_size
        if self._received == self._frame_size:
            self._frame = None
            return [frame]
        if self._received == len(frame):
            larger = memoryview(bytearray(min(self._frame_size, 2 * len(frame))))
            larger[: len(frame)] = frame
            self._frame = larger
        return []

    def _refuse(self, size: int) -> None:
        expected = f"expected 0 to {self._frame_bytes_max}"
        self.error = ProtocolError(f"a frame of {size} bytes; {expected}")
