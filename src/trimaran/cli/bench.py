"""`trimaran bench`: hands its arguments to the load generator.

Does not: parse them; `trimaran bench --help` is answered there.
"""

from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the noun; everything after it is passed through, `--help` too."""
    passed_through = {"allow_extra_args": True, "ignore_unknown_options": True}
    app.command(context_settings=passed_through, add_help_option=False)(bench)


def bench(
    arguments: Annotated[list[str] | None, typer.Argument(help="see bench --help")] = None,
) -> None:
    """Measure a cluster: open-loop load, latency percentiles from the intended send times."""
    from trimaran.bench.main import run

    raise typer.Exit(run(arguments or []))
