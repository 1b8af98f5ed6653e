"""NATS JetStream: three servers, one stream of three replicas on files.

Uses `build/peers/nats-server` (built by the Go tools, where they are, from the newest module), else
the one on the path.
The raw producer speaks NATS's own text protocol to the stream's leader: one PUB for each event,
with a reply subject that names the chunk; the stream answers each event by itself.
"""

import contextlib
import functools
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench.peers.peer import NODES, OpenPeer, Peer
from bench.peers.processes import ASK_S, Servers, free_ports, listens, servers
from bench.peers.senders import PeerSender
from trimaran.bench.errors import BenchError
from trimaran.bench.sockets import connected
from trimaran.bench.target import Target

BUILT = Path(__file__).resolve().parents[2] / "build" / "peers" / "nats-server"
MODULE = "github.com/nats-io/nats-server/v2"
START_S = 30.0
ANSWER_S = 10.0
BUILD_S = 540.0
SYNC_SINCE = (2, 10, 23)
"""Versions before sync a stream's Raft log every five minutes, whatever `sync_interval` says: it
reaches only the stream (`createRaftGroup` in server/jetstream_cluster.go, pull request 6041)."""
SETTINGS = """\
server_name: n{number}
listen: "127.0.0.1:{port}"
jetstream {{ store_dir: "{directory}/data-{number}", max_file_store: 60G{sync} }}
cluster {{ name: bench, listen: "127.0.0.1:{cluster}", routes: [{routes}] }}
"""
INBOX = f"_INBOX.{uuid.uuid4().hex[:12]}".encode()
"""Answers to this process."""
ACK = re.compile(
    rb"MSG %b\.(\d+) 1 \d+\r\n"
    rb'\{"stream":\s*"[^"]*",\s*"seq":\s*\d+\}\r\n' % re.escape(INBOX)
)
"""What nearly every event is answered."""


@functools.cache
def program() -> str | None:
    """Return the server to run, built if that can be done; None without one."""
    if not BUILT.exists() and shutil.which("go"):
        print(f"building {MODULE} with the Go tools: once, some minutes", file=sys.stderr)
        try:
            subprocess.run(
                ["go", "install", f"{MODULE}@latest"],
                env={**os.environ, "GOBIN": str(BUILT.parent)},
                stderr=subprocess.PIPE,
                text=True,
                check=True,
                timeout=BUILD_S,
            )
        except (subprocess.SubprocessError, OSError) as error:
            said = (getattr(error, "stderr", None) or str(error)).strip().splitlines()[-1:]
            print(f"it was not built: {' '.join(said)}", file=sys.stderr)
    return str(BUILT) if BUILT.exists() else shutil.which("nats-server")


@functools.cache
def _version() -> str:
    """Return what the server says of itself: `2.15.3`."""
    command = program()
    assert command is not None
    said = subprocess.run([command, "--version"], capture_output=True, text=True, check=True)
    return said.stdout.strip().rpartition("v")[2]


class Talk:
    """One connection, one question at a time: for creating and deleting streams."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), ANSWER_S)
        self.stream = self.socket.makefile("rb")
        self.stream.readline()
        self.socket.sendall(hello() + b"SUB " + INBOX + b".* 1\r\n")

    def ask(self, subject: str, body: object) -> Any:  # noqa: ANN401
        """Return the answer's JSON. Raises OSError: none came, or nobody is there to give one."""
        text = json.dumps(body).encode()
        head = f"PUB {subject} {INBOX.decode()}.0 {len(text)}\r\n".encode()
        self.socket.sendall(head + text + b"\r\n")
        while not (line := self.stream.readline()).startswith((b"MSG", b"HMSG")):
            if not line:
                raise ConnectionError("NATS closed the connection")
            if line.startswith(b"PING"):
                self.socket.sendall(b"PONG\r\n")
        answer = self.stream.read(int(line.split()[-1]) + 2)
        if line.startswith(b"HMSG"):
            raise ConnectionError(f"NATS: {answer.decode(errors='replace').strip()}")
        return json.loads(answer)

    def close(self) -> None:
        """Hang up."""
        self.stream.close()
        self.socket.close()


def hello() -> bytes:
    """Return the first line of a client."""
    said = {"verbose": False, "pedantic": False, "lang": "python", "version": "0", "protocol": 1}
    # Without headers a refusal arrives as an empty message.
    said |= {"headers": True, "no_responders": True}
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
        if made["config"]["num_replicas"] != NODES or made["config"]["storage"] != "file":
            raise BenchError(f"NATS made another stream than it was asked for: {made['config']}")
        yield name
        talk.ask(f"$JS.API.STREAM.DELETE.{name}", {})
    finally:
        talk.close()


def leader(ports: Mapping[str, int], stream: str) -> int:
    """Return the port of the server that leads a stream. Raises BenchError: none, for long."""
    found: Any = None
    end_s = time.monotonic() + ANSWER_S
    while time.monotonic() < end_s:
        talk = Talk(next(iter(ports.values())))
        try:
            found = talk.ask(f"$JS.API.STREAM.INFO.{stream}", {})
        finally:
            talk.close()
        name = found.get("cluster", {}).get("leader")
        if name in ports:
            return ports[name]
        time.sleep(ASK_S)
    raise BenchError(f"NATS's stream {stream} has no leader: {found}")


def refusal(headers: bytes, body: bytes) -> str | None:
    """Return why an answer is no acknowledgement; None: it is one."""
    if not headers and b'"seq"' in body and b'"error"' not in body:
        return None
    return (headers.strip() or body or b"an empty answer").decode(errors="replace")


class NatsSender(PeerSender):
    """The raw producer."""

    _owes_pong = False

    def connect(self) -> None:
        """Connect to the stream's leader."""
        found = str(self.task.settings["bootstrap.servers"]).split(",")
        ports = {f"n{number}": int(port) for number, port in enumerate(found, 1)}
        one = connected("127.0.0.1", leader(ports, self.task.topic))
        one.sendall(hello() + b"SUB " + INBOX + b".* 1\r\n")
        self.sockets = [one]
        self.limit()
        self._tails = [b" %d\r\n%b\r\n" % (len(value), value) for value in self.payloads]
        self._subject = b"PUB " + self.task.topic.encode() + b" " + INBOX + b"."

    def write_chunk(self, number: int, size: int) -> None:
        """Publish each event with the chunk's own reply subject."""
        head = self._subject + b"%d" % number
        tails = self._tails
        events = [head + tails[at % len(tails)] for at in range(size)]
        if self._owes_pong:
            # Here, not where it is asked for: that may be another thread, amid a chunk.
            self._owes_pong = False
            events.insert(0, b"PONG\r\n")
        self.sockets[0].sendall(b"".join(events))

    def take(self, place: int, buffer: bytearray) -> int:
        """Count every whole acknowledgement."""
        data = bytes(buffer)
        counts: Counter[tuple[int, str | None]] = Counter()
        used, end = 0, -1
        while used != end:
            end = used
            while found := ACK.match(data, used):
                counts[int(found[1]), None] += 1
                used = found.end()
            used = self._take_other(data, used, counts)
        self.answered_many(counts)
        return used

    def _take_other(self, data: bytes, used: int, counts: Counter[tuple[int, str | None]]) -> int:
        """Take one line that is no plain acknowledgement, if it is whole; return where it ends."""
        end = data.find(b"\r\n", used)
        if end < 0:
            return used
        words = data[used:end].split()
        if words[0] not in (b"MSG", b"HMSG"):
            if words[0] == b"-ERR":
                raise BenchError(f"NATS: {data[used:end]!r}")
            self._owes_pong |= words[0] == b"PING"
            return end + 2
        body, size = end + 2, int(words[-1])
        if len(data) < body + size + 2:
            return used
        head = body + (int(words[-2]) if words[0] == b"HMSG" else 0)
        number = int(words[1].rpartition(b".")[2])
        counts[number, refusal(data[body:head], data[head : body + size])] += 1
        return body + size + 2


def _missing() -> str | None:
    return None if program() is not None else "install nats-server, or Go to build it"


def _missing_sync() -> str | None:
    missing = _missing()
    if missing is None and tuple(map(int, re.findall(r"\d+", _version())[:3])) < SYNC_SINCE:
        since = ".".join(map(str, SYNC_SINCE))
        return (
            f"its Raft log would not follow sync_interval: nats-server expected {since} or newer, "
            f"found {_version()}; install one, or Go to build it"
        )
    return missing


AS_SHIPPED = Peer(
    name="nats",
    durability=(
        "a majority has written it to its Raft log (page cache); synced every two minutes, before "
        "2.10.23 every five"
    ),
    synced="no",
    missing=_missing,
    version=lambda: f"nats-server {_version()}",
    open=opener(""),
    sender="bench.peers.nats:NatsSender",
    library="nats",
    package="nats-py",
    library_sender="bench.peers.libraries:NatsLibrary",
)
WITH_SYNC = replace(
    AS_SHIPPED,
    name="nats-fsync",
    durability="sync_interval: always: a majority has synced its Raft log",
    synced="a majority",
    missing=_missing_sync,
    open=opener(", sync_interval: always"),
)
