"""The wait behind Produce: batches handed to partitions, one answer when all are done.

No task and no future a request: a partition's `Pending` calls back, and the callback that makes the
last one done ends the wait. One deadline stands for all of them.

Invariant: `done` is called at most once, and not after the connection is gone.
Does not: know Kafka's messages.
"""

from collections.abc import Callable

from trimaran.broker.api import Partition, Pending
from trimaran.broker.calls import Call
from trimaran.broker.leadership import find_partition
from trimaran.broker.waiting import Deadline
from trimaran.errors import ErrorCode, RequestError


class AppendWait:
    """The batches of one Produce, in the order of the request. Plain slots: one a request."""

    __slots__ = ("_call", "_deadline", "_done", "outcomes", "partitions", "undone_count")

    def __init__(self, call: Call) -> None:
        self.outcomes: list[Pending | RequestError] = []
        self.partitions: list[Partition | None] = []
        """Beside `outcomes`; None where this node holds no replica."""
        self.undone_count = 0
        self._call = call
        self._done: Callable[[], None] | None = None
        self._deadline: Deadline | None = None

    def append(self, topic: str, number: int, batch: memoryview | None, *, acks: int) -> None:
        """Hand `batch` to its partition and keep what comes of it."""
        partition = self._call.broker.partition(topic, number)
        try:
            if partition is None:
                partition = find_partition(self._call.broker, topic, number)
            if batch is None:
                raise RequestError(ErrorCode.INVALID_RECORD, "expected one batch, found none")
            pending = partition.append(batch, acks=acks)
        except RequestError as error:
            self.refuse(error, partition, place=f"{topic}-{number}")
            return
        self.partitions.append(partition)
        self.outcomes.append(pending)
        if not pending.done:
            self.undone_count += 1

    def refuse(self, error: RequestError, partition: Partition | None, *, place: str) -> None:
        """Keep `error` in the next place, with a line in the log."""
        self._call.note(RequestError(error.code, f"{place}: {error}"))
        self.partitions.append(partition)
        self.outcomes.append(error)

    def outcome(self, place: int) -> Pending | RequestError:
        """Return what has come of the batch in `place`: an error if it was refused, also late."""
        found = self.outcomes[place]
        if isinstance(found, RequestError) or found.refusal is None:
            return found
        return found.refusal

    def first_error(self) -> RequestError | None:
        """Return what went wrong first, as far as it is known."""
        for place in range(len(self.outcomes)):
            found = self.outcome(place)
            if isinstance(found, RequestError):
                return found
            if found.done and found.error is not None:
                return RequestError(found.error, "outcome unknown")
        return None

    def wait(self, timeout_s: float, done: Callable[[], None]) -> None:
        """Call `done` when the last batch is done or the time is over."""
        assert self.undone_count > 0
        self._done = done
        self._deadline = self._call.deadlines.after(timeout_s, self._end)
        self._call.abandon = self._let_go
        for outcome in self.outcomes:
            if not isinstance(outcome, RequestError) and not outcome.done:
                outcome.on_done(self._one_done)

    def _one_done(self) -> None:
        self.undone_count -= 1
        assert self.undone_count >= 0
        if self.undone_count == 0 and self._done is not None:
            self._end()

    def _end(self) -> None:
        done = self._done
        assert done is not None
        self._let_go()
        done()

    def _let_go(self) -> None:
        self._done = None
        assert self._deadline is not None
        self._call.deadlines.withdraw(self._deadline)
