"""What a measurement says, as data: printed as a table, written as JSON, compared later."""

import statistics
from collections.abc import Sequence

import msgspec

from trimaran.bench.consuming import LATE_NS
from trimaran.bench.filesystem import DiskFigures
from trimaran.bench.histogram import Percentiles, encode, merge, percentiles
from trimaran.bench.machine import Machine, NodeUse
from trimaran.bench.task import LIBRDKAFKA, Outcome


class Row(msgspec.Struct, kw_only=True):
    """One run of one scenario against one target."""

    scenario: str
    target: str
    load: str
    """The load in words: producers, event size, batches, rate."""
    offered_per_s: float | None
    """Events per second of the schedule; None for loads without one."""
    answered_per_s: float
    """Delivery reports without error per second of the measured window."""
    mb_per_s: float
    """The same in megabytes (10**6) of values."""
    failed: dict[str, int]
    unanswered: int
    latency: Percentiles | None
    """From each event's intended send time to its delivery report."""
    batch_latency: Percentiles | None
    """The same from the moment the event's whole batch was due."""
    batch_events_mean: float
    client_cores: float
    queue_full: int
    nodes: list[NodeUse]
    disk_before: DiskFigures
    disk_after: DiskFigures
    seconds: float | None = None
    """How long was measured; None in files of before this was kept."""
    repeat: int = 1
    median: bool = False
    """This run is the one with the median p99 (or, without latency, the median rate)."""
    histogram: str = ""
    """The latencies as HdrHistogram's base64 text."""
    end_to_end: Percentiles | None = None
    """From each event's intended send time to a consumer's hands; None without consumers."""
    consumed_per_s: float | None = None
    not_read: int = 0
    """Answered events that no consumer had 10 s after the load. `end_to_end` counts each as having
    waited since the window's end: at least so long."""
    consumer_cores: float = 0.0
    end_to_end_histogram: str = ""
    client: str = LIBRDKAFKA
    """What the producers used: librdkafka, or a class that speaks the protocol itself."""

    @property
    def disk_limited(self) -> bool:
        """Whether the disk was slow before or after the run."""
        return self.disk_before.limited or self.disk_after.limited


class Kill(msgspec.Struct, kw_only=True, frozen=True):
    """One killed or frozen leader, seen by an ordinary producer and by a survivor's clients."""

    victim: int
    partitions: list[int]
    """Those it led."""
    gap_ms: float
    """Longest time between two consecutive delivery reports around the kill, worst partition."""
    usual_gap_ms: float
    """The same just before the kill: what the load itself leaves between reports."""
    metadata_ms: float | None = None
    """Until a survivor's Metadata named new leaders."""
    first_ack_ms: float | None = None
    """Until a producer that is connected to a survivor had its first acknowledgement."""
    stale_answers: int = 0
    """Answers of the thawed node that claimed an old leadership or an old end of log."""
    rejoin_ms: float | None = None
    """From the restart, or the thaw, until it is back in every in-sync set."""
    stall_ms: float = 0.0
    """The machine's own longest stall meanwhile, by a probe that only sleeps and syncs."""


class Failover(msgspec.Struct, kw_only=True):
    """A series of failovers under one load, and the accounting of all its events."""

    target: str
    manner: str
    """`kill` (SIGKILL), `freeze` (SIGSTOP, later SIGCONT) or `cut` (off from everybody)."""
    acks: str
    rate: float
    kills: list[Kill]
    gap_median_ms: float
    gap_max_ms: float
    offered: int
    answered: int
    lost: int
    """Answered, and not in the log afterwards."""
    duplicated: int
    out_of_order: int
    disk_before: DiskFigures


class Rejoin(msgspec.Struct, kw_only=True, frozen=True):
    """A killed node started again on what it had stored."""

    target: str
    stored_mb: float
    """Values in the topic, megabytes of 10**6."""
    ready_ms: float
    """From the start of the process until it says it is ready."""
    in_sync_ms: float
    """Until it is in every partition's in-sync set, as a survivor sees it."""
    disk_before: DiskFigures


class CompactionCost(msgspec.Struct, kw_only=True, frozen=True):
    """One load without compaction and beside it."""

    target: str
    load: str
    stored_mb: float
    """Of the compacted topic, on one node, megabytes of 10**6."""
    left_mb: float
    took_s: float
    """From the moment it was due until the last node was done."""
    ran_throughout: bool
    """Whether it was still running when the second load ended."""
    alone: Percentiles
    beside: Percentiles
    disk_before: DiskFigures


class Drain(msgspec.Struct, kw_only=True, frozen=True):
    """A backlog read by the raw consumer, alone and beside a load that also ran alone."""

    target: str
    load: str
    stored_mb: float
    """Values, megabytes of 10**6."""
    drain_mb_per_s: float
    drain_beside_mb_per_s: float
    alone: Percentiles
    beside: Percentiles
    disk_before: DiskFigures


class Growth(msgspec.Struct, kw_only=True, frozen=True):
    """What it took to store a number of events."""

    target: str
    events: int
    event_bytes: int
    has_retention: bool
    took_s: float
    events_per_s: int
    node_cpu_us_per_event: float
    """Processor time of all nodes together, microseconds."""
    nodes: list[NodeUse]
    disk_before: DiskFigures


class Report(msgspec.Struct, kw_only=True):
    """Everything one invocation measured."""

    machine: Machine
    file_system: str
    rows: list[Row] = []
    failovers: list[Failover] = []
    rejoins: list[Rejoin] = []
    compactions: list[CompactionCost] = []
    drains: list[Drain] = []
    growths: list[Growth] = []


def mark_median(rows: Sequence[Row]) -> None:
    """Mark the run whose p99 is the median of `rows`, or whose rate is, without latencies.

    Runs on a slow disk do not count where there are others. With an even number the worse of the
    middle two is taken.
    """
    counted = [row for row in rows if not row.disk_limited] or list(rows)
    ascending = sorted(counted, key=_worse_is_more)
    ascending[len(ascending) // 2].median = True


def _worse_is_more(row: Row) -> float:
    return row.latency.p99_ms if row.latency is not None else -row.answered_per_s


class Figures(msgspec.Struct, kw_only=True):
    """The outcomes of several producers as one."""

    outcome: Outcome
    latency: Percentiles | None
    batch_latency: Percentiles | None


def combine(outcomes: Sequence[Outcome]) -> Figures:
    """Add up what several producers answered."""
    assert outcomes
    failed: dict[str, int] = {}
    for outcome in outcomes:
        for name, count in outcome.failed.items():
            failed[name] = failed.get(name, 0) + count
    event_histogram = merge(o.event_histogram for o in outcomes if o.event_histogram)
    chunk_histogram = merge(o.chunk_histogram for o in outcomes if o.chunk_histogram)
    latency = percentiles(event_histogram)
    return Figures(
        outcome=Outcome(
            offered=sum(o.offered for o in outcomes),
            answered=sum(o.answered for o in outcomes),
            unanswered=sum(o.unanswered for o in outcomes),
            failed=failed,
            answers_in_window=sum(o.answers_in_window for o in outcomes),
            event_histogram=event_histogram,
            chunk_histogram=chunk_histogram,
            queue_full=sum(o.queue_full for o in outcomes),
            cpu_cores=sum(o.cpu_cores for o in outcomes),
            stamped=sum(o.stamped for o in outcomes),
            batch_events_mean=statistics.fmean(o.batch_events_mean for o in outcomes),
        ),
        latency=latency if latency.count else None,
        batch_latency=percentiles(chunk_histogram) if latency.count else None,
    )


def combine_read(outcomes: Sequence[Outcome], answered: int) -> Figures:
    """Add up what consumers read of `answered` stamped events; the rest is unanswered in the sum.

    When an event that was not read was intended is not known, only that it was inside the window:
    it counts as waiting since the window's end, until the consumers gave up.
    """
    missing = max(0, answered - sum(o.stamped for o in outcomes))
    waiting = {LATE_NS // 1_000: missing} if missing else {}
    not_read = Outcome(
        offered=missing, answered=0, unanswered=missing, event_histogram=encode(waiting)
    )
    return combine([*outcomes, not_read])
