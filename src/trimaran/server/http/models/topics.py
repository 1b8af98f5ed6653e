"""Shapes: topics, their partitions, settings and dedup windows.

Does not: compute anything.
"""

from typing import Annotated, Literal

import msgspec

from trimaran.server.http.models.base import (
    Answer,
    Body,
    OffsetNumber,
    PartitionNumber,
    TimeMs,
    TopicName,
)

SettingText = Annotated[str, msgspec.Meta(max_length=4_096)]
SettingName = Annotated[str, msgspec.Meta(min_length=1, max_length=249)]


class GroupLag(Answer, frozen=True, kw_only=True):
    """How far a group is behind on a topic."""

    group_id: str
    lag_events: int
    lag_s: float | None


class Topic(Answer, frozen=True, kw_only=True):
    """A topic in a row."""

    name: str
    topic_id: str
    partitions: int
    replication_factor: int
    is_internal: bool
    size_bytes: int | None
    events: int | None
    leaders: dict[str, int]
    leader_of: list[int | None]
    groups: list[GroupLag]
    """Those furthest behind, of `groups_total`."""
    groups_total: int
    worst_lag_s: float | None
    events_in_per_s: float | None
    rate: list[float]
    dedup: bool


class TopicAnswer(Topic, frozen=True, kw_only=True):
    """One topic."""

    served_by: int


class TopicPage(Answer, frozen=True, kw_only=True):
    """A page of topics."""

    items: list[Topic]
    next: str | None
    total: int | None
    served_by: int


class CreateTopicBody(Body, frozen=True, kw_only=True):
    """A topic to be."""

    name: TopicName
    partitions: Annotated[int, msgspec.Meta(ge=1, le=10_000)] | None = None
    replication_factor: Annotated[int, msgspec.Meta(ge=1, le=32)] | None = None
    config: dict[SettingName, SettingText] = msgspec.field(default_factory=dict)
    dry_run: bool = False


class AlterTopicBody(Body, frozen=True, kw_only=True):
    """What is to change; a setting that becomes null goes back to its default."""

    partitions: Annotated[int, msgspec.Meta(ge=1, le=10_000)] | None = None
    config: dict[SettingName, SettingText | None] = msgspec.field(default_factory=dict)


class Setting(Answer, frozen=True, kw_only=True):
    """A setting, what it is, and where that comes from."""

    name: str
    value: str
    default: str
    source: Literal["topic", "default"]
    type: str
    allowed: str
    doc: str
    effect: Literal["live", "accepted", "waiting"]
    read_only: bool


class TopicConfig(Answer, frozen=True, kw_only=True):
    """A topic's settings."""

    topic: str
    items: list[Setting]
    served_by: int


class ReplicaState(Answer, frozen=True, kw_only=True):
    """One replica; what it did not tell is null."""

    node_id: int
    state: Literal["leader", "follower", "unreachable"]
    term: int | None
    log_end: int | None
    high_watermark: int | None
    log_start: int | None
    lag_events: int | None
    commit_index: int | None
    last_index: int | None
    synced_index: int | None
    size_bytes: int | None


class PartitionState(Answer, frozen=True, kw_only=True):
    """A partition and all its replicas."""

    topic: str
    partition: int
    leader: int | None
    term: int
    preferred: int
    replicas: list[ReplicaState]
    log_start: int | None
    high_watermark: int | None
    log_end: int | None
    commit_index: int | None
    size_bytes: int | None
    under_replicated: bool


class PartitionAnswer(PartitionState, frozen=True, kw_only=True):
    """One partition."""

    served_by: int


class PartitionPage(Answer, frozen=True, kw_only=True):
    """A page of partitions."""

    items: list[PartitionState]
    next: str | None
    total: int | None
    served_by: int


class DeleteEventsQuery(Body, frozen=True, kw_only=True):
    """Up to where; -1: all that is committed."""

    before: Annotated[int, msgspec.Meta(ge=-1, le=2**63 - 1)]


class EventsDeleted(Answer, frozen=True, kw_only=True):
    """Where the log begins now."""

    topic: str
    partition: int
    log_start: int
    served_by: int


class PartitionWindow(Answer, frozen=True, kw_only=True):
    """What a partition's leader remembers of event ids."""

    partition: int
    node_id: int
    ids: int
    ids_max: int
    oldest_log_time_ms: int | None
    effective_window_ms: int
    cut_short: bool
    memory_bytes: int
    hits: int
    evicted: int


class LastDuplicate(Answer, frozen=True, kw_only=True):
    """An event that was not stored again."""

    partition: int
    id_hash: str
    original_offset: int
    at_ms: int


class TopicDedup(Answer, frozen=True, kw_only=True):
    """A topic's dedup."""

    topic: str
    enabled: bool
    header: str
    window_ms: int
    max_ids: int
    partitions: list[PartitionWindow]
    ids: int
    memory_bytes: int
    hits: int
    hit_rate: float | None
    last_duplicates: list[LastDuplicate]
    served_by: int


class NodeDedup(Answer, frozen=True, kw_only=True):
    """The windows of the partitions that the node leads."""

    items: list[PartitionWindow]
    last_duplicates: list[LastDuplicate]
    served_by: int


class NodeDedupQuery(Body, frozen=True, kw_only=True):
    """Of which topic."""

    topic: TopicName


class HistogramQuery(Body, frozen=True, kw_only=True):
    """A stretch of time cut into equal parts."""

    from_ms: TimeMs | None = None
    to_ms: TimeMs | None = None
    buckets: Annotated[int, msgspec.Meta(ge=1, le=240)] = 60
    partition: PartitionNumber | None = None


class Bucket(Answer, frozen=True, kw_only=True):
    """A part of the time: how many events, and each partition's first offset in it."""

    at_ms: int
    events: int
    offsets: dict[str, OffsetNumber]


class EventHistogram(Answer, frozen=True, kw_only=True):
    """Events over time."""

    topic: str
    from_ms: int
    to_ms: int
    step_ms: int
    buckets: list[Bucket]
    exact: bool
    served_by: int
