"""`trimaran sim --seed N [--seeds K]`: whole clusters in virtual time, with faults; repeatable.

`--replay` runs each seed twice and compares the event logs; `--shrink` looks for a smaller run that
fails in the same way and prints its command line.

Does not: know what is simulated.
"""

from dataclasses import asdict, replace
from typing import Annotated

import typer

from trimaran.cli.exits import FAILED, USAGE, CommandError
from trimaran.cli.output import Format, FormatOption, show_document
from trimaran.sim.crowd import CLIENTS_MAX
from trimaran.sim.faults import KINDS
from trimaran.sim.report import CLIENTS, NODES, SECONDS, RunOptions, SeedReport, listed
from trimaran.sim.run import run
from trimaran.sim.shrink import shrink

TRACE_LINES = 200


def register(app: typer.Typer) -> None:
    """Add the noun."""
    app.command()(sim)


def sim(
    seed: Annotated[int, typer.Option(min=0, help="of the first run")] = 0,
    seeds: Annotated[int, typer.Option(min=1, help="how many runs, from --seed on")] = 1,
    minutes: Annotated[
        float | None, typer.Option(min=0.02, help="virtual minutes of faults in each run")
    ] = None,
    seconds: Annotated[float, typer.Option(min=1.0, help="the same in virtual seconds")] = SECONDS,
    nodes: Annotated[int, typer.Option(min=1, max=9)] = NODES,
    clients: Annotated[int, typer.Option(min=1, max=CLIENTS_MAX)] = CLIENTS,
    kinds: Annotated[
        str | None,
        typer.Option(help="faults by name, with commas ('' for none); default: as the seed draws"),
    ] = None,
    replay: Annotated[bool, typer.Option(help="run twice, compare the event logs")] = False,
    smaller: Annotated[
        bool, typer.Option("--shrink", help="after a failure look for a smaller one")
    ] = False,
    output: FormatOption = Format.TABLE,
) -> None:
    """Run simulated clusters under faults; exit code 1 if any seed breaks a promise.

    The same seed, options and version give the same run.
    """
    first = RunOptions(
        seed=seed,
        seconds=seconds if minutes is None else 60.0 * minutes,
        nodes=nodes,
        clients=clients,
        kinds=_named(kinds),
    )
    failed = 0
    for number in range(seed, seed + seeds):
        failed += not _run_one(replace(first, seed=number), replay, smaller, output)
    if failed:
        raise typer.Exit(FAILED)


def _named(kinds: str | None) -> tuple[str, ...] | None:
    if kinds is None:
        return None
    names = tuple(name.strip() for name in kinds.split(",") if name.strip())
    for name in names:
        if name not in KINDS:
            raise CommandError(f"--kinds: expected {', '.join(KINDS)}, found '{name}'", code=USAGE)
    return names


def _run_one(options: RunOptions, replay: bool, smaller: bool, form: Format) -> bool:
    """Run, print, and return whether all is well."""
    report = run(options, trace_lines=TRACE_LINES)
    again = run(options, trace_lines=TRACE_LINES).digest if replay else report.digest
    show_report(report, form)
    if replay and form is Format.TABLE:
        same = again == report.digest
        print(f"  replay: {'the same event log' if same else f'ANOTHER event log, {again}'}")
    if smaller and not report.passed:
        least = shrink(options, lambda tried: not run(tried).passed)
        print(f"  smallest failing run: {least.command()}")
    return report.passed and again == report.digest


def show_report(report: SeedReport, form: Format) -> None:
    """Print what happened, and after a failure what was violated and how it came to it."""
    if form is not Format.TABLE:
        show_document(asdict(report), form)
        return
    verdict = "ok" if report.passed else f"{len(report.violations)} VIOLATIONS"
    print(f"seed {report.seed} {verdict}, digest {report.digest}")
    print(
        f"  {report.virtual_s:.1f} virtual seconds, {report.nodes} nodes, sent {report.sent}, "
        f"acknowledged {report.acked}, unknown {report.unknown}, read {report.read}"
    )
    print(
        f"  leader changes {report.leader_changes}, restarts {report.restarts}, progress with a "
        f"majority after {report.progress_s:.1f} s"
    )
    print(f"  faults that happened: {listed(report.faults)}")
    print(f"  what else happened: {listed(report.counts)}", flush=True)
    if not report.passed:
        for line in [*report.violations, "trace:", *report.trace]:
            print(f"  {line}")
        print(f"  again: {report.options.command()}", flush=True)
