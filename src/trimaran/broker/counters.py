"""What a node counts of itself: plain numbers, added to on the event loop, read at any time.

The way of an event only ever adds to integers here; names, labels and rates are made by whoever
reads (`server.observing`). A histogram is a list of counts beside a fixed tuple of bounds.

Invariants: counts never fall; a histogram's counts sum up to what was added.
Does not: know Prometheus, time or threads; all of it belongs to the loop.
"""

from bisect import bisect_left

from trimaran.errors import ErrorCode
from trimaran.ids import NodeId

SECONDS = (
    *(0.00005, 0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1),
    *(0.2, 0.5, 1.0, 2.0, 5.0, 10.0),
)
"""Upper bounds of durations: steps of about two from 50 us to 10 s."""
COUNTS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 20_000, 50_000)
"""Upper bounds of how many events or groups there are in something."""
BYTES = (256, 1 << 10, 4 << 10, 16 << 10, 64 << 10, 256 << 10, 1 << 20, 4 << 20, 16 << 20)
"""Upper bounds of sizes."""
API_KEYS_MAX = 128
"""Kafka's API keys are below this."""


class Histogram:
    """How often a value fell under each bound."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        """`bounds` rise; a value equal to a bound counts under it, one above all under infinity."""
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        """Of each bound alone, not accumulated; the last is what is above all bounds."""
        self.total = 0.0

    def add(self, value: float) -> None:
        """Count `value`."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    @property
    def count(self) -> int:
        """How many values were added."""
        return sum(self.counts)

    def quantile(self, share: float, *, since: "list[int] | None" = None) -> float:
        """Return about the value below which `share` of the values lie; 0 without values.

        Within a bucket values count as evenly spread; above the last bound it is that bound.
        `since`: an earlier copy of `counts`, to look only at what came after it.
        """
        counts = self.counts
        if since is not None:
            counts = [now - then for now, then in zip(counts, since, strict=True)]
        left = share * sum(counts)
        if left <= 0.0:
            return 0.0
        low = 0.0
        for bound, count in zip(self.bounds, counts, strict=False):
            if left <= count:
                return low + (bound - low) * left / count
            left -= count
            low = bound
        return low


class PartitionCounters:
    """What went through one partition's replica on this node, while it led."""

    __slots__ = ("batches", "bytes", "events", "read_batches", "read_bytes", "read_events")

    def __init__(self) -> None:
        self.batches = 0
        self.events = 0
        """Stored ones; duplicates are counted with the event ids."""
        self.bytes = 0
        """Of batches as they are stored."""
        self.read_batches = 0
        self.read_events = 0
        """Offsets that clients' readers were given."""
        self.read_bytes = 0

    def stored(self, events: int, size: int) -> None:
        """Count a batch that was proposed."""
        self.batches += 1
        self.events += events
        self.bytes += size

    def read(self, batches: int, events: int, size: int) -> None:
        """Count batches that a client's reader is given."""
        self.read_batches += batches
        self.read_events += events
        self.read_bytes += size


class PeerCounters:
    """What went between this node and one other."""

    __slots__ = ("bytes_in", "bytes_out", "connections", "round_trip")

    def __init__(self) -> None:
        self.connections = 0
        """How often a lane to it was established."""
        self.bytes_in = 0
        self.bytes_out = 0
        self.round_trip = Histogram(SECONDS)
        """From a heartbeat to its answer."""


class Counters:
    """What one node counts since its start."""

    __slots__ = (
        "answer",
        "bytes_in",
        "bytes_out",
        "campaigns",
        "disk",
        "elections_won",
        "errors",
        "flush",
        "flushed_bytes",
        "journal_callback",
        "journal_handoff",
        "journal_sync",
        "leaders_lost",
        "network",
        "peers",
        "produce",
        "queue",
        "replication",
        "request_seconds",
        "requests",
        "round_bytes",
        "round_events",
        "round_groups",
        "slow_syncs",
    )

    def __init__(self) -> None:
        # Client requests.
        self.requests = [0] * API_KEYS_MAX
        """By API key."""
        self.request_seconds: dict[int, Histogram] = {}
        """By API key: from a decoded request to its answer, waits that were asked for included."""
        self.errors: dict[tuple[int, int], int] = {}
        """(API key, error code) -> how often (a part of) an answer carried it."""
        self.bytes_in = 0
        self.bytes_out = 0
        # Journal rounds.
        self.round_groups = Histogram(COUNTS)
        self.round_events = Histogram(COUNTS)
        self.round_bytes = Histogram(BYTES)
        self.journal_sync = Histogram(SECONDS)
        """Write and fdatasync of a round, in its thread."""
        self.journal_handoff = Histogram(SECONDS)
        """From submitting a round until its thread takes it up."""
        self.journal_callback = Histogram(SECONDS)
        """From the end of a sync to the loop's callback."""
        self.slow_syncs = 0
        # Where a produce request's time goes, one batch a round.
        self.queue = Histogram(SECONDS)
        self.disk = Histogram(SECONDS)
        self.network = Histogram(SECONDS)
        self.answer = Histogram(SECONDS)
        self.produce = Histogram(SECONDS)
        """All four together."""
        self.replication = Histogram(SECONDS)
        """From sending entries to followers until a majority holds them."""
        # Segments.
        self.flush = Histogram(SECONDS)
        self.flushed_bytes = 0
        # Elections.
        self.campaigns = 0
        self.elections_won = 0
        self.leaders_lost = 0
        # Other nodes.
        self.peers: dict[NodeId, PeerCounters] = {}

    def peer(self, node: NodeId) -> PeerCounters:
        """Return the counters of what goes to and comes from `node`."""
        counters = self.peers.get(node)
        if counters is None:
            counters = self.peers[node] = PeerCounters()
        return counters

    def answered(self, api_key: int, seconds: float) -> None:
        """Count a request of `api_key` that took so long."""
        histogram = self.request_seconds.get(api_key)
        if histogram is None:
            histogram = self.request_seconds[api_key] = Histogram(SECONDS)
        histogram.add(seconds)

    def refused(self, api_key: int, code: ErrorCode) -> None:
        """Count an answer of `api_key`, or a part of one, that carries `code`."""
        key = (api_key, int(code))
        self.errors[key] = self.errors.get(key, 0) + 1
