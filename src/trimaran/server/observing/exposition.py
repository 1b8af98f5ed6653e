"""The text of `/metrics`: counters and the latest look, as Prometheus wants them.

A registry for each node, so that several nodes of one process (tests) do not mix. Nothing is kept
in prometheus-client's own metric objects: the way of an event only adds to plain integers, and this
collector reads them when somebody asks. Reading copies what may grow meanwhile, so that rendering
may be done in a thread of its own.
Does not: count, or look at groups (`groups` did, within the last second).
"""

from collections.abc import Iterator, Sequence
from itertools import accumulate

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from trimaran.broker.counters import Counters, Histogram
from trimaran.errors import ErrorCode
from trimaran.protocol.api import api_name
from trimaran.server.lag import LoopLag
from trimaran.server.observing.catalogue import BY_NAME, COUNTER, GAUGE, HISTOGRAM
from trimaran.server.observing.failovers import FailoverCounts
from trimaran.server.observing.group_lags import GroupLags
from trimaran.server.observing.groups import GroupsLook
from trimaran.server.observing.rings import Rings
from trimaran.server.observing.sampling import Look, Sampler

Labels = Sequence[str]


class NodeCollector(Collector):
    """Tells prometheus-client what one node counts."""

    def __init__(
        self,
        *,
        info: tuple[str, str, str],
        counters: Counters,
        lag: LoopLag,
        sampler: Sampler,
        rings: Rings,
        group_lags: GroupLags,
        failovers: FailoverCounts,
    ) -> None:
        """`info`: node id, cluster id, version."""
        self._info = info
        self._counters = counters
        self._lag = lag
        self._sampler = sampler
        self._rings = rings
        self._group_lags = group_lags
        self._failovers = failovers

    def describe(self) -> list[Metric]:
        """Say nothing: registering must not collect."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Yield all metrics; those of the latest look only once there was one."""
        yield from self._node()
        yield from self._requests()
        yield from self._produce()
        yield from self._journal()
        yield from self._elections()
        yield from self._consumer_groups()
        look = self._sampler.look
        if look is not None:
            yield from _gauges(look)
            yield from _topics(look.groups)
            yield from _dedup(look.groups)
            yield from _raft(look.groups)
            yield from _group_rows(look.groups)
            yield from self._peers(look)

    def _node(self) -> Iterator[Metric]:
        yield gauge("node_info", [(self._info, 1)])
        yield histogram("loop_lag_seconds", [((), self._lag.histogram)])
        happenings = [((kind,), count) for kind, count in self._failovers.by_kind.items()]
        yield counter("happenings", happenings)
        yield gauge("history_bytes", [((), self._rings.bytes)])
        yield gauge("history_series", [((), len(self._rings.names))])

    def _requests(self) -> Iterator[Metric]:
        counters = self._counters
        requests = list(enumerate(counters.requests))
        yield counter("requests", [((api_name(key),), count) for key, count in requests if count])
        durations = list(counters.request_seconds.items())
        yield histogram("request_duration_seconds", [((api_name(k),), h) for k, h in durations])
        errors = list(counters.errors.items())
        yield counter(
            "request_errors",
            [((api_name(key), ErrorCode(code).name), count) for (key, code), count in errors],
        )
        yield counter("client_received_bytes", [((), counters.bytes_in)])
        yield counter("client_sent_bytes", [((), counters.bytes_out)])

    def _produce(self) -> Iterator[Metric]:
        counters = self._counters
        stages = {
            "queue": counters.queue,
            "disk": counters.disk,
            "network": counters.network,
            "answer": counters.answer,
        }
        found = [((name,), stage) for name, stage in stages.items()]
        yield histogram("produce_stage_duration_seconds", found)
        yield histogram("produce_duration_seconds", [((), counters.produce)])
        yield histogram("replication_duration_seconds", [((), counters.replication)])

    def _journal(self) -> Iterator[Metric]:
        counters = self._counters
        yield histogram("journal_sync_duration_seconds", [((), counters.journal_sync)])
        yield histogram("journal_handoff_duration_seconds", [((), counters.journal_handoff)])
        yield histogram("journal_callback_delay_seconds", [((), counters.journal_callback)])
        yield histogram("journal_round_events", [((), counters.round_events)])
        yield histogram("journal_round_bytes", [((), counters.round_bytes)])
        yield histogram("journal_round_groups", [((), counters.round_groups)])
        yield counter("journal_slow_syncs", [((), counters.slow_syncs)])
        yield histogram("segment_flush_duration_seconds", [((), counters.flush)])
        yield counter("segment_flushed_bytes", [((), counters.flushed_bytes)])

    def _elections(self) -> Iterator[Metric]:
        counters, failovers = self._counters, self._failovers
        yield counter("raft_campaigns", [((), counters.campaigns)])
        yield counter("raft_elections_won", [((), counters.elections_won)])
        yield counter("raft_leaders_lost", [((), counters.leaders_lost)])
        causes = [((cause,), count) for cause, count in failovers.by_cause.items()]
        yield counter("failovers", causes)
        yield histogram("failover_duration_seconds", [((), failovers.durations)])

    def _consumer_groups(self) -> Iterator[Metric]:
        rows = [((group_id,), lag) for group_id, lag in self._group_lags.current().items()]
        events = [(labels, lag.events) for labels, lag in rows if lag.events is not None]
        yield gauge("consumer_group_lag_events", events)
        seconds = [(labels, lag.seconds) for labels, lag in rows if lag.seconds is not None]
        yield gauge("consumer_group_lag_seconds", seconds)

    def _peers(self, look: Look) -> Iterator[Metric]:
        rows = [(str(node), is_up) for node, is_up in look.gauges.peers_alive]
        yield gauge("peer_up", [((node,), is_up) for node, is_up in rows])
        counted = [(str(node), counts) for node, counts in list(self._counters.peers.items())]
        yield histogram(
            "peer_round_trip_seconds", [((node,), one.round_trip) for node, one in counted]
        )
        yield counter("peer_received_bytes", [((node,), one.bytes_in) for node, one in counted])
        yield counter("peer_sent_bytes", [((node,), one.bytes_out) for node, one in counted])
        yield counter("peer_connections", [((node,), one.connections) for node, one in counted])
        peers = [((str(node),), row) for node, row in look.groups.peers.items()]
        yield gauge("peer_lag_events", [(labels, row.lag_events) for labels, row in peers])
        yield gauge("peer_lagging_groups", [(labels, row.lagging_groups) for labels, row in peers])


class Exposition:
    """One node's registry."""

    def __init__(self, collector: NodeCollector) -> None:
        """Register the node and the process it runs in."""
        self._registry = CollectorRegistry()
        self._registry.register(collector)
        ProcessCollector(registry=self._registry)

    def render(self) -> bytes:
        """Return the text; may be called in a thread."""
        return generate_latest(self._registry)


def _gauges(look: Look) -> Iterator[Metric]:
    gauges = look.gauges
    clients, mending = gauges.clients, gauges.mending
    yield gauge("connections", [((), clients.connections)])
    yield counter("connections_accepted", [((), clients.accepted_count)])
    yield counter("connections_closed_by_node", [((), clients.closed_by_us_count)])
    yield gauge("requests_open", [((), clients.requests_open)])
    yield gauge("request_memory_bytes", [((), clients.request_bytes)])
    yield gauge("journal_files", [((), gauges.journal_files)])
    yield gauge("journal_size_bytes", [((), gauges.journal_bytes)])
    yield gauge("unflushed_bytes", [((), gauges.unflushed_bytes)])
    yield gauge("tail_bytes", [((), gauges.tail_bytes)])
    yield gauge("disk_free_bytes", [((), gauges.free_bytes)])
    yield gauge("disk_has_room", [((), gauges.has_room)])
    yield gauge("consumer_groups", [((), gauges.consumer_groups)])
    yield counter("bad_entries_found", [((), mending.bad_entries_found)])
    yield counter("entries_repaired", [((), mending.entries_repaired)])
    yield counter("installs", [((), mending.installs)])
    yield counter("readmissions", [((), mending.readmissions)])
    yield gauge("groups_stuck", [((), mending.groups_stuck)])
    yield counter("scrubbed_bytes", [((), mending.scrub.bytes)])


def _topics(groups: GroupsLook) -> Iterator[Metric]:
    rows = [((name,), row) for name, row in groups.topics.items()]
    for metric, total in (
        ("topic_appended_events", "events"),
        ("topic_appended_batches", "batches"),
        ("topic_appended_bytes", "bytes"),
        ("topic_fetched_events", "read_events"),
        ("topic_fetched_bytes", "read_bytes"),
    ):
        yield counter(metric, [(labels, row.totals[total]) for labels, row in rows])
    yield gauge("topic_size_bytes", [(labels, row.size_bytes) for labels, row in rows])
    yield gauge("topic_partitions_led", [(labels, row.led) for labels, row in rows])


def _dedup(groups: GroupsLook) -> Iterator[Metric]:
    with_ids = [((name,), row) for name, row in groups.topics.items() if row.dedup is not None]
    hits = [(labels, row.totals["hits"]) for labels, row in with_ids]
    yield counter("dedup_duplicates", hits)
    yield counter(
        "dedup_evicted_ids", [(labels, row.totals["evicted"]) for labels, row in with_ids]
    )
    rows = [(labels, row.dedup) for labels, row in with_ids if row.dedup is not None]
    yield gauge("dedup_ids", [(labels, row.ids) for labels, row in rows])
    yield gauge("dedup_window_fill_ratio", [(labels, row.fill) for labels, row in rows])
    yield gauge("dedup_memory_bytes", [(labels, row.memory_bytes) for labels, row in rows])
    oldest = [(labels, row.oldest_ms / 1000) for labels, row in rows if row.oldest_ms >= 0]
    yield gauge("dedup_oldest_id_timestamp_seconds", oldest)
    yield gauge("dedup_window_seconds", [(labels, row.window_ms / 1000) for labels, row in rows])
    effective = [(labels, row.effective_ms / 1000) for labels, row in rows]
    yield gauge("dedup_effective_window_seconds", effective)
    yield gauge("dedup_partitions_cut_short", [(labels, row.cut_short) for labels, row in rows])


def _raft(groups: GroupsLook) -> Iterator[Metric]:
    yield gauge("raft_groups", [((role,), count) for role, count in groups.by_role.items()])
    yield gauge("raft_groups_without_leader", [((), groups.without_leader)])
    yield gauge("raft_groups_under_replicated", [((), groups.under_replicated)])
    yield gauge("raft_groups_without_vote", [((), groups.without_vote)])
    yield gauge("raft_term_max", [((), groups.term_max)])
    yield gauge("raft_groups_without_series", [((), groups.group_count - len(groups.rows))])


def _group_rows(groups: GroupsLook) -> Iterator[Metric]:
    rows = [((row.topic, str(row.partition)), row) for row in groups.rows]
    yield gauge("raft_term", [(labels, row.term) for labels, row in rows])
    yield gauge("raft_is_leader", [(labels, row.role == "leader") for labels, row in rows])
    yield gauge("raft_commit_index", [(labels, row.commit_index) for labels, row in rows])
    yield gauge("raft_last_index", [(labels, row.last_index) for labels, row in rows])
    yield gauge("raft_synced_index", [(labels, row.synced_index) for labels, row in rows])
    lags = [((*labels, str(node)), lag) for labels, row in rows for node, lag in row.lags]
    yield gauge("raft_follower_lag_entries", lags)
    logs = [(labels, row) for labels, row in rows if row.log_end >= 0]
    yield gauge("partition_log_start_offset", [(labels, row.log_start) for labels, row in logs])
    yield gauge("partition_high_watermark", [(labels, row.high_watermark) for labels, row in logs])
    yield gauge("partition_log_end_offset", [(labels, row.log_end) for labels, row in logs])


def counter(name: str, values: Sequence[tuple[Labels, float]]) -> CounterMetricFamily:
    """Return the counter `trimaran_<name>` of the catalogue."""
    metric = BY_NAME[f"trimaran_{name}"]
    assert metric.kind == COUNTER, metric
    family = CounterMetricFamily(metric.name, metric.help, labels=metric.labels)
    for labels, value in values:
        family.add_metric(labels, value)
    return family


def gauge(name: str, values: Sequence[tuple[Labels, float]]) -> GaugeMetricFamily:
    """Return the gauge `trimaran_<name>` of the catalogue."""
    metric = BY_NAME[f"trimaran_{name}"]
    assert metric.kind == GAUGE, metric
    family = GaugeMetricFamily(metric.name, metric.help, labels=metric.labels)
    for labels, value in values:
        family.add_metric(labels, value)
    return family


def histogram(name: str, values: Sequence[tuple[Labels, Histogram]]) -> HistogramMetricFamily:
    """Return the histogram `trimaran_<name>` of the catalogue."""
    metric = BY_NAME[f"trimaran_{name}"]
    assert metric.kind == HISTOGRAM, metric
    family = HistogramMetricFamily(metric.name, metric.help, labels=metric.labels)
    for labels, found in values:
        bounds = [*map(floatToGoString, found.bounds), "+Inf"]
        sums = accumulate(list(found.counts))
        family.add_metric(labels, list(zip(bounds, sums, strict=True)), sum_value=found.total)
    return family
