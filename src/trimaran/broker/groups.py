"""The groups that this node is a member of. Does not: create or remove them (reconcile does)."""

from collections.abc import Sequence

from trimaran.broker.replica import Replica
from trimaran.ids import GroupId


class GroupTable:
    """Replicas by group id, in the order in which they came."""

    __slots__ = ("_all", "_by_group")

    def __init__(self) -> None:
        self._by_group: dict[GroupId, Replica] = {}
        self._all: tuple[Replica, ...] = ()

    def add(self, replica: Replica) -> None:
        """Take up a group."""
        assert replica.group not in self._by_group
        self._by_group[replica.group] = replica
        self._all = (*self._all, replica)

    def remove(self, group: GroupId) -> Replica | None:
        """Drop a group and return what it was."""
        replica = self._by_group.pop(group, None)
        self._all = tuple(self._by_group.values())
        return replica

    def get(self, group: GroupId) -> Replica | None:
        """Return this node's member of `group`."""
        return self._by_group.get(group)

    def all(self) -> Sequence[Replica]:
        """Return all of them."""
        return self._all
