"""`trimaran demo`: real events through three nodes, two dead leaders, and a verdict.

Flight departures go in through confluent-kafka (acks=all, idempotent), come back through
kafka-python, and are compared by hash, offset and order. The last line is the verdict; the exit
code is 0 only if it holds.
Does not: keep anything; the cluster lives in a temporary directory.
"""

import contextlib
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated

import typer

from trimaran.cli.demo_check import Verdict, compare
from trimaran.cli.demo_failover import Failovers
from trimaran.cli.demo_read import read_back
from trimaran.cli.demo_send import Ledger, PacedProducer
from trimaran.cli.demo_show import Show
from trimaran.cli.exits import FAILED
from trimaran.cli.flights import DEPARTURES, departures, find_archive
from trimaran.cli.kafka_client import NewTopic, admin
from trimaran.cli.topic import finish
from trimaran.server.local import LocalCluster, found_cluster
from trimaran.server.places import real_disk_directory

TOPIC = "departures"
NODES = 3
PARTITIONS = 6
PLAY_S = 24.0
"""All departures of the year in this time: 14,000 events a second."""
KILL_AT = [0.3, 0.65]
CREATE_S = 15.0


def register(app: typer.Typer) -> None:
    """Add the noun."""
    app.command()(demo)


def demo(
    headless: Annotated[
        bool, typer.Option("--headless", help="plain lines, and end after the verdict")
    ] = False,
    seconds: Annotated[
        float | None, typer.Option("--seconds", min=1.0, help="send for so long, then end")
    ] = None,
) -> None:
    """Three nodes, real events, two leaders killed with SIGKILL: nothing lost, nothing twice."""
    archive = find_archive()
    on_terminal = sys.stdout.isatty() and not headless
    stay = on_terminal and seconds is None
    with tempfile.TemporaryDirectory(prefix="trimaran-demo-", dir=real_disk_directory()) as path:
        cluster = found_cluster(Path(path) / "cluster", count=NODES)
        try:
            with Show(live=on_terminal) as show:
                verdict = play(cluster, archive, seconds=seconds, show=show)
            if stay:
                print(f"the cluster stays up at {cluster.bootstrap} until Ctrl-C")
                print(cluster.dashboard_line)
            print(verdict.line(), flush=True)
            if stay:
                with contextlib.suppress(KeyboardInterrupt):
                    signal.pause()
        finally:
            cluster.stop_all()
            cluster.stop_strangers()
    if not verdict.holds:
        raise typer.Exit(FAILED)


def play(cluster: LocalCluster, archive: Path, *, seconds: float | None, show: Show) -> Verdict:
    """Start the nodes, send, kill, read back, compare."""
    begin = time.perf_counter()
    cluster.allow_control()
    cluster.start_all()
    cluster.wait_ready()
    show.say(f"{NODES} nodes ready in {time.perf_counter() - begin:.1f} s: {cluster.bootstrap}")
    show.say(cluster.dashboard_line)
    create_topic(cluster.bootstrap)
    ledger, gaps_ms = send_all(cluster, archive, seconds=seconds, show=show)
    show.begin("read back with kafka-python", ledger.acked_count)
    read = read_back(cluster.bootstrap, TOPIC, progress=show.reached)
    show.finished(sum(len(sightings) for sightings in read.values()))
    verdict = compare(
        sent=frozenset(ledger.sent),
        acked=ledger.sightings(),
        read=read,
        failover_gaps_ms=gaps_ms,
        failovers_planned=len(KILL_AT),
    )
    for name, count in sorted(ledger.errors.items()):
        show.say(f"not acknowledged: {count} events, {name}")
    if verdict.unknown:
        show.say(f"read back but never sent: {verdict.unknown} events")
    return verdict


def send_all(
    cluster: LocalCluster, archive: Path, *, seconds: float | None, show: Show
) -> tuple[Ledger, list[int]]:
    """Send until the time or the data ends, and not before the failures are over.

    However soon the data ends, all nodes are back when this returns.
    """
    rate = DEPARTURES / PLAY_S
    total = DEPARTURES if seconds is None else min(DEPARTURES, int(rate * seconds))
    producer = PacedProducer(cluster.bootstrap, TOPIC, departures(archive), rate=rate)
    ledger = producer.ledger
    failovers = Failovers(cluster, topic=TOPIC, ledger=ledger, kill_at=KILL_AT, say=show.say)
    show.begin("send with confluent-kafka", total)
    while not producer.exhausted and (len(ledger.sent) < total or not failovers.done):
        producer.turn()
        failovers.advance(len(ledger.sent) / total)
        show.reached(ledger.acked_count)
    producer.finish()
    failovers.end()
    while not failovers.is_whole:
        producer.turn()
        failovers.advance(0.0)
    show.finished(ledger.acked_count)
    return ledger, failovers.gaps_ms


def create_topic(bootstrap: str) -> None:
    """Create the demo's topic, three replicas each. Raises CommandError."""
    client = admin(bootstrap)
    topic = NewTopic(TOPIC, num_partitions=PARTITIONS, replication_factor=NODES)
    done = client.create_topics([topic], operation_timeout=CREATE_S, request_timeout=CREATE_S)
    finish(done[TOPIC], f"topic {TOPIC!r} was not created", CREATE_S)
