"""What happened on a node that people want to see: a bounded feed, newest last.

Elections, leaders that moved, nodes that came and went, a slow or full disk, damage. What concerns
many groups at once is one happening with a count and the first few names: whoever notes such
things notes them group by group, and what came in one loop turn is put together at its end.

Invariants: numbers rise by one; at most HAPPENINGS_MAX are kept; a reader that lags misses the
oldest, never holds anything up.
Does not: log (the module where something happens does), or ask another node.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum

from trimaran.ids import GroupId, NodeId, Term
from trimaran.metadata.results import Result, TopicCreated, TopicDeleted

HAPPENINGS_MAX = 1_000
"""Kept; older ones are forgotten."""
GROUPS_NAMED_MAX = 20
"""Groups that one happening names; `group_count` counts all of them."""
TOPICS_NAMED_MAX = 5
SLOW_DISK_PAUSE_S = 10.0
"""A disk that stays slow is told at most this often."""


class HappeningKind(Enum):
    """What can happen."""

    NODE_UP = "node-up"
    """Another node is connected, or heard of again after it was silent."""
    NODE_DOWN = "node-down"
    """Its process is gone, or it is silent: frozen or cut off."""
    ELECTION = "election"
    """This node leads groups that it did not lead."""
    LEADER_MOVED = "leader-moved"
    """Another node leads groups that it did not lead, as far as this node knows."""
    INCIDENT = "incident"
    """A failover: all groups have committed something under their new leaders."""
    SLOW_DISK = "slow-disk"
    STALL = "stall"
    """The event loop stood still."""
    SPACE = "space"
    """The disk is full, or has room again."""
    DAMAGE = "damage"
    """Something stored here fails its check, or was lost."""
    REPAIR = "repair"
    """A damaged group has its vote again."""
    TOPIC = "topic"
    """Topics were created or deleted."""
    WARNING = "warning"
    """What else needs attention: a majority that is not heard, a dedup window cut short."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Happening:
    """One thing that happened, as this node saw it."""

    number: int
    """From 1, without gaps, for this life of the node."""
    time_ms: int
    """This node's wall time, ms since the Unix epoch."""
    kind: HappeningKind
    node: NodeId | None = None
    """Whom it is about: who went, who leads now."""
    group_count: int = 0
    groups: tuple[GroupId, ...] = ()
    """The first GROUPS_NAMED_MAX of them."""
    term: Term | None = None
    """The highest term among them."""
    text: str = ""
    """What there is to say beside the fields; names of groups are left to the reader."""
    incident: int | None = None
    """Number of the incident that it is about."""
    duration_ms: float | None = None


class _Gathering:
    """Groups of one kind of happening and node in this loop turn."""

    __slots__ = ("count", "groups", "term")

    def __init__(self) -> None:
        self.count = 0
        self.groups: list[GroupId] = []
        self.term = Term(0)


class Happenings:
    """The feed of one node."""

    def __init__(self, *, wall_ms: Callable[[], int], kept_max: int = HAPPENINGS_MAX) -> None:
        """`wall_ms` is `ports.Clock.wall_ms`."""
        self._wall_ms = wall_ms
        self._kept: deque[Happening] = deque(maxlen=kept_max)
        self._number = 0
        self._watchers: dict[object, Callable[[Happening], None]] = {}
        self._gathering: dict[tuple[HappeningKind, NodeId | None], _Gathering] = {}

    @property
    def last_number(self) -> int:
        """Number of the newest, 0 before the first."""
        return self._number

    def since(self, number: int) -> Sequence[Happening]:
        """Return what is kept of the happenings after `number`, oldest first."""
        missed = self._number - number
        if missed <= 0:
            return ()
        return list(self._kept)[-missed:]

    def watch(self, callback: Callable[[Happening], None]) -> object:
        """Call `callback` with each happening from now on, on the loop; it must not raise."""
        handle = object()
        self._watchers[handle] = callback
        return handle

    def unwatch(self, handle: object) -> None:
        """Stop calling. Unknown handles are ignored."""
        self._watchers.pop(handle, None)

    def add(
        self,
        kind: HappeningKind,
        *,
        node: NodeId | None = None,
        groups: Sequence[GroupId] = (),
        group_count: int | None = None,
        term: Term | None = None,
        text: str = "",
        incident: int | None = None,
        duration_ms: float | None = None,
    ) -> Happening:
        """Note that something happened now. `group_count`: if not all `groups` are given."""
        self._number += 1
        happening = Happening(
            number=self._number,
            time_ms=self._wall_ms(),
            kind=kind,
            node=node,
            group_count=len(groups) if group_count is None else group_count,
            groups=tuple(groups[:GROUPS_NAMED_MAX]),
            term=term,
            text=text,
            incident=incident,
            duration_ms=duration_ms,
        )
        self._kept.append(happening)
        for callback in list(self._watchers.values()):
            callback(happening)
        return happening

    def gather(
        self, kind: HappeningKind, group: GroupId, *, node: NodeId | None, term: Term
    ) -> None:
        """Note that something happened to `group`; all of a loop turn become one happening."""
        if not self._gathering:
            asyncio.get_running_loop().call_soon(self._settle)
        gathering = self._gathering.setdefault((kind, node), _Gathering())
        gathering.count += 1
        gathering.term = max(gathering.term, term)
        if len(gathering.groups) < GROUPS_NAMED_MAX:
            gathering.groups.append(group)

    def _settle(self) -> None:
        gathered, self._gathering = self._gathering, {}
        for (kind, node), gathering in gathered.items():
            self.add(
                kind,
                node=node,
                groups=gathering.groups,
                group_count=gathering.count,
                term=gathering.term,
            )


def tell_topics(happenings: Happenings, results: Sequence[Result]) -> None:
    """Note which topics the metadata has made and deleted: what was applied together is one."""
    for verb, kind in (("created", TopicCreated), ("deleted", TopicDeleted)):
        names = [result.topic.name for result in results if isinstance(result, kind)]
        if names:
            more = f" and {len(names) - TOPICS_NAMED_MAX} more" * (len(names) > TOPICS_NAMED_MAX)
            text = f"{verb}: {', '.join(names[:TOPICS_NAMED_MAX])}{more}"
            happenings.add(HappeningKind.TOPIC, text=text)
