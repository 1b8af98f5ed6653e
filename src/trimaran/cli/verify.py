"""`trimaran verify DIR [--dump]`: checks a data directory offline, and shows what is in it.

Does not: repair, or run beside a node (a running one writes while we read).
"""

from pathlib import Path
from typing import Annotated

import typer

from trimaran.cli.exits import FAILED, USAGE, CommandError
from trimaran.server.running import running_pid


def register(app: typer.Typer) -> None:
    """Add the noun."""
    app.command()(verify)


def verify(
    directory: Annotated[Path, typer.Argument(help="data directory of one node")],
    dump: Annotated[
        bool, typer.Option("--dump", help="print every entry, one JSON object a line")
    ] = False,
) -> None:
    """Check every checksum and every rule between the files; exit code 1 if any is broken."""
    if not directory.is_dir():
        raise CommandError(f"{directory} is not a directory", code=USAGE)
    pid = running_pid(directory)
    if pid is not None:
        raise CommandError(f"{directory} is in use by process {pid}: stop the node first")
    raise typer.Exit(FAILED if dump else FAILED)
