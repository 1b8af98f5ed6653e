"""When each event is due. Pure arithmetic: an open loop knows its send times before it starts.

Event k of a load of `rate` events per second is intended at start + k / rate, whatever happened to
the events before it. A producer that sends batches gathers `chunk` events and sends them when the
last of them is due, never earlier; that the first ones wait for the last is part of their latency.

Does not: read a clock or send anything.
"""

from dataclasses import dataclass

NANOSECONDS = 1_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """One producer's events: `rate` per second from `start_ns` on, sent `chunk` at a time."""

    rate: float
    start_ns: int
    chunk: int

    def __post_init__(self) -> None:
        """Refuse what no producer could follow; the arguments were checked before."""
        assert self.rate > 0
        assert self.chunk >= 1

    @property
    def step_ns(self) -> float:
        """Nanoseconds between the intended times of two neighbouring events."""
        return NANOSECONDS / self.rate

    def intended_ns(self, event: int) -> int:
        """Return when `event` (from 0) is intended to be sent."""
        return self.start_ns + round(event * NANOSECONDS / self.rate)

    def due_ns(self, number: int) -> int:
        """Return when chunk `number` (from 0) goes out: when its last event is due."""
        return self.intended_ns((number + 1) * self.chunk - 1)

    def chunk_count(self, seconds: float) -> int:
        """Return how many whole chunks are due within `seconds` of the start; at least one."""
        return max(1, int(seconds * self.rate) // self.chunk)


def shares(*, rate: float, producers: int, chunk: int, start_ns: int) -> list[Schedule]:
    """Return the schedules of `producers` equal producers that offer `rate` together.

    Their chunks fall due evenly spread and not at the same moment, as independent producers' do:
    producer i starts i / producers of a chunk's duration later.
    """
    assert producers >= 1
    own_rate = rate / producers
    chunk_ns = chunk * NANOSECONDS / own_rate
    return [
        Schedule(rate=own_rate, start_ns=start_ns + round(i * chunk_ns / producers), chunk=chunk)
        for i in range(producers)
    ]
