"""DescribeGroups, ListGroups, DeleteGroups, OffsetDelete: groups as administrators see them.

Does not: know bytes.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from trimaran.protocol.messages.common import OPERATIONS_UNKNOWN


@dataclass(frozen=True, slots=True, kw_only=True)
class DescribeGroupsRequest:
    """Ask what groups are like."""

    groups: Sequence[str]
    include_authorized_operations: bool = False
    """Version 3 and up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DescribedGroupMember:
    """One member; what it said and has is told while the group is stable."""

    member_id: str
    group_instance_id: str | None = None
    """Version 4 and up."""
    client_id: str = ""
    client_host: str = ""
    member_metadata: bytes = b""
    member_assignment: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class DescribedGroup:
    """One group; state Dead if there is none."""

    error_code: int = 0
    error_message: str | None = None
    """Version 6."""
    group_id: str
    group_state: str = ""
    protocol_type: str = ""
    protocol_data: str = ""
    members: Sequence[DescribedGroupMember] = ()
    authorized_operations: int = OPERATIONS_UNKNOWN
    """Version 3 and up; there are no ACLs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DescribeGroupsResponse:
    """The answer to a DescribeGroups."""

    throttle_time_ms: int = 0
    groups: Sequence[DescribedGroup]


@dataclass(frozen=True, slots=True, kw_only=True)
class ListGroupsRequest:
    """Ask for the groups that this node coordinates; an empty filter lets everything pass."""

    states_filter: Sequence[str] = ()
    """Version 4 and up (KIP-518)."""
    types_filter: Sequence[str] = ()
    """Version 5 (KIP-848)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedGroup:
    """One group."""

    group_id: str
    protocol_type: str = ""
    group_state: str = ""
    group_type: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ListGroupsResponse:
    """The answer to a ListGroups."""

    throttle_time_ms: int = 0
    error_code: int = 0
    groups: Sequence[ListedGroup] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteGroupsRequest:
    """Delete groups with their offsets."""

    groups_names: Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class DeletableGroupResult:
    """Whether one group was deleted."""

    group_id: str
    error_code: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteGroupsResponse:
    """The answer to a DeleteGroups."""

    throttle_time_ms: int = 0
    results: Sequence[DeletableGroupResult]


@dataclass(frozen=True, slots=True, kw_only=True)
class OffsetDeleteRequestPartition:
    """A partition."""

    partition_index: int


@dataclass(frozen=True, slots=True, kw_only=True)
class OffsetDeleteRequestTopic:
    """Partitions of one topic."""

    name: str
    partitions: Sequence[OffsetDeleteRequestPartition]


@dataclass(frozen=True, slots=True, kw_only=True)
class OffsetDeleteRequest:
    """Forget where a group stands."""

    group_id: str
    topics: Sequence[OffsetDeleteRequestTopic]


@dataclass(frozen=True, slots=True, kw_only=True)
class OffsetDeleteResponsePartition:
    """Whether one offset is forgotten."""

    partition_index: int
    error_code: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class OffsetDeleteResponseTopic:
    """Whether the offsets of one topic are."""

    name: str
    partitions: Sequence[OffsetDeleteResponsePartition]


@dataclass(frozen=True, slots=True, kw_only=True)
class OffsetDeleteResponse:
    """The answer to an OffsetDelete."""

    error_code: int = 0
    throttle_time_ms: int = 0
    topics: Sequence[OffsetDeleteResponseTopic] = ()
