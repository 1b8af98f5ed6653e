"""Replicas that folded the same entries remember the same event ids.

Compared are windows whose last entry is committed. A difference shows only later, after the next
failover, as an event that is stored twice or refused although it never was.
"""

from bisect import bisect_right, insort
from collections.abc import Iterator, Sequence

from trimaran.broker.partition import Partition
from trimaran.dedup.id_window import EventIdWindow
from trimaran.ids import GroupId, Index
from trimaran.sim.checkers.checker import Checker, Evidence


class EventIdsEqual(Checker):
    """Remembers the digest of each group's window at each last entry."""

    def __init__(self) -> None:
        self._known: dict[tuple[GroupId, Index], tuple[bytes, str]] = {}
        self._entries: dict[GroupId, list[Index]] = {}
        """Committed entries that any window had last."""
        self._seen: dict[tuple[str, int, GroupId], Index] = {}

    def step(self, views: Sequence[Evidence]) -> Iterator[str]:
        """Compare the windows that changed since the last look."""
        for view in views:
            if view.replica is None or not isinstance(view.replica.machine, Partition):
                continue
            window = view.replica.machine.event_ids.window
            last = window.last_index
            key = (view.node, view.incarnation, view.group)
            if last > view.core.commit_index:
                continue
            if last > 0 and self._seen.get(key) != last:
                self._seen[key] = last
                yield from self._compare(view, window)
            yield from self._look_for_missing(view, window, view.replica.folded)

    def _compare(self, view: Evidence, window: EventIdWindow) -> Iterator[str]:
        last, digest = window.last_index, window.digest()
        if (view.group, last) not in self._known:
            insort(self._entries.setdefault(view.group, []), last)
        known, who = self._known.setdefault((view.group, last), (digest, view.node))
        if known != digest:
            yield (
                f"group {view.group.hex()}: the event ids up to entry {last} differ between "
                f"{who} and {view.node}"
            )

    def _look_for_missing(
        self, view: Evidence, window: EventIdWindow, folded: Index
    ) -> Iterator[str]:
        """Say if others have an entry last that this window should have folded as well."""
        entries = self._entries.get(view.group, [])
        at = bisect_right(entries, min(folded, view.core.commit_index))
        if at > 0 and entries[at - 1] > window.last_index:
            yield (
                f"group {view.group.hex()}: {view.node} folded up to {folded}, but not the event "
                f"ids of entry {entries[at - 1]}"
            )
