"""`trimaran sim --seed N [--seeds K]`: whole clusters in virtual time, with faults; repeatable.

Does not: know what is simulated.
"""

from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the noun."""
    app.command()(sim)


def sim(
    seed: Annotated[int, typer.Option(min=0, help="the run to make")] = 0,
    seeds: Annotated[int, typer.Option(min=1, help="how many runs, from --seed on")] = 1,
) -> None:
    """Run simulated clusters; exit code 1 at the first broken promise, with its seed."""
    raise typer.Exit(seed + seeds)
