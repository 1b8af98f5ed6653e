"""`trimaran up`: a local cluster, one process a node, in a directory that outlives it.

Founds only where there is neither cluster file nor node data; otherwise starts again what is there.
Does not: restart a node that dies; it says so and leaves that to the person who looks.
"""

import signal
import time
from pathlib import Path
from typing import Annotated

import typer

from trimaran.cli.exits import USAGE, CommandError
from trimaran.server.local import LocalCluster, found_cluster, has_cluster, load_cluster
from trimaran.server.places import HTTP_PORT, NODES_MAX
from trimaran.server.running import running_pid

DATA = Path("trimaran-data")
NODES = 3
KAFKA_PORT = 9092
WATCH_S = 0.5

DataOption = Annotated[Path, typer.Option("--data", help="directory of the cluster")]


def register(app: typer.Typer) -> None:
    """Add the noun."""
    app.command()(up)


def up(
    nodes: Annotated[
        int | None, typer.Option("-n", "--nodes", min=1, max=NODES_MAX, help="default: 3")
    ] = None,
    data: DataOption = DATA,
    kafka_port: Annotated[
        int | None,
        typer.Option(
            min=1, max=64_000, help=f"of node 1, default {KAFKA_PORT}; node i: this plus i - 1"
        ),
    ] = None,
    http_port: Annotated[
        int,
        typer.Option(min=1, max=65_000, help="dashboard of node 1; node i: this plus i - 1"),
    ] = HTTP_PORT,
    detach: Annotated[
        bool, typer.Option("--detach", help="return when ready; `trimaran down` ends it")
    ] = False,
) -> None:
    """Start a local cluster: found it, or start again the one in --data."""
    begin = time.perf_counter()
    if has_cluster(data):
        cluster = load_cluster(data)
        refuse_another_shape(cluster, nodes, kafka_port)
    else:
        cluster = found_cluster(
            data, count=nodes or NODES, kafka_port=kafka_port or KAFKA_PORT, http_port=http_port
        )
    started = False
    cluster.allow_control()
    try:
        cluster.start_all(owned=not detach)
        for running in cluster.wait_ready():
            print(f"node {running.node_id} ready: process {running.pid}, port {running.kafka_port}")
        started = True
    finally:
        if not started:
            cluster.stop_all()
            cluster.forbid_control()
            cluster.write_file()
    if not cluster.processes:
        print(f"every node of {data} runs already")
    asked = [] if detach else catch_signals()
    print_welcome(cluster, time.perf_counter() - begin)
    if detach:
        cluster.let_go()
        print(f"stop it with: trimaran down --data {data}")
    else:
        stay(cluster, asked)


def refuse_another_shape(cluster: LocalCluster, nodes: int | None, kafka_port: int | None) -> None:
    """Do not start a cluster under options that it was not founded with.

    Raises:
        CommandError: --nodes or --kafka-port was given and differs.
    """
    first = min(cluster.nodes)
    found = (len(cluster.nodes), cluster.nodes[first].kafka_port)
    if nodes not in (found[0], None) or kafka_port not in (found[1], None):
        raise CommandError(
            f"{cluster.directory} holds a cluster of {found[0]} nodes from Kafka port {found[1]} "
            f"on: leave --nodes and --kafka-port out to start it, or choose another --data",
            code=USAGE,
        )


def print_welcome(cluster: LocalCluster, seconds: float) -> None:
    """Say where the cluster is and how to use it."""
    print(f"{len(cluster.nodes)} nodes up after {seconds:.1f} s, data in {cluster.directory}")
    print(f"bootstrap servers: {cluster.bootstrap}")
    print(cluster.dashboard_line)
    print("try this:")
    print("  from confluent_kafka import Producer")
    print(f'  producer = Producer({{"bootstrap.servers": "{cluster.bootstrap}"}})')
    print('  producer.produce("hello", b"world")')
    print("  producer.flush()", flush=True)


def catch_signals() -> list[int]:
    """Return a list that receives SIGINT and SIGTERM from now on."""
    asked: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda received, _frame: asked.append(received))
    return asked


def stay(cluster: LocalCluster, asked: list[int]) -> None:
    """Wait until a signal was `asked`, telling which nodes end meanwhile; then stop them all."""
    told = dict.fromkeys(cluster.nodes, True)
    while not asked:
        for node_id, place in cluster.nodes.items():
            alive = running_pid(place.data) is not None
            if alive != told[node_id]:
                told[node_id] = alive
                print(f"node {node_id} {'is back' if alive else 'ended'}: {place.log_path}")
                cluster.write_file()
        signal.sigtimedwait([], WATCH_S)
    print("stopping")
    stop_everything(cluster)


def stop_everything(cluster: LocalCluster) -> None:
    """Stop our own processes, and those that somebody else started on our directories."""
    cluster.stop_all()
    cluster.stop_strangers()
    cluster.forbid_control()
    cluster.write_file()
