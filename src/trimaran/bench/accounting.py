"""What became of each event: one delivery report, one count.

An event's latency runs from its intended send time to the moment its delivery report is handled in
this process, so a producer that falls behind, a full queue and a slow callback all count against
the result. Only events intended inside the measured window are counted; reports that arrive inside
it give the rate. An event without a report when the run ends is counted as unanswered, with the
time it has waited so far.

A good report is two or three numbers in columns that the collector does not follow, and these are
counted and emptied a few hundred at a time: memory stays flat over any number of events, and none
waits noticeably for the counting.

Invariant: answered + failed + unanswered == offered, over the measured events.
Does not: talk to a client library; the callbacks take what confluent-kafka hands out.
"""

from array import array
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

Clock = Callable[[], int]
"""Monotonic nanoseconds, the same clock in every process of the machine."""

FOLD_EVENTS = 512
"""Reports between two counts: counting them takes about 0.1 ms, in which no report is handled."""


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
    handed: int = 0
    """Events given to the client by a load without a schedule, warm-up included."""
    answered: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    answers_total: int = 0
    """Good reports of any event, warm-up included: progress."""
    answers_in_window: int = 0
    unanswered: int = 0
    """Measured events without a report when the account was closed; all such ones of a load without
    a schedule."""
    event_us: Counter[int] = field(default_factory=Counter)
    """From each event's intended time."""
    chunk_us: Counter[int] = field(default_factory=Counter)
    """From the time the event's chunk was due: the same without the wait to fill a chunk."""
    open_chunks: dict[int, "Chunk"] = field(default_factory=dict)
    intended_ns: "array[int]" = field(default_factory=lambda: array("q"))
    due_ns: "array[int]" = field(default_factory=lambda: array("q"))
    reported_ns: "array[int]" = field(default_factory=lambda: array("q"))
    """Three columns of one length: the measured events answered since the last `fold`. This one
    ascends, as reports are handled one after the other."""

    def chunk(
        self, *, number: int, first_ns: int, step_ns: float, due_ns: int, size: int
    ) -> "Chunk":
        """Open the account of chunk `number`, whose `delivered` is each event's callback."""
        measured = first_ns in self.window and due_ns in self.window
        chunk = Chunk(self, number, first_ns, step_ns, due_ns, size, measured)
        self.open_chunks[number] = chunk
        self.offered += size if measured else 0
        return chunk

    def fold(self) -> None:
        """Count what stands in the columns and empty them."""
        reported_ns, window = self.reported_ns, self.window
        self.answered += len(reported_ns)
        before = bisect_left(reported_ns, window.start_ns)
        self.answers_in_window += bisect_left(reported_ns, window.end_ns) - before
        for counts, since_ns in ((self.event_us, self.intended_ns), (self.chunk_us, self.due_ns)):
            assert len(since_ns) == len(reported_ns)
            counts.update(
                [(now - since) // 1_000 for now, since in zip(reported_ns, since_ns, strict=True)]
            )
            del since_ns[:]
        del reported_ns[:]

    def close(self) -> None:
        """Count the rest; an event without a report counts as waiting until now."""
        now_ns = self.clock()
        self.fold()
        for chunk in self.open_chunks.values():
            self.unanswered += chunk.count_rest(now_ns)
        self.open_chunks.clear()
        assert self.answered + self.failed.total() + self.unanswered == self.offered

    def settle(self) -> None:
        """Without a schedule: offered is what was answered inside the window, failed or is missing.

        To be called after the last report.
        """
        self.answered = self.answers_in_window
        self.unanswered = self.handed - self.answers_total - self.failed.total()
        assert self.unanswered >= 0, "no event is reported twice"
        self.offered = self.answered + self.failed.total() + self.unanswered

    def count_report(self, now_ns: int) -> None:
        """Count one good report of an event that is not measured."""
        self.answers_total += 1
        if self.window.start_ns <= now_ns < self.window.end_ns:
            self.answers_in_window += 1


class Chunk:
    """The events of one chunk, reported in the order they were sent; built per batch, so slots.

    A report is only noted: what the load generator computes meanwhile, the nodes beside it lack.
    """

    __slots__ = (
        "_account",
        "_due_ns",
        "_first_ns",
        "_number",
        "_reported",
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
        self._reported = 0
        self.measured = measured

    @property
    def left(self) -> int:
        """Events without a report."""
        return self._size - self._reported

    def delivered(self, error: object | None, _message: object) -> None:
        """Note one event's delivery report."""
        account = self._account
        now_ns = account.clock()
        place = self._reported
        self._reported = place + 1
        if place + 1 == self._size:
            del account.open_chunks[self._number]
        if error is not None:
            self._count_failed(place, str(error), now_ns)
        elif not self.measured:
            account.count_report(now_ns)
        else:
            account.answers_total += 1
            account.intended_ns.append(self._intended_ns(place))
            account.due_ns.append(self._due_ns)
            account.reported_ns.append(now_ns)
            if len(account.reported_ns) == FOLD_EVENTS:
                account.fold()

    def count_rest(self, now_ns: int) -> int:
        """Count the measured events without a report as waiting until now; return how many."""
        if not self.measured:
            return 0
        for place in range(self._reported, self._size):
            self._count(place, now_ns)
        return self.left

    def _count_failed(self, place: int, error: str, now_ns: int) -> None:
        if self.measured:
            self._account.failed[error] += 1
            self._count(place, now_ns)

    def _count(self, place: int, now_ns: int) -> None:
        self._account.event_us[(now_ns - self._intended_ns(place)) // 1_000] += 1
        self._account.chunk_us[(now_ns - self._due_ns) // 1_000] += 1

    def _intended_ns(self, place: int) -> int:
        return self._first_ns + int(place * self._step_ns)
