"""Tables for people, JSON and YAML for programs: the `-o` option of every noun.

Does not: decide what is shown.
"""

import base64
import json
import sys
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Annotated, Any

import typer
import yaml


class Format(StrEnum):
    """How results are printed."""

    TABLE = "table"
    JSON = "json"
    YAML = "yaml"


FormatOption = Annotated[
    Format, typer.Option("-o", "--output", help="table for people; json, yaml for programs")
]


def show(rows: Sequence[Mapping[str, Any]], *, columns: Sequence[str], form: Format) -> None:
    """Print `rows`: all their fields as a document, or a table of `columns` (also the headings)."""
    if form is not Format.TABLE:
        show_document(list(rows), form)
        return
    cells = [list(columns), *([text_of(row[column]) for column in columns] for row in rows)]
    widths = [max(len(line[at]) for line in cells) for at in range(len(columns))]
    for line in cells:
        padded = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        print("  ".join(padded).rstrip())


def show_document(value: object, form: Format) -> None:
    """Print `value`: JSON on one line, or a YAML document that begins with `---`."""
    text = json.dumps(value, ensure_ascii=False)
    if form is Format.YAML:
        plain = yaml.safe_dump(json.loads(text), sort_keys=False, allow_unicode=True)
        text = "---\n" + plain.rstrip()
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def text_of(value: object) -> str:
    """Return a table cell: lists with commas, None as a dash."""
    if value is None:
        return "-"
    if isinstance(value, list | tuple):
        return ",".join(str(item) for item in value)
    return str(value)


def readable(value: str | bytes | None) -> str | None:
    """Return bytes as text for a person."""
    return value.decode(errors="replace") if isinstance(value, bytes) else value


def exact(value: str | bytes | None) -> str | dict[str, str] | None:
    """Return bytes as text where that loses nothing, else as base64."""
    if value is None or isinstance(value, str):
        return value
    assert isinstance(value, bytes)
    try:
        return value.decode()
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(value).decode()}
