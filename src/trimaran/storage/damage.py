"""What a damaged group is told apart by (design D11).

A group with damage neither votes, campaigns nor counts until it is re-admitted; the damage is kept
in the journal until a record clears it.

Does not: decide what follows from damage.
"""

from dataclasses import dataclass
from enum import IntEnum

TEXT_BYTES_MAX = 400
"""A longer text is cut when it is stored."""


class DamageKind(IntEnum):
    """Which check failed."""

    CORRUPT = 1
    """Journal bytes that were synced are not what was written."""
    UNCERTAIN = 2
    """The journal's last round is bad, and nothing shows that it was never synced."""
    BOUNDARY = 3
    """The boundary is missing or does not fit the files it names."""
    GAP = 4
    """Entries are missing between the boundary and the journal, or inside the journal."""
    MISSING_FILES = 5
    """A listed group has no files, or a group in the journal is not in the list."""
    ROWS = 6
    """A segment or its sidecar is short or fails its check."""
    SET_BACK = 7
    """A peer knows that this node once held more: the disk was set back in time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Damage:
    """One group's damage: the first reason found, in words with file and position."""

    kind: DamageKind
    text: str


def stored_text(damage: Damage) -> bytes:
    """Return the text as it is kept in the journal, at most TEXT_BYTES_MAX bytes of UTF-8."""
    return damage.text.encode("utf-8")[:TEXT_BYTES_MAX].decode("utf-8", "ignore").encode("utf-8")
