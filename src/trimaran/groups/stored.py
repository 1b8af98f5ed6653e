"""A consumer group as its coordinator's log holds it: enough for another coordinator to go on.

Plain data, written as MessagePack arrays. A group without members is Empty, one with members was
Stable in `generation`, and must rebalance if somebody has gone since. What else happens in between
is not stored: whoever takes over goes on from there, and those who were about to join come again.
Does not: know who is alive.
"""

from enum import IntEnum
from typing import Annotated, TypeAlias

import msgspec

from trimaran.groups.limits import (
    GROUP_ID_CHARACTERS_MAX,
    MEMBER_ID_CHARACTERS_MAX,
    PATTERN_CHARACTERS_MAX,
    PROTOCOLS_MAX,
    SUBSCRIPTION_TOPICS_MAX,
)
from trimaran.ids import TopicId

GroupName = Annotated[str, msgspec.Meta(min_length=1, max_length=GROUP_ID_CHARACTERS_MAX)]
TopicKey = Annotated[TopicId, msgspec.Meta(min_length=16, max_length=16)]
PartitionNumber = Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)]
_Short = Annotated[str, msgspec.Meta(max_length=MEMBER_ID_CHARACTERS_MAX)]
_Millis = Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)]


class StoredProtocol(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """An assignor that a member offers, and what it tells the others under it."""

    name: _Short
    metadata: bytes


class StoredMember(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """One member of a finished rebalance."""

    member_id: _Short
    instance_id: _Short | None
    client_id: _Short
    client_host: _Short
    session_timeout_ms: _Millis
    rebalance_timeout_ms: _Millis
    protocols: Annotated[tuple[StoredProtocol, ...], msgspec.Meta(max_length=PROTOCOLS_MAX)]
    """In the member's order of preference."""
    assignment: bytes


class StoredGroup(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """One group after a rebalance."""

    group_id: GroupName
    generation: Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)]
    protocol_type: _Short
    """`consumer`, `connect`, ...; empty for a group that never had members."""
    protocol: _Short | None
    leader: _Short | None
    members: tuple[StoredMember, ...]
    """In order of joining; empty: nobody is in the group."""
    is_rebalancing: bool = False
    """Whether somebody went, so that those who are left must share anew."""


class MemberState(IntEnum):
    """How far a member of the new protocol has come on its way to its target."""

    STABLE = 0
    UNREVOKED = 1
    """It must give something up before it goes on."""
    UNRELEASED = 2
    """It waits for what another member has not given up yet."""


StoredParts: TypeAlias = tuple[tuple[TopicKey, tuple[PartitionNumber, ...]], ...]
"""Partitions by topic id; both ascending."""


class StoredClassic(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """What a member said that speaks the classic protocol in a group of the new one."""

    session_timeout_ms: _Millis
    protocols: Annotated[
        tuple[StoredProtocol, ...], msgspec.Meta(min_length=1, max_length=PROTOCOLS_MAX)
    ]


class StoredConsumer(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """One member of a group of the new protocol (KIP-848)."""

    member_id: _Short
    instance_id: _Short | None
    rack_id: _Short | None
    client_id: _Short
    client_host: _Short
    rebalance_timeout_ms: _Millis
    topics: Annotated[tuple[_Short, ...], msgspec.Meta(max_length=SUBSCRIPTION_TOPICS_MAX)]
    """Names that it subscribes to, ascending."""
    pattern: Annotated[str, msgspec.Meta(max_length=PATTERN_CHARACTERS_MAX)]
    """It subscribes to topics whose whole name fits, too; empty: none."""
    assignor: _Short | None
    classic: StoredClassic | None
    epoch: Annotated[int, msgspec.Meta(ge=-2, le=2**31 - 1)]
    """-2: a static member that left for a while."""
    previous_epoch: Annotated[int, msgspec.Meta(ge=-2, le=2**31 - 1)]
    state: MemberState
    assigned: StoredParts
    """What it has, or is told to take."""
    revoking: StoredParts
    """What it still has and is told to give up."""
    target: StoredParts
    """What it is to have in the end."""


class StoredTopic(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A topic that members subscribe to, as the group last knew it."""

    name: _Short
    topic_id: TopicKey
    partition_count: PartitionNumber


class StoredConsumers(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """One group of the new protocol."""

    epoch: Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)]
    assignment_epoch: Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)]
    """The group's epoch for which targets were computed."""
    topics: tuple[StoredTopic, ...]
    """Ascending by name."""
    members: tuple[StoredConsumer, ...]
    """In order of joining; empty: nobody is in the group."""


class CommittedOffset(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Where a group stands in one partition."""

    topic_id: TopicKey
    partition: PartitionNumber
    offset: int
    leader_epoch: Annotated[int, msgspec.Meta(ge=-1, le=2**31 - 1)]
    """-1: the client named none."""
    metadata: str
