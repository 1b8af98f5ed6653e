"""`trimaran bench`: from arguments to a report.

Exit code 0: measured. 1: measuring failed, or events that were answered with acks=all are gone.
2: asked for wrongly (arguments, a target that is not there, a directory without a disk under it).
130: interrupted; what was measured so far is shown.
Does not: measure; each scenario has its module.
"""

import argparse
import contextlib
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars

from trimaran.bench import scenarios
from trimaran.bench.arguments import parser
from trimaran.bench.backlog import measure_backlog
from trimaran.bench.compaction import measure_compaction
from trimaran.bench.compare import show_comparison
from trimaran.bench.errors import BenchError
from trimaran.bench.failover import measure_failover
from trimaran.bench.filesystem import file_system
from trimaran.bench.growth import bytes_kept, growth_plan, measure_growth
from trimaran.bench.machine import describe
from trimaran.bench.measure import Progress, measure
from trimaran.bench.rejoin import measure_rejoin
from trimaran.bench.results import Report
from trimaran.bench.table import show
from trimaran.bench.target import (
    Target,
    foreign,
    local_cluster,
    null_broker,
    refuse_memory_file_system,
)
from trimaran.errors import TrimaranError

OK = 0
FAILED = 1
USAGE = 2
INTERRUPTED = 130

REPORT_COLUMNS = 250
"""Width of the tables where standard output is no terminal."""


def run(argv: list[str]) -> int:
    """Measure what `argv` asks for, print the report, return the exit code."""
    code = _own_command(argv)
    if code is not None:
        return code
    errors = Console(stderr=True)
    try:
        arguments = parser().parse_args(argv)
    except SystemExit as end:
        return int(end.code or OK)
    try:
        if arguments.compare is not None:
            old, new = arguments.compare
            show_comparison(old, new, _console())
            return OK
        scenarios.settle(arguments)
        scenarios.check(arguments)
        if not arguments.null:
            refuse_memory_file_system(arguments.data)
        report = Report(machine=describe(argv), file_system=file_system(arguments.data)[0])
        targets = _targets(arguments)
    except (BenchError, OSError) as error:
        errors.print(f"error: {error}", highlight=False, markup=False, soft_wrap=True)
        return USAGE
    code = OK
    try:
        with _bars(errors) as progress:
            for scenario, opened in targets:
                with opened() as (target, at):
                    _measure(scenario, target, at, arguments, report, progress)
    except KeyboardInterrupt:
        code = INTERRUPTED
    except (TrimaranError, OSError) as error:
        errors.print(f"error: {error}", highlight=False, markup=False, soft_wrap=True)
        code = FAILED
    _publish(report, arguments)
    return code or exit_code(report)


def exit_code(report: Report) -> int:
    """Return FAILED if events that were answered with acks=all are gone; weaker ones may be."""
    gone = any(
        one.acks == "all" and (one.lost or one.duplicated or one.out_of_order)
        for one in report.failovers
    )
    return FAILED if gone else OK


def _own_command(argv: list[str]) -> int | None:
    """Run a command that has options of its own; None if `argv` names none."""
    name, words = argv[:1], argv[1:]
    if name == ["trials"]:
        from trimaran.bench.trials import run_trials

        return run_trials(words)
    if name == ["dedup"]:
        from trimaran.bench.dedup import run_dedup

        return run_dedup(words)
    if name == ["ready"]:
        from trimaran.bench.readiness import run_ready

        return run_ready(words)
    if name == ["partitions"]:
        from trimaran.bench.partitions import run_partitions

        return run_partitions(words)
    return None


_Opened = Callable[[], contextlib.AbstractContextManager[tuple[Target, int]]]


def _targets(arguments: argparse.Namespace) -> list[tuple[str, _Opened]]:
    """Return (scenario, target to be opened) in the order of the invocation.

    Raises:
        BenchError: nothing answers at the address that was given.
    """
    if arguments.bootstrap is not None:
        found = foreign(arguments.bootstrap, disk=arguments.data)
        return [(name, _opener(_there(found), 0)) for name in scenarios.names(arguments)]
    if arguments.null:
        return [
            (name, _opener(null_broker(disk=arguments.data), 0))
            for name in scenarios.names(arguments)
        ]
    return [
        (name, _opener(local_cluster(count, directory=arguments.data), at))
        for name in scenarios.names(arguments)
        for at, count in enumerate(scenarios.node_counts(name, arguments))
    ]


def _opener(target: contextlib.AbstractContextManager[Target], at: int) -> _Opened:
    @contextlib.contextmanager
    def opened() -> Iterator[tuple[Target, int]]:
        with target as one:
            yield one, at

    return opened


@contextlib.contextmanager
def _there(target: Target) -> Iterator[Target]:
    yield target


def _measure(
    scenario: str,
    target: Target,
    at: int,
    arguments: argparse.Namespace,
    report: Report,
    progress: Progress,
) -> None:
    if scenario in ("failover", "W8"):
        for series in scenarios.failover_plans(arguments):
            report.failovers.append(measure_failover(series, target, progress=progress))
        return
    if scenario == "rejoin":
        report.rejoins.append(
            measure_rejoin(
                target,
                megabytes=arguments.megabytes,
                partitions=arguments.partitions or scenarios.PARTITIONS,
                progress=progress,
            )
        )
        return
    if scenario == "growth":
        plan = growth_plan(
            arguments.size or 100, arguments.partitions or scenarios.GROWTH_PARTITIONS
        )
        for events in arguments.events:
            _check_space(target, bytes_kept(plan, events) * target.node_count)
            report.growths.append(measure_growth(target, plan, events=events, progress=progress))
        return
    if scenario == "W6":
        plan = scenarios.backlog_plan(arguments)
        _check_space(target, round(4e6 * arguments.megabytes * target.node_count))
        report.drains.append(
            measure_backlog(target, plan, megabytes=arguments.megabytes, progress=progress)
        )
        return
    if scenario == "compaction":
        plan = scenarios.compaction_plan(arguments, nodes=target.node_count)
        _check_space(target, 2 * scenarios.bytes_needed(plan, target.node_count))
        report.compactions.append(
            measure_compaction(
                target,
                plan,
                megabytes=arguments.megabytes,
                partitions=scenarios.COMPACTED_PARTITIONS,
                progress=progress,
            )
        )
        return
    for plan in scenarios.plans(scenario, arguments, at=at, nodes=target.node_count):
        _check_space(target, scenarios.bytes_needed(plan, target.node_count))
        report.rows += measure(plan, target, repeats=arguments.repeats, progress=progress)


def _check_space(target: Target, needed: int) -> None:
    free = shutil.disk_usage(target.disk).free
    if target.nodes is not None and free < needed:
        raise BenchError(
            f"a run may store {needed / 1e9:.0f} GB in {target.disk}, where {free / 1e9:.0f} GB "
            "are free: choose fewer --seconds or another --data"
        )


def _publish(report: Report, arguments: argparse.Namespace) -> None:
    show(report, _console())
    destination: Path | None = arguments.json
    if destination is not None:
        destination.write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n")


def _console() -> Console:
    console = Console()
    return console if console.is_terminal else Console(width=REPORT_COLUMNS)


@contextlib.contextmanager
def _bars(console: Console) -> Iterator[Progress]:
    """Show one bar on standard error; off a terminal, one line for each new description."""
    if not console.is_terminal:
        said = ""

        def say(description: str, _fraction: float) -> None:
            nonlocal said
            if description != said:
                said = description
                console.print(description, highlight=False, markup=False, soft_wrap=True)

        yield say
        return
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Bars(*columns, console=console) as bars:
        task = bars.add_task("", total=1.0)

        def move(description: str, fraction: float) -> None:
            bars.update(task, description=description, completed=fraction)

        yield move
