"""Shapes: consumer groups.

Does not: compute anything.
"""

from typing import Annotated, Literal

import msgspec

from trimaran.server.http.models.base import Answer, Body, PartitionNumber, TopicName


class Group(Answer, frozen=True, kw_only=True):
    """A group in a row."""

    group_id: str
    state: str
    protocol_type: str
    protocol: str
    coordinator: int | None
    members: int
    lag_events: int | None
    lag_s: float | None
    topics: list[str]


class GroupPage(Answer, frozen=True, kw_only=True):
    """A page of groups."""

    items: list[Group]
    next: str | None
    total: int | None
    served_by: int


class Assigned(Answer, frozen=True, kw_only=True):
    """Partitions that a member has."""

    topic: str
    partitions: list[int]


class Member(Answer, frozen=True, kw_only=True):
    """A member of a group."""

    member_id: str
    instance_id: str | None
    client_id: str
    client_host: str
    assignment: list[Assigned]


class GroupPartition(Answer, frozen=True, kw_only=True):
    """Where a group stands on a partition."""

    topic: str
    partition: int
    committed: int | None
    log_start: int | None
    high_watermark: int | None
    lag_events: int | None
    lag_s: float | None
    metadata: str | None
    member_id: str | None


class GroupDetail(Answer, frozen=True, kw_only=True):
    """A group with its members and where it stands."""

    group_id: str
    state: str
    protocol_type: str
    protocol: str
    coordinator: int | None
    lag_events: int | None
    lag_s: float | None
    topics: list[str]
    members: list[Member]
    partitions: list[GroupPartition]


class GroupAnswer(GroupDetail, frozen=True, kw_only=True):
    """One group."""

    served_by: int


class ResetTo(Body, frozen=True, kw_only=True):
    """Where to; `value` is an offset, a time in ms, or a number of events to shift by."""

    kind: Literal["earliest", "latest", "offset", "time", "shift"]
    value: Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)] | None = None


class ResetBody(Body, frozen=True, kw_only=True):
    """Which offsets are to change, and how; without `dry_run` false nothing does."""

    topic: TopicName
    to: ResetTo
    partitions: Annotated[list[PartitionNumber], msgspec.Meta(max_length=10_000)] | None = None
    dry_run: bool = True


class ResetRow(Answer, frozen=True, kw_only=True):
    """One partition's committed offset before and after."""

    topic: str
    partition: int
    before: int | None
    after: int
    change: int | None


class ResetAnswer(Answer, frozen=True, kw_only=True):
    """What was or would be changed."""

    group_id: str
    dry_run: bool
    items: list[ResetRow]
    served_by: int
