"""The members of one group of the new protocol, and who has which partition.

Invariants: a partition has at most one owner, the member that has it assigned or is told to give it
up; targets are disjoint; a static member's instance id leads to it and to nobody else.
Does not: know epochs of the group, or read a clock.
"""

from collections.abc import Iterator, Sequence

from trimaran.groups.commands import OffsetKey
from trimaran.groups.messages import BeatRequest
from trimaran.groups.parts import NOTHING, Parts, by_topic, to_parts
from trimaran.groups.reconciliation import Progress
from trimaran.groups.stored import StoredClassic, StoredConsumer, StoredProtocol

NEVER_MS = 1 << 62


def said_bytes(
    topics: Sequence[str], pattern: str, protocols: Sequence[StoredProtocol] = ()
) -> int:
    """Return how much a member says that subscribes so; `protocols`: of a classic one."""
    named = sum(len(topic.encode()) for topic in topics) + len(pattern.encode())
    return named + sum(len(one.metadata) for one in protocols)


class Consumer:
    """One member: what it said of itself, where it stands, and until when it is waited for."""

    __slots__ = (
        "assignor",
        "classic",
        "client_host",
        "client_id",
        "instance_id",
        "join_end_ms",
        "member_id",
        "pattern",
        "progress",
        "rack_id",
        "rebalance_timeout_ms",
        "revoke_end_ms",
        "session_end_ms",
        "sync_end_ms",
        "target",
        "topics",
        "wanted",
    )

    def __init__(self, member_id: str, instance_id: str | None) -> None:
        """Begin as a member that is about to join."""
        self.member_id = member_id
        self.instance_id = instance_id
        self.rack_id: str | None = None
        self.client_id = ""
        self.client_host = ""
        self.rebalance_timeout_ms = 0
        self.topics: tuple[str, ...] = ()
        self.pattern = ""
        self.assignor: str | None = None
        self.classic: StoredClassic | None = None
        """What it said through JoinGroup, if it speaks the classic protocol."""
        self.progress = Progress(epoch=0, previous_epoch=0)
        self.target: Parts = NOTHING
        self.wanted: tuple[str, ...] = ()
        """Names of topics that it subscribes to in one way or the other."""
        self.session_end_ms = NEVER_MS
        self.revoke_end_ms = NEVER_MS
        """Until when it must have given up what it is told to."""
        self.join_end_ms = NEVER_MS
        """Until when it must have joined again, and then synced: classic protocol only."""
        self.sync_end_ms = NEVER_MS

    @classmethod
    def restored(cls, stored: StoredConsumer) -> "Consumer":
        """Return a member that the log holds."""
        member = cls(stored.member_id, stored.instance_id)
        member.rack_id = stored.rack_id
        member.client_id = stored.client_id
        member.client_host = stored.client_host
        member.rebalance_timeout_ms = stored.rebalance_timeout_ms
        member.topics = stored.topics
        member.pattern = stored.pattern
        member.assignor = stored.assignor
        member.classic = stored.classic
        member.progress = Progress(
            epoch=stored.epoch,
            previous_epoch=stored.previous_epoch,
            state=stored.state,
            assigned=to_parts(stored.assigned),
            revoking=to_parts(stored.revoking),
        )
        member.target = to_parts(stored.target)
        return member

    @property
    def epoch(self) -> int:
        """Its epoch; -2: a static member that left for a while."""
        return self.progress.epoch

    @property
    def deadline_ms(self) -> int:
        """When it is out, unless something is heard of it before."""
        ends = (self.session_end_ms, self.revoke_end_ms, self.join_end_ms, self.sync_end_ms)
        return min(ends)

    @property
    def holds(self) -> Parts:
        """What nobody else may have."""
        return self.progress.assigned | self.progress.revoking

    @property
    def said_bytes(self) -> int:
        """How much its subscription takes. O(topics)."""
        protocols = () if self.classic is None else self.classic.protocols
        return said_bytes(self.topics, self.pattern, protocols)

    def update(self, request: BeatRequest) -> bool:
        """Take over what a heartbeat says; return whether anything is new."""
        before = self._said()
        self.instance_id = request.instance_id or self.instance_id
        self.rack_id = self.rack_id if request.rack_id is None else request.rack_id
        self.client_id = request.client_id
        self.client_host = request.client_host
        if request.rebalance_timeout_ms is not None:
            self.rebalance_timeout_ms = request.rebalance_timeout_ms
        if request.topics is not None:
            self.topics = tuple(sorted(dict.fromkeys(request.topics)))
        self.pattern = self.pattern if request.pattern is None else request.pattern
        self.assignor = self.assignor if request.assignor is None else request.assignor
        self.classic = None
        return self._said() != before

    def _said(self) -> tuple[object, ...]:
        return (
            self.instance_id,
            self.rack_id,
            self.client_id,
            self.client_host,
            self.rebalance_timeout_ms,
            self.topics,
            self.pattern,
            self.assignor,
            self.classic,
        )

    def reborn(self, member_id: str) -> "Consumer":
        """Return a static member's next life: it has what it had, and must join."""
        member = Consumer.restored(self.stored())
        member.member_id = member_id
        member.progress = Progress(
            epoch=0,
            previous_epoch=0,
            state=self.progress.state,
            assigned=self.progress.assigned,
            revoking=self.progress.revoking,
        )
        member.wanted = self.wanted
        return member

    def stored(self) -> StoredConsumer:
        """Return it as the log holds it."""
        return StoredConsumer(
            member_id=self.member_id,
            instance_id=self.instance_id,
            rack_id=self.rack_id,
            client_id=self.client_id,
            client_host=self.client_host,
            rebalance_timeout_ms=self.rebalance_timeout_ms,
            topics=self.topics,
            pattern=self.pattern,
            assignor=self.assignor,
            classic=self.classic,
            epoch=self.progress.epoch,
            previous_epoch=self.progress.previous_epoch,
            state=self.progress.state,
            assigned=by_topic(self.progress.assigned),
            revoking=by_topic(self.progress.revoking),
            target=by_topic(self.target),
        )


class Consumers:
    """The members of one group."""

    __slots__ = ("_by_instance", "_members", "_owners")

    def __init__(self) -> None:
        """Begin with nobody."""
        self._members: dict[str, Consumer] = {}
        self._by_instance: dict[str, str] = {}
        self._owners: dict[OffsetKey, str] = {}

    def __len__(self) -> int:
        """Return how many members there are."""
        return len(self._members)

    def __iter__(self) -> Iterator[Consumer]:
        """Yield members in order of joining; the members may change meanwhile."""
        return iter(list(self._members.values()))

    def get(self, member_id: str) -> Consumer | None:
        """Return the member with this id."""
        return self._members.get(member_id)

    def of_instance(self, instance_id: str | None) -> Consumer | None:
        """Return the static member of that name."""
        member_id = self._by_instance.get(instance_id or "")
        return None if member_id is None else self._members[member_id]

    def place(self, member_id: str, instance_id: str | None) -> Consumer | None:
        """Return the member whose place somebody has, or takes as its next life."""
        return self.of_instance(instance_id) or self.get(member_id)

    def owner(self, part: OffsetKey) -> str | None:
        """Return the id of the member that has a partition, or is told to give it up."""
        return self._owners.get(part)

    def add(self, member: Consumer) -> None:
        """Take a member in, with what it holds."""
        assert member.member_id not in self._members
        self._members[member.member_id] = member
        if member.instance_id is not None:
            assert member.instance_id not in self._by_instance
            self._by_instance[member.instance_id] = member.member_id
        self._own(member, member.holds)

    def remove(self, member: Consumer) -> None:
        """Let a member go, and all that it holds with it."""
        del self._members[member.member_id]
        if member.instance_id is not None:
            self._by_instance.pop(member.instance_id, None)
        self._disown(member, member.holds)

    def name(self, member: Consumer, instance_id: str | None) -> None:
        """Note the instance id of a member that is in."""
        if instance_id is not None and instance_id not in self._by_instance:
            self._by_instance[instance_id] = member.member_id

    def move(self, member: Consumer, progress: Progress) -> None:
        """Take a step of a member: what it holds changes."""
        had = member.holds
        member.progress = progress
        has = member.holds
        self._disown(member, had - has)
        self._own(member, has - had)

    def _own(self, member: Consumer, parts: Parts) -> None:
        for part in sorted(parts):
            owner = self._owners.setdefault(part, member.member_id)
            assert owner == member.member_id, "a partition has one owner at a time"

    def _disown(self, member: Consumer, parts: Parts) -> None:
        for part in sorted(parts):
            owner = self._owners.pop(part)
            assert owner == member.member_id, "a partition is given up by who has it"
