"""What became of each event: one delivery report, one count.

An event's latency runs from its intended send time to the moment its delivery report is handled in
this process, so a producer that falls behind, a full queue and a slow callback all count against
the result. Only events intended inside the measured window are counted; reports that arrive inside
it give the rate. An event without a report when the run ends is counted as unanswered, with the
time it has waited so far.

Invariant: answered + failed + unanswered == offered, over the measured events.
Does not: talk to a client library; the callbacks take what confluent-kafka hands out.
"""

from array import array
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

Clock = Callable[[], int]
"""Monotonic nanoseconds, the same clock in every process of the machine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """The measured part of a run, [start_ns, end_ns); before it the warm-up."""

    start_ns: int
    end_ns: int

    def __contains__(self, time_ns: int) -> bool:
        """Return whether `time_ns` lies inside."""
        return self.start_ns <= time_ns < self.end_ns


@dataclass(slots=True)
class Account:
    """The figures of one producer; times in whole microseconds."""

    window: Window
    clock: Clock
    offered: int = 0
    answered: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    answers_total: int = 0
    """Good reports of any event, warm-up included, chunk by chunk: progress."""
    answers_in_window: int = 0
    unanswered: int = 0
    """Measured events without a report when the account was closed."""
    event_us: dict[int, int] = field(default_factory=dict)
    """From each event's intended time."""
    chunk_us: dict[int, int] = field(default_factory=dict)
    """From the time the event's chunk was due: the same without the wait to fill a chunk."""
    open_chunks: dict[int, "Chunk"] = field(default_factory=dict)
    closed_chunks: list["Chunk"] = field(default_factory=list)
    """Fully reported; what they took is worked out by `close`, when nobody is measured any more."""

    def chunk(
        self, *, number: int, first_ns: int, step_ns: float, due_ns: int, size: int
    ) -> "Chunk":
        """Open the account of chunk `number`, whose `delivered` is each event's callback."""
        measured = first_ns in self.window and due_ns in self.window
        chunk = Chunk(self, number, first_ns, step_ns, due_ns, size, measured)
        self.open_chunks[number] = chunk
        self.offered += size if measured else 0
        return chunk

    def close(self) -> None:
        """Work out all latencies; an event without a report counts as waiting until now."""
        now_ns = self.clock()
        for chunk in (*self.closed_chunks, *self.open_chunks.values()):
            chunk.count()
        for chunk in self.open_chunks.values():
            self.unanswered += chunk.count_rest(now_ns)
        self.open_chunks.clear()
        self.closed_chunks.clear()
        assert self.answered + self.failed.total() + self.unanswered == self.offered

    def settle(self) -> None:
        """Without a schedule: what was answered inside the window, and what failed, was offered."""
        self.answered = self.answers_in_window
        self.offered = self.answered + self.failed.total()

    def count_report(self, now_ns: int) -> None:
        """Count one good report of any event."""
        if self.window.start_ns <= now_ns < self.window.end_ns:
            self.answers_in_window += 1


class Chunk:
    """The events of one chunk, reported in the order they were sent; built per batch, so slots.

    A report is only noted: what the load generator computes meanwhile, the nodes beside it lack.
    """

    __slots__ = (
        "_account",
        "_due_ns",
        "_errors",
        "_first_ns",
        "_number",
        "_reported_ns",
        "_size",
        "_step_ns",
        "measured",
    )

    def __init__(
        self,
        account: Account,
        number: int,
        first_ns: int,
        step_ns: float,
        due_ns: int,
        size: int,
        measured: bool,
    ) -> None:
        self._account = account
        self._number = number
        self._first_ns = first_ns
        self._step_ns = step_ns
        self._due_ns = due_ns
        self._size = size
        self._reported_ns = array("q")
        self._errors: dict[int, str] = {}
        """Of events that failed, by their place in the chunk."""
        self.measured = measured

    @property
    def left(self) -> int:
        """Events without a report."""
        return self._size - len(self._reported_ns)

    def delivered(self, error: object | None, _message: object) -> None:
        """Note one event's delivery report."""
        reported_ns = self._reported_ns
        reported_ns.append(self._account.clock())
        if error is not None:
            self._errors[len(reported_ns) - 1] = str(error)
        if len(reported_ns) == self._size:
            account = self._account
            account.answers_total += self._size - len(self._errors)
            account.closed_chunks.append(account.open_chunks.pop(self._number))

    def count(self) -> None:
        """Count what was reported."""
        account = self._account
        for place, now_ns in enumerate(self._reported_ns):
            error = self._errors.get(place)
            if error is None:
                account.count_report(now_ns)
            if not self.measured:
                continue
            if error is None:
                account.answered += 1
            else:
                account.failed[error] += 1
            self._count(place, now_ns)

    def count_rest(self, now_ns: int) -> int:
        """Count the measured events without a report as waiting until now; return how many."""
        if not self.measured:
            return 0
        for place in range(len(self._reported_ns), self._size):
            self._count(place, now_ns)
        return self.left

    def _count(self, place: int, now_ns: int) -> None:
        event_us = int(now_ns - (self._first_ns + place * self._step_ns)) // 1_000
        chunk_us = (now_ns - self._due_ns) // 1_000
        counts = self._account.event_us
        counts[event_us] = counts.get(event_us, 0) + 1
        counts = self._account.chunk_us
        counts[chunk_us] = counts.get(chunk_us, 0) + 1
