"""Log matching: two entries with equal index and term are equal, and so are all before them.

Raft paper, figure 3. It suffices that an entry and its predecessor's term are determined by (index,
term): equality of all that precedes follows by induction.
"""

from collections.abc import Iterator, Sequence

from trimaran.ids import GroupId, Index, Term
from trimaran.raft.log import RaftLog
from trimaran.sim.checkers.checker import Checker, Evidence, entries_after, entry_digest

Digest = tuple[int, int, int, int, int]


class LogMatching(Checker):
    """Remembers every entry that any replica ever held."""

    def __init__(self) -> None:
        self._known: dict[tuple[GroupId, Index, Term], tuple[Term | None, Digest, str]] = {}
        self._seen: dict[tuple[str, int, GroupId], tuple[Index, Term | None]] = {}

    def step(self, views: Sequence[Evidence]) -> Iterator[str]:
        """Compare the entries that are new since the last look."""
        for view in views:
            log = view.core.log
            for entry in entries_after(log, self._compared(view), log.last_index):
                before = log.term_at(Index(entry.index - 1))
                found = (before, entry_digest(entry), view.node)
                known = self._known.setdefault((view.group, entry.index, entry.term), found)
                if known[:2] != found[:2]:
                    yield (
                        f"group {view.group.hex()} index {entry.index} term {entry.term}: "
                        f"{known[2]} holds {known[:2]}, {view.node} holds {found[:2]}"
                    )

    def _compared(self, view: Evidence) -> Index:
        """Return up to where this log was compared; from its start again if it was truncated."""
        key = (view.node, view.incarnation, view.group)
        log: RaftLog = view.core.log
        index, term = self._seen.get(key, (Index(0), None))
        same = index <= log.last_index and log.term_at(index) == term
        self._seen[key] = (log.last_index, log.term_at(log.last_index))
        return index if same else Index(0)
