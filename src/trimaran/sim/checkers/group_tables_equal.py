"""Coordinators that applied the same entries know the same groups and offsets."""

from collections.abc import Iterator, Sequence

from trimaran.broker.coordinator import Coordinator
from trimaran.ids import GroupId, Index
from trimaran.sim.checkers.checker import Checker, Evidence


class GroupTablesEqual(Checker):
    """Remembers the digest of each coordinator's table at each applied entry."""

    def __init__(self) -> None:
        self._known: dict[tuple[GroupId, Index], tuple[bytes, str]] = {}
        self._seen: dict[tuple[str, int, GroupId], Index] = {}

    def step(self, views: Sequence[Evidence]) -> Iterator[str]:
        """Compare the tables that changed since the last look."""
        for view in views:
            if view.replica is None or not isinstance(view.replica.machine, Coordinator):
                continue
            applied = view.replica.applied
            key = (view.node, view.incarnation, view.group)
            if self._seen.get(key) == applied:
                continue
            self._seen[key] = applied
            digest = view.replica.machine.table.digest()
            known, who = self._known.setdefault((view.group, applied), (digest, view.node))
            if known != digest:
                yield (
                    f"coordinator {view.group.hex()}: the tables after entry {applied} differ "
                    f"between {who} and {view.node}"
                )
