"""`trimaran bench ready`: how long `trimaran.testing.Cluster` takes to be ready, start by start.

The clock runs from the call until every node has said that it is ready: formatting, processes,
imports, elections. Each start has a fresh directory; what it stored is removed.
Exit code 0: every median within its limit. 1: one is not, or a cluster did not start. 2: usage.
Does not: send events; what the first one costs is `latency`'s business.
"""

import argparse
import statistics
import time
from pathlib import Path

import msgspec
from rich.console import Console

from trimaran.bench.ending import end_report
from trimaran.bench.errors import BenchError
from trimaran.bench.filesystem import DiskFigures, file_system, measure_disk
from trimaran.bench.machine import Machine, describe
from trimaran.bench.target import local_cluster, refuse_memory_file_system
from trimaran.errors import TrimaranError

LIMITS_S = {1: 1.0, 3: 2.0}
"""Nodes: seconds that their median may take."""


class Readiness(msgspec.Struct, kw_only=True, frozen=True):
    """Starts of clusters of one size."""

    nodes: int
    seconds: list[float]
    """Of each start, in order."""

    @property
    def holds(self) -> bool:
        """Whether the median is within the limit, if there is one for this size."""
        limit_s = LIMITS_S.get(self.nodes)
        return limit_s is None or statistics.median(self.seconds) < limit_s

    def line(self) -> str:
        """Return it as a person reads it."""
        limit_s = LIMITS_S.get(self.nodes)
        bound = "" if limit_s is None else f" (limit {limit_s:.0f} s)"
        return (
            f"{self.nodes} node{'s' if self.nodes > 1 else ''} ready: median "
            f"{statistics.median(self.seconds):.2f} s{bound}, fastest {min(self.seconds):.2f} s, "
            f"slowest {max(self.seconds):.2f} s, {len(self.seconds)} starts"
        )


class ReadinessReport(msgspec.Struct, kw_only=True, frozen=True):
    """Everything one invocation measured."""

    machine: Machine
    file_system: str
    disk_before: DiskFigures
    sizes: list[Readiness]


def run_ready(argv: list[str]) -> int:
    """Measure, print, return the exit code."""
    console = Console(highlight=False, soft_wrap=True)
    try:
        arguments = _parser().parse_args(argv)
    except SystemExit as end:
        return int(end.code or 0)
    try:
        refuse_memory_file_system(arguments.data)
        report = ReadinessReport(
            machine=describe(["ready", *argv]),
            file_system=file_system(arguments.data)[0],
            disk_before=measure_disk(arguments.data),
            sizes=[],
        )
    except (BenchError, OSError) as error:
        Console(stderr=True).print(f"error: {error}", highlight=False, markup=False)
        return 2
    try:
        for count in arguments.nodes:
            report.sizes.append(measure_readiness(count, arguments.data, arguments.starts))
            console.print(report.sizes[-1].line())
    except (TrimaranError, OSError) as error:
        Console(stderr=True).print(f"error: {error}", highlight=False, markup=False)
        return 1
    end_report(report, console, arguments.json)
    return 0 if all(size.holds for size in report.sizes) else 1


def measure_readiness(count: int, directory: Path, starts: int) -> Readiness:
    """Start `count` nodes `starts` times. Raises NodeStartError, OSError."""
    seconds = []
    for _ in range(starts):
        begun_s = time.monotonic()
        with local_cluster(count, directory=directory):
            seconds.append(round(time.monotonic() - begun_s, 3))
    return Readiness(nodes=count, seconds=seconds)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="trimaran bench ready",
        description="Start local clusters again and again: how long until they are ready?",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--nodes", type=_counts, default=[1, 3], metavar="N,...", help="sizes")
    parser.add_argument("--starts", type=_count, default=9, help="of each size")
    parser.add_argument("--data", type=Path, default=Path("."), metavar="DIR", help="no tmpfs")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything there too")
    return parser


def _counts(text: str) -> list[int]:
    return [_count(part) for part in text.split(",")]


def _count(text: str) -> int:
    if not text.strip().isdecimal() or not 1 <= int(text) <= 9:
        raise argparse.ArgumentTypeError(f"expected 1 to 9, found {text!r}")
    return int(text)
