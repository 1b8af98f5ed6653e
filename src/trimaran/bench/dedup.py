"""`trimaran bench dedup`: what event ids cost a cluster, and a node's start with many of them.

The load is the same in every run: events with ids from several producers in client batches of a
fixed size. *off*: the topic does not look at ids. *on*: all ids are new. *half*: every second event
repeats one that is stored. Each runs as fast as it goes and at a rate, in turns (off on half, off
on half), so that a machine that changes meanwhile changes all of them. `--held` instead stores
so many ids in one partition, kills a node and starts it again.
Exit code 0: measured. 1: it failed. 2: asked for wrongly.
Does not: judge; the targets stand in docs/performance.md.
"""

import argparse
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import msgspec
from rich.console import Console

from trimaran.bench.crew import Crew
from trimaran.bench.ending import end_report
from trimaran.bench.errors import BenchError
from trimaran.bench.failures import ms_since
from trimaran.bench.filesystem import DiskFigures, file_system, measure_disk
from trimaran.bench.machine import Machine, NodeMeter, NodeUse, describe
from trimaran.bench.measure import run_once
from trimaran.bench.plan import Plan, producer_tasks
from trimaran.bench.rejoin import wait_in_sync
from trimaran.bench.results import Row
from trimaran.bench.target import Target, fresh_topic, local_cluster, refuse_memory_file_system
from trimaran.errors import TrimaranError

DEDUP = {"event.dedup.enable": "true"}
PARTITIONS = 24
"""As in *throughput*: fewer, and librdkafka's idempotent producers wait for themselves."""
FILL_S_MAX = 300.0
MANNERS = ("off", "on", "half")


class Restart(msgspec.Struct, kw_only=True, frozen=True):
    """A node killed and started again with a window full of ids."""

    ids: int
    ready_ms: float
    """From the start of its process until it says that it is ready."""
    in_sync_ms: float
    before: list[NodeUse]
    """Memory of each node before the kill."""
    after: list[NodeUse]
    """And once the node is back."""


class DedupReport(msgspec.Struct, kw_only=True):
    """Everything one invocation measured."""

    machine: Machine
    file_system: str
    disk_before: DiskFigures
    rows: list[Row] = []
    restarts: list[Restart] = []


def dedup_plans(options: argparse.Namespace) -> Iterator[Plan]:
    """Yield one round of runs."""
    base = Plan(
        scenario="dedup",
        load="at_most",
        producers=options.producers,
        event_bytes=options.size,
        partitions=PARTITIONS,
        chunk=options.batch,
        warm_up_s=options.warm_up,
        seconds=options.seconds,
        settings={"batch.num.messages": options.batch},
        event_ids=True,
    )
    for rate in options.rate:
        plan = base if rate == 0 else replace(base, load="paced", rate=rate)
        for manner in options.runs:
            yield replace(
                plan,
                note=f"dedup {manner}",
                topic_settings={} if manner == "off" else DEDUP,
                repeated_ids=manner == "half",
            )


def measure_restart(target: Target, ids: int, batch: int) -> Restart:
    """Store `ids` events with ids in one partition, kill a node, start it again.

    Raises:
        BenchError: not all were stored, or the node does not come back.
    """
    nodes = target.nodes
    assert nodes is not None, "a local cluster's nodes are ours"
    with fresh_topic(target, partitions=1, settings=DEDUP) as topic:
        plan = Plan(
            scenario="dedup",
            load="at_most",
            producers=1,
            event_bytes=100,
            partitions=1,
            warm_up_s=0.0,
            seconds=FILL_S_MAX,
            settings={"linger.ms": 5, "batch.num.messages": batch},
            event_ids=True,
        )
        (task,) = producer_tasks(plan, target.bootstrap, [topic])
        with Crew([msgspec.structs.replace(task, events_max=ids)]) as crew:
            crew.start()
            (outcome,) = crew.outcomes(FILL_S_MAX, lambda _: None)
        if outcome.answers_in_window < ids:
            raise BenchError(f"stored {outcome.answers_in_window} of {ids} events with ids")
        before = NodeMeter(target.pids()).read()
        victim, survivor = nodes.nodes[-1], nodes.nodes[0]
        nodes.kill(victim)
        begun_ns = time.monotonic_ns()
        nodes.start(victim)
        ready_ms = ms_since(begun_ns)
        wait_in_sync(nodes, topic, survivor)
        return Restart(
            ids=ids,
            ready_ms=ready_ms,
            in_sync_ms=ms_since(begun_ns),
            before=before,
            after=NodeMeter(target.pids()).read(),
        )


def run_dedup(argv: list[str]) -> int:
    """Measure, print, return the exit code."""
    console = Console(highlight=False, soft_wrap=True)
    try:
        options = _parser().parse_args(argv)
    except SystemExit as end:
        return int(end.code or 0)
    try:
        refuse_memory_file_system(options.data)
        report = DedupReport(
            machine=describe(["dedup", *argv]),
            file_system=file_system(options.data)[0],
            disk_before=measure_disk(options.data),
        )
    except (BenchError, OSError) as error:
        Console(stderr=True).print(f"error: {error}", highlight=False, markup=False)
        return 2
    try:
        with local_cluster(options.nodes, directory=options.data) as target:
            _measure(target, options, report, console)
    except (TrimaranError, OSError) as error:
        Console(stderr=True).print(f"error: {error}", highlight=False, markup=False)
        return 1
    end_report(report, console, options.json)
    return 0


def _measure(
    target: Target, options: argparse.Namespace, report: DedupReport, console: Console
) -> None:
    if options.held:
        found = measure_restart(target, options.held, options.batch)
        report.restarts.append(found)
        console.print(_restart_line(found))
        return
    for number in range(1, options.rounds + 1):
        for plan in dedup_plans(options):
            row = run_once(plan, target, repeat=number, progress=lambda *_: None)
            report.rows.append(row)
            console.print(_line(row))


def _line(row: Row) -> str:
    latency = ""
    if row.latency is not None:
        found = row.latency
        latency = f", p50 {found.p50_ms:.1f} ms, p99 {found.p99_ms:.1f} ms"
    cores = sum(node.cpu_cores for node in row.nodes)
    return (
        f"{row.load}, run {row.repeat}: {row.answered_per_s:,.0f} events/s{latency}; nodes "
        f"{cores:.2f} cores, producers {row.client_cores:.2f}, failed {sum(row.failed.values())}, "
        f"unanswered {row.unanswered}"
    )


def _restart_line(found: Restart) -> str:
    before = max(node.rss_mb for node in found.before)
    after = max(node.rss_mb for node in found.after)
    return (
        f"{found.ids:,} ids held: killed node ready after {found.ready_ms:.0f} ms, in sync after "
        f"{found.in_sync_ms:.0f} ms; highest RSS {before:.0f} MB before, {after:.0f} MB after"
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="trimaran bench dedup",
        description="What event ids cost a cluster, and a node's start with many of them.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--nodes", type=int, default=3, help="of the cluster")
    parser.add_argument(
        "--runs", type=_manners, default=list(MANNERS), metavar="WHICH,...", help="of a round"
    )
    parser.add_argument(
        "--rate",
        type=lambda text: [float(part) for part in text.split(",")],
        default=[0.0, 40_000.0],
        metavar="R,...",
        help="events/s; 0: as fast as it goes",
    )
    parser.add_argument("--rounds", type=int, default=1, help="of all runs")
    parser.add_argument("--seconds", type=float, default=20.0, help="measured time of a run")
    parser.add_argument("--warm-up", type=float, default=5.0, help="seconds before that")
    parser.add_argument("--producers", type=int, default=4, help="processes")
    parser.add_argument("--batch", type=int, default=64, help="events in a client batch")
    parser.add_argument("--size", type=int, default=100, help="bytes of an event's value")
    parser.add_argument(
        "--held", type=int, default=0, metavar="IDS", help="measure a start with so many instead"
    )
    parser.add_argument("--data", type=Path, default=Path("."), metavar="DIR", help="no tmpfs")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything there too")
    return parser


def _manners(text: str) -> list[str]:
    found = text.split(",")
    for one in found:
        if one not in MANNERS:
            raise argparse.ArgumentTypeError(f"expected some of {MANNERS}, found {one!r}")
    return found
