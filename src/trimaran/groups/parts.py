"""Partitions by topic id: as sets to reckon with, and as the sorted tuples that logs hold.

Does not: know who has them.
"""

from collections.abc import Iterable
from typing import TypeAlias

from trimaran.groups.commands import OffsetKey
from trimaran.groups.stored import StoredParts
from trimaran.ids import TopicId

Parts: TypeAlias = frozenset[OffsetKey]
"""Partitions as (topic id, number)."""

NOTHING: Parts = frozenset()


def to_parts(stored: Iterable[tuple[TopicId, Iterable[int]]]) -> Parts:
    """Return partitions as a set."""
    return frozenset((topic_id, number) for topic_id, numbers in stored for number in numbers)


def by_topic(parts: Parts) -> StoredParts:
    """Return partitions by topic id, both ascending."""
    numbers: dict[TopicId, list[int]] = {}
    for topic_id, number in sorted(parts):
        numbers.setdefault(topic_id, []).append(number)
    return tuple((topic_id, tuple(found)) for topic_id, found in numbers.items())
