"""Counts what happens inside the cluster: elections, truncations, installs, repairs.

Looks at all replicas often, as checkers do, and compares with its last look. Elections are counted
by terms, so none is missed between two looks; the others are a lower bound: what a process did
right before its death is not seen.

Does not: judge.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from trimaran.ids import GroupId, Index, Term
from trimaran.sim.cluster import ReplicaView, SimNode


@dataclass(frozen=True, slots=True)
class _Seen:
    last_index: Index
    last_term: Term


class Observer:
    """Remembers the last look at every replica."""

    def __init__(self) -> None:
        self.truncations = 0
        """Followers that dropped entries which another leader's replaced."""
        self.installs = 0
        """Groups that started over from a leader's files."""
        self.repairs = 0
        """Stored entries that were fetched from a peer and written again."""
        self.readmissions = 0
        """Replicas without vote, for damage, that got it back."""
        self._mended: dict[tuple[str, int], tuple[int, int, int]] = {}
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
            found = _Seen(log.last_index, log.last_term)
            known = self._seen.setdefault(key, found)
            if found != known:
                self._compare(known, view)
                self._seen[key] = found

    def _compare(self, known: _Seen, view: ReplicaView) -> None:
        log = view.replica.raft.log
        if known.last_index >= log.before.index and (
            log.last_index < known.last_index
            or log.term_at(known.last_index) not in (known.last_term, None)
        ):
            self.truncations += 1

    def look_at_nodes(self, nodes: Sequence[SimNode]) -> None:
        """Count what the living nodes mended since the last look."""
        for node in nodes:
            if node.broker is None:
                continue
            mending = node.broker._consensus.mending
            installs = 0 if mending.installs is None else mending.installs.count
            found = (installs, mending.repairs.count, mending.readmission.count)
            known = self._mended.setdefault((node.name, node.incarnation), (0, 0, 0))
            if found != known:
                self.installs += found[0] - known[0]
                self.repairs += found[1] - known[1]
                self.readmissions += found[2] - known[2]
                self._mended[node.name, node.incarnation] = found
