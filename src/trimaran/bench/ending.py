"""How a measurement with a report of its own ends: what it was made on, and its JSON.

Does not: measure, or judge.
"""

from pathlib import Path
from typing import Protocol

import msgspec
from rich.console import Console

from trimaran.bench.filesystem import DiskFigures
from trimaran.bench.machine import Machine


class Reported(Protocol):
    """A report (a msgspec.Struct) that says where it was measured."""

    @property
    def machine(self) -> Machine:
        """The machine, the command and when."""

    @property
    def file_system(self) -> str:
        """Its type."""

    @property
    def disk_before(self) -> DiskFigures:
        """The same disk, measured before."""


def end_report(report: Reported, console: Console, json_path: Path | None) -> None:
    """Print what `report` was measured on; write all of it to `json_path`. Raises OSError."""
    machine, disk = report.machine, report.disk_before
    console.print(
        f"{machine.date}  {machine.processor}, {machine.cores} cores, load before "
        f"{machine.load_before}; {report.file_system}, fdatasync p50 {disk.fdatasync_p50_ms} ms, "
        f"p99 {disk.fdatasync_p99_ms} ms\n{machine.command}"
    )
    if json_path is not None:
        json_path.write_bytes(msgspec.json.format(msgspec.json.encode(report)) + b"\n")
