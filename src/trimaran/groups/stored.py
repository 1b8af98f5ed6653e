"""A consumer group as its coordinator's log holds it: enough for another coordinator to go on.

Plain data, written as MessagePack arrays. A group without members is Empty, one with members was
Stable in `generation`, and must rebalance if somebody has gone since. What else happens in between
is not stored: whoever takes over goes on from there, and those who were about to join come again.
Does not: know who is alive.
"""

from typing import Annotated

import msgspec

from trimaran.groups.limits import (
    GROUP_ID_CHARACTERS_MAX,
    MEMBER_ID_CHARACTERS_MAX,
    PROTOCOLS_MAX,
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


class CommittedOffset(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Where a group stands in one partition."""

    topic_id: TopicKey
    partition: PartitionNumber
    offset: int
    leader_epoch: Annotated[int, msgspec.Meta(ge=-1, le=2**31 - 1)]
    """-1: the client named none."""
    metadata: str
