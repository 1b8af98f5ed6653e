"""Where the nodes of a local cluster live: directories and ports; and which disk is a disk.

Does not: create or start anything.
"""

import os
import sys
from dataclasses import dataclass
from pathlib import Path

from trimaran.errors import TrimaranError
from trimaran.ids import NodeId
from trimaran.server.ports import free_ports, is_free

HOST = "127.0.0.1"
PEER_PORT_STEP = 1_000
"""With fixed ports, node i's peers reach it on its Kafka port plus this."""
HTTP_PORT = 8080
NODES_MAX = 9


class ClusterDirectoryError(TrimaranError):
    """A directory that holds no usable cluster, or where none may be founded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodePlace:
    """Where one node of a local cluster lives."""

    node_id: NodeId
    host: str
    kafka_port: int
    http_port: int
    """REST, metrics and the dashboard."""
    peer_port: int
    data: Path

    @property
    def settings_path(self) -> Path:
        """The node's YAML file."""
        return self.data.with_suffix(".yaml")

    @property
    def log_path(self) -> Path:
        """Where its standard error goes."""
        return self.data.with_suffix(".log")

    @property
    def command(self) -> list[str]:
        """The argument list that starts this node again."""
        node = ["-m", "trimaran", "node", "--config", str(self.settings_path)]
        return [sys.executable, *node]


def places(
    directory: Path, *, count: int, kafka_port: int | None, http_port: int | None
) -> tuple[NodePlace, ...]:
    """Return where `count` nodes would live; without a Kafka port on free ports.

    Raises:
        ClusterDirectoryError: a port is out of range or in use.
    """
    assert 1 <= count <= NODES_MAX
    if kafka_port is None:
        ports = free_ports(3 * count)
        kafka, http, peer = ports[:count], ports[count : 2 * count], ports[2 * count :]
    else:
        kafka = list(range(kafka_port, kafka_port + count))
        http = list(range(http_port or HTTP_PORT, (http_port or HTTP_PORT) + count))
        peer = [port + PEER_PORT_STEP for port in kafka]
        for port in [*kafka, *peer]:
            if not is_free(HOST, port):
                raise ClusterDirectoryError(
                    f"port {port} on {HOST} is in use (nodes take {kafka[0]} to {kafka[-1]} and "
                    f"{peer[0]} to {peer[-1]}): choose others with --kafka-port"
                )
        for port in http:
            if not is_free(HOST, port):
                raise ClusterDirectoryError(
                    f"port {port} on {HOST} is in use (nodes take {http[0]} to {http[-1]} for the "
                    f"dashboard): choose others with --http-port"
                )
    return tuple(
        NodePlace(
            node_id=NodeId(at + 1),
            host=HOST,
            kafka_port=kafka[at],
            http_port=http[at],
            peer_port=peer[at],
            data=directory / f"node-{at + 1}",
        )
        for at in range(count)
    )


def real_disk_directory() -> str | None:
    """Return where temporary directories lie on a disk; None: the system's usual place does.

    A cluster on tmpfs would sync nothing and measure nothing.
    """
    usual = os.environ.get("TMPDIR", "/tmp")
    return "/var/tmp" if is_memory_file_system(usual) else None


def is_memory_file_system(path: str) -> bool:
    """Whether `path` lies on tmpfs or ramfs, by the longest mount point above it (Linux)."""
    try:
        mounts = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    except OSError:
        return False
    real = os.path.realpath(path)
    above = [
        (mount[1], mount[2])
        for mount in mounts
        if real == mount[1] or real.startswith(mount[1].rstrip("/") + "/")
    ]
    return bool(above) and max(above, key=lambda mount: len(mount[0]))[1] in ("tmpfs", "ramfs")
