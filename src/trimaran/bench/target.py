"""What is measured: any Kafka-protocol address, a local cluster of our own, or a null broker.

A target is used only through the Kafka protocol; a local one can also kill, freeze and restart its
nodes and tells their process ids, so that their CPU and memory can be read.
`local_cluster` is the one place of this package that imports from a layer above: it composes.
Does not: measure.
"""

import contextlib
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from trimaran.bench.errors import BenchError
from trimaran.bench.filesystem import MEMORY_FILE_SYSTEMS, file_system
from trimaran.bench.kafka_wire import require_kafka

CONNECT_S = 10.0
LEADERS_S = 30.0
"""How long a new topic may take until every partition has a leader."""

REPLICAS_MAX = 3

NULL_PARTITIONS = 4
"""What librdkafka's mock gives every topic."""


class PartitionView(Protocol):
    """One partition as a node sees it."""

    @property
    def leader(self) -> int:
        """The leader's node id, -1 without one."""

    @property
    def replicas(self) -> tuple[int, ...]:
        """Every replica's node id."""

    @property
    def in_sync(self) -> tuple[int, ...]:
        """Those that are in sync."""

    @property
    def leader_epoch(self) -> int:
        """The term in which it leads."""


class TopicView(Protocol):
    """One topic as a node sees it."""

    @property
    def partitions(self) -> Mapping[int, PartitionView]:
        """Partition number to view; empty if the node does not know the topic."""


class Nodes(Protocol):
    """What can be done to the nodes of a local cluster (`trimaran.testing.Cluster`)."""

    @property
    def nodes(self) -> tuple[int, ...]:
        """Every node's id."""

    def address(self, node: int) -> str:
        """Return HOST:PORT for Kafka clients."""

    def pid(self, node: int) -> int:
        """Return the process id."""

    def kill(self, node: int) -> None:
        """SIGKILL; the process is gone on return."""

    def pause(self, node: int) -> None:
        """SIGSTOP."""

    def resume(self, node: int) -> None:
        """SIGCONT."""

    def start(self, node: int) -> None:
        """Start a killed node again; it is ready on return."""

    def metadata(self, topic: str, *, node: int) -> TopicView | None:
        """Return what `node` itself says now; None if it does not answer."""


@runtime_checkable
class LinkedNodes(Nodes, Protocol):
    """Nodes whose links can be cut too (`trimaran.testing.BreakableCluster`)."""

    def isolate(self, node: int) -> None:
        """Cut a node off from all others and from clients, silently."""

    def heal(self) -> None:
        """Open every link."""


OpenTopic = Callable[[int, Mapping[str, str]], contextlib.AbstractContextManager[str]]
"""From partitions and settings to the name of a fresh stream, gone after the block."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Something that speaks Kafka's protocol."""

    name: str
    bootstrap: str
    disk: Path
    """A directory on the disk that stores the events, as far as we know it."""
    node_count: int
    nodes: Nodes | None = None
    """None: not ours to touch."""
    creates_topics: bool = True
    """False: topics come into being on first use, with `NULL_PARTITIONS` partitions."""
    process_ids: Mapping[int, int] = field(default_factory=dict)
    """Node id to process id, where the nodes are not ours but run here."""
    open_topic: OpenTopic | None = None
    """How a stream comes into being where Kafka's protocol is not spoken."""

    def pids(self) -> dict[int, int]:
        """Return node id -> process id, empty where they are not known."""
        nodes = self.nodes
        if nodes is None:
            return dict(self.process_ids)
        return {node: nodes.pid(node) for node in nodes.nodes}

    def admin(self) -> AdminClient:
        """Return a fresh admin client."""
        return AdminClient({"bootstrap.servers": self.bootstrap, "log_level": 2})


def refuse_memory_file_system(directory: Path) -> None:
    """Raise BenchError if `directory` lies on a file system without a disk."""
    kind, mount = file_system(directory)
    if kind in MEMORY_FILE_SYSTEMS:
        raise BenchError(
            f"{directory} lies on {kind} (mounted at {mount}): nothing is durable there and the "
            "figures would mean nothing; choose a directory on a disk with --data"
        )


def foreign(bootstrap: str, *, disk: Path) -> Target:
    """Return the target behind `bootstrap`, after asking it for its brokers.

    Raises:
        BenchError: nothing answers there, or it does not speak Kafka's protocol.
    """
    require_kafka(bootstrap, CONNECT_S)
    admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})
    try:
        brokers = admin.list_topics(timeout=CONNECT_S).brokers
    except KafkaException as error:
        reason = error.args[0].str()
        raise BenchError(
            f"no Kafka-protocol broker answers at {bootstrap} within {CONNECT_S:.0f} s ({reason})"
        ) from error
    return Target(name=bootstrap, bootstrap=bootstrap, disk=disk, node_count=len(brokers))


@contextlib.contextmanager
def local_cluster(count: int, *, directory: Path, links: bool = False) -> Iterator[Target]:
    """Start `count` Trimaran nodes below `directory` and end them with the block.

    Everything they stored is removed afterwards. `links`: nodes can be cut off too.

    Raises:
        NodeStartError: a node did not start.
    """
    # A foreign target needs no nodes of ours.
    from trimaran.testing import Cluster, breakable_cluster

    with (
        tempfile.TemporaryDirectory(prefix="trimaran-bench-", dir=directory) as own,
        (
            breakable_cluster(count, directory=Path(own))
            if links
            else Cluster(nodes=count, directory=Path(own))
        ) as cluster,
    ):
        yield Target(
            name=f"{count} node{'s' if count > 1 else ''}",
            bootstrap=cluster.bootstrap_servers,
            disk=Path(own),
            node_count=count,
            nodes=cluster,
        )


@contextlib.contextmanager
def null_broker(*, disk: Path) -> Iterator[Target]:
    """Start a broker that stores nothing, to see what the client alone costs and can do."""
    command = [sys.executable, "-m", "trimaran.bench.null_broker"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        try:
            bootstrap = process.stdout.readline().decode().strip()
            if not bootstrap:
                raise BenchError("the null broker did not start; its message stands above")
            yield Target(
                name="null", bootstrap=bootstrap, disk=disk, node_count=1, creates_topics=False
            )
        finally:
            process.kill()


@contextlib.contextmanager
def fresh_topic(
    target: Target, *, partitions: int, settings: Mapping[str, str] | None = None
) -> Iterator[str]:
    """Create a topic with `settings` whose partitions all have leaders; delete it with the block.

    Raises:
        BenchError: the target refuses it or elects no leaders in time.
    """
    if target.open_topic is not None:
        with target.open_topic(partitions, dict(settings or {})) as opened:
            yield opened
        return
    name = f"bench-{uuid.uuid4().hex[:12]}"
    admin = target.admin()
    if target.creates_topics:
        replicas = min(REPLICAS_MAX, target.node_count)
        _create(admin, name, partitions, replicas, dict(settings or {}))
    elif partitions > NULL_PARTITIONS:
        raise BenchError(f"the null broker has {NULL_PARTITIONS} partitions, not {partitions}")
    _wait_for_leaders(admin, name, partitions)
    try:
        yield name
    finally:
        if target.creates_topics:
            _delete(target.admin(), name)


def _delete(admin: AdminClient, name: str) -> None:
    """Delete a topic if that can be done: the measurement is over either way."""
    with contextlib.suppress(KafkaException, TimeoutError):
        admin.delete_topics([name])[name].result(timeout=CONNECT_S)


def _create(
    admin: AdminClient, name: str, partitions: int, replicas: int, settings: dict[str, str]
) -> None:
    topic = NewTopic(name, num_partitions=partitions, replication_factor=replicas, config=settings)
    try:
        admin.create_topics([topic])[name].result(timeout=LEADERS_S)
    except (KafkaException, TimeoutError) as error:
        raise BenchError(f"topic {name} was not created: {error!r}") from error


def _wait_for_leaders(admin: AdminClient, topic: str, partitions: int) -> None:
    end_s = time.monotonic() + LEADERS_S
    while time.monotonic() < end_s:
        with contextlib.suppress(KafkaException):
            found: Any = admin.list_topics(topic, timeout=CONNECT_S).topics[topic].partitions
            if len(found) >= partitions and all(one.leader >= 0 for one in found.values()):
                return
        time.sleep(0.02)
    raise BenchError(f"not every partition of {topic} has a leader after {LEADERS_S:.0f} s")
