"""One producer process: reads its task from standard input, answers in lines of JSON.

The parent writes a `Task`; the worker connects, opens its sessions and prints `{"ready": true}`;
the parent writes `{"start_ns": n}` (monotonic clock, shared by the machine's processes); the worker
prints a progress line twenty times a second and in the end its `Outcome`. A line `{}` on standard
input, or its end, stops a load that has no end of its own.

Does not: decide what to measure; that is `crew` and the scenarios.
"""

import json
import os
import random
import resource
import select
import sys
import time
from array import array
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
from confluent_kafka import Producer

from trimaran.bench.accounting import Account, Window
from trimaran.bench.histogram import encode
from trimaran.bench.loads import (
    FLUSH_S,
    Notes,
    Sender,
    offer_at_most,
    offer_noted,
    offer_one_in_flight,
    offer_paced,
    reports,
)
from trimaran.bench.schedule import NANOSECONDS, Schedule
from trimaran.bench.task import Outcome, Task

PROGRESS_NS = 50_000_000
CONNECT_S = 15.0
PAYLOAD_COUNT = 64
"""Different random payloads in turn: bytes that no layer can compress."""

SWITCH_INTERVAL_S = 0.0005
"""A report waits at most this long for the thread that sends."""


class BatchSizes:
    """Mean events per batch, from librdkafka's own statistics."""

    def __init__(self) -> None:
        self.batches = 0
        self.events = 0

    def note(self, text: str) -> None:
        """Add one statistics message: windows of one second, emptied each time."""
        for topic in json.loads(text).get("topics", {}).values():
            self.batches += topic["batchcnt"]["cnt"]
            self.events += topic["batchcnt"]["sum"]

    @property
    def mean(self) -> float:
        """Return events per batch; 0 if no statistics came."""
        return self.events / self.batches if self.batches else 0.0


def main() -> None:
    """Do the task that stands on standard input."""
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    task = msgspec.json.decode(sys.stdin.readline(), type=Task)
    sizes = BatchSizes()
    settings: dict[str, Any] = dict(task.settings)
    producer = Producer({**settings, "stats_cb": sizes.note, "statistics.interval.ms": 1_000})
    producer.list_topics(task.topic, timeout=CONNECT_S)
    _say({"ready": True})
    start = json.loads(sys.stdin.readline() or "{}")
    if "start_ns" not in start:
        return
    outcome = _do(task, producer, int(start["start_ns"]))
    outcome.batch_events_mean = sizes.mean
    _say({"outcome": msgspec.to_builtins(outcome)})


def _do(task: Task, producer: Producer, start_ns: int) -> Outcome:
    generator = random.Random(task.seed)
    sender = Sender(
        client=producer,
        topic=task.topic,
        payloads=[generator.randbytes(task.event_bytes) for _ in range(PAYLOAD_COUNT)],
        partitions=task.partitions,
    )
    used_s = _cpu_s()
    begun_ns = time.monotonic_ns()
    outcome = _LOADS[task.load](task, sender, start_ns)
    elapsed_s = (time.monotonic_ns() - begun_ns) / NANOSECONDS
    outcome.cpu_cores = (_cpu_s() - used_s) / elapsed_s
    outcome.queue_full = sender.queue_full
    return outcome


def _measured(task: Task, sender: Sender, start_ns: int) -> Outcome:
    schedule = Schedule(rate=task.rate or 1.0, start_ns=start_ns + task.offset_ns, chunk=task.chunk)
    window_ns = start_ns + round(task.warm_up_s * NANOSECONDS)
    end_ns = window_ns + round(task.seconds * NANOSECONDS)
    account = Account(Window(start_ns=window_ns, end_ns=end_ns), time.monotonic_ns)
    progress = _progress(lambda: {"answered": account.answers_total})
    while (ahead_ns := start_ns - time.monotonic_ns()) > 0:
        sender.wait(ahead_ns)
    if task.load == "paced":
        with reports(sender.client):
            seconds = task.warm_up_s + task.seconds
            offer_paced(sender, schedule, account, seconds=seconds, progress=progress)
            sender.client.flush(FLUSH_S)
    elif task.load == "at_most":
        offer_at_most(sender, account, end_ns=end_ns, progress=progress, events_max=task.events_max)
        sender.client.flush(FLUSH_S)
    else:
        offer_one_in_flight(sender, account, end_ns=end_ns, progress=progress)
    account.close()
    return Outcome(
        offered=account.offered,
        answered=account.answered,
        unanswered=account.unanswered,
        failed=dict(account.failed),
        answers_in_window=account.answers_in_window,
        event_histogram=encode(account.event_us),
        chunk_histogram=encode(account.chunk_us),
    )


def _noted(task: Task, sender: Sender, start_ns: int) -> Outcome:
    notes = Notes()
    schedule = Schedule(rate=task.rate or 1.0, start_ns=start_ns, chunk=1)

    def told_to_stop() -> bool:
        return bool(select.select([sys.stdin], [], [], 0)[0])

    with reports(sender.client):
        offered = offer_noted(
            sender,
            schedule,
            notes,
            clock=time.monotonic_ns,
            stopped=_seldom(told_to_stop),
            progress=_progress(lambda: {"latest_ns": dict(notes.latest_ns)}),
        )
        unanswered = sender.client.flush(FLUSH_S)
    _write_notes(Path(task.notes_path), notes)
    answered = len(notes.numbers)
    return Outcome(offered=offered, answered=answered, unanswered=unanswered)


_LOADS: dict[str, Callable[[Task, Sender, int], Outcome]] = {
    "paced": _measured,
    "at_most": _measured,
    "one_in_flight": _measured,
    "noted": _noted,
}


def _write_notes(path: Path, notes: Notes) -> None:
    """Write the three columns one after the other, each of the same length."""
    columns: list[array[int]] = [notes.numbers, notes.partitions, notes.answered_ns]
    path.write_bytes(b"".join(column.tobytes() for column in columns))


def _progress(figures: Callable[[], dict[str, Any]]) -> Callable[[], None]:
    next_ns = 0

    def progress() -> None:
        nonlocal next_ns
        now_ns = time.monotonic_ns()
        if now_ns >= next_ns:
            next_ns = now_ns + PROGRESS_NS
            _say(figures())

    return progress


def _seldom(condition: Callable[[], bool]) -> Callable[[], bool]:
    """Ask `condition` only each PROGRESS_NS: it costs a system call."""
    next_ns = 0

    def asked() -> bool:
        nonlocal next_ns
        now_ns = time.monotonic_ns()
        if now_ns < next_ns:
            return False
        next_ns = now_ns + PROGRESS_NS
        return condition()

    return asked


def _cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def _say(line: dict[str, Any]) -> None:
    os.write(sys.stdout.fileno(), json.dumps(line).encode() + b"\n")


if __name__ == "__main__":
    main()
