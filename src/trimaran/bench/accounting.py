"""What became of each event: one delivery report, one count.

An event's latency runs from its intended send time to the moment its delivery report is handled in
this process, so a producer that falls behind, a full queue and a slow callback all count against
the result. Only events intended inside the measured window are counted; reports that arrive inside
it give the rate. An event without a report when the run ends is counted as unanswered, with the
time it has waited so far.

Invariant: answered + failed + unanswered == offered, over the measured events.
Does not: talk to a client library; the callbacks take what confluent-kafka hands out.
"""

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
    """Reports of any event, warm-up included: progress."""
    answers_in_window: int = 0
    event_us: dict[int, int] = field(default_factory=dict)
    """From each event's intended time."""
    chunk_us: dict[int, int] = field(default_factory=dict)
    """From the time the event's chunk was due: the same without the wait to fill a chunk."""
    open_chunks: dict[int, "Chunk"] = field(default_factory=dict)

    def chunk(
        self, *, number: int, first_ns: int, step_ns: float, due_ns: int, size: int
    ) -> "Chunk":
        """Open the account of chunk `number`, whose `delivered` is each event's callback."""
        measured = first_ns in self.window and due_ns in self.window
        chunk = Chunk(self, number, first_ns, step_ns, due_ns, size, measured)
        self.open_chunks[number] = chunk
        self.offered += size if measured else 0
        return chunk

    def close(self) -> int:
        """Count what has no report yet as waiting until now; return how many events those are."""
        unanswered = 0
        now_ns = self.clock()
        for chunk in self.open_chunks.values():
            if chunk.measured:
                unanswered += chunk.left
                chunk.count_rest(now_ns)
        self.open_chunks.clear()
        assert self.answered + self.failed.total() + unanswered == self.offered
        return unanswered


class Chunk:
    """The events of one chunk, reported in the order they were sent; built per batch, so slots."""

    __slots__ = ("_account", "_due_ns", "_next_ns", "_number", "_step_ns", "left", "measured")

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
        self._next_ns: float = first_ns
        self._step_ns = step_ns
        self._due_ns = due_ns
        self.left = size
        self.measured = measured

    def delivered(self, error: object | None, _message: object) -> None:
        """Count one event's delivery report."""
        account = self._account
        now_ns = account.clock()
        self.left -= 1
        if not self.left:
            del account.open_chunks[self._number]
        if error is None:
            account.answers_total += 1
            if account.window.start_ns <= now_ns < account.window.end_ns:
                account.answers_in_window += 1
        if self.measured:
            if error is None:
                account.answered += 1
            else:
                account.failed[str(error)] += 1
            self._count(now_ns)

    def count_rest(self, now_ns: int) -> None:
        """Count the events that are still waiting with the time they waited so far."""
        for _ in range(self.left):
            self._count(now_ns)

    def _count(self, now_ns: int) -> None:
        event_us = int(now_ns - self._next_ns) // 1_000
        chunk_us = (now_ns - self._due_ns) // 1_000
        self._next_ns += self._step_ns
        counts = self._account.event_us
        counts[event_us] = counts.get(event_us, 0) + 1
        counts = self._account.chunk_us
        counts[chunk_us] = counts.get(chunk_us, 0) + 1
