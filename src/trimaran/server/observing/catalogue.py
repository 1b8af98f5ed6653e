"""Every metric that a node tells Prometheus: name, kind, labels, meaning.

`exposition` can only tell what stands here, `docs/metrics.md` is made of it, and the dashboard and
alerts in `deploy` may only use it. Names follow Prometheus's conventions: base units, `_total` for
counters (left out here, as its client library wants it).

Cardinality: `api` and `code` are the protocol's; `peer` and `follower` the other nodes; `topic` at
most 101 values, `(topic, partition)` at most 100 pairs (`groups`), `group` at most 100 values;
everything else is fixed.
Does not: hold values.
"""

from collections.abc import Mapping
from dataclasses import dataclass

COUNTER, GAUGE, HISTOGRAM = "counter", "gauge", "histogram"


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One metric."""

    name: str
    """Without `_total`."""
    kind: str
    labels: tuple[str, ...]
    help: str

    @property
    def told_name(self) -> str:
        """The name under which Prometheus knows it."""
        return f"{self.name}_total" if self.kind == COUNTER else self.name


def _metric(name: str, kind: str, help_text: str, *labels: str) -> Metric:
    return Metric(name=f"trimaran_{name}", kind=kind, labels=labels, help=help_text)


METRICS: Mapping[str, tuple[Metric, ...]] = {
    "Node": (
        _metric("node_info", GAUGE, "Always 1; which node this is.", "node", "cluster", "version"),
        _metric("loop_lag_seconds", HISTOGRAM, "How late the event loop ran its timers."),
        _metric("happenings", COUNTER, "What happened, by kind.", "kind"),
        _metric("history_bytes", GAUGE, "Memory of the in-memory history."),
        _metric("history_series", GAUGE, "Series in the in-memory history."),
    ),
    "Client requests": (
        _metric("requests", COUNTER, "Requests decoded.", "api"),
        _metric(
            "request_duration_seconds",
            HISTOGRAM,
            "From a decoded request to its answer, waits that the client asked for included.",
            "api",
        ),
        _metric(
            "request_errors", COUNTER, "Requests, or parts of them, by error code.", "api", "code"
        ),
        _metric("client_received_bytes", COUNTER, "Bytes received from clients."),
        _metric("client_sent_bytes", COUNTER, "Bytes sent to clients."),
        _metric("connections", GAUGE, "Open client connections."),
        _metric("connections_accepted", COUNTER, "Client connections accepted."),
        _metric("connections_closed_by_node", COUNTER, "Of those, closed by this node."),
        _metric("requests_open", GAUGE, "Requests without an answer yet."),
        _metric("request_memory_bytes", GAUGE, "Bytes of requests that hold memory."),
    ),
    "Where a produce request's time goes (one batch of each round)": (
        _metric(
            "produce_stage_duration_seconds",
            HISTOGRAM,
            "queue: wait for a journal round; disk: own write and sync; network: what followers, "
            "their disks included, made it wait beyond that; answer: from commit to the socket.",
            "stage",
        ),
        _metric("produce_duration_seconds", HISTOGRAM, "All four stages together."),
        _metric(
            "replication_duration_seconds",
            HISTOGRAM,
            "From sending entries to followers until a majority holds them.",
        ),
    ),
    "Topics": (
        _metric("topic_appended_events", COUNTER, "Events stored by partitions led here.", "topic"),
        _metric("topic_appended_batches", COUNTER, "Batches of them.", "topic"),
        _metric("topic_appended_bytes", COUNTER, "Bytes of those batches as stored.", "topic"),
        _metric("topic_fetched_events", COUNTER, "Events that clients read.", "topic"),
        _metric("topic_fetched_bytes", COUNTER, "Bytes of batches given to them.", "topic"),
        _metric("topic_size_bytes", GAUGE, "Batches in segments on this node.", "topic"),
        _metric("topic_partitions_led", GAUGE, "Partitions led here.", "topic"),
    ),
    "Event ids (topics with event.dedup.enable)": (
        _metric("dedup_duplicates", COUNTER, "Events not stored: their id was known.", "topic"),
        _metric("dedup_ids", GAUGE, "Ids that count now, all replicas on this node.", "topic"),
        _metric(
            "dedup_window_fill_ratio",
            GAUGE,
            "Ids as a share of event.dedup.max.ids, of the fullest partition.",
            "topic",
        ),
        _metric("dedup_memory_bytes", GAUGE, "Memory of the ids, about.", "topic"),
        _metric(
            "dedup_oldest_id_timestamp_seconds",
            GAUGE,
            "Log time of the oldest id that counts, seconds since the epoch.",
            "topic",
        ),
        _metric(
            "dedup_evicted_ids",
            COUNTER,
            "Ids forgotten because of the count, not because of their age.",
            "topic",
        ),
        _metric("dedup_window_seconds", GAUGE, "event.dedup.window.ms as set.", "topic"),
        _metric(
            "dedup_effective_window_seconds",
            GAUGE,
            "How far back ids really reach in the partition where that is least.",
            "topic",
        ),
        _metric(
            "dedup_partitions_cut_short",
            GAUGE,
            "Partitions whose count of ids ends the window before time does.",
            "topic",
        ),
    ),
    "Journal": (
        _metric("journal_sync_duration_seconds", HISTOGRAM, "Write and fdatasync of one round."),
        _metric(
            "journal_handoff_duration_seconds",
            HISTOGRAM,
            "From submitting a round until its thread takes it up.",
        ),
        _metric(
            "journal_callback_delay_seconds",
            HISTOGRAM,
            "From the end of a sync until the event loop hears of it.",
        ),
        _metric("journal_round_events", HISTOGRAM, "Events proposed here for one round."),
        _metric("journal_round_bytes", HISTOGRAM, "Bytes of entries in one round."),
        _metric("journal_round_groups", HISTOGRAM, "Groups that wrote in one round."),
        _metric("journal_slow_syncs", COUNTER, "Syncs that took 100 ms or more."),
        _metric("journal_files", GAUGE, "Journal files."),
        _metric("journal_size_bytes", GAUGE, "Their bytes."),
    ),
    "Segments and disk": (
        _metric("segment_flush_duration_seconds", HISTOGRAM, "Write and sync of one flush."),
        _metric("segment_flushed_bytes", COUNTER, "Committed bytes moved into segments."),
        _metric("unflushed_bytes", GAUGE, "Committed bytes in no segment yet."),
        _metric("tail_bytes", GAUGE, "Entries in segments that are still in memory."),
        _metric("disk_free_bytes", GAUGE, "Left on the disk; -1 before the first look."),
        _metric("disk_has_room", GAUGE, "Whether the disk has room for events."),
    ),
    "Raft, all groups of the node": (
        _metric("raft_groups", GAUGE, "Groups by this node's role.", "role"),
        _metric("raft_groups_without_leader", GAUGE, "Groups with no leader known here."),
        _metric(
            "raft_groups_under_replicated",
            GAUGE,
            "Groups led here of which a follower is gone or lacks what was committed a second ago.",
        ),
        _metric("raft_groups_without_vote", GAUGE, "Groups in which damage took our vote."),
        _metric("raft_term_max", GAUGE, "Highest term of all groups."),
        _metric("raft_campaigns", COUNTER, "Times this node asked for pre-votes."),
        _metric("raft_elections_won", COUNTER, "Leaderships won."),
        _metric("raft_leaders_lost", COUNTER, "Leaders that groups here counted as gone."),
        _metric(
            "raft_groups_without_series",
            GAUGE,
            "Groups beyond the first 100, told only in sums and counts.",
        ),
    ),
    "Raft, the first 100 groups": (
        _metric("raft_term", GAUGE, "Term.", "topic", "partition"),
        _metric("raft_is_leader", GAUGE, "Whether this node leads.", "topic", "partition"),
        _metric("raft_commit_index", GAUGE, "Commit index.", "topic", "partition"),
        _metric("raft_last_index", GAUGE, "Last index of the log.", "topic", "partition"),
        _metric("raft_synced_index", GAUGE, "Last synced index.", "topic", "partition"),
        _metric(
            "raft_follower_lag_entries",
            GAUGE,
            "Entries that a follower has not acknowledged to this leader.",
            *("topic", "partition", "follower"),
        ),
        _metric("partition_log_start_offset", GAUGE, "First offset.", "topic", "partition"),
        _metric("partition_high_watermark", GAUGE, "Committed up to here.", "topic", "partition"),
        _metric("partition_log_end_offset", GAUGE, "First unwritten offset.", "topic", "partition"),
    ),
    "Failovers": (
        _metric("failovers", COUNTER, "Losses of a node that led groups, by cause.", "cause"),
        _metric(
            "failover_duration_seconds",
            HISTOGRAM,
            "From the last entries of the old leader to the first commit under its successor, "
            "for the last group of each failover.",
        ),
    ),
    "Other nodes": (
        _metric("peer_up", GAUGE, "Whether the node is heard of.", "peer"),
        _metric("peer_round_trip_seconds", HISTOGRAM, "Heartbeat to answer.", "peer"),
        _metric("peer_received_bytes", COUNTER, "Bytes received from the node.", "peer"),
        _metric("peer_sent_bytes", COUNTER, "Bytes sent to the node.", "peer"),
        _metric("peer_connections", COUNTER, "Lanes established with the node.", "peer"),
        _metric("peer_lag_events", GAUGE, "Events it has not acknowledged.", "peer"),
        _metric(
            "peer_lagging_groups",
            GAUGE,
            "Groups led here of which it lacks what was committed a second ago.",
            "peer",
        ),
    ),
    "Consumer groups": (
        _metric("consumer_groups", GAUGE, "Consumer groups coordinated here."),
        _metric(
            "consumer_group_lag_events",
            GAUGE,
            "Events that the group has not consumed; its coordinator looks every few seconds.",
            "group",
        ),
        _metric(
            "consumer_group_lag_seconds",
            GAUGE,
            "Age of the first event that the group has not consumed.",
            "group",
        ),
    ),
    "Damage and repair": (
        _metric("bad_entries_found", COUNTER, "Stored entries that failed their check."),
        _metric("entries_repaired", COUNTER, "Stored entries written again."),
        _metric("installs", COUNTER, "Groups that started over from their leader's files."),
        _metric("readmissions", COUNTER, "Groups in which this node got its vote back."),
        _metric("groups_stuck", GAUGE, "Groups that have no leader and need people."),
        _metric("scrubbed_bytes", COUNTER, "Bytes of segments read to find damage."),
    ),
}
"""By the heading under which the document has them."""

BY_NAME: Mapping[str, Metric] = {
    metric.name: metric for metrics in METRICS.values() for metric in metrics
}

PROCESS_METRICS = (
    ("process_cpu_seconds_total", COUNTER, "Processor time used."),
    ("process_resident_memory_bytes", GAUGE, "Resident memory."),
    ("process_virtual_memory_bytes", GAUGE, "Virtual memory."),
    ("process_open_fds", GAUGE, "Open file descriptors."),
    ("process_max_fds", GAUGE, "Most there may be."),
    ("process_start_time_seconds", GAUGE, "When the process started, since the epoch."),
)
"""What prometheus-client itself tells of the process, on Linux."""
