"""Who leads which group, as far as this node knows: what Metadata tells clients.

Facts come from the own replicas, from heartbeats and from announcements. Terms never go back: a
client that was told a newer epoch ignores an older one. Does not: decide anything.
"""

from collections.abc import Callable

from trimaran.ids import GroupId, NodeId, Term


class LeaderTable:
    """One row per group: term, leader, and since when there is none."""

    __slots__ = ("_lost_s", "_moved", "_rows", "_told", "_watchers")

    def __init__(self, *, moved: Callable[[GroupId, Term, NodeId], None] | None = None) -> None:
        """`moved` is called when a group has a leader in a term in which it had none."""
        self._moved = moved
        self._told: dict[GroupId, Term] = {}
        """The last term whose leader `moved` was told of."""
        self._rows: dict[GroupId, tuple[Term, NodeId | None]] = {}
        self._lost_s: dict[GroupId, float] = {}
        self._watchers: dict[object, Callable[[], None]] = {}

    def note(self, group: GroupId, term: Term, leader: NodeId | None, *, now_s: float) -> None:
        """Take up a fact, unless a newer one is known."""
        known_term, known_leader = self._rows.get(group, (Term(0), None))
        if term < known_term or (term == known_term and leader == known_leader):
            return
        self._rows[group] = (term, leader)
        if leader is not None:
            self._lost_s.pop(group, None)
            if self._moved is not None and term > self._told.get(group, 0):
                self._told[group] = term
                self._moved(group, term, leader)
        elif known_leader is not None:
            self._lost_s[group] = now_s
        self.notify()

    def forget(self, group: GroupId) -> None:
        """The group was deleted."""
        self._rows.pop(group, None)
        self._told.pop(group, None)
        self._lost_s.pop(group, None)

    def hint(self, group: GroupId) -> tuple[NodeId | None, Term]:
        """Return who leads the group (None: nobody known) and in which term."""
        term, leader = self._rows.get(group, (Term(0), None))
        return leader, term

    def lost_at(self, group: GroupId) -> float | None:
        """Return when (loop time) the group lost its leader; None while it has one or never had."""
        return self._lost_s.get(group)

    def led_by(self, node: NodeId) -> list[tuple[GroupId, Term]]:
        """Return the groups whose known leader is `node`."""
        return [(group, term) for group, (term, leader) in self._rows.items() if leader == node]

    def watch(self, callback: Callable[[], None]) -> object:
        """Call `callback` at each change."""
        handle = object()
        self._watchers[handle] = callback
        return handle

    def unwatch(self, handle: object) -> None:
        """Stop calling."""
        self._watchers.pop(handle, None)

    def notify(self) -> None:
        """Call every watcher."""
        for callback in list(self._watchers.values()):
            callback()
