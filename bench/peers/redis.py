"""Redis Streams: one primary, two replicas, append-only files; WAIT 1 after each chunk.

The append-only file is off as shipped; everything else is not touched, so its snapshots (RDB) and
the rewriting of its append-only file happen beside the load.
Redis 7.0, Debian's, has WAIT (a replica has it in memory) and no WAITAOF: what a replica has synced
is not known to the client. There is no failover without Sentinel, and none is measured here.
The raw producer pipelines XADD and one WAIT for each chunk. WAIT holds its connection up, so chunks
take turns on several: between those under way there is no order.
"""

import contextlib
import shutil
import socket
import subprocess
import uuid
from collections import deque
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from bench.peers.peer import NODES, OpenPeer, Peer
from bench.peers.processes import free_ports, listens, servers
from bench.peers.senders import PeerSender
from trimaran.bench.errors import BenchError
from trimaran.bench.sockets import connected
from trimaran.bench.target import Target

START_S = 30.0
CONNECTIONS = 4
"""Of one producer."""
REPLICAS_WAITED = 1
"""With the primary a majority of three."""
WAIT_MS = 10_000


def ask(port: int, *words: str) -> bytes:
    """Return what one command is answered at first."""
    with socket.create_connection(("127.0.0.1", port), 5.0) as one:
        one.sendall(command(*(word.encode() for word in words)))
        return one.recv(65_536)


def command(*words: bytes) -> bytes:
    """Return a command in RESP."""
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%b\r\n" % (len(w), w) for w in words)


def opener(fsync: str) -> OpenPeer:
    """Return what opens a primary and its replicas with `appendfsync` as given."""

    @contextlib.contextmanager
    def opened(base: Path) -> Iterator[Target]:
        ports = free_ports(NODES)
        with servers("redis", base) as own:
            for number, port in enumerate(ports):
                data = own.directory / f"data-{number}"
                data.mkdir()
                words = ["--port", str(port), "--bind", "127.0.0.1", "--dir", str(data)]
                words += ["--appendonly", "yes", "--appendfsync", fsync]
                if number:
                    words += ["--replicaof", "127.0.0.1", str(ports[0])]
                own.start(["redis-server", *words])
            own.wait(lambda: all(map(listens, ports)), START_S, "Redis")
            synced = b"state=online"
            own.wait(
                lambda: ask(ports[0], "INFO", "replication").count(synced) == NODES - 1,
                START_S,
                "Redis's replicas",
            )
            for port in ports:
                if fsync.encode() not in ask(port, "CONFIG", "GET", "appendfsync"):
                    raise BenchError(f"Redis at {port} does not have appendfsync {fsync}")
            yield Target(
                name="Redis",
                bootstrap=str(ports[0]),
                disk=own.directory,
                node_count=NODES,
                process_ids=own.pids(),
                open_topic=lambda _partitions, _settings: _stream(ports[0]),
            )

    return opened


@contextlib.contextmanager
def _stream(port: int) -> Iterator[str]:
    name = f"bench-{uuid.uuid4().hex[:8]}"
    yield name
    ask(port, "UNLINK", name)


class RedisSender(PeerSender):
    """The raw producer."""

    def connect(self) -> None:
        """Connect to the primary."""
        port = int(str(self.task.settings["bootstrap.servers"]))
        self.sockets = [connected("127.0.0.1", port) for _ in range(CONNECTIONS)]
        self.limit()
        name = self.task.topic.encode()
        self._adds = [command(b"XADD", name, b"*", b"v", value) for value in self.payloads]
        self._wait = command(b"WAIT", b"%d" % REPLICAS_WAITED, b"%d" % WAIT_MS)
        self.start_empty()

    def start_empty(self) -> None:
        """Nothing is under way yet."""
        self._sent: list[deque[int]] = [deque() for _ in self.sockets]
        """Of each connection: the chunks under way, in order."""
        self._errors: list[str | None] = [None for _ in self.sockets]
        """Of each connection: what the chunk that is answered just now was refused for."""

    def write_chunk(self, number: int, size: int) -> None:
        """Send a chunk and the command that waits for a replica, where least is under way."""
        place = min(range(len(self.sockets)), key=lambda at: len(self._sent[at]))
        self._sent[place].append(number)
        adds = self._adds
        events = [adds[at % len(adds)] for at in range(size)]
        self.sockets[place].sendall(b"".join(events) + self._wait)

    def take(self, place: int, buffer: bytearray) -> int:
        """Pass the ids; the number that answers a WAIT settles the oldest chunk."""
        end = buffer.rfind(b"\r\n")
        if end < 0:
            return 0
        for line in bytes(buffer[:end]).split(b"\r\n"):
            if line.startswith(b"-"):
                self._errors[place] = line.decode()
            elif line.startswith(b":"):
                if int(line[1:]) < REPLICAS_WAITED:
                    self._errors[place] = "no replica answered"
                self.answered(self._sent[place].popleft(), error=self._errors[place])
                self._errors[place] = None
        return end + 2


def _missing() -> str | None:
    return None if shutil.which("redis-server") else "install redis-server"


def _version() -> str:
    said = subprocess.run(["redis-server", "--version"], capture_output=True, text=True, check=True)
    return "Redis " + said.stdout.partition("v=")[2].partition(" ")[0]


AS_SHIPPED = Peer(
    name="redis",
    durability="AOF everysec, WAIT 1: the primary and a replica have it in memory, synced "
    "each second",
    synced="no",
    missing=_missing,
    version=_version,
    open=opener("everysec"),
    memory_gb=6.0,
    sender="bench.peers.redis:RedisSender",
    library="redis",
    package="redis",
    library_sender="bench.peers.libraries:RedisLibrary",
)
WITH_SYNC = replace(
    AS_SHIPPED,
    name="redis-fsync",
    durability="AOF always, WAIT 1: the primary has synced it, a replica has it in memory (it "
    "syncs too, but WAIT does not say so)",
    synced="the primary",
    open=opener("always"),
)
