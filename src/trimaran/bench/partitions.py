"""`trimaran bench partitions`: what many partitions cost a cluster, at rest and when a node dies.

One topic of `--count` partitions on three replicas gets one event in each. *At rest*: what each
node uses while nobody asks for anything. *Death*: one node after the other is killed with SIGKILL;
from then on both survivors are asked, again and again, to write one event to every partition that
the victim led and that is not written yet. The time of a partition is that of the answer which
acknowledges it; as one answer speaks of all partitions of a request, it is an upper bound.
Exit code 0: within the limits below. 1: not, or the cluster failed. 2: usage.
Does not: load the cluster beside its own questions.
"""

import argparse
import contextlib
import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
from rich.console import Console

from trimaran.bench.direct import append_to_each
from trimaran.bench.errors import BenchError
from trimaran.bench.failures import PATIENCE_S, all_in_sync, ms_since
from trimaran.bench.filesystem import DiskFigures, file_system, measure_disk
from trimaran.bench.machine import Machine, NodeMeter, NodeUse, describe
from trimaran.bench.target import Nodes, Target, fresh_topic, local_cluster
from trimaran.bench.target import refuse_memory_file_system as refuse_memory
from trimaran.errors import TrimaranError

NODES = 3
CPU_CORES_MAX = 0.10
RSS_MB_MAX = 300.0
WRITABLE_MS_MAX = 2_000.0
SETTLE_S = 10.0
"""After everything was created or came back: the nodes' own work dies down."""

ANSWER_S = 5.0
PAUSE_S = 0.02
"""Between two questions to a survivor, so that asking leaves the machine to the election."""

VALUE = b"event"


class Death(msgspec.Struct, kw_only=True, frozen=True):
    """One killed node, and when each partition that it led was written again."""

    victim: int
    partitions: int
    writable_median_ms: float
    writable_max_ms: float
    rejoin_ms: float
    """From the start of its process until it is in every in-sync set again."""


class PartitionsReport(msgspec.Struct, kw_only=True, frozen=True):
    """Everything one invocation measured."""

    machine: Machine
    file_system: str
    disk_before: DiskFigures
    partitions: int
    created_s: float
    """From the request for the topic until every partition had a leader."""
    at_rest_s: float
    at_rest: list[NodeUse]
    deaths: list[Death]

    @property
    def holds(self) -> bool:
        """Whether everything is within its limit."""
        return all(
            use.cpu_cores < CPU_CORES_MAX and use.rss_mb < RSS_MB_MAX for use in self.at_rest
        ) and all(death.writable_max_ms < WRITABLE_MS_MAX for death in self.deaths)

    def lines(self) -> list[str]:
        """Return it as a person reads it."""
        told = [
            f"{self.partitions} partitions on {NODES} nodes, created in {self.created_s:.1f} s; "
            f"at rest for {self.at_rest_s:.0f} s (limits: {CPU_CORES_MAX:.0%} of a core, "
            f"{RSS_MB_MAX:.0f} MB):"
        ]
        told += [
            f"  node {use.node_id}: {use.cpu_cores:.1%} of a core, {use.rss_mb:.0f} MB"
            for use in self.at_rest
        ]
        told += [
            f"node {one.victim} killed: its {one.partitions} partitions writable again after "
            f"{one.writable_median_ms:.0f} ms in the median, {one.writable_max_ms:.0f} ms at last "
            f"(limit {WRITABLE_MS_MAX:.0f} ms); started again, in sync after {one.rejoin_ms:.0f} ms"
            for one in self.deaths
        ]
        return told


def run_partitions(argv: list[str]) -> int:
    """Measure, print, return the exit code."""
    errors = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)
    try:
        arguments = _parser().parse_args(argv)
    except SystemExit as end:
        return int(end.code or 0)
    try:
        refuse_memory(arguments.data)
    except (BenchError, OSError) as error:
        errors.print(f"error: {error}")
        return 2
    try:
        with local_cluster(NODES, directory=arguments.data) as target:
            report = _measure(target, arguments, describe(["partitions", *argv]))
    except (TrimaranError, OSError) as error:
        errors.print(f"error: {error}")
        return 1
    console = Console(highlight=False, soft_wrap=True)
    for line in report.lines():
        console.print(line)
    machine = report.machine
    console.print(
        f"{machine.date}  {machine.processor}, {machine.cores} cores, load before "
        f"{machine.load_before}; {report.file_system}\n{machine.command}"
    )
    if arguments.json is not None:
        arguments.json.write_bytes(msgspec.json.format(msgspec.json.encode(report)) + b"\n")
    return 0 if report.holds else 1


def _measure(target: Target, arguments: argparse.Namespace, machine: Machine) -> PartitionsReport:
    nodes = target.nodes
    assert nodes is not None, "a local cluster has nodes of ours"
    disk = measure_disk(target.disk)
    begun_ns = time.monotonic_ns()
    with fresh_topic(target, partitions=arguments.count) as topic:
        created_s = ms_since(begun_ns) / 1_000
        _wait_in_sync(nodes, topic, nodes.nodes[0])
        _write(nodes, topic, list(range(arguments.count)), nodes.nodes, time.monotonic_ns())
        time.sleep(SETTLE_S)
        meter = NodeMeter(target.pids())
        time.sleep(arguments.seconds)
        at_rest = meter.read()
        deaths = [_kill(nodes, topic, victim) for victim in nodes.nodes[: arguments.deaths]]
    return PartitionsReport(
        machine=machine,
        file_system=file_system(target.disk)[0],
        disk_before=disk,
        partitions=arguments.count,
        created_s=created_s,
        at_rest_s=arguments.seconds,
        at_rest=at_rest,
        deaths=deaths,
    )


def _kill(nodes: Nodes, topic: str, victim: int) -> Death:
    survivors = tuple(node for node in nodes.nodes if node != victim)
    view = nodes.metadata(topic, node=survivors[0])
    if view is None:
        raise BenchError(f"node {survivors[0]} does not answer")
    led = [number for number, one in view.partitions.items() if one.leader == victim]
    if not led:
        raise BenchError(f"node {victim} leads no partition of {topic}")
    begun_ns = time.monotonic_ns()
    nodes.kill(victim)
    writable_ms = _write(nodes, topic, led, survivors, begun_ns)
    started_ns = time.monotonic_ns()
    nodes.start(victim)
    _wait_in_sync(nodes, topic, survivors[0])
    rejoin_ms = ms_since(started_ns)
    time.sleep(SETTLE_S)  # leaderships move back to where they belong
    return Death(
        victim=victim,
        partitions=len(led),
        writable_median_ms=round(statistics.median(writable_ms.values()), 1),
        writable_max_ms=round(max(writable_ms.values()), 1),
        rejoin_ms=rejoin_ms,
    )


def _write(
    nodes: Nodes, topic: str, partitions: list[int], asked: tuple[int, ...], begun_ns: int
) -> dict[int, float]:
    """Write one event to each partition; return when each was first acknowledged, in ms.

    Raises:
        BenchError: one was not written in time.
    """
    written: dict[int, float] = {}

    def ask(node: int) -> None:
        while len(written) < len(partitions) and ms_since(begun_ns) < PATIENCE_S * 1_000:
            missing = [one for one in partitions if one not in written]
            with contextlib.suppress(OSError):
                address = nodes.address(node)
                done = append_to_each(address, topic, missing, VALUE, timeout_s=ANSWER_S)
                for number in done:
                    written.setdefault(number, ms_since(begun_ns))
            time.sleep(PAUSE_S)

    with ThreadPoolExecutor(len(asked)) as pool:
        for outcome in [pool.submit(ask, node) for node in asked]:
            outcome.result()
    if len(written) < len(partitions):
        raise BenchError(
            f"{len(partitions) - len(written)} of {len(partitions)} partitions were not written "
            f"within {PATIENCE_S:.0f} s"
        )
    return written


def _wait_in_sync(nodes: Nodes, topic: str, node: int) -> None:
    end_s = time.monotonic() + PATIENCE_S
    while not all_in_sync(nodes, topic, node=node):
        if time.monotonic() > end_s:
            raise BenchError(f"not every replica was in sync within {PATIENCE_S:.0f} s")
        time.sleep(PAUSE_S)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="trimaran bench partitions",
        description="Many partitions: what nodes use at rest, and how long a death is felt.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--count", type=_count, default=1_000, help="partitions")
    parser.add_argument("--seconds", type=_count, default=20, help="of rest that are measured")
    parser.add_argument("--deaths", type=_count, default=NODES, help="nodes killed, one by one")
    parser.add_argument("--data", type=Path, default=Path("."), metavar="DIR", help="no tmpfs")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything there too")
    return parser


def _count(text: str) -> int:
    if not text.strip().isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number above 0, found {text!r}")
    return int(text)
