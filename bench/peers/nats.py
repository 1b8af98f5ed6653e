"""NATS JetStream: three servers, one stream of three replicas on files.

Uses `build/peers/nats-server` (built by the Go tools, where they are, from the newest module), else
the one on the path.
The raw producer speaks NATS's own text protocol to the stream's leader: one PUB for each event,
with a reply subject that names the chunk; the stream answers each event by itself.
"""

import contextlib
import json
import os
import shutil
import socket
import subprocess
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from bench.peers.peer import OpenPeer, Peer
from bench.peers.processes import Servers, free_ports, listens, servers
from trimaran.bench.errors import BenchError
from trimaran.bench.sockets import SocketSender, connected
from trimaran.bench.target import Target

BUILT = Path(__file__).resolve().parents[2] / "build" / "peers" / "nats-server"
MODULE = "github.com/nats-io/nats-server/v2"
NODES = 3
START_S = 30.0
ANSWER_S = 10.0
IN_FLIGHT_EVENTS = 4_096
"""A stream refuses more than 10,000 that wait for it."""
SETTINGS = """\
server_name: n{number}
listen: "127.0.0.1:{port}"
jetstream {{ store_dir: "{directory}/data-{number}", max_file_store: 60G{sync} }}
cluster {{ name: bench, listen: "127.0.0.1:{cluster}", routes: [{routes}] }}
"""
INBOX = f"_INBOX.{uuid.uuid4().hex[:12]}".encode()
"""Answers to this process."""


def program() -> str | None:
    """Return the server to run, built if that can be done; None without one."""
    if not BUILT.exists() and shutil.which("go"):
        command = ["go", "install", f"{MODULE}@latest"]
        environment = {**os.environ, "GOBIN": str(BUILT.parent)}
        subprocess.run(command, env=environment, capture_output=True, check=False)
    return str(BUILT) if BUILT.exists() else shutil.which("nats-server")


class Talk:
    """One connection, one question at a time: for creating and deleting streams."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), ANSWER_S)
        self.stream = self.socket.makefile("rb")
        self.stream.readline()
        self.socket.sendall(hello() + b"SUB " + INBOX + b".* 1\r\n")

    def ask(self, subject: str, body: object) -> Any:  # noqa: ANN401
        """Return the answer's JSON. Raises OSError."""
        text = json.dumps(body).encode()
        head = f"PUB {subject} {INBOX.decode()}.0 {len(text)}\r\n".encode()
        self.socket.sendall(head + text + b"\r\n")
        while not (line := self.stream.readline()).startswith(b"MSG"):
            if not line:
                raise ConnectionError("NATS closed the connection")
            if line.startswith(b"PING"):
                self.socket.sendall(b"PONG\r\n")
        return json.loads(self.stream.read(int(line.split()[-1]) + 2))

    def close(self) -> None:
        """Hang up."""
        self.stream.close()
        self.socket.close()


def hello() -> bytes:
    """Return the first line of a client."""
    said = {"verbose": False, "pedantic": False, "lang": "python", "version": "0", "protocol": 1}
    return b"CONNECT " + json.dumps(said).encode() + b"\r\n"


def opener(sync: str) -> OpenPeer:
    """Return what opens a cluster whose JetStream block ends with `sync`."""

    @contextlib.contextmanager
    def opened(base: Path) -> Iterator[Target]:
        command = program()
        assert command is not None
        ports = free_ports(2 * NODES)
        clients, clusters = ports[:NODES], ports[NODES:]
        routes = ", ".join(f'"nats://127.0.0.1:{port}"' for port in clusters)
        with servers("nats", base) as own:
            for number, (port, cluster) in enumerate(zip(clients, clusters, strict=True), 1):
                path = own.directory / f"server-{number}.conf"
                path.write_text(
                    SETTINGS.format(
                        number=number,
                        port=port,
                        cluster=cluster,
                        routes=routes,
                        directory=own.directory,
                        sync=sync,
                    )
                )
                own.start([command, "-c", str(path)])
            own.wait(lambda: all(map(listens, clients)), START_S, "NATS")
            _wait_for_jetstream(own, clients)
            yield Target(
                name="NATS",
                bootstrap=",".join(map(str, clients)),
                disk=own.directory,
                node_count=NODES,
                process_ids=own.pids(),
                open_topic=lambda _partitions, _settings: _stream(clients),
            )

    return opened


def _wait_for_jetstream(own: Servers, ports: list[int]) -> None:
    """Wait until a stream of three replicas can be made."""

    def ready() -> bool:
        with contextlib.suppress(OSError, BenchError), _stream(ports):
            return True
        return False

    own.wait(ready, START_S, "JetStream")


@contextlib.contextmanager
def _stream(ports: list[int]) -> Iterator[str]:
    name = f"bench-{uuid.uuid4().hex[:8]}"
    talk = Talk(ports[0])
    try:
        made = talk.ask(
            f"$JS.API.STREAM.CREATE.{name}",
            {"name": name, "subjects": [name], "storage": "file", "num_replicas": NODES},
        )
        if "error" in made:
            raise BenchError(f"NATS made no stream: {made['error']}")
        yield name
        talk.ask(f"$JS.API.STREAM.DELETE.{name}", {})
    finally:
        talk.close()


def leader(ports: Mapping[str, int], stream: str) -> int:
    """Return the port of the server that leads a stream."""
    talk = Talk(next(iter(ports.values())))
    try:
        found = talk.ask(f"$JS.API.STREAM.INFO.{stream}", {})
        return ports[found["cluster"]["leader"]]
    finally:
        talk.close()


class NatsSender(SocketSender):
    """The raw producer."""

    def connect(self) -> None:
        """Connect to the stream's leader."""
        found = str(self.task.settings["bootstrap.servers"]).split(",")
        ports = {f"n{number}": int(port) for number, port in enumerate(found, 1)}
        one = connected("127.0.0.1", leader(ports, self.task.topic))
        one.sendall(hello() + b"SUB " + INBOX + b".* 1\r\n")
        self.sockets = [one]
        self.chunks_max = max(1, IN_FLIGHT_EVENTS // self.task.chunk)
        self._tails = [b" %d\r\n%b\r\n" % (len(value), value) for value in self.payloads]
        self._subject = b"PUB " + self.task.topic.encode() + b" " + INBOX + b"."

    def write_chunk(self, number: int, size: int) -> None:
        """Publish each event with the chunk's own reply subject."""
        head = self._subject + b"%d" % number
        tails = self._tails
        self.sockets[0].sendall(b"".join([head + tails[at % len(tails)] for at in range(size)]))

    def take(self, place: int, buffer: bytearray) -> int:
        """Count every whole acknowledgement: `MSG subject sid size`, then its JSON."""
        used = 0
        while (end := buffer.find(b"\r\n", used)) >= 0:
            if not buffer.startswith(b"MSG ", used):
                if buffer.startswith(b"PING", used):
                    self.sockets[place].sendall(b"PONG\r\n")
                elif buffer.startswith(b"-ERR", used):
                    raise BenchError(f"NATS: {bytes(buffer[used:end])!r}")
                used = end + 2
                continue
            words = bytes(buffer[used:end]).split()
            body_end = end + 2 + int(words[-1])
            if len(buffer) < body_end + 2:
                break
            body = bytes(buffer[end + 2 : body_end])
            error = body.decode() if b'"error"' in body else None
            self.answered(int(words[1].rpartition(b".")[2]), events=1, error=error)
            used = body_end + 2
        return used


def _missing() -> str | None:
    return None if program() is not None else "install nats-server"


SENDER = "bench.peers.nats:NatsSender"
AS_SHIPPED = Peer(
    name="nats",
    durability="a majority has written it; synced every two minutes",
    missing=_missing,
    open=opener(""),
    sender=SENDER,
    library="nats",
    library_sender="bench.peers.libraries:NatsLibrary",
)
WITH_SYNC = Peer(
    name="nats-fsync",
    durability="sync_interval: always: a majority has synced it",
    missing=_missing,
    open=opener(", sync_interval: always"),
    sender=SENDER,
    library="nats",
    library_sender="bench.peers.libraries:NatsLibrary",
)
