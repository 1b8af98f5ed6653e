"""One member in a search: its core, its disk, what is between them; copied and compared cheaply.

A member is copied before each step and never changed afterwards, so that any number of group
states can share it. Two members are the same if `snapshot` is: everything the core could ever act
on, with what only counts up (tokens, versions of the hard state) taken relative to now. Both walk
over slots, whatever their names, so that a field added to the core is copied and compared too.

Does not: decide what happens to a member (search_steps does).
"""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import is_dataclass
from enum import Enum
from types import NoneType
from typing import Any, TypeAlias, TypeVar, cast

from trimaran.ids import Index, NodeId, Offset, Term
from trimaran.raft.durability import Durability
from trimaran.raft.log import RaftLog
from trimaran.raft.node import RaftNode
from trimaran.raft.ready import Ready
from trimaran.records.entry import Entry
from trimaran.sim.core_checks import Disk

Snapshot: TypeAlias = tuple[object, ...]

Entries: TypeAlias = tuple[tuple[Term, Offset, bytes], ...]
"""Term, offset and payload of each entry, from index 1."""

Value = TypeVar("Value")

_SAME_FOR_LIFE = ("configuration", "eager_commit", "limits", "node_id", "peers", "voters")
"""Never changed after the start. `node_id` is in the snapshot of the member."""


class SearchMember:
    """A core that runs, its disk, and the rounds handed out that the disk has yet to sync."""

    __slots__ = ("disk", "node", "pending")

    def __init__(self, node: RaftNode, disk: Disk, pending: list[Ready]) -> None:
        """Put the parts together; they belong to this member alone from now on."""
        self.node = node
        self.disk = disk
        self.pending = pending

    def copy(self) -> "SearchMember":
        """Return a member that lives on independently."""
        disk = Disk()
        disk.hard_state = self.disk.hard_state
        disk.entries = self.disk.entries.copy()
        disk.commit_hint = self.disk.commit_hint
        return SearchMember(_copy(self.node), disk, self.pending.copy())

    def snapshot(self) -> Snapshot:
        """Return a value that is equal exactly for members that will act alike."""
        disk = self.disk
        rounds = tuple((_value(ready.hard_state), _value(ready.entries)) for ready in self.pending)
        return (
            self.node.node_id,
            _value(self.node),
            _value(disk.hard_state),
            _value(disk.entries),
            disk.commit_hint,
            rounds,
        )


class Facts:
    """What the rules of a group look at in one member."""

    __slots__ = ("commit_index", "disk_log", "is_leader", "log", "node_id", "term")

    node_id: NodeId
    term: Term
    is_leader: bool
    commit_index: Index
    log: Entries
    disk_log: Entries

    def __init__(self, member: SearchMember) -> None:
        node = member.node
        assert node.log.first_index == 1, "a search keeps whole logs in memory"
        self.node_id = node.node_id
        self.term = node.term
        self.is_leader = node.is_leader
        self.commit_index = node.commit_index
        self.log = _entries(node.log.slice(Index(1)))
        self.disk_log = _entries(member.disk.entries)

    def key(self) -> Snapshot:
        """Return what two equal ones share."""
        return tuple([getattr(self, name) for name in self.__slots__])


def message_key(message: object) -> Snapshot:
    """Return a value that is equal exactly for equal messages."""
    return cast("Snapshot", _value(message))


def _entries(entries: Sequence[Entry]) -> Entries:
    return tuple([(each.term, each.offset, bytes(each.payload)) for each in entries])


# Copies


def _copy(value: Value) -> Value:
    kind = type(value)
    copied = _COPIES.get(kind)
    if copied is None:
        copied = _COPIES[kind] = _way_to_copy(kind)
    return cast("Value", copied(value))


def _way_to_copy(kind: type) -> Callable[[Any], object]:
    """Return how to copy a `kind`: what nobody changes (numbers, entries, messages) is shared."""
    if kind is list:
        return list.copy
    if kind is dict:
        return lambda mapping: {key: _copy(value) for key, value in mapping.items()}
    if kind is deque:
        return lambda queue: deque([_copy(value) for value in queue])
    if issubclass(kind, int | str | bytes | tuple | Enum | NoneType) or is_dataclass(kind):
        return lambda value: value
    names = _slots(kind)

    def copy_slots(value: object) -> object:
        twin = kind.__new__(kind)
        for name in names:
            setattr(twin, name, _copy(getattr(value, name)))
        return twin

    return copy_slots


_COPIES: dict[type, Callable[[Any], object]] = {}


def _slots(kind: type) -> tuple[str, ...]:
    assert kind.__dictoffset__ == 0, f"{kind} has more than slots"
    return tuple(name for each in kind.__mro__ for name in each.__dict__.get("__slots__", ()))


# Snapshots


def _value(value: object) -> Any:  # noqa: ANN401
    kind = type(value)
    valued = _VALUES.get(kind)
    if valued is None:
        valued = _VALUES[kind] = _way_to_value(kind)
    return valued(value)


def _way_to_value(kind: type) -> Callable[[Any], object]:
    """Return how to make a `kind` a value that can be hashed and compared."""
    if kind in (list, tuple, deque):
        return lambda values: tuple([_value(value) for value in values])
    if kind is dict:
        return lambda mapping: tuple(sorted([(key, _value(mapping[key])) for key in mapping]))
    if issubclass(kind, Enum):
        return lambda value: value.value
    if issubclass(kind, int | str | bytes | NoneType):
        return lambda value: value
    names = [name for name in _slots(kind) if name not in _SAME_FOR_LIFE]
    return lambda value: (kind.__name__, *[_value(getattr(value, name)) for name in names])


def _durability_value(durability: Durability) -> Snapshot:
    """Return versions as distances from the latest, and no tokens: only their order matters."""
    now = durability._version
    outstanding = [(now - each.version, each.term, each.last) for each in durability._outstanding]
    held = [(now - version, peer, _value(message)) for version, peer, message in durability._held]
    return (
        durability.synced_term,
        durability.synced_index,
        durability.handed_index,
        now - durability._handed_version,
        now - durability._synced_version,
        tuple(outstanding),
        tuple(held),
    )


def _log_value(log: RaftLog) -> Snapshot:
    return (log.first_index, *[_value(entry) for entry in log.slice(log.first_index)])


_VALUES: dict[type, Callable[[Any], object]] = {
    Durability: _durability_value,
    RaftLog: _log_value,
}
