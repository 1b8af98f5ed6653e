"""Once a second: what the node counted since the second before, as numbers people read.

Two steps: a look at all groups (in slices, `groups`), then one at the node's counters. What comes
of it goes into the rings, and stays here as the latest look for `/metrics`.

Bounds: about 32 series of the node, 3 of each other node, 3 of each of the first TOPICS_MAX topics,
3 of each of the first PARTITIONS_MAX partitions, 2 of each of the first GROUPS_TOLD_MAX groups
coordinated here: at most 32 + 3 x 6 + 300 + 3 x 100 + 2 x 100 series, in arrays of at most
`rings.BYTES_MAX` bytes whatever happens.
Does not: keep what is older than its rings, or speak Prometheus.
"""

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from trimaran.broker.counters import Counters, Histogram
from trimaran.broker.gauges import BrokerGauges
from trimaran.broker.node import Broker
from trimaran.server.lag import LoopLag
from trimaran.server.observing import shapes
from trimaran.server.observing.group_lags import GroupLags, series_name
from trimaran.server.observing.groups import OTHER, GroupsLook, GroupsWatch
from trimaran.server.observing.machine import Machine, rss_bytes
from trimaran.server.observing.rings import Rings

WINDOW_S_MAX = 60
"""Histograms can be told of this many seconds back."""
MS = 1000.0
SECOND_S = 1.0
AFTER_S = 0.005
"""A sample is taken so long after its second has begun: timers may be a little early."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """A histogram as the history tells it."""

    name: str
    unit: str
    scale: float
    """What its values and bounds are multiplied with."""
    histogram: Histogram


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What was found in the latest second."""

    groups: GroupsLook
    gauges: BrokerGauges
    rss_bytes: int


def told_histograms(counters: Counters, lag: LoopLag) -> tuple[Told, ...]:
    """Return the histograms that the history can tell over a window."""
    return (
        Told(name="fsync_ms", unit="ms", scale=MS, histogram=counters.journal_sync),
        Told(name="produce_ms", unit="ms", scale=MS, histogram=counters.produce),
        Told(name="ack_queue_ms", unit="ms", scale=MS, histogram=counters.queue),
        Told(name="ack_disk_ms", unit="ms", scale=MS, histogram=counters.disk),
        Told(name="ack_network_ms", unit="ms", scale=MS, histogram=counters.network),
        Told(name="ack_answer_ms", unit="ms", scale=MS, histogram=counters.answer),
        Told(name="replication_ms", unit="ms", scale=MS, histogram=counters.replication),
        Told(name="round_events", unit="1", scale=1.0, histogram=counters.round_events),
        Told(name="round_bytes", unit="B", scale=1.0, histogram=counters.round_bytes),
        Told(name="loop_lag_ms", unit="ms", scale=MS, histogram=lag.histogram),
    )


class _Since:
    """A histogram and how it stood a second ago."""

    __slots__ = ("_counts", "_total", "histogram")

    def __init__(self, histogram: Histogram) -> None:
        self.histogram = histogram
        self.moved_on()

    def moved_on(self) -> None:
        """The second is over."""
        self._counts = list(self.histogram.counts)
        self._total = self.histogram.total

    @property
    def count(self) -> int:
        """How many values came since then."""
        return self.histogram.count - sum(self._counts)

    @property
    def mean(self) -> float | None:
        """Their mean, None if none came."""
        count = self.count
        return (self.histogram.total - self._total) / count if count else None

    def quantile(self, share: float) -> float | None:
        """Return what `share` of them lie below, None if none came."""
        return self.histogram.quantile(share, since=self._counts) if self.count else None


class Sampler:
    """The samples of one node."""

    def __init__(
        self,
        broker: Broker,
        *,
        lag: LoopLag,
        rings: Rings,
        group_lags: GroupLags,
        now_s: Callable[[], float],
    ) -> None:
        """`now_s` is monotonic time in seconds."""
        self._broker = broker
        self._counters = broker.observations.counters
        self._lag = lag
        self._rings = rings
        self._group_lags = group_lags
        self._now_s = now_s
        self._watch = GroupsWatch(broker)
        self._machine = Machine()
        self._sampled_s = self._started_s = now_s()
        self._told = told_histograms(self._counters, lag)
        self._since = {told.name: _Since(told.histogram) for told in self._told}
        self._round_trips: dict[int, _Since] = {}
        self._before: dict[str, float] = {}
        self._windows: deque[tuple[tuple[list[int], float], ...]] = deque(maxlen=WINDOW_S_MAX + 1)
        self.look: Look | None = None
        """The latest second; None before the first."""

    async def sample(self) -> None:
        """Take the sample of this second."""
        groups = await self._watch.look()
        now_s = self._now_s()
        tick = int(now_s - self._started_s)
        if tick <= self._rings.tick:
            return
        passed_s = max(now_s - self._sampled_s, 0.001)
        self._sampled_s = now_s
        self.look = Look(groups=groups, gauges=self._broker.gauges, rss_bytes=rss_bytes())
        self._rings.begin(tick)
        self._put_node(self.look, passed_s)
        self._put_latencies(passed_s)
        self._put_topics(groups, passed_s)
        self._put_partitions(groups)
        self._put_peers(groups, passed_s)
        self._put_group_lags()
        for since in self._since.values():
            since.moved_on()
        self._windows.append(tuple(_state(told.histogram) for told in self._told))

    def rest_s(self) -> float:
        """Return how long to wait until the next second has begun."""
        return SECOND_S - (self._now_s() - self._started_s) % SECOND_S + AFTER_S

    def histograms(self, window_s: int) -> list[shapes.Histogram]:
        """Return what came in the last `window_s` seconds; 0: since the start."""
        if window_s == 0 or not self._windows:
            before: tuple[tuple[list[int], float] | None, ...] = (None,) * len(self._told)
        else:
            before = self._windows[max(0, len(self._windows) - 1 - window_s)]
        return [_shape(told, old) for told, old in zip(self._told, before, strict=True)]

    def _put(self, name: str, value: float | None) -> None:
        if value is not None:
            self._rings.put(name, value)

    def _put_rates(self, totals: Mapping[str, float], passed_s: float) -> None:
        """Put what grew since the second before, by second."""
        for name, total in totals.items():
            grown = max(0.0, total - self._before.get(name, total))
            self._before[name] = total
            self._rings.put(name, grown / passed_s)

    def _put_node(self, look: Look, passed_s: float) -> None:
        counters, gauges, groups = self._counters, look.gauges, look.groups
        self._put_rates(
            {
                "bytes_in_per_s": counters.bytes_in,
                "bytes_out_per_s": counters.bytes_out,
                "requests_per_s": sum(counters.requests),
                "errors_per_s": sum(counters.errors.values()),
                "fsyncs_per_s": counters.journal_sync.count,
            },
            passed_s,
        )
        for name, value in {
            "cpu_percent": self._machine.cpu_percent(passed_s),
            "rss_bytes": look.rss_bytes,
            "connections": gauges.clients.connections,
            "leaders": groups.by_role["leader"],
            "groups": groups.group_count,
            "groups_without_leader": groups.without_leader,
            "under_replicated": groups.under_replicated,
            "unflushed_bytes": gauges.unflushed_bytes,
            "journal_bytes": gauges.journal_bytes,
            "free_bytes": gauges.free_bytes,
            "loop_lag_ms": self._lag.take_recent_max_s() * MS,
        }.items():
            self._rings.put(name, value)

    def _put_latencies(self, passed_s: float) -> None:
        del passed_s
        for series, name, share in (
            ("produce_p50_ms", "produce_ms", 0.5),
            ("produce_p99_ms", "produce_ms", 0.99),
            ("fsync_p50_ms", "fsync_ms", 0.5),
            ("fsync_p99_ms", "fsync_ms", 0.99),
        ):
            value = self._since[name].quantile(share)
            self._put(series, None if value is None else value * MS)
        for name in ("queue", "disk", "network", "answer"):
            mean = self._since[f"ack_{name}_ms"].mean
            self._put(f"ack_{name}_ms", None if mean is None else mean * MS)
        mean = self._since["replication_ms"].mean
        self._put("replication_ms", None if mean is None else mean * MS)
        self._put("batch_events_mean", self._since["round_events"].mean)
        self._put("batch_bytes_mean", self._since["round_bytes"].mean)

    def _put_topics(self, groups: GroupsLook, passed_s: float) -> None:
        events = read_events = hits = 0
        for name, row in groups.topics.items():
            deltas = row.deltas
            events += deltas["events"]
            read_events += deltas["read_events"]
            hits += deltas["hits"]
            if name != OTHER:
                self._rings.put(f"topic/{name}/events_in_per_s", deltas["events"] / passed_s)
                self._rings.put(f"topic/{name}/bytes_in_per_s", deltas["bytes"] / passed_s)
                self._rings.put(f"topic/{name}/events_out_per_s", deltas["read_events"] / passed_s)
        self._rings.put("events_in_per_s", events / passed_s)
        self._rings.put("events_out_per_s", read_events / passed_s)
        self._rings.put("dedup_hits_per_s", hits / passed_s)

    def _put_partitions(self, groups: GroupsLook) -> None:
        for row in groups.rows:
            if row.log_end >= 0:
                place = f"partition/{row.topic}/{row.partition}"
                self._rings.put(f"{place}/log_end", row.log_end, is_exact=True)
                self._rings.put(f"{place}/high_watermark", row.high_watermark, is_exact=True)
                self._rings.put(f"{place}/term", row.term, is_exact=True)

    def _put_peers(self, groups: GroupsLook, passed_s: float) -> None:
        for node, row in groups.peers.items():
            self._rings.put(f"peer/{node}/append_events_per_s", row.acked_events / passed_s)
            self._rings.put(f"peer/{node}/lag_events", row.lag_events)
            counters = self._counters.peer(node)
            since = self._round_trips.setdefault(node, _Since(counters.round_trip))
            mean = since.mean
            self._put(f"peer/{node}/rtt_ms", None if mean is None else mean * MS)
            since.moved_on()

    def _put_group_lags(self) -> None:
        for group_id, lag in self._group_lags.current().items():
            self._put(series_name(group_id, "lag_events"), lag.events)
            self._put(series_name(group_id, "lag_s"), lag.seconds)


def _state(histogram: Histogram) -> tuple[list[int], float]:
    return list(histogram.counts), histogram.total


def _shape(told: Told, before: tuple[list[int], float] | None) -> shapes.Histogram:
    histogram = told.histogram
    counts, total = list(histogram.counts), histogram.total
    if before is not None:
        counts = [now - then for now, then in zip(counts, before[0], strict=True)]
        total -= before[1]
    bounds = histogram.bounds
    return shapes.Histogram(
        name=told.name,
        unit=told.unit,
        bounds=[round(bound * told.scale, 6) for bound in bounds],
        counts=counts,
        count=sum(counts),
        sum=total * told.scale,
    )
