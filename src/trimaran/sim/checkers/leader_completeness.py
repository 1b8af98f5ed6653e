"""Leader completeness: a leader holds every entry that was committed in an earlier term.

Raft paper, figure 3. An entry counts as committed in the term of the replica that was first seen to
know it: that term or an earlier one.
"""

from collections.abc import Iterator, Sequence

from trimaran.ids import GroupId, Index, Term
from trimaran.raft.ready import Role
from trimaran.sim.checkers.checker import Checker, Evidence, committed_after


class LeaderCompleteness(Checker):
    """Remembers the term of every committed entry, and looks at each leader once."""

    def __init__(self) -> None:
        self._committed: dict[GroupId, dict[Index, tuple[Term, Term]]] = {}
        """The term of each entry, and the term by which it was committed."""
        self._compared: dict[tuple[str, int, GroupId], Index] = {}
        self._judged: dict[tuple[GroupId, Term, str], None] = {}

    def step(self, views: Sequence[Evidence]) -> Iterator[str]:
        """Judge new leaders by what was committed before, then take in what is committed now."""
        for view in views:
            key = (view.group, view.core.term, view.node)
            if view.core.role is Role.LEADER and key not in self._judged:
                self._judged[key] = None
                yield from self._judge(view)
        for view in views:
            self._take(view)

    def _judge(self, view: Evidence) -> Iterator[str]:
        log = view.core.log
        for index, (term, committed_by) in self._committed.get(view.group, {}).items():
            if committed_by >= view.core.term or index < log.before.index:
                continue
            if log.term_at(index) != term:
                yield (
                    f"{view.node} leads group {view.group.hex()} in term {view.core.term}; entry "
                    f"{index} of term {term} was committed by term {committed_by}, its log has "
                    f"term {log.term_at(index)} there"
                )

    def _take(self, view: Evidence) -> None:
        key = (view.node, view.incarnation, view.group)
        after = self._compared.get(key, Index(0))
        commit = view.core.commit_index
        if commit > after:
            known = self._committed.setdefault(view.group, {})
            for entry in committed_after(view.core, after):
                known.setdefault(entry.index, (entry.term, view.core.term))
            self._compared[key] = commit
