"""`trimaran verify DIR [--dump]`: checks a data directory offline, and shows what is in it.

Does not: repair, or run beside a node (a running one writes while we read).
"""

import sys
from pathlib import Path
from typing import Annotated

import typer

from trimaran.cli.dump import dumped_entries
from trimaran.cli.exits import FAILED, USAGE, CommandError
from trimaran.cli.output import Format, show_document
from trimaran.server.running import running_pid
from trimaran.storage.files import RealFiles
from trimaran.storage.verify import DataDirectory, verify_store


def register(app: typer.Typer) -> None:
    """Add the noun."""
    app.command()(verify)


def verify(
    directory: Annotated[Path, typer.Argument(help="data directory of one node")],
    dump: Annotated[
        bool, typer.Option("--dump", help="print every entry, one JSON object a line")
    ] = False,
    topic: Annotated[
        str | None, typer.Option("--topic", help="dump the entries of this topic alone")
    ] = None,
) -> None:
    """Check every checksum and every rule between the files; exit code 1 if any is broken."""
    if not directory.is_dir():
        raise CommandError(f"{directory} is not a directory", code=USAGE)
    if topic is not None and not dump:
        raise CommandError("--topic chooses what --dump prints: give both", code=USAGE)
    pid = running_pid(directory)
    if pid is not None:
        raise CommandError(f"{directory} is in use by process {pid}: stop the node first")
    files = RealFiles(str(directory), read_only=True)
    if dump:
        show_entries(files, topic)
    findings = verify_store(files)
    for finding in findings:
        print(finding, file=sys.stderr)
    if findings:
        raise CommandError(f"{directory}: {len(findings)} findings", code=FAILED)
    if not dump:
        print(f"{directory}: every check passed")


def show_entries(files: RealFiles, topic: str | None) -> None:
    """Print every entry, or those of one topic, that passes its check."""
    opened = DataDirectory(files)
    try:
        for entry in dumped_entries(opened, files, topic=topic):
            show_document(entry, Format.JSON)
    finally:
        opened.close()
