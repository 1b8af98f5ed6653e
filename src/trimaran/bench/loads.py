"""Four ways to offer events to a producer client.

`offer_paced` is the open loop: chunks go out on schedule, whatever became of those before.
`offer_at_most` sends as fast as the client takes events; `offer_one_in_flight` waits for each
delivery report before the next event (a closed loop by definition, and named so in the results);
`offer_noted` is the open loop that remembers each event, to find gaps and losses afterwards.

Delivery reports are handled by `Reports`, a thread that does nothing but poll, so that a report is
timed when it arrives and not when the sender wakes up for its next chunk.
Does not: know how a client is configured or started.
"""

import contextlib
from array import array
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from trimaran.bench.accounting import Account, Clock
from trimaran.bench.schedule import Schedule
from trimaran.bench.sender import Offering, Reports, Sender, Wait

POLL_S = 0.1
"""Longest that the polling thread sleeps; a report wakes it at once."""

FLUSH_S = 30.0
"""How long the last delivery reports are waited for after the last event."""

AT_MOST_CHUNK = 64
"""Events to one partition between two polls of a load without a schedule."""

Progress = Callable[[], None]


@contextlib.contextmanager
def reports(client: Reports) -> Iterator[None]:
    """Handle delivery reports in a thread of their own while the block runs."""
    running = True

    def serve() -> None:
        while running:
            client.poll(POLL_S)

    with ThreadPoolExecutor(1, "delivery-reports") as pool:
        served = pool.submit(serve)
        try:
            yield
        finally:
            running = False
            served.result()


def offer_paced(
    sender: Offering, schedule: Schedule, account: Account, *, seconds: float, progress: Progress
) -> None:
    """Offer chunks on `schedule` for `seconds`; each event's latency is in `account`."""
    for number in range(schedule.chunk_count(seconds)):
        due_ns = schedule.due_ns(number)
        _wait_until(due_ns, account.clock, sender.wait)
        chunk = account.chunk(
            number=number,
            first_ns=schedule.intended_ns(number * schedule.chunk),
            step_ns=schedule.step_ns,
            due_ns=due_ns,
            size=schedule.chunk,
        )
        sender.send_chunk(number, schedule.chunk, chunk.delivered)
        progress()


def offer_at_most(
    sender: Offering,
    account: Account,
    *,
    end_ns: int,
    progress: Progress,
    events_max: int | None = None,
    chunk: int = AT_MOST_CHUNK,
) -> None:
    """Offer as much as the client takes until `end_ns` or `events_max` events, chunk by chunk.

    Only answers per second mean anything: nothing says when an event should have been sent.
    """
    window = account.window

    def delivered(error: object | None, _message: object) -> None:
        if error is not None:
            account.failed[str(error)] += 1
            return
        account.answers_total += 1
        if window.start_ns <= account.clock() < window.end_ns:
            account.answers_in_window += 1

    def poll_while_full(_duration_ns: int) -> None:
        sender.client.poll(POLL_S)

    sender.wait = poll_while_full
    number = 0
    chunks_max = None if events_max is None else -(-events_max // chunk)
    while account.clock() < end_ns and number != chunks_max:
        sender.send_chunk(number, chunk, delivered)
        account.handed += chunk
        sender.client.poll(0)
        number += 1
        progress()


def offer_one_in_flight(
    sender: Offering, account: Account, *, end_ns: int, progress: Progress
) -> None:
    """Send an event, wait for its report, send the next, until `end_ns`."""
    number = 0
    while (now_ns := account.clock()) < end_ns:
        chunk = account.chunk(number=number, first_ns=now_ns, step_ns=0.0, due_ns=now_ns, size=1)
        sender.send_chunk(number, 1, chunk.delivered)
        while chunk.left:
            if not sender.client.poll(FLUSH_S):
                return
        number += 1
        progress()


@dataclass(slots=True, kw_only=True)
class Notes:
    """Each answered event of one producer: its number, partition and time of the report."""

    numbers: "array[int]" = field(default_factory=lambda: array("q"))
    partitions: "array[int]" = field(default_factory=lambda: array("q"))
    answered_ns: "array[int]" = field(default_factory=lambda: array("q"))
    latest_ns: dict[int, int] = field(default_factory=dict)
    """Partition to the time of its latest report."""

    def note(self, number: int, partition: int, now_ns: int) -> None:
        """Remember that event `number` was answered."""
        self.numbers.append(number)
        self.partitions.append(partition)
        self.answered_ns.append(now_ns)
        self.latest_ns[partition] = now_ns


NUMBER_BYTES = 8
"""An event of `offer_noted` starts with its number, big-endian."""


def offer_noted(
    sender: Sender,
    schedule: Schedule,
    notes: Notes,
    *,
    clock: Clock,
    stopped: Callable[[], bool],
    progress: Progress,
) -> int:
    """Offer numbered events one by one until `stopped()`; return how many were offered."""
    padding = sender.payloads[0][NUMBER_BYTES:]
    number = 0
    while not stopped():
        _wait_until(schedule.intended_ns(number), clock, sender.wait)
        partition = number % sender.partitions

        def delivered(error: object | None, _message: object, *, number: int = number) -> None:
            if error is None:
                notes.note(number, number % sender.partitions, clock())

        sender.send(number.to_bytes(NUMBER_BYTES, "big") + padding, partition, delivered)
        number += 1
        progress()
    return number


def _wait_until(time_ns: int, clock: Clock, wait: Wait) -> None:
    while (ahead_ns := time_ns - clock()) > 0:
        wait(ahead_ns)
