"""Offsets: each committed entry starts where the one before it ends, so no offset has two values.

With one committed entry at each index (`one_committed_value`), the same everywhere, it suffices to
look at the first replica that knows of a commit.
"""

from collections.abc import Iterator, Sequence

from trimaran.ids import GroupId, Index, Offset
from trimaran.sim.checkers.checker import Checker, Evidence, committed_after


class OffsetsFollow(Checker):
    """Remembers where the committed entries of each group end."""

    def __init__(self) -> None:
        self._ends: dict[GroupId, tuple[Index, Offset]] = {}

    def step(self, views: Sequence[Evidence]) -> Iterator[str]:
        """Go on behind the last commit that anybody knew of."""
        for view in views:
            index, offset = self._ends.get(view.group, (Index(0), Offset(0)))
            if view.core.commit_index <= index:
                continue
            for entry in committed_after(view.core, index):
                if entry.index != index + 1:
                    offset = entry.offset  # nobody was seen with the entries between
                if entry.offset != offset:
                    yield (
                        f"group {view.group.hex()}: entry {entry.index} on {view.node} starts at "
                        f"offset {entry.offset}, the one before it ends at {offset}"
                    )
                index, offset = entry.index, entry.next_offset
            self._ends[view.group] = (index, offset)
