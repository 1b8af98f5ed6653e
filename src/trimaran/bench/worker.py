"""One producer or consumer process: reads its task from standard input, answers in lines of JSON.

The parent writes a `Task`; the worker connects, opens its sessions and prints `{"ready": true}`;
the parent writes `{"start_ns": n}` (monotonic clock, shared by the machine's processes); the worker
prints a progress line twenty times a second and in the end its `Outcome`. A line `{}` on standard
input, or its end, stops a numbered load, which has no end of its own, and a consumer.

Does not: decide what to measure; that is `crew` and the scenarios.
"""

import gc
import importlib
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

from trimaran.bench.accounting import Account
from trimaran.bench.consumer import prepare_consumer
from trimaran.bench.consuming import monotonic_window
from trimaran.bench.histogram import encode
from trimaran.bench.loads import (
    AT_MOST_CHUNK,
    FLUSH_S,
    Notes,
    Progress,
    offer_at_most,
    offer_noted,
    offer_one_in_flight,
    offer_paced,
    reports,
)
from trimaran.bench.schedule import NANOSECONDS, Schedule
from trimaran.bench.sender import Offering, Sender, Stamps, make_keys
from trimaran.bench.sockets import MakeSender
from trimaran.bench.task import LIBRDKAFKA, Outcome, Task

Prepared = Callable[[int], Outcome]
"""A connected load: from the common start time to its outcome."""

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
    if task.load == "consume":
        prepared = prepare_consumer(task, _progress, _seldom(_told_to_stop))
    elif task.client == LIBRDKAFKA:
        prepared = _librdkafka(task)
    else:
        prepared = _sockets(task)
    _stop_collecting()
    _say({"ready": True})
    start = json.loads(sys.stdin.readline() or "{}")
    if "start_ns" not in start:
        return
    used_s, begun_ns = _cpu_s(), time.monotonic_ns()
    outcome = prepared(int(start["start_ns"]))
    elapsed_s = (time.monotonic_ns() - begun_ns) / NANOSECONDS
    outcome.cpu_cores = (_cpu_s() - used_s) / elapsed_s
    _say({"outcome": msgspec.to_builtins(outcome)})


def _stop_collecting() -> None:
    """Collect once and never again: a collection stops the threads that send, report and read.

    What a load allocates is in no cycles and goes when its last reference does.
    """
    gc.collect()
    gc.freeze()
    gc.disable()


def _librdkafka(task: Task) -> Prepared:
    """Connect the ordinary client."""
    sizes = BatchSizes()
    settings: dict[str, Any] = dict(task.settings)
    producer = Producer({**settings, "stats_cb": sizes.note, "statistics.interval.ms": 1_000})
    producer.list_topics(task.topic, timeout=CONNECT_S)
    sender = Sender(
        client=producer,
        topic=task.topic,
        payloads=_payloads(task),
        partitions=task.partitions,
        keys=make_keys(task.keys),
        keys_in_turn=task.keys == "round_robin",
        id_prefix=b"%d-" % task.seed if task.event_ids else b"",
        repeats_ids=task.repeated_ids,
    )

    def run(start_ns: int) -> Outcome:
        load = _noted if task.load == "noted" else _measured
        outcome = load(task, sender, start_ns)
        outcome.batch_events_mean = sizes.mean
        return outcome

    return run


def _sockets(task: Task) -> Prepared:
    """Connect the client named `module:Class`."""
    module, _, name = task.client.partition(":")
    make: MakeSender = getattr(importlib.import_module(module), name)
    sender = make(task, _payloads(task))

    def run(start_ns: int) -> Outcome:
        outcome = _measured(task, sender, start_ns)
        outcome.batch_events_mean = float(task.chunk)
        return outcome

    return run


def _payloads(task: Task) -> list[bytes]:
    generator = random.Random(task.seed)
    return [generator.randbytes(task.event_bytes) for _ in range(PAYLOAD_COUNT)]


def _measured(task: Task, sender: Offering, start_ns: int) -> Outcome:
    schedule = Schedule(rate=task.rate or 1.0, start_ns=start_ns + task.offset_ns, chunk=task.chunk)
    account = Account(monotonic_window(start_ns, task.warm_up_s, task.seconds), time.monotonic_ns)
    stamps = Stamps(account.window, schedule.intended_ns if task.load == "paced" else _now_ns)
    if task.stamped and isinstance(sender, Sender):
        sender.stamp_ns = stamps
    progress = _progress(lambda: {"answered": account.answers_total})
    while (ahead_ns := start_ns - time.monotonic_ns()) > 0:
        sender.wait(ahead_ns)
    _offer(task, sender, schedule, account, progress)
    account.close()
    return Outcome(
        offered=account.offered,
        answered=account.answered,
        unanswered=account.unanswered,
        failed=dict(account.failed),
        answers_in_window=account.answers_in_window,
        event_histogram=encode(account.event_us),
        chunk_histogram=encode(account.chunk_us),
        queue_full=sender.queue_full,
        # Which events of a load without a schedule had no good answer is not known: at most these.
        stamped=max(0, stamps.in_window - account.failed.total() - account.unanswered),
    )


def _offer(
    task: Task, sender: Offering, schedule: Schedule, account: Account, progress: Progress
) -> None:
    if task.load == "paced":
        with reports(sender.client):
            seconds = task.warm_up_s + task.seconds
            offer_paced(sender, schedule, account, seconds=seconds, progress=progress)
        sender.client.flush(FLUSH_S)
    elif task.load == "at_most":
        offer_at_most(
            sender,
            account,
            end_ns=account.window.end_ns,
            progress=progress,
            events_max=task.events_max,
            chunk=task.chunk if task.chunk > 1 else AT_MOST_CHUNK,
        )
        sender.client.flush(FLUSH_S)
        account.settle()
    else:
        assert task.load == "one_in_flight"
        offer_one_in_flight(sender, account, end_ns=account.window.end_ns, progress=progress)


def _now_ns(_event: int) -> int:
    return time.monotonic_ns()


def _noted(task: Task, sender: Sender, start_ns: int) -> Outcome:
    notes = Notes()
    schedule = Schedule(rate=task.rate or 1.0, start_ns=start_ns, chunk=1)
    with reports(sender.client):
        offered = offer_noted(
            sender,
            schedule,
            notes,
            clock=time.monotonic_ns,
            stopped=_seldom(_told_to_stop),
            progress=_progress(lambda: {"latest_ns": dict(notes.latest_ns)}),
        )
        unanswered = sender.client.flush(FLUSH_S)
    _write_notes(Path(task.notes_path), notes)
    answered = len(notes.numbers)
    return Outcome(
        offered=offered, answered=answered, unanswered=unanswered, queue_full=sender.queue_full
    )


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


def _told_to_stop() -> bool:
    return bool(select.select([sys.stdin], [], [], 0)[0])


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
