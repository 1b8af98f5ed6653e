"""AMQP 0.9.1, as much of it as publishing with confirms to a quorum queue needs.

Source: the specification's XML and RabbitMQ's extension `confirm`. Delivery tags count the events
of a channel from 1, chunks have one size, so a tag names its chunk.
"""

import struct
from collections import Counter

from bench.peers.senders import PeerSender
from trimaran.bench.errors import BenchError
from trimaran.bench.sockets import connected

ANSWER_S = 10.0
METHOD, HEADER, BODY, HEARTBEAT = 1, 2, 3, 8
END = b"\xce"
START, START_OK, TUNE, TUNE_OK, OPEN, OPEN_OK = (
    (10, 10),
    (10, 11),
    (10, 30),
    (10, 31),
    (10, 40),
    (10, 41),
)
CHANNEL_OPEN, CHANNEL_OPEN_OK = (20, 10), (20, 11)
DECLARE, DECLARE_OK, DELETE, DELETE_OK = (50, 10), (50, 11), (50, 40), (50, 41)
SELECT, SELECT_OK = (85, 10), (85, 11)
PUBLISH, ACK, NACK = (60, 40), (60, 80), (60, 120)
BASIC = 60
DURABLE = 0b10
DELIVERY_MODE = 0x1000
PERSISTENT = 2


def short(value: str) -> bytes:
    """Return a short string."""
    return bytes([len(value)]) + value.encode()


def frame(kind: int, channel: int, body: bytes) -> bytes:
    """Return one frame."""
    return struct.pack(">BHI", kind, channel, len(body)) + body + END


def method(channel: int, name: tuple[int, int], fields: bytes) -> bytes:
    """Return the frame of a method."""
    return frame(METHOD, channel, struct.pack(">HH", *name) + fields)


class Talk:
    """One open channel."""

    def __init__(self, port: int) -> None:
        """Raises OSError."""
        self.socket = connected("127.0.0.1", port)
        self.socket.settimeout(ANSWER_S)
        self.socket.sendall(b"AMQP\x00\x00\x09\x01")
        self.expect(START)
        secret = b"\0guest\0guest"
        answer = struct.pack(">I", 0) + short("PLAIN") + struct.pack(">I", len(secret)) + secret
        self.socket.sendall(method(0, START_OK, answer + short("en_US")))
        channels, frame_bytes, _heartbeat = struct.unpack_from(">HIH", self.expect(TUNE))
        self.socket.sendall(method(0, TUNE_OK, struct.pack(">HIH", channels, frame_bytes, 0)))
        self.ask(0, OPEN, short("/") + short("") + b"\0", OPEN_OK)
        self.ask(1, CHANNEL_OPEN, short(""), CHANNEL_OPEN_OK)

    def declare_quorum_queue(self, name: str, replicas: int) -> None:
        """Make a durable queue of so many replicas; its leader is the node asked."""
        table = short("x-queue-type") + b"S" + struct.pack(">I", 6) + b"quorum"
        table += short("x-quorum-initial-group-size") + b"I" + struct.pack(">i", replicas)
        fields = struct.pack(">H", 0) + short(name) + bytes([DURABLE])
        self.ask(1, DECLARE, fields + struct.pack(">I", len(table)) + table, DECLARE_OK)

    def delete_queue(self, name: str) -> None:
        """Delete it with all that is in it."""
        self.ask(1, DELETE, struct.pack(">H", 0) + short(name) + b"\0", DELETE_OK)

    def close(self) -> None:
        """Hang up."""
        self.socket.close()

    def ask(
        self, channel: int, name: tuple[int, int], fields: bytes, answer: tuple[int, int]
    ) -> None:
        """Send a method and wait for its answer."""
        self.socket.sendall(method(channel, name, fields))
        self.expect(answer)

    def expect(self, name: tuple[int, int]) -> bytes:
        """Return the fields of the next method, which must be `name`. Raises ConnectionError."""
        while True:
            kind, _channel, size = struct.unpack(">BHI", self._exactly(7))
            body = self._exactly(size + 1)[:-1]
            if kind != METHOD:
                continue
            found = struct.unpack_from(">HH", body)
            if found != name:
                raise ConnectionError(f"RabbitMQ: expected method {name}, found {found}: {body!r}")
            return body[4:]

    def _exactly(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            more = self.socket.recv(count - len(data))
            if not more:
                raise ConnectionError("RabbitMQ closed the connection")
            data += more
        return data


class AmqpSender(PeerSender):
    """The raw producer."""

    def connect(self) -> None:
        """Connect to the node that made the queue, its leader."""
        talk = Talk(int(str(self.task.settings["bootstrap.servers"])))
        talk.ask(1, SELECT, b"\0", SELECT_OK)
        talk.socket.settimeout(None)
        self.sockets = [talk.socket]
        self.limit()
        target = struct.pack(">H", 0) + short("") + short(self.task.topic) + b"\0"
        publish = method(1, PUBLISH, target)
        self._events = [publish + _content(value) for value in self.payloads]
        self._size = 1
        self._settled = 0
        """Every tag up to this one has its answer."""
        self._early: set[int] = set()
        """Those above that have theirs."""

    def write_chunk(self, number: int, size: int) -> None:
        """Publish each event."""
        self._size = size
        events = self._events
        self.sockets[0].sendall(b"".join([events[at % len(events)] for at in range(size)]))

    def take(self, place: int, buffer: bytearray) -> int:
        """Count every confirmed tag."""
        used = 0
        counts: Counter[tuple[int, str | None]] = Counter()
        while len(buffer) - used >= 8:
            kind, _channel, size = struct.unpack_from(">BHI", buffer, used)
            end = used + 8 + size
            if end > len(buffer):
                break
            if kind == METHOD:
                self._confirm(bytes(buffer[used + 7 : end - 1]), counts)
            used = end
        self.answered_many(counts)
        return used

    def _confirm(self, body: bytes, counts: Counter[tuple[int, str | None]]) -> None:
        name = struct.unpack_from(">HH", body)
        if name not in (ACK, NACK):
            raise BenchError(f"RabbitMQ: expected a confirm, found method {name}: {body!r}")
        tag, bits = struct.unpack_from(">QB", body, 4)
        error = None if name == ACK else "nack"
        early, size = self._early, self._size
        for one in range(self._settled + 1, tag + 1) if bits & 1 else (tag,):
            if one not in early:
                early.add(one)
                counts[(one - 1) // size, error] += 1
        while self._settled + 1 in early:
            self._settled += 1
            early.discard(self._settled)


def _content(value: bytes) -> bytes:
    """Return a persistent event's header and body frames."""
    properties = struct.pack(">HHQHB", BASIC, 0, len(value), DELIVERY_MODE, PERSISTENT)
    return frame(HEADER, 1, properties) + frame(BODY, 1, value)
