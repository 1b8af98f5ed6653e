"""State machine safety: no two replicas ever hold different committed entries at one index.

Raft paper, figure 3. Leader completeness follows: a leader that lacks a committed entry would
commit another one in its place.
"""

from collections.abc import Iterator, Sequence

from trimaran.ids import GroupId, Index
from trimaran.sim.checkers.checker import Checker, Evidence, committed_after, entry_digest


class OneCommittedValue(Checker):
    """Remembers what was committed at every index of every group."""

    def __init__(self) -> None:
        self._known: dict[tuple[GroupId, Index], tuple[object, str]] = {}
        self._seen: dict[tuple[str, int, GroupId], Index] = {}

    def step(self, views: Sequence[Evidence]) -> Iterator[str]:
        """Compare what was committed since the last look."""
        for view in views:
            key = (view.node, view.incarnation, view.group)
            after = self._seen.get(key, Index(0))
            commit = view.core.commit_index
            for entry in committed_after(view.core, after):
                found = (entry.term, *entry_digest(entry))
                known, who = self._known.setdefault((view.group, entry.index), (found, view.node))
                if known != found:
                    yield (
                        f"group {view.group.hex()} index {entry.index}: {who} committed {known}, "
                        f"{view.node} committed {found}"
                    )
            self._seen[key] = max(after, commit)
