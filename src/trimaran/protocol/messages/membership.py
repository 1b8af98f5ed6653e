"""JoinGroup, SyncGroup, Heartbeat, LeaveGroup: being a member of a group (classic protocol).

Does not: know bytes.
"""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinGroupRequestProtocol:
    """An assignor that a member offers, and what it tells the leader under it."""

    name: str
    metadata: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinGroupRequest:
    """Be a member of the group's next generation."""

    group_id: str
    session_timeout_ms: int
    rebalance_timeout_ms: int = -1
    """Version 1 and up; before, the session time-out."""
    member_id: str
    group_instance_id: str | None = None
    """Version 5 and up (KIP-345)."""
    protocol_type: str
    protocols: Sequence[JoinGroupRequestProtocol]
    """In order of preference."""
    reason: str | None = None
    """Version 8 and up (KIP-800)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinGroupResponseMember:
    """A member, told to the leader."""

    member_id: str
    group_instance_id: str | None = None
    metadata: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinGroupResponse:
    """The answer to a JoinGroup."""

    throttle_time_ms: int = 0
    error_code: int = 0
    generation_id: int = -1
    protocol_type: str | None = None
    """Version 7 and up."""
    protocol_name: str | None = ""
    """Null from version 7 on only."""
    leader: str = ""
    skip_assignment: bool = False
    """Version 9 (KIP-814)."""
    member_id: str = ""
    members: Sequence[JoinGroupResponseMember] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncGroupRequestAssignment:
    """What the leader gives to a member."""

    member_id: str
    assignment: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncGroupRequest:
    """Ask for the own part; the leader brings all."""

    group_id: str
    generation_id: int
    member_id: str
    group_instance_id: str | None = None
    """Version 3 and up."""
    protocol_type: str | None = None
    """This and the next: version 5 and up."""
    protocol_name: str | None = None
    assignments: Sequence[SyncGroupRequestAssignment] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncGroupResponse:
    """The answer to a SyncGroup."""

    throttle_time_ms: int = 0
    error_code: int = 0
    protocol_type: str | None = None
    """This and the next: version 5 and up."""
    protocol_name: str | None = None
    assignment: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class HeartbeatRequest:
    """A sign of life."""

    group_id: str
    generation_id: int
    member_id: str
    group_instance_id: str | None = None
    """Version 3 and up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HeartbeatResponse:
    """The answer to a Heartbeat."""

    throttle_time_ms: int = 0
    error_code: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberIdentity:
    """A member that leaves, version 3 and up."""

    member_id: str
    group_instance_id: str | None = None
    reason: str | None = None
    """Version 5 (KIP-800)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaveGroupRequest:
    """Leave the group: one member up to version 2, `members` from 3 on."""

    group_id: str
    member_id: str = ""
    members: Sequence[MemberIdentity] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberResponse:
    """Whether one member left."""

    member_id: str
    group_instance_id: str | None = None
    error_code: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaveGroupResponse:
    """The answer to a LeaveGroup."""

    throttle_time_ms: int = 0
    error_code: int = 0
    members: Sequence[MemberResponse] = ()
    """Version 3 and up."""
