"""What watching costs: the same paced load without and with people who watch, in turns.

    python -m trimaran.bench.watched [--pairs 7] [--seconds 15] [--rate 20000] [--tails 10]

Ten tails, samples and cluster feeds run in a process of their own (`watchers`); the load is the
producer's of every other scenario. Of the pairs the median ratio counts, for throughput and p99.
Does not: judge; the limits stand beside the figures.
"""

import argparse
import contextlib
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import IO, Protocol, runtime_checkable

import msgspec

from trimaran.bench.errors import BenchError
from trimaran.bench.measure import run_once
from trimaran.bench.plan import Plan
from trimaran.bench.results import Row
from trimaran.bench.target import Nodes, Target, local_cluster, refuse_memory_file_system

THROUGHPUT_LOSS_MAX = 0.05
P99_GROWTH_MAX = 0.15


class Watched(msgspec.Struct, frozen=True, kw_only=True):
    """All pairs, and the medians of their ratios."""

    alone: list[Row]
    beside: list[Row]
    throughput_ratio: float
    """With watchers by without; the limit is 0.95."""
    p99_ratio: float
    """The limit is 1.15."""
    watchers: dict[str, int]
    """What they saw in the last run: tails, events seen and missed, samples."""


@runtime_checkable
class HttpNodes(Nodes, Protocol):
    """Nodes that people can watch."""

    def http_address(self, node: int) -> str:
        """Return HOST:PORT."""


def measure_watched(target: Target, plan: Plan, *, pairs: int, tails: int) -> Watched:
    """Run `plan` in `pairs` pairs. Raises BenchError."""
    alone: list[Row] = []
    beside: list[Row] = []
    said: dict[str, int] = {}
    for number in range(1, pairs + 1):
        alone.append(run_once(plan, target, repeat=number, progress=tell))
        with watching(target, tails) as found:
            beside.append(run_once(plan, target, repeat=number, progress=tell))
            said = last_line(found)
    return Watched(
        alone=alone,
        beside=beside,
        throughput_ratio=median(ratios(alone, beside, lambda row: row.answered_per_s)),
        p99_ratio=median(ratios(alone, beside, p99_ms)),
        watchers=said,
    )


def ratios(
    alone: Sequence[Row], beside: Sequence[Row], figure: Callable[[Row], float]
) -> list[float]:
    """Return the second by the first of each pair."""
    return [figure(second) / figure(first) for first, second in zip(alone, beside, strict=True)]


def p99_ms(row: Row) -> float:
    """Return the p99 of a paced run."""
    assert row.latency is not None, "a paced load has latencies"
    return row.latency.p99_ms


@contextlib.contextmanager
def watching(target: Target, tails: int) -> Iterator[IO[bytes]]:
    """Run the watchers beside the block; yields the file of what they say."""
    nodes = target.nodes
    if not isinstance(nodes, HttpNodes):
        raise BenchError("watching needs a cluster of its own")
    addresses = [nodes.http_address(node) for node in nodes.nodes]
    command = [sys.executable, "-m", "trimaran.bench.watchers", "--tails", str(tails)]
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen([*command, *addresses], stdout=said)
        try:
            yield said
        finally:
            process.kill()
            process.wait()


def last_line(said: IO[bytes]) -> dict[str, int]:
    """Return what the watchers said last."""
    said.seek(0)
    lines = said.read().splitlines()
    return msgspec.json.decode(lines[-1], type=dict[str, int]) if lines else {}


def tell(text: str, done: float) -> None:
    """Say which run begins."""
    if done == 0.0 and text.endswith("disk"):
        sys.stderr.write(f"{text.removesuffix(': disk')}\n")


def main(arguments: Sequence[str]) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m trimaran.bench.watched")
    parser.add_argument("--pairs", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=15.0)
    parser.add_argument("--rate", type=float, default=20_000.0)
    parser.add_argument("--tails", type=int, default=10)
    parser.add_argument("--event-bytes", type=int, default=512)
    parser.add_argument("--nodes", type=int, default=3)
    parser.add_argument("--data", type=Path, default=Path(tempfile.gettempdir()))
    parser.add_argument("--json", type=Path, help="write everything here")
    options = parser.parse_args(arguments)
    refuse_memory_file_system(options.data)
    plan = Plan(
        scenario="watched",
        load="paced",
        producers=1,
        event_bytes=options.event_bytes,
        partitions=3,
        warm_up_s=3.0,
        seconds=options.seconds,
        rate=options.rate,
        settings={"linger.ms": 5},
    )
    with local_cluster(options.nodes, directory=options.data) as target:
        found = measure_watched(target, plan, pairs=options.pairs, tails=options.tails)
    for name, rows in (("alone", found.alone), ("beside", found.beside)):
        figures = ", ".join(f"{row.answered_per_s:,.0f}/s p99 {p99_ms(row):.1f} ms" for row in rows)
        print(f"{name}: {figures}")  # noqa: T201 - what this program is for
    print(  # noqa: T201
        f"throughput x {found.throughput_ratio:.3f} (at least {1 - THROUGHPUT_LOSS_MAX:.2f}), "
        f"p99 x {found.p99_ratio:.3f} (at most {1 + P99_GROWTH_MAX:.2f}); {found.watchers}"
    )
    if options.json is not None:
        options.json.write_bytes(msgspec.json.format(msgspec.json.encode(found), indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
