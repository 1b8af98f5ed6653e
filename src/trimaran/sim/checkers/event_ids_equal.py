"""Replicas that folded the same entries remember the same event ids.

Compared are windows whose last entry is committed. A difference shows only later, after the next
failover, as an event that is stored twice or refused although it never was.
"""

from collections.abc import Iterator, Sequence

from trimaran.broker.partition import Partition
from trimaran.ids import GroupId, Index
from trimaran.sim.checkers.checker import Checker, Evidence


class EventIdsEqual(Checker):
    """Remembers the digest of each group's window at each last entry."""

    def __init__(self) -> None:
        self._known: dict[tuple[GroupId, Index], tuple[bytes, str]] = {}
        self._seen: dict[tuple[str, int, GroupId], Index] = {}

    def step(self, views: Sequence[Evidence]) -> Iterator[str]:
        """Compare the windows that changed since the last look."""
        for view in views:
            if view.replica is None or not isinstance(view.replica.machine, Partition):
                continue
            window = view.replica.machine.event_ids.window
            last = window.last_index
            key = (view.node, view.incarnation, view.group)
            if last == 0 or last > view.core.commit_index or self._seen.get(key) == last:
                continue
            self._seen[key] = last
            digest = window.digest()
            known, who = self._known.setdefault((view.group, last), (digest, view.node))
            if known != digest:
                yield (
                    f"group {view.group.hex()}: the event ids up to entry {last} differ between "
                    f"{who} and {view.node}"
                )
