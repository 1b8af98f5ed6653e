"""What members ask of a group and what the group wants done about it. Plain data.

Requests carry a ticket: the group answers it once, at once or much later, through an effect.
Does not: know Kafka's bytes, or who holds a ticket.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

from trimaran.errors import ErrorCode
from trimaran.groups.commands import StoreConsumers
from trimaran.groups.parts import Parts
from trimaran.groups.stored import StoredGroup, StoredProtocol

Ticket: TypeAlias = int

LEAVE_EPOCH = -1
LEAVE_FOR_A_WHILE_EPOCH = -2
"""What members of the new protocol name as their epoch when they leave; the second: static ones."""


class MigrationPolicy(StrEnum):
    """Which way groups may go between the protocols while they have members (KIP-848)."""

    BIDIRECTIONAL = "bidirectional"
    UPGRADE = "upgrade"
    DOWNGRADE = "downgrade"
    DISABLED = "disabled"

    @property
    def upgrades(self) -> bool:
        """Whether a classic group becomes one of the new protocol."""
        return self in (MigrationPolicy.BIDIRECTIONAL, MigrationPolicy.UPGRADE)

    @property
    def downgrades(self) -> bool:
        """Whether a group of the new protocol becomes a classic one."""
        return self in (MigrationPolicy.BIDIRECTIONAL, MigrationPolicy.DOWNGRADE)


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupSettings:
    """What a coordinator allows; all times in ms."""

    session_timeout_min_ms: int = 6_000
    session_timeout_max_ms: int = 1_800_000
    initial_rebalance_delay_ms: int = 50
    """How long an empty group waits for more members before its first generation."""
    members_max: int = 1_000
    heartbeat_interval_ms: int = 1_000
    """What members of the new protocol are told."""
    consumer_session_timeout_ms: int = 10_000
    """How long one of them may be silent."""
    migration: MigrationPolicy = MigrationPolicy.BIDIRECTIONAL


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinRequest:
    """Somebody wants to be, or stay, in the group."""

    ticket: Ticket
    member_id: str = ""
    """Empty: a new one."""
    fresh_id: str
    """The id that it gets if it is a new one; nobody ever had it."""
    instance_id: str | None = None
    client_id: str = ""
    client_host: str = ""
    session_timeout_ms: int
    rebalance_timeout_ms: int
    protocol_type: str
    protocols: tuple[StoredProtocol, ...]
    learns_id_first: bool = False
    """A new member is told its id and asks again with it (KIP-394)."""
    may_skip_assignment: bool = False
    """A leader that came back can be told that its group needs no new assignment (KIP-814)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinedMember:
    """A member, as the group's leader must know it to assign partitions."""

    member_id: str
    instance_id: str | None
    metadata: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinAnswer:
    """What came of a join."""

    error: ErrorCode = ErrorCode.NONE
    generation: int = -1
    protocol_type: str | None = None
    protocol: str | None = None
    leader: str = ""
    member_id: str = ""
    members: Sequence[JoinedMember] = ()
    """For the leader only."""
    skip_assignment: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberClaim:
    """Who somebody says to be, and in which generation (-1: no matter)."""

    member_id: str
    instance_id: str | None = None
    generation: int = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncRequest:
    """A member wants its part; the leader brings everybody's."""

    ticket: Ticket
    claim: MemberClaim
    protocol_type: str | None = None
    protocol: str | None = None
    assignments: Sequence[tuple[str, bytes]] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncAnswer:
    """What a member has."""

    error: ErrorCode = ErrorCode.NONE
    protocol_type: str | None = None
    protocol: str | None = None
    assignment: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class BeatRequest:
    """A heartbeat of the new protocol; None: as before."""

    ticket: Ticket
    member_id: str
    epoch: int
    """0: join; below: leave."""
    instance_id: str | None = None
    rack_id: str | None = None
    client_id: str = ""
    client_host: str = ""
    rebalance_timeout_ms: int | None = None
    topics: tuple[str, ...] | None = None
    pattern: str | None = None
    """Empty: none any more."""
    assignor: str | None = None
    owned: Parts | None = None

    @property
    def is_full(self) -> bool:
        """Whether it says everything: the member wants to hear its whole assignment."""
        has_subscription = self.topics is not None or self.pattern is not None
        says_all = self.rebalance_timeout_ms is not None and self.owned is not None
        return self.epoch == 0 or (has_subscription and says_all)


@dataclass(frozen=True, slots=True, kw_only=True)
class BeatAnswer:
    """What came of a heartbeat of the new protocol."""

    error: ErrorCode = ErrorCode.NONE
    member_id: str = ""
    epoch: int = 0
    heartbeat_interval_ms: int = 0
    assigned: Parts | None = None
    """None: as before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """Answer who holds the ticket."""

    ticket: Ticket
    answer: JoinAnswer | SyncAnswer | BeatAnswer

    def refused(self, error: ErrorCode) -> "Reply":
        """Return the reply that says `error` instead."""
        return Reply(ticket=self.ticket, answer=type(self.answer)(error=error))


@dataclass(frozen=True, slots=True, kw_only=True)
class Store:
    """Have this agreed on; say through `Group.stored` how it ended."""

    group: StoredGroup
    then: tuple[Reply, ...] = ()
    """Answers that must not leave before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """Have this agreed on; say through `ConsumerGroup.stored` how it ended."""

    command: StoreConsumers


@dataclass(frozen=True, slots=True, kw_only=True)
class Downgrade:
    """Have this agreed on; from now on it is a classic group."""

    group: StoredGroup
    then: tuple[Reply, ...] = ()
    """Answers that must not leave before."""


Effect: TypeAlias = Reply | Store
ConsumerEffect: TypeAlias = Reply | Change | Downgrade
