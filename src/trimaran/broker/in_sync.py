"""Which replicas are in sync, what Metadata calls ISR: kept as those that are not.

A follower is in sync while it is heard of and has synced what was committed `lag_s` ago (as Kafka's
replica.lag.time.max.ms says it). One that was away is not until it has shown, in an answer on its
new connection, that it holds all that is committed. Only a group's leader knows; it tells every
node whenever that changes, and all of it to a node that connects. A new leader begins with what it
was told, so that an election by itself makes no follower seem to be in sync, or not.

Nothing is counted by this: commit and votes go by what a majority has synced (`raft`).
Costs nothing for an idle group; a group that moves is looked at once a heartbeat.
Does not: send anything, or know who is alive (heartbeats do).
"""

from collections.abc import Iterable, Sequence
from typing import TypeAlias

from trimaran.broker.leaders import LeaderTable
from trimaran.ids import GroupId, Index, NodeId, Term

Behind: TypeAlias = tuple[GroupId, Term, tuple[NodeId, ...]]
"""A group's followers that are not in sync, as the leader of that term says; in order of ids."""
NOBODY: tuple[Term, tuple[NodeId, ...]] = (Term(0), ())


class InSync:
    """What this node found out of the groups it leads, and was told of all others."""

    __slots__ = ("_due", "_fresh", "_lag_s", "_leaders", "_led", "_node_id", "_told")

    def __init__(self, leaders: LeaderTable, *, node_id: NodeId, lag_s: float) -> None:
        """`lag_s`: how long a follower that is heard of may be behind."""
        self._leaders = leaders
        self._node_id = node_id
        self._lag_s = lag_s
        self._told: dict[GroupId, tuple[Term, tuple[NodeId, ...]]] = {}
        """What leaders said last, this node included; no row: all are in sync."""
        self._led: dict[GroupId, Term] = {}
        self._fresh: dict[GroupId, None] = {}
        """Groups led here of which the others do not know yet what is in `_told`."""
        self._due: dict[NodeId, dict[GroupId, tuple[float, Index]]] = {}
        """Until when a follower must have synced which index, the earliest first."""

    def behind(self, group: GroupId) -> tuple[NodeId, ...]:
        """Return the replicas that are not in sync, as far as the leader of now has said."""
        term, nodes = self._told.get(group, NOBODY)
        return nodes if term == self._leaders.hint(group)[1] else ()

    # What other leaders say

    def take(self, facts: Iterable[Behind]) -> None:
        """Take up what a leader says, unless a newer one has spoken."""
        for group, term, nodes in facts:
            if group not in self._led and term >= self._told.get(group, NOBODY)[0]:
                self._put(group, term, nodes)
        self._leaders.notify()

    def forget(self, group: GroupId) -> None:
        """The group was deleted."""
        self._told.pop(group, None)

    # What this node finds out

    def lead(self, group: GroupId, term: Term, *, absent: Iterable[NodeId]) -> None:
        """This node leads the group now; `absent` members are not heard of."""
        _, known = self._told.get(group, NOBODY)
        self._led[group] = term
        behind = {node: None for node in (*known, *absent) if node != self._node_id}
        self._put(group, term, tuple(sorted(behind)))
        if behind:
            self._fresh[group] = None

    def unlead(self, group: GroupId) -> None:
        """This node leads the group no more."""
        self._led.pop(group, None)
        self._fresh.pop(group, None)
        for due in self._due.values():
            due.pop(group, None)

    def away(self, node: NodeId, groups: Iterable[GroupId]) -> None:
        """`node`, a follower in `groups` that are led here, is not heard of any more."""
        self._due.pop(node, None)
        for group in groups:
            self._mark(group, node)

    def looked(
        self, group: GroupId, node: NodeId, *, match: Index, commit: Index, now_s: float
    ) -> None:
        """`node`, which is heard of, has synced a led group up to `match`."""
        due = self._due.setdefault(node, {})
        if match >= commit:
            due.pop(group, None)
            self._unmark(group, node)
            return
        row = due.get(group)
        if row is None or match >= row[1]:
            due.pop(group, None)  # to the end: the next time is the latest of all
            due[group] = (now_s + self._lag_s, commit)

    def tick(self, now_s: float) -> Sequence[Behind]:
        """Notice who is behind for too long; return what the others are to be told."""
        for node, due in self._due.items():
            while due:
                group = next(iter(due))
                if due[group][0] > now_s:
                    break
                del due[group]
                self._mark(group, node)
        if not self._fresh:
            return ()
        fresh, self._fresh = self._fresh, {}
        self._leaders.notify()
        return [self._fact(group) for group in fresh]

    def led_facts(self) -> Sequence[Behind]:
        """Return what a node that connects is told: all, for it may still hold what is void."""
        return [self._fact(group) for group in self._led]

    def _fact(self, group: GroupId) -> Behind:
        return (group, self._led[group], self._told.get(group, NOBODY)[1])

    def _mark(self, group: GroupId, node: NodeId) -> None:
        _, nodes = self._told.get(group, NOBODY)
        if node not in nodes:
            self._put(group, self._led[group], tuple(sorted((*nodes, node))))
            self._fresh[group] = None

    def _unmark(self, group: GroupId, node: NodeId) -> None:
        _, nodes = self._told.get(group, NOBODY)
        if node in nodes:
            self._put(group, self._led[group], tuple(one for one in nodes if one != node))
            self._fresh[group] = None

    def _put(self, group: GroupId, term: Term, nodes: tuple[NodeId, ...]) -> None:
        if nodes:
            self._told[group] = (term, nodes)
        else:
            self._told.pop(group, None)
