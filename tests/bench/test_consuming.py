"""What a consumer counts and times, on a virtual clock."""

from trimaran.bench.accounting import Window
from trimaran.bench.consuming import LATE_NS, Reading, read_stamped
from trimaran.bench.schedule import NANOSECONDS

MILLISECOND = 1_000_000


class Event:
    def __init__(self, intended_ns: int, *, error: object | None = None) -> None:
        self._value = intended_ns.to_bytes(8, "big") + b"rest"
        self._error = error

    def value(self) -> bytes:
        return self._value

    def error(self) -> object | None:
        return self._error


class VirtualReader:
    """Hands out (arrival time, event) pairs; its clock moves with them."""

    def __init__(self, arrivals: list[tuple[int, Event]]) -> None:
        self.now_ns = 0
        self._arrivals = arrivals

    def clock(self) -> int:
        return self.now_ns

    def poll(self, timeout: float) -> Event | None:
        end_ns = self.now_ns + round(timeout * NANOSECONDS)
        if self._arrivals and self._arrivals[0][0] <= end_ns:
            arrived_ns, event = self._arrivals.pop(0)
            self.now_ns = max(self.now_ns, arrived_ns)
            return event
        self.now_ns = end_ns
        return None

    def consume(self, num_messages: int, timeout: float) -> list[Event]:
        ready = [event for arrived_ns, event in self._arrivals if arrived_ns <= self.now_ns]
        del self._arrivals[: len(ready)]
        return ready[:num_messages]


def read(
    arrivals: list[tuple[int, Event]], *, start_s: float, end_s: float, stamped: int = 0
) -> Reading:
    """Read until `stamped` events of the window are there, as a consumer is told; 0: never told."""
    reader = VirtualReader(arrivals)
    window = Window(start_ns=round(start_s * NANOSECONDS), end_ns=round(end_s * NANOSECONDS))
    reading = Reading(window, reader.clock)
    read_stamped(reader, reading, lambda: None, lambda: 0 < stamped <= reading.stamped)
    return reading


def test_latency_runs_from_the_intended_time_of_events_intended_in_the_window() -> None:
    times = [number * 100 * MILLISECOND for number in range(30)]
    arrivals = [(at + 7 * MILLISECOND, Event(at)) for at in times]

    reading = read(arrivals, start_s=1.0, end_s=2.0)

    assert reading.latency_us == {7_000: 10}
    assert reading.events_in_window == 10
    assert reading.events == 30, "what still comes after its end is read, and not timed"


def test_events_that_arrive_late_are_timed_but_do_not_count_for_the_rate() -> None:
    arrivals = [(2_300 * MILLISECOND, Event(1_900 * MILLISECOND))]

    reading = read(arrivals, start_s=1.0, end_s=2.0)

    assert reading.latency_us == {400_000: 1}
    assert (reading.events, reading.events_in_window) == (1, 0)


def test_events_that_a_failover_holds_up_past_the_end_are_timed_with_the_others() -> None:
    """1,000/s for 10 s; nothing comes from second 9 on, and all of it at second 12.5."""
    held_ns, free_ns = 9 * NANOSECONDS, 12_500 * MILLISECOND
    intended = [number * MILLISECOND for number in range(10_000)]
    arrivals = [(at + 2 * MILLISECOND if at < held_ns else free_ns, Event(at)) for at in intended]

    reading = read(arrivals, start_s=0.0, end_s=10.0, stamped=10_000)

    assert reading.stamped == sum(reading.latency_us.values()) == 10_000
    assert max(reading.latency_us) == 3_500_000
    assert reading.clock() == free_ns, "told that these were all, it waits no longer"


def test_event_with_an_error_does_not_count() -> None:
    arrivals = [(1_500 * MILLISECOND, Event(1_500 * MILLISECOND, error="damaged"))]

    assert read(arrivals, start_s=1.0, end_s=2.0).events == 0


def test_consumer_that_lags_for_ever_ends_all_the_same() -> None:
    step_ns = 250 * MILLISECOND
    arrivals = [(at * step_ns, Event(0)) for at in range(100)]

    reading = read(arrivals, start_s=1.0, end_s=2.0)

    assert reading.clock() - 2 * NANOSECONDS <= LATE_NS + step_ns
    assert reading.events < 100
