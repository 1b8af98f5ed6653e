"""What can be set on a topic, and what a partition makes of it.

THE table of topic settings: names, types, ranges and meanings are Kafka's (TopicConfig) unless they
begin with `event.dedup` or are `validate`, which are ours. Where a default differs from Kafka's,
nothing is deleted, refused or rolled by time unless a topic asks for it.
Does not: apply anything. A partition's own log carries what is in force there.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields

from trimaran.errors import ErrorCode, RequestError
from trimaran.metadata.settings import (
    INT_MAX,
    LONG_MAX,
    Effect,
    Kind,
    Setting,
    Table,
    check,
    parse,
    table_of,
)

MESSAGE_BYTES_LIMIT = 16 * 1024 * 1024
"""Highest max.message.bytes: what the journal and a peer connection take in one piece."""

_WAITING = Effect.WAITING

TOPIC_SETTINGS: Table = table_of(
    Setting(
        name="max.message.bytes",
        kind=Kind.INT,
        default="1048588",
        low=0,
        high=MESSAGE_BYTES_LIMIT,
        doc="Largest record batch accepted, in bytes, compressed as it was sent.",
    ),
    Setting(
        name="segment.bytes",
        kind=Kind.INT,
        default="1073741824",
        low=1_048_576,
        high=INT_MAX,
        doc="A segment is closed before it would grow beyond this.",
    ),
    Setting(
        name="min.insync.replicas",
        kind=Kind.INT,
        default="1",
        effect=Effect.ACCEPTED,
        low=1,
        high=INT_MAX,
        doc="At most the majority, which acks=all always waits for.",
    ),
    Setting(
        name="flush.messages",
        kind=Kind.LONG,
        default=str(LONG_MAX),
        effect=Effect.ACCEPTED,
        low=1,
        high=LONG_MAX,
        doc="Events between syncs; every batch is synced before it is acknowledged anyway.",
    ),
    Setting(
        name="flush.ms",
        kind=Kind.LONG,
        default=str(LONG_MAX),
        effect=Effect.ACCEPTED,
        low=0,
        high=LONG_MAX,
        doc="Time between syncs; every batch is synced before it is acknowledged anyway.",
    ),
    Setting(
        name="cleanup.policy",
        kind=Kind.LIST,
        default="delete",
        choices=("delete", "compact"),
        doc="delete: old segments go by retention; compact: the last event of each key stays; "
        "empty: all stays.",
    ),
    Setting(
        name="retention.ms",
        kind=Kind.LONG,
        default="-1",
        low=-1,
        high=LONG_MAX,
        doc="Age by log time after which a segment may go; -1 keeps everything.",
    ),
    Setting(
        name="retention.bytes",
        kind=Kind.LONG,
        default="-1",
        low=-1,
        high=LONG_MAX,
        doc="Size of a partition above which its oldest segments may go; -1 is no limit.",
    ),
    Setting(
        name="segment.ms",
        kind=Kind.LONG,
        default=str(LONG_MAX),
        low=1,
        high=LONG_MAX,
        doc="A segment is closed at this age of its first event, by log time.",
    ),
    Setting(
        name="compression.type",
        kind=Kind.STRING,
        default="producer",
        choices=("producer", "uncompressed", "gzip", "snappy", "lz4", "zstd"),
        doc="Codec of stored batches; producer stores them as they were sent.",
    ),
    Setting(
        name="message.timestamp.type",
        kind=Kind.STRING,
        default="CreateTime",
        choices=("CreateTime", "LogAppendTime"),
        doc="Whether readers see the producer's timestamps or the time of the append.",
    ),
    Setting(
        name="message.timestamp.before.max.ms",
        kind=Kind.LONG,
        default=str(LONG_MAX),
        low=0,
        high=LONG_MAX,
        doc="How far a batch's first timestamp may lie behind the append.",
    ),
    Setting(
        name="message.timestamp.after.max.ms",
        kind=Kind.LONG,
        default=str(LONG_MAX),
        low=0,
        high=LONG_MAX,
        doc="How far a batch's latest timestamp may lie ahead of it.",
    ),
    Setting(
        name="min.compaction.lag.ms",
        kind=Kind.LONG,
        default="0",
        low=0,
        high=LONG_MAX,
        doc="An event stays uncompacted at least this long.",
    ),
    Setting(
        name="max.compaction.lag.ms",
        kind=Kind.LONG,
        default=str(LONG_MAX),
        low=1,
        high=LONG_MAX,
        doc="An event is looked at by compaction at the latest after this.",
    ),
    Setting(
        name="min.cleanable.dirty.ratio",
        kind=Kind.DOUBLE,
        default="0.5",
        low=0,
        high=1,
        doc="Part of a log that must be uncompacted before compaction starts.",
    ),
    Setting(
        name="delete.retention.ms",
        kind=Kind.LONG,
        default="86400000",
        low=0,
        high=LONG_MAX,
        doc="How long a tombstone stays in a compacted topic.",
    ),
    Setting(
        name="unclean.leader.election.enable",
        kind=Kind.BOOLEAN,
        default="false",
        effect=_WAITING,
        doc="Never done: a replica that lacks committed events does not lead.",
    ),
    Setting(
        name="remote.storage.enable",
        kind=Kind.BOOLEAN,
        default="false",
        effect=_WAITING,
        doc="Old segments in an object store.",
    ),
    Setting(
        name="validate",
        kind=Kind.STRING,
        default="batch",
        effect=_WAITING,
        choices=("batch", "records"),
        doc="batch: header and checksum are checked; records: each record is read as well.",
    ),
    Setting(
        name="event.dedup.enable",
        kind=Kind.BOOLEAN,
        default="false",
        doc="Store an event id once, whoever sends it; switched on, it knows no earlier events.",
    ),
    Setting(
        name="event.dedup.header",
        kind=Kind.STRING,
        default="event-id",
        low=1,
        high=249,
        doc="Record header with the event id; also read: Nats-Msg-Id, and ce_id with ce_source.",
    ),
    Setting(
        name="event.dedup.window.ms",
        kind=Kind.LONG,
        default="600000",
        low=1_000,
        high=604_800_000,
        doc="How long, by log time, an event id is remembered.",
    ),
    Setting(
        name="event.dedup.max.ids",
        kind=Kind.INT,
        default="1000000",
        low=1_000,
        high=5_000_000,
        doc="Event ids remembered in a partition; the oldest are forgotten first.",
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicSettings:
    """What is in force on a topic; each field is the setting of that name with dots."""

    max_message_bytes: int
    segment_bytes: int
    segment_ms: int
    min_insync_replicas: int
    cleanup_policy: tuple[str, ...]
    retention_ms: int
    """-1: for ever."""
    retention_bytes: int
    """-1: no limit."""
    compression_type: str
    message_timestamp_type: str
    message_timestamp_before_max_ms: int
    message_timestamp_after_max_ms: int
    min_compaction_lag_ms: int
    max_compaction_lag_ms: int
    min_cleanable_dirty_ratio: float
    delete_retention_ms: int
    validate: str
    event_dedup_enable: bool
    event_dedup_header: str
    event_dedup_window_ms: int
    event_dedup_max_ids: int

    @property
    def is_compacted(self) -> bool:
        """Whether only the last event of each key is kept for long."""
        return "compact" in self.cleanup_policy

    @property
    def segment_ms_max(self) -> int:
        """Age at which a segment is finished: what is to be compacted in time must be (Kafka)."""
        if self.is_compacted:
            return min(self.segment_ms, self.max_compaction_lag_ms)
        return self.segment_ms

    @property
    def checks_time(self) -> bool:
        """Whether a batch's timestamps are judged or replaced."""
        return (
            self.message_timestamp_type != "CreateTime"
            or self.message_timestamp_before_max_ms < LONG_MAX
            or self.message_timestamp_after_max_ms < LONG_MAX
        )


_FIELD_NAMES = {field.name: field.name.replace("_", ".") for field in fields(TopicSettings)}


def effective_settings(settings: Mapping[str, str]) -> TopicSettings:
    """Return what is in force on a topic with `settings` of its own: those, else the defaults.

    Raises:
        RequestError: INVALID_CONFIG for a text that `check_topic_settings` would refuse.
    """
    values: dict[str, object] = {}
    for field_name, name in _FIELD_NAMES.items():
        row = TOPIC_SETTINGS[name]
        values[field_name] = parse(row, settings.get(name, row.default))
    return TopicSettings(**values)  # type: ignore[arg-type]


def check_topic_settings(settings: Mapping[str, str], *, replication_factor: int) -> None:
    """Return if a topic with so many replicas may have `settings`.

    Raises:
        RequestError: INVALID_CONFIG that names the settings that are unknown, out of range, or not
            there yet; or one that asks for more replicas in sync than a majority, or that
            contradicts another.
    """
    assert replication_factor > 0
    check(TOPIC_SETTINGS, settings)
    majority = replication_factor // 2 + 1
    effective = effective_settings(settings)
    if effective.min_compaction_lag_ms > effective.max_compaction_lag_ms:
        raise RequestError(
            ErrorCode.INVALID_CONFIG,
            f"min.compaction.lag.ms: expected at most max.compaction.lag.ms,"
            f" {effective.max_compaction_lag_ms}; found {effective.min_compaction_lag_ms}",
        )
    asked = effective.min_insync_replicas
    if asked > majority:
        raise RequestError(
            ErrorCode.INVALID_CONFIG,
            f"min.insync.replicas: expected at most {majority}, the majority of"
            f" {replication_factor} replicas, which every acks=all waits for; found {asked}",
        )
