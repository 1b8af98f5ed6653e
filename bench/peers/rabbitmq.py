"""RabbitMQ: three nodes; a stream over the stream protocol, a quorum queue over AMQP 0.9.1.

Debian's package. Publishers connect to the leader, as Kafka's clients do; events carry the envelope
that RabbitMQ's own clients would put around them. Both kinds run on the same nodes, the plugin for
streams enabled.
"""

import contextlib
import shutil
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

from bench.peers import amqp, rabbitmq_stream
from bench.peers.peer import NODES, OpenPeer, Peer
from bench.peers.processes import free_ports, listens, servers
from trimaran.bench.target import Target

PROGRAM = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
START_S = 120.0
SETTINGS = """\
listeners.tcp.1 = 127.0.0.1:{port}
stream.listeners.tcp.1 = 127.0.0.1:{stream}
stream.advertised_host = 127.0.0.1
stream.advertised_port = {stream}
cluster_formation.peer_discovery_backend = classic_config
cluster_formation.classic_config.nodes.1 = bench1@localhost
cluster_formation.classic_config.nodes.2 = bench2@localhost
cluster_formation.classic_config.nodes.3 = bench3@localhost
"""

MakeTopic = Callable[[list[int], list[int]], contextlib.AbstractContextManager[str]]


def opener(bootstrap_of: Callable[[list[int], list[int]], str], topic: MakeTopic) -> OpenPeer:
    """Return what opens a cluster and makes its streams or queues with `topic`."""

    @contextlib.contextmanager
    def opened(base: Path) -> Iterator[Target]:
        epmd, *ports = free_ports(1 + 3 * NODES)
        listeners, streams, between = ports[:NODES], ports[NODES : 2 * NODES], ports[2 * NODES :]
        with servers("rabbitmq", base) as own:
            own.start(["epmd", "-address", "127.0.0.1", "-port", str(epmd)], is_node=False)
            own.wait(lambda: listens(epmd), START_S, "epmd")
            plugins = own.directory / "enabled_plugins"
            plugins.write_text("[rabbitmq_stream].\n")
            for number in range(1, NODES + 1):
                at = number - 1
                config = own.directory / f"node-{number}.conf"
                config.write_text(SETTINGS.format(port=listeners[at], stream=streams[at]))
                own.start(
                    [str(PROGRAM)],
                    environment={
                        "ERL_EPMD_PORT": str(epmd),
                        "HOME": str(own.directory),
                        "RABBITMQ_NODENAME": f"bench{number}@localhost",
                        "RABBITMQ_NODE_PORT": str(listeners[at]),
                        "RABBITMQ_DIST_PORT": str(between[at]),
                        "RABBITMQ_CONFIG_FILE": str(config),
                        "RABBITMQ_MNESIA_BASE": str(own.directory / f"data-{number}"),
                        "RABBITMQ_LOG_BASE": str(own.directory),
                        "RABBITMQ_LOGS": "-",
                        "RABBITMQ_ENABLED_PLUGINS_FILE": str(plugins),
                        "RABBITMQ_PID_FILE": str(own.directory / f"pid-{number}"),
                        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-setcookie bench "
                        "-kernel inet_dist_use_interface {127,0,0,1}",
                    },
                )
            own.wait(lambda: all(map(listens, [*listeners, *streams])), START_S, "RabbitMQ")
            own.wait(lambda: _ready(streams), START_S, "RabbitMQ's cluster")
            yield Target(
                name="RabbitMQ",
                bootstrap=bootstrap_of(listeners, streams),
                disk=own.directory,
                node_count=NODES,
                process_ids=own.pids(),
                open_topic=lambda _partitions, _settings: topic(listeners, streams),
            )

    return opened


def _name() -> str:
    return f"bench-{uuid.uuid4().hex[:8]}"


@contextlib.contextmanager
def _stream(_listeners: list[int], streams: list[int]) -> Iterator[str]:
    name = _name()
    talk = rabbitmq_stream.Talk(streams[0])
    try:
        talk.create(name)
        yield name
        talk.delete(name)
    finally:
        talk.close()


@contextlib.contextmanager
def _queue(listeners: list[int], _streams: list[int]) -> Iterator[str]:
    name = _name()
    talk = amqp.Talk(listeners[0])
    try:
        talk.declare_quorum_queue(name, NODES)
        yield name
        talk.delete_queue(name)
    finally:
        talk.close()


def _ready(streams: list[int]) -> bool:
    """Whether a new stream gets a replica on each node."""
    try:
        with _stream([], streams) as name:
            talk = rabbitmq_stream.Talk(streams[0])
            try:
                return talk.replica_count(name) == NODES
            finally:
                talk.close()
    except (OSError, rabbitmq_stream.RefusedError):
        return False


def _missing() -> str | None:
    found = PROGRAM.exists() and shutil.which("epmd")
    return None if found else "install rabbitmq-server"


def _version() -> str:
    plugins = PROGRAM.parents[1].glob("**/plugins/rabbit-*")
    names = sorted(path.name.removesuffix(".ez").partition("-")[2] for path in plugins)
    return f"RabbitMQ {names[-1]}" if names else "RabbitMQ"


STREAM = Peer(
    name="rabbitmq-stream",
    durability="a majority has written it (page cache); the operating system syncs when it likes",
    synced="no",
    missing=_missing,
    version=_version,
    open=opener(lambda _, streams: str(streams[0]), _stream),
    sender="bench.peers.rabbitmq_stream:StreamSender",
)
QUORUM = Peer(
    name="rabbitmq-quorum",
    durability="quorum queue, confirms: a majority has synced it",
    synced="a majority",
    missing=_missing,
    version=_version,
    open=opener(lambda listeners, _: str(listeners[0]), _queue),
    sender="bench.peers.amqp:AmqpSender",
)
