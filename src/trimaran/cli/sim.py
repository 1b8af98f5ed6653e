"""`trimaran sim --seed N [--seeds K]`: whole clusters in virtual time, with faults; repeatable.

Does not: know what is simulated.
"""

from dataclasses import asdict
from typing import Annotated

import typer

from trimaran.cli.exits import FAILED
from trimaran.cli.output import Format, FormatOption, show_json
from trimaran.sim.run import SeedReport, run_seed

TRACE_LINES = 200
VIRTUAL_S = 20.0


def register(app: typer.Typer) -> None:
    """Add the noun."""
    app.command()(sim)


def sim(
    seed: Annotated[int, typer.Option(min=0, help="of the first run")] = 0,
    seeds: Annotated[int, typer.Option(min=1, help="how many runs, from --seed on")] = 1,
    seconds: Annotated[
        float, typer.Option(min=1.0, help="virtual seconds of faults in each run")
    ] = VIRTUAL_S,
    nodes: Annotated[int, typer.Option(min=1, max=9)] = 3,
    output: FormatOption = Format.TEXT,
) -> None:
    """Run simulated clusters under faults; exit code 1 if any seed breaks a promise.

    The same seed, options and version give the same run.
    """
    failed = 0
    for number in range(seed, seed + seeds):
        report = run_seed(number, seconds=seconds, nodes=nodes, trace_lines=TRACE_LINES)
        show_report(report, output)
        failed += not report.passed
    if failed:
        raise typer.Exit(FAILED)


def show_report(report: SeedReport, form: Format) -> None:
    """Print one line, and after a failure what was violated and how it came to it."""
    if form is Format.JSON:
        show_json(asdict(report))
        return
    print(report.summary(), flush=True)
    if not report.passed:
        for line in [*report.violations, "trace:", *report.trace]:
            print(f"  {line}")
