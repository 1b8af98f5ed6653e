"""Within one life of a process the commit index and the term of a group never go back."""

from collections.abc import Iterator, Sequence

from trimaran.ids import GroupId, Index, Term
from trimaran.sim.checkers.checker import Checker, Evidence


class CommitAndTermMonotone(Checker):
    """Remembers the last commit index and term of every replica."""

    def __init__(self) -> None:
        self._seen: dict[tuple[str, int, GroupId], tuple[Index, Term]] = {}

    def step(self, views: Sequence[Evidence]) -> Iterator[str]:
        """Compare with the last look."""
        for view in views:
            key = (view.node, view.incarnation, view.group)
            found = (view.core.commit_index, view.core.term)
            known = self._seen.get(key, found)
            if found[0] < known[0] or found[1] < known[1]:
                yield (
                    f"{view.node} group {view.group.hex()}: (commit, term) went from {known} "
                    f"to {found}"
                )
            if view.core.commit_index > view.core.log.last_index:
                yield (
                    f"{view.node} group {view.group.hex()}: commit {found[0]} beyond the log's "
                    f"last index {view.core.log.last_index}"
                )
            self._seen[key] = found
