"""Counts what happens inside the cluster: elections, truncations, installs, repairs.

Looks at all replicas often, as checkers do, and compares with its last look. Elections are counted
by terms, so none is missed between two looks; the others are a lower bound.

Does not: judge.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from trimaran.ids import GroupId, Index, Term
from trimaran.sim.cluster import ReplicaView


@dataclass(frozen=True, slots=True)
class _Seen:
    last_index: Index
    last_term: Term
    is_damaged: bool


class Observer:
    """Remembers the last look at every replica."""

    def __init__(self) -> None:
        self.truncations = 0
        """Followers that dropped entries which another leader's replaced."""
        self.installs = 0
        """Followers that started over from a boundary above their log's end."""
        self.repairs = 0
        """Replicas without vote, for damage, that got it back."""
        self._terms: dict[GroupId, Term] = {}
        self._seen: dict[tuple[str, int, GroupId], _Seen] = {}

    @property
    def elections(self) -> int:
        """Terms begun, all groups together: elections held, won or not."""
        return sum(self._terms.values())

    def look(self, views: Sequence[ReplicaView]) -> None:
        """Compare all living replicas with the last look."""
        for view in views:
            raft = view.replica.raft
            log = raft.log
            group = view.replica.group
            if raft.term > self._terms.get(group, 0):
                self._terms[group] = raft.term
            key = (view.node, view.incarnation, group)
            found = _Seen(log.last_index, log.last_term, not raft.may_vote)
            known = self._seen.setdefault(key, found)
            if found != known:
                self._compare(known, view)
                self._seen[key] = found

    def _compare(self, known: _Seen, view: ReplicaView) -> None:
        raft = view.replica.raft
        log = raft.log
        self.repairs += known.is_damaged and raft.may_vote
        if known.last_index < log.before.index:
            self.installs += 1
        elif log.last_index < known.last_index or (
            log.term_at(known.last_index) not in (known.last_term, None)
        ):
            self.truncations += 1
