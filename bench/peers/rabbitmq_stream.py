"""RabbitMQ's stream protocol, as much of it as publishing needs.

Source: PROTOCOL.adoc of the rabbitmq_stream plugin. A frame is its size, a command, a version, then
fields; requests carry a correlation id, publishing does not. A publishing id here holds the chunk's
number above 20 bits that count its events.
"""

import socket
import struct
from collections import Counter

from bench.peers.senders import PeerSender
from trimaran.bench.errors import BenchError
from trimaran.bench.sockets import connected

ANSWER_S = 10.0
OK = 1
DECLARE_PUBLISHER, PUBLISH, CONFIRM, PUBLISH_ERROR, CREATE, DELETE, METADATA = (
    1,
    2,
    3,
    4,
    13,
    14,
    15,
)
PROPERTIES, HANDSHAKE, AUTHENTICATE, TUNE, OPEN, HEARTBEAT = 17, 18, 19, 20, 21, 23
HEAD = struct.Struct(">HH")
PUBLISHER = 0
EVENT_BITS = 20


class RefusedError(Exception):
    """The server answered with a code that is not 1."""


def text(value: str) -> bytes:
    """Return a string as the protocol has it."""
    return struct.pack(">h", len(value)) + value.encode()


class Talk:
    """One authenticated connection, one question at a time."""

    def __init__(self, port: int) -> None:
        """Raises OSError, RefusedError."""
        self.socket = connected("127.0.0.1", port)
        self.socket.settimeout(ANSWER_S)
        self.correlation = 0
        self.ask(PROPERTIES, struct.pack(">i", 0))
        self.ask(HANDSHAKE, b"")
        secret = b"\0guest\0guest"
        self.ask(AUTHENTICATE, text("PLAIN") + struct.pack(">i", len(secret)) + secret)
        _, tuned = self.read(TUNE)
        self.write(TUNE, tuned[:4] + struct.pack(">I", 0))
        self.ask(OPEN, text("/"))

    def create(self, stream: str) -> None:
        """Make a stream; it gets a replica on each node."""
        self.ask(CREATE, text(stream) + struct.pack(">i", 0))

    def delete(self, stream: str) -> None:
        """Delete it."""
        self.ask(DELETE, text(stream))

    def replica_count(self, stream: str) -> int:
        """Return how many nodes hold a stream, its leader included."""
        return self._metadata(stream)[1]

    def leader_port(self, stream: str) -> int:
        """Return the stream port of the node that leads it."""
        return self._metadata(stream)[0]

    def declare_publisher(self, stream: str) -> None:
        """Be a publisher without a name: nothing is deduplicated."""
        self.ask(DECLARE_PUBLISHER, struct.pack(">B", PUBLISHER) + text("") + text(stream))

    def close(self) -> None:
        """Hang up."""
        self.socket.close()

    def ask(self, command: int, fields: bytes) -> bytes:
        """Return what follows the answer's code. Raises RefusedError."""
        self.correlation += 1
        self.write(command, struct.pack(">I", self.correlation) + fields)
        _, body = self.read(command | 0x8000)
        (code,) = struct.unpack_from(">H", body, 4)
        if code != OK:
            raise RefusedError(f"RabbitMQ refused command {command}: code {code}")
        return body[6:]

    def write(self, command: int, body: bytes) -> None:
        """Send one frame."""
        self.socket.sendall(struct.pack(">IHH", 4 + len(body), command, 1) + body)

    def read(self, command: int) -> tuple[int, bytes]:
        """Return the next frame that is `command`; others are passed."""
        while True:
            (size,) = struct.unpack(">I", self._exactly(4))
            frame = self._exactly(size)
            found, _version = HEAD.unpack_from(frame)
            if found == command:
                return found, frame[4:]

    def _metadata(self, stream: str) -> tuple[int, int]:
        self.correlation += 1
        asked = struct.pack(">Ii", self.correlation, 1) + text(stream)
        self.write(METADATA, asked)
        body = self.read(METADATA | 0x8000)[1]
        at = 4
        (count,) = struct.unpack_from(">i", body, at)
        at += 4
        ports: dict[int, int] = {}
        for _ in range(count):
            reference, length = struct.unpack_from(">Hh", body, at)
            at += 4 + length
            (ports[reference],) = struct.unpack_from(">I", body, at)
            at += 4
        at += 4
        (length,) = struct.unpack_from(">h", body, at)
        at += 2 + length
        code, leader, replicas = struct.unpack_from(">HHi", body, at)
        if code != OK or leader not in ports:
            raise RefusedError(f"stream {stream}: code {code}, no leader")
        return ports[leader], 1 + replicas

    def _exactly(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            more = self.socket.recv(count - len(data))
            if not more:
                raise ConnectionError("RabbitMQ closed the connection")
            data += more
        return data


class StreamSender(PeerSender):
    """The raw producer."""

    def connect(self) -> None:
        """Connect to the stream's leader and be a publisher there."""
        asked = Talk(int(str(self.task.settings["bootstrap.servers"])))
        port = asked.leader_port(self.task.topic)
        asked.close()
        talk = Talk(port)
        talk.declare_publisher(self.task.topic)
        self.sockets: list[socket.socket] = [talk.socket]
        talk.socket.settimeout(None)
        self.limit()
        self._bodies = [_message(value) for value in self.payloads]

    def write_chunk(self, number: int, size: int) -> None:
        """Publish a chunk in one frame."""
        bodies, first = self._bodies, number << EVENT_BITS
        parts = [struct.pack(">BI", PUBLISHER, size)]
        for at in range(size):
            parts += [struct.pack(">Q", first + at), bodies[at % len(bodies)]]
        body = b"".join(parts)
        self.sockets[0].sendall(struct.pack(">IHH", 4 + len(body), PUBLISH, 1) + body)

    def take(self, place: int, buffer: bytearray) -> int:
        """Count every confirmed id."""
        used = 0
        counts: Counter[tuple[int, str | None]] = Counter()
        while len(buffer) - used >= 4:
            (size,) = struct.unpack_from(">I", buffer, used)
            end = used + 4 + size
            if end > len(buffer):
                break
            command, _version = HEAD.unpack_from(buffer, used + 4)
            if command == CONFIRM:
                (count,) = struct.unpack_from(">I", buffer, used + 9)
                numbers = struct.unpack_from(f">{count}Q", buffer, used + 13)
                counts.update((number >> EVENT_BITS, None) for number in numbers)
            elif command == PUBLISH_ERROR:
                raise BenchError(f"RabbitMQ refused events: {bytes(buffer[used:end])!r}")
            used = end
        self.answered_many(counts)
        return used


def _message(value: bytes) -> bytes:
    """Return an event as an AMQP 1.0 message of one data section, its length in front."""
    section = b"\x00\x53\x75\xb0" + struct.pack(">I", len(value)) + value
    return struct.pack(">I", len(section)) + section
