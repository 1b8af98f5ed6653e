"""Names of journal files, and the note of which of them must exist.

Files are `journal/<20 digits of the generation>.journal`; `.new` behind it marks one that is being
made, `.damaged` one that was kept aside because it failed its check. Generations are below 2^63: a
name with a higher number (one flipped bit makes it) is none of ours. The file `journal/range` is a
frame (frames.py) with magic `TRJR` and this body, big-endian:

    position  bytes  field
    0         8      oldest generation still needed
    8         8      newest generation known to be complete

Every generation from oldest to newest must be there: a missing file is damage, not "nothing lost".
While a start keeps files aside, the first ones of the range are there as `.damaged`, and a file
above the range holds all that counts.

Does not: look into journal files.
"""

import struct
from dataclasses import dataclass

from trimaran.errors import CorruptionError
from trimaran.storage.files import Files
from trimaran.storage.frames import (
    NEW_SUFFIX,
    decode_frame,
    encode_frame,
    read_whole,
    replace_whole,
)

JOURNAL_DIRECTORY = "journal"
JOURNAL_SUFFIX = ".journal"
DAMAGED_SUFFIX = ".damaged"
RANGE_PATH = f"{JOURNAL_DIRECTORY}/range"
RANGE_MAGIC = b"TRJR"
RANGE_BODY = struct.Struct(">QQ")
GENERATION_DIGITS = 20
GENERATIONS_END = 1 << 63


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalListing:
    """What the journal's directory holds."""

    generations: tuple[int, ...]
    """Complete files, ascending."""
    unfinished: tuple[str, ...]
    """Paths of what was being made when the process ended."""
    aside: tuple[int, ...]
    """Files that were kept aside, ascending."""
    newest_seen: int
    """The highest generation in any name, files kept aside included; 0 if there is none."""


def journal_path(generation: int, *, new: bool = False) -> str:
    """Return the path of the file with that number."""
    name = f"{generation:0{GENERATION_DIGITS}d}{JOURNAL_SUFFIX}"
    return f"{JOURNAL_DIRECTORY}/{name}{NEW_SUFFIX if new else ''}"


def list_journal(files: Files) -> JournalListing:
    """Return the journal files of a data directory."""
    generations: list[int] = []
    unfinished: list[str] = []
    aside: list[int] = []
    newest = 0
    for name in files.list(JOURNAL_DIRECTORY):
        digits, dot, rest = name.partition(".")
        if not (digits.isascii() and digits.isdigit() and len(digits) == GENERATION_DIGITS):
            continue
        generation = int(digits)
        if generation >= GENERATIONS_END:
            continue
        newest = max(newest, generation)
        if dot + rest == JOURNAL_SUFFIX:
            generations.append(generation)
        if dot + rest == JOURNAL_SUFFIX + NEW_SUFFIX:
            unfinished.append(f"{JOURNAL_DIRECTORY}/{name}")
        if dot + rest == JOURNAL_SUFFIX + DAMAGED_SUFFIX:
            aside.append(generation)
    return JournalListing(
        generations=tuple(sorted(generations)),
        unfinished=tuple(unfinished),
        aside=tuple(sorted(aside)),
        newest_seen=newest,
    )


def write_range(files: Files, oldest: int, newest: int) -> None:
    """Note durably which files must exist. Raises StorageError."""
    assert 1 <= oldest <= newest
    content = encode_frame(RANGE_MAGIC, RANGE_BODY.pack(oldest, newest))
    replace_whole(files, RANGE_PATH, content)


def read_range(files: Files) -> tuple[int, int]:
    """Return the oldest generation needed and the newest known to be complete.

    Raises:
        CorruptionError: the note is missing or damaged: whether files are missing is unknown.
    """
    if not files.exists(RANGE_PATH):
        raise CorruptionError(RANGE_PATH, 0, "the note of the journal's files is missing")
    body = decode_frame(RANGE_PATH, RANGE_MAGIC, read_whole(files, RANGE_PATH))
    if len(body) != RANGE_BODY.size:
        raise CorruptionError(RANGE_PATH, 8, f"a body of {len(body)} bytes")
    oldest, newest = RANGE_BODY.unpack(body)
    if not 1 <= oldest <= newest:
        raise CorruptionError(RANGE_PATH, 12, f"generations {oldest} to {newest} are no range")
    return oldest, newest
