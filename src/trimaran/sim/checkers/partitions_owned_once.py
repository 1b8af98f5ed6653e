"""No partition of a group of the new protocol is had by two members at once.

A member has a partition from when it was told so until it says that it gave it up. A coordinator
may take a silent member's partitions away before that member knows. Therefore a stay counts only up
to the last moment at which the member provably was in the group: when it asked what was answered
with a new epoch, an acknowledged commit or an acknowledged leave. All three go through the log.
"""

from collections.abc import Iterator

from trimaran.sim.checkers.checker import Checker
from trimaran.sim.history import History, OwnershipNote


class PartitionsOwnedOnce(Checker):
    """Compares what members were told with what they had given up."""

    def finish(self, history: History) -> Iterator[str]:
        """Judge each group's partition by itself."""
        parts: dict[tuple[str, int], list[OwnershipNote]] = {}
        for note in history.ownerships:
            parts.setdefault((note.group, note.partition), []).append(note)
        for (group, partition), notes in parts.items():
            for first, second in _overlaps(notes):
                yield (
                    f"group {group} partition {partition}: {second.member} was told at "
                    f"{second.told_s:.3f} s that it has it, {first.member} had it until "
                    f"{_end_s(first):.3f} s"
                )


def _overlaps(notes: list[OwnershipNote]) -> Iterator[tuple[OwnershipNote, OwnershipNote]]:
    """Yield each stay that begins in an earlier one of another member."""
    longest: OwnershipNote | None = None
    for note in sorted(notes, key=lambda note: note.told_s):
        if _end_s(note) <= note.told_s:
            continue  # nothing proves that it lasted
        if longest is not None and note.told_s < _end_s(longest) and note.member != longest.member:
            yield longest, note
        if longest is None or _end_s(note) > _end_s(longest):
            longest = note


def _end_s(note: OwnershipNote) -> float:
    return min(note.given_up_s, note.proven_s)
