"""Producers over plain sockets: whole batches of ready bytes, where a library is the limit.

A Python client library spends 2 to 20 microseconds on each event and is soon the limit itself. A
`SocketSender` frames a whole chunk at a time, from payloads prepared before the run, and counts the
acknowledgements as they come; `loads` drives it like any other producer. The subclass speaks the
protocol: Kafka's here (`raw_producer`), other systems' in the comparison with them.
Does not: retry, follow a moved leader, or send the same chunk twice: what fails is counted.
"""

import select
import socket
import time
from collections.abc import Callable, Sequence
from typing import Self

from trimaran.bench.errors import BenchError
from trimaran.bench.sender import QUEUE_FULL_WAIT_NS, Delivered, Wait, sleep_ns
from trimaran.bench.task import Task

CONNECT_S = 10.0
CHUNKS_MAX = 16
"""Chunks under way at a time: at 64 KiB each, more than a round trip's worth."""
READ_BYTES = 262_144


class SocketSender:
    """Several sockets to one target, chunks under way on them, and who waits for their answers."""

    chunks_max = CHUNKS_MAX

    def __init__(self, task: Task, payloads: Sequence[bytes]) -> None:
        """Connect; ready to send on return. Raises BenchError where the target refuses."""
        self.task = task
        self.payloads = payloads
        self.wait: Wait = sleep_ns
        self.queue_full = 0
        self.reported = 0
        """Events reported so far."""
        self.open: dict[int, tuple[int, Delivered]] = {}
        """Chunk number to events without an answer and whom to tell."""
        self.sockets: list[socket.socket] = []
        self.failure: Exception | None = None
        """What ended the reading of answers: no more chunks are taken."""
        self._buffers: dict[int, bytearray] = {}
        self.connect()

    @property
    def client(self) -> Self:
        """It brings its own reports."""
        return self

    def connect(self) -> None:
        """Open `sockets`. For the subclass."""
        raise NotImplementedError

    def write_chunk(self, number: int, size: int) -> None:
        """Write the `size` events of chunk `number`. For the subclass."""
        raise NotImplementedError

    def take(self, place: int, buffer: bytearray) -> int:
        """Use the whole answers in `buffer`, read from socket `place`; return the bytes used.

        For the subclass, which calls `answered` for each.
        """
        raise NotImplementedError

    def send_chunk(self, number: int, size: int, delivered: Delivered) -> None:
        """Send a chunk as soon as few enough are under way."""
        while len(self.open) >= self.chunks_max or self.failure is not None:
            if self.failure is not None:
                raise BenchError(f"answers of {self.task.topic} ended: {self.failure!r}")
            self.queue_full += 1
            self.wait(QUEUE_FULL_WAIT_NS)
        self.open[number] = (size, delivered)
        self.write_chunk(number, size)

    def answered(self, number: int, *, error: object | None = None, events: int = 0) -> None:
        """Report `events` of a chunk (0: all that are left)."""
        left, delivered = self.open[number]
        told = events or left
        if told == left:
            del self.open[number]
        else:
            self.open[number] = (left - told, delivered)
        self.reported += told
        for _ in range(told):
            delivered(error, None)

    def poll(self, timeout: float) -> int:
        """Take what was answered, waiting up to `timeout` seconds; return how many events."""
        end_s = time.monotonic() + timeout
        before = self.reported
        while self.reported == before:
            left_s = max(0.0, end_s - time.monotonic())
            readable, _, _ = select.select(self.sockets, [], [], left_s)
            if not readable:
                break
            try:
                for one in readable:
                    self._read(self.sockets.index(one))
            except Exception as error:
                self.failure = error
                raise
        return self.reported - before

    def _read(self, place: int) -> None:
        data = self.sockets[place].recv(READ_BYTES)
        if not data:
            raise BenchError(f"the target closed the connection to {self.task.topic}")
        buffer = self._buffers.setdefault(place, bytearray())
        buffer += data
        del buffer[: self.take(place, buffer)]

    def flush(self, timeout: float) -> int:
        """Wait for all answers, up to `timeout` seconds; return how many chunks have none."""
        end_s = time.monotonic() + timeout
        while self.open and (left_s := end_s - time.monotonic()) > 0:
            self.poll(left_s)
        return len(self.open)


def connected(host: str, port: int) -> socket.socket:
    """Return a connection that sends at once what it is given. Raises BenchError."""
    try:
        one = socket.create_connection((host, port), CONNECT_S)
    except OSError as error:
        raise BenchError(f"nothing answers at {host}:{port} ({error})") from error
    one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    one.settimeout(None)
    return one


MakeSender = Callable[[Task, Sequence[bytes]], SocketSender]
