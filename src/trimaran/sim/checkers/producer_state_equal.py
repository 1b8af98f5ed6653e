"""Replicas that folded the same entries know the same of every idempotent producer.

Compared are tables whose last entry is committed: a leader's with an uncommitted tail may be folded
back. A difference shows only later as a duplicate or a refused retry, after the next failover.
"""

from bisect import bisect_right, insort
from collections.abc import Iterator, Sequence

from trimaran.dedup.producers import ProducerTable
from trimaran.ids import GroupId, Index
from trimaran.sim.checkers.checker import Checker, Evidence


class ProducerStateEqual(Checker):
    """Remembers the digest of each group's table at each last entry."""

    def __init__(self) -> None:
        self._known: dict[tuple[GroupId, Index], tuple[bytes, str]] = {}
        self._entries: dict[GroupId, list[Index]] = {}
        """Committed entries with a producer, as far as any table had one of them last."""
        self._seen: dict[tuple[str, int, GroupId, int], Index] = {}

    def step(self, views: Sequence[Evidence]) -> Iterator[str]:
        """Compare the tables that changed since the last look."""
        for view in views:
            for number, (table, folded) in enumerate(view.producer_tables()):
                if table.last_index > view.core.commit_index:
                    continue
                key = (view.node, view.incarnation, view.group, number)
                if self._seen.get(key) != table.last_index:
                    self._seen[key] = table.last_index
                    yield from self._compare(view, table)
                yield from self._look_for_missing(view, table, folded)

    def _compare(self, view: Evidence, table: ProducerTable) -> Iterator[str]:
        key = (view.group, table.last_index)
        digest = table.digest()
        if key not in self._known:
            insort(self._entries.setdefault(view.group, []), table.last_index)
        known, who = self._known.setdefault(key, (digest, view.node))
        if known != digest:
            yield (
                f"group {view.group.hex()}: the producers up to entry {table.last_index} differ "
                f"between {who} and {view.node}"
            )

    def _look_for_missing(
        self, view: Evidence, table: ProducerTable, folded: Index
    ) -> Iterator[str]:
        """Say if others have an entry last that this table should have folded as well."""
        entries = self._entries[view.group]
        due = entries[bisect_right(entries, min(folded, view.core.commit_index)) - 1]
        if due > table.last_index:
            yield (
                f"group {view.group.hex()}: {view.node} folded up to {folded}, but not entry "
                f"{due} and its producer"
            )
