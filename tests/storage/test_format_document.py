"""docs/storage-format.md, the modules' docstrings and their struct definitions say the same."""

import importlib
import re
from pathlib import Path

import pytest

from trimaran.storage import boundary, frames, identity, journal_files, journal_format, sidecar

DOCUMENT = Path(__file__).parents[2] / "docs" / "storage-format.md"
TABLES = {
    "magic of the file's kind": frames.FRAME_HEAD.size,
    "format version of the whole directory": identity.IDENTITY_BODY.size,
    "oldest generation": journal_files.RANGE_BODY.size,
    'magic "TRIMJRNL"': journal_format.FILE_HEAD.size + 4,
    'magic "TRND"': journal_format.ROUND_HEAD_BYTES,
    "type": journal_format.RECORD_HEAD.size,
    "index of the last entry below": boundary.BOUNDARY_HEAD.size,
    'magic "TRIMROWS"': sidecar.ROW_BYTES,
    "index": sidecar.ROW_BYTES,
}
"""How a table's first line starts, to the bytes that its fixed part has."""
ROW = re.compile(r"^    (\d+) +(\d+)  +(\S.*)$")
MODULES = (
    "boundary", "frames", "identity", "journal_files", "journal_format", "segment", "sidecar",
)  # fmt: skip


def tables(text):
    """Return the tables in `text` as lists of (position, bytes, field), fixed parts only."""
    found = []
    for line in text.splitlines():
        row = ROW.match(line)
        if row is None:
            continue
        position, size, name = int(row[1]), int(row[2]), row[3]
        if position == 0:
            found.append([])
        found[-1].append((position, size, name))
    return found


@pytest.mark.parametrize("start", TABLES)
def test_a_table_has_no_hole_and_the_size_of_its_struct(start):
    matching = [
        table
        for table in tables(DOCUMENT.read_text())
        if re.match(re.escape(start) + r"\b|" + re.escape(start) + "$", table[0][2])
    ]
    table = min(matching, key=lambda rows: len(rows[0][2]))
    end = 0
    for position, size, _ in table:
        assert position == end
        end += size
    assert end == TABLES[start]


@pytest.mark.parametrize("module", MODULES)
def test_the_document_has_what_the_module_says(module):
    document = DOCUMENT.read_text()
    stated = importlib.import_module(f"trimaran.storage.{module}").__doc__
    lines = [line for line in stated.splitlines() if line.startswith("    ")]
    assert [line for line in lines if line not in document] == []
    assert f"storage/{module}.py" in document


def test_the_bodies_of_records_add_up():
    entry = "8 index, 4 term, 4 predecessor's term, 8 offset, 8 log time ms, 4 offset count, "
    entry += "4 bytes of payload, 4 bytes of event ids, 1 kind, 3 zeros"
    assert entry.split(", ")[0] in DOCUMENT.read_text()
    sizes = [int(part.split()[0]) for part in entry.split(", ")]
    assert sum(sizes) == journal_format.ENTRY_BODY.size
    assert journal_format.HARD_STATE_BODY.size == 4 + 4
    assert journal_format.HINT.size == 20 + 8
