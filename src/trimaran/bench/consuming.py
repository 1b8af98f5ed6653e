"""The reading half of a load: what arrived inside the measured window, and how long it took.

End-to-end latency runs from an event's intended send time, which stands at the start of its value,
to the moment the consumer's process has it: of events *intended* inside the window, whenever they
arrive. The rate is of events that *arrive* inside it. A consumer ends when it is told that all were
read that the producers were answered, and in any case `LATE_NS` after the load: that nothing comes
for a while means nothing, as what a failover holds up is exactly what must not be left out.
Does not: know how many events there are, commit offsets, or share partitions out; each consumer is
told its own.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from trimaran.bench.accounting import Clock, Window
from trimaran.bench.schedule import NANOSECONDS
from trimaran.bench.sender import STAMP_BYTES

POLL_S = 0.1
READ_COUNT = 2_000
LATE_NS = 10 * NANOSECONDS
"""How long after the load a consumer waits for what was answered and has not come."""


class Message(Protocol):
    """What is used of confluent-kafka's Message."""

    def value(self) -> bytes | None:
        """Return the event's value."""

    def error(self) -> object | None:
        """Return what is wrong with it."""


class Reader(Protocol):
    """What is used of confluent-kafka's Consumer."""

    def poll(self, timeout: float) -> Message | None:
        """Return one event, waiting up to `timeout` seconds."""

    def consume(self, num_messages: int, timeout: float) -> Sequence[Message]:
        """Return up to `num_messages` events that are there within `timeout` seconds."""


@dataclass(slots=True)
class Reading:
    """The figures of one consumer; times in whole microseconds."""

    window: Window
    clock: Clock
    events: int = 0
    events_in_window: int = 0
    stamped: int = 0
    """Events intended inside the window, whenever they came."""
    latency_us: dict[int, int] = field(default_factory=dict)
    last_ns: int = 0
    """When the latest event came."""

    def count(self, events: int) -> None:
        """Count events that arrive now."""
        self.last_ns = self.clock()
        self.events += events
        if self.last_ns in self.window:
            self.events_in_window += events

    def time(self, values: Iterable[bytes]) -> None:
        """Take the latency of stamped events that arrived with the latest count."""
        counts, now_ns, window = self.latency_us, self.last_ns, self.window
        for value in values:
            intended_ns = int.from_bytes(value[:STAMP_BYTES], "big")
            if window.start_ns <= intended_ns < window.end_ns:
                late_us = (now_ns - intended_ns) // 1_000
                counts[late_us] = counts.get(late_us, 0) + 1
                self.stamped += 1

    def is_over(self) -> bool:
        """Whether the load is over for so long that nothing more is waited for."""
        return self.clock() - self.window.end_ns >= LATE_NS


def read_stamped(
    reader: Reader,
    reading: Reading,
    progress: Callable[[], None],
    stopped: Callable[[], bool],
) -> None:
    """Read until `stopped()` or long after the load; an event with an error is not counted."""
    while not (stopped() or reading.is_over()):
        first = reader.poll(POLL_S)
        progress()
        if first is None:
            continue
        found = [first, *reader.consume(READ_COUNT, 0.0)]
        values = [v for one in found if one.error() is None and (v := one.value()) is not None]
        reading.count(len(values))
        reading.time(values)


def monotonic_window(start_ns: int, warm_up_s: float, seconds: float) -> Window:
    """Return the measured part of a load that starts at `start_ns`."""
    begin_ns = start_ns + round(warm_up_s * NANOSECONDS)
    return Window(start_ns=begin_ns, end_ns=begin_ns + round(seconds * NANOSECONDS))


def new_reading(window: Window) -> Reading:
    """Return a reading on the machine's monotonic clock."""
    return Reading(window, time.monotonic_ns)
