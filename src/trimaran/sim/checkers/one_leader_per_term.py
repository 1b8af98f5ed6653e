"""Election safety: at most one leader in a term (Raft paper, figure 3)."""

from collections.abc import Iterator, Sequence

from trimaran.ids import GroupId, Term
from trimaran.raft.ready import Role
from trimaran.sim.checkers.checker import Checker, Evidence


class OneLeaderPerTerm(Checker):
    """Remembers who led each term of each group."""

    def __init__(self) -> None:
        self._leaders: dict[tuple[GroupId, Term], str] = {}

    @property
    def change_count(self) -> int:
        """How often leadership changed, all groups together."""
        return len(self._leaders) - len({group for group, _ in self._leaders})

    def step(self, views: Sequence[Evidence]) -> Iterator[str]:
        """Look for a second leader of a term."""
        for view in views:
            if view.core.role is not Role.LEADER:
                continue
            known = self._leaders.setdefault((view.group, view.core.term), view.node)
            if known != view.node:
                yield (
                    f"group {view.group.hex()} term {view.core.term}: {known} led, "
                    f"now {view.node} leads"
                )
