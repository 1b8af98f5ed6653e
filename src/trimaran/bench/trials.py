"""`trimaran bench trials`: hundreds of failures of real clusters, resumable, as distributions.

    trimaran bench trials --kills 200 --freezes 50 --cuts 50 --busy-minutes 10 --results FILE

Works in rounds of a few failures, each on a fresh cluster, and writes FILE after each: asked again
with the same FILE it goes on where it was, as long as the source of the package is the same. Prints
percentiles and histograms, and what was lost, doubled or out of order (always to be nothing).

Exit codes: 0 all limits are kept; 1 something is not; 2 asked for wrongly; 130 interrupted.
Does not: judge failures during which the machine itself stood still; they are listed apart.
"""

import argparse
import hashlib
from collections.abc import Sequence
from pathlib import Path

import msgspec
from rich.console import Console

import trimaran
from trimaran.bench.busy import LONG_GAP_MS, Busy, measure_busy
from trimaran.bench.distribution import distribution, histogram
from trimaran.bench.errors import BenchError
from trimaran.bench.failover import measure_failover
from trimaran.bench.failures import FailoverPlan
from trimaran.bench.machine import Machine, describe
from trimaran.bench.results import Failover, Kill
from trimaran.bench.target import local_cluster, refuse_memory_file_system
from trimaran.errors import TrimaranError

OK, FAILED, USAGE, INTERRUPTED = 0, 1, 2, 130
NODES = 3
PARTITIONS = 3
RATE = 2_000.0
EVENT_BYTES = 100
PER_ROUND = 10
"""Failures of one cluster before it is read back and thrown away."""

STALLED_MS = 100.0
"""A machine that stood still for longer decides the gap, not the cluster."""

SILENT_GAP_MS_MAX = 2_500.0
"""A client that holds on to a silent node waits for timers of its own (docs/failover.md): up to
2.0 s were seen where all its partitions had one leader. Only what is longer is the cluster's."""
GAP_MS_MAX = {"kill": 600.0, "freeze": SILENT_GAP_MS_MAX, "cut": SILENT_GAP_MS_MAX}
"""Of the ordinary producer, by manner."""
SILENT_MS_MAX = 1_000.0
SILENT_MOST_MS_MAX = 600.0
SILENT_MOST = 0.9
STALLED_MAX = 4
"""Of all failures of a manner: with more, the machine is no place to measure this."""


class Results(msgspec.Struct, kw_only=True):
    """What FILE holds."""

    source: str
    """SHA-256 over the package's files: results of another source do not count."""
    machine: Machine
    rounds: list[Failover] = []
    busy: list[Busy] = []

    def kills(self, manner: str) -> list[Kill]:
        """Return all failures of one manner."""
        return [kill for one in self.rounds if one.manner == manner for kill in one.kills]


def run_trials(argv: list[str]) -> int:
    """Do what `argv` asks for, as far as FILE does not hold it yet; return the exit code."""
    console = Console(soft_wrap=True, highlight=False, markup=False)
    try:
        options = _parser().parse_args(argv)
        refuse_memory_file_system(options.data)
        results = _resumed(options.results, argv)
    except SystemExit as end:
        return int(end.code or OK)
    except (BenchError, OSError) as error:
        console.print(f"error: {error}")
        return USAGE
    try:
        _measure(options, results, console)
    except KeyboardInterrupt:
        _show(results, console)
        return INTERRUPTED
    except (TrimaranError, OSError) as error:
        console.print(f"error: {error}")
        _show(results, console)
        return FAILED
    _show(results, console)
    missed = missed_limits(results)
    for line in missed:
        console.print(f"missed: {line}")
    return FAILED if missed else OK


def missed_limits(results: Results) -> list[str]:
    """Return each limit that is not kept, in words."""
    missed = [
        f"{one.manner}: {one.lost} lost, {one.duplicated} doubled, {one.out_of_order} out of order"
        for one in results.rounds
        if one.lost or one.duplicated or one.out_of_order
    ]
    for manner, gap_ms_max in GAP_MS_MAX.items():
        kills = results.kills(manner)
        calm, stalled = split(kills)
        if len(stalled) > STALLED_MAX:
            missed.append(
                f"{manner}: the machine stood still during {len(stalled)} of {len(kills)}, "
                f"at most {STALLED_MAX} are left out"
            )
        if stalled and not calm:
            missed.append(
                f"{manner}: the machine stood still during all of {len(kills)}: nothing is measured"
            )
        gap_ms = max((one.gap_ms for one in calm), default=0.0)
        if gap_ms >= gap_ms_max:
            missed.append(f"{manner}: a gap of {gap_ms} ms")
        missed += _missed_by_silent(manner, kills)
    missed += [
        f"busy loops: {run.interrupted} elections interrupted a stream, {run.lost} lost"
        for run in results.busy
        if run.interrupted or run.lost or run.duplicated or run.out_of_order
    ]
    return missed


def _missed_by_silent(manner: str, kills: Sequence[Kill]) -> list[str]:
    missed = []
    for what, values in silent_figures(split(kills)[0]):
        quick = sum(value < SILENT_MOST_MS_MAX for value in values)
        if values and (max(values) >= SILENT_MS_MAX or quick < SILENT_MOST * len(values)):
            missed.append(
                f"{manner}: {what}: {quick} of {len(values)} under {SILENT_MOST_MS_MAX:.0f} ms, "
                f"the longest {max(values)} ms"
            )
    if any(one.stale_answers for one in kills):
        missed.append(f"{manner}: a stale answer")
    return missed


def split(kills: Sequence[Kill]) -> tuple[list[Kill], list[Kill]]:
    """Return the failures of a machine that ran, and those during which it stood still."""
    calm = [one for one in kills if one.stall_ms <= STALLED_MS]
    return calm, [one for one in kills if one.stall_ms > STALLED_MS]


def silent_figures(kills: Sequence[Kill]) -> list[tuple[str, list[float]]]:
    """Return what is measured of nodes that fell silent: name and milliseconds of each."""
    return [
        ("new leader", [one.metadata_ms for one in kills if one.metadata_ms is not None]),
        ("first ack", [one.first_ack_ms for one in kills if one.first_ack_ms is not None]),
    ]


def source_hash() -> str:
    """Return the SHA-256 over all Python and C files of the package, names and contents."""
    root = Path(trimaran.__file__).parent
    whole = hashlib.sha256()
    for path in sorted([*root.rglob("*.py"), *root.rglob("*.c")]):
        whole.update(str(path.relative_to(root)).encode() + b"\0" + path.read_bytes() + b"\0")
    return whole.hexdigest()


def _measure(options: argparse.Namespace, results: Results, console: Console) -> None:
    wanted = {"kill": options.kills, "freeze": options.freezes, "cut": options.cuts}
    for manner, count in wanted.items():
        while (left := count - len(results.kills(manner))) > 0:
            done = count - left
            plan = _plan(manner, min(left, options.per_round))
            with local_cluster(NODES, directory=options.data, links=manner == "cut") as target:
                found = measure_failover(plan, target, progress=_Said(console, done, count))
            results.rounds.append(found)
            _store(results, options.results)
    if options.busy_minutes and not results.busy:
        seconds = options.busy_minutes * 60
        with local_cluster(NODES, directory=options.data) as target:
            found_busy = measure_busy(
                target,
                loops=options.loops,
                seconds=seconds,
                plan=_plan("none", 0),
                progress=lambda _description, _fraction: None,
            )
        results.busy.append(found_busy)
        _store(results, options.results)


class _Said:
    """Progress as one line for each failure."""

    def __init__(self, console: Console, done: int, count: int) -> None:
        self._console, self._done, self._count = console, done, count
        self._last = -1.0

    def __call__(self, description: str, fraction: float) -> None:
        """Print a line when there is news."""
        if fraction != self._last:
            self._last = fraction
            self._console.print(f"{description}: {fraction:.0%} ({self._done} of {self._count})")


def _plan(manner: str, count: int) -> FailoverPlan:
    return FailoverPlan(
        manner=manner,
        count=count,
        rate=RATE,
        event_bytes=EVENT_BYTES,
        partitions=PARTITIONS,
        acks="all",
    )


def _resumed(path: Path, argv: list[str]) -> Results:
    """Return what FILE holds. Raises BenchError if it is of another source, or not ours."""
    source = source_hash()
    if not path.exists():
        return Results(source=source, machine=describe(["trials", *argv]))
    try:
        found = msgspec.json.decode(path.read_bytes(), type=Results)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BenchError(f"{path} holds no results of trials: {error}") from error
    if found.source != source:
        raise BenchError(f"{path} has results of another source of the package: move it away")
    return found


def _store(results: Results, path: Path) -> None:
    fresh = path.with_name(path.name + ".new")
    fresh.write_bytes(msgspec.json.format(msgspec.json.encode(results), indent=2) + b"\n")
    fresh.replace(path)


def _show(results: Results, console: Console) -> None:
    machine = results.machine
    console.print(f"{machine.date}  {machine.processor}, {machine.cores} cores, {machine.kernel}")
    for manner in GAP_MS_MAX:
        kills = results.kills(manner)
        if not kills:
            continue
        calm, stalled = split(kills)
        rounds = [one for one in results.rounds if one.manner == manner]
        console.print(
            f"\n{manner}: {len(kills)} of leaders, {sum(one.answered for one in rounds)} events "
            f"acknowledged, {sum(one.lost for one in rounds)} lost, "
            f"{sum(one.duplicated for one in rounds)} doubled, "
            f"{sum(one.out_of_order for one in rounds)} out of order"
        )
        gap = "producer's gap" if manner == "kill" else "ordinary producer's gap"
        figures = [] if manner == "kill" else silent_figures(calm)
        for what, values in [*figures, (gap, [one.gap_ms for one in calm])]:
            _show_values(what, values, console)
        for one in stalled:
            console.print(f"  the machine stood still for {one.stall_ms} ms: gap {one.gap_ms} ms")
    for run in results.busy:
        _show_busy(run, console)


def _show_values(what: str, values: Sequence[float], console: Console) -> None:
    found = distribution(values)
    if found is None:
        return
    console.print(
        f"  {what}: p50 {found.p50_ms} ms, p90 {found.p90_ms} ms, p99 {found.p99_ms} ms, "
        f"max {found.max_ms} ms ({found.count})"
    )
    for line in histogram(values):
        console.print(f"    {line}")


def _show_busy(run: Busy, console: Console) -> None:
    console.print(
        f"\n{run.loops} busy loops for {run.seconds:.0f} s: {len(run.elections)} elections, "
        f"{run.interrupted} with a gap over {LONG_GAP_MS:.0f} ms; longest gap of all "
        f"{run.gap_max_ms} ms; {len(run.long_gaps_ms)} gaps over {LONG_GAP_MS:.0f} ms without an "
        f"election; the machine stood still {run.stalls} times, at most {run.stall_max_ms} ms; "
        f"{run.answered} acknowledged, {run.lost} lost, {run.duplicated} doubled, "
        f"{run.out_of_order} out of order"
    )
    for one in run.elections:
        console.print(f"  partition {one.partition}, term {one.term}: gap {one.gap_ms} ms")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="trimaran bench trials",
        description="Many failures of real clusters under load, as distributions; resumable.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--kills", type=_count, default=200, help="leaders killed with SIGKILL")
    parser.add_argument("--freezes", type=_count, default=50, help="leaders frozen with SIGSTOP")
    parser.add_argument("--cuts", type=_count, default=50, help="leaders cut off from everybody")
    parser.add_argument(
        "--busy-minutes", type=float, default=10.0, help="beside busy loops; 0: not at all"
    )
    parser.add_argument("--loops", type=_count, default=4, help="busy loops")
    parser.add_argument("--per-round", type=_count, default=PER_ROUND, help="failures a cluster")
    parser.add_argument("--data", type=Path, default=Path("."), metavar="DIR", help="no tmpfs")
    parser.add_argument(
        "--results", type=Path, default=Path("trials.json"), metavar="FILE", help="to go on with"
    )
    return parser


def _count(text: str) -> int:
    if not text.strip().isdecimal():
        raise argparse.ArgumentTypeError(f"expected a whole number, found {text!r}")
    return int(text)
