"""The load generator's own memory: what it keeps of an event must not grow with the run."""

import gc
import tracemalloc

import pytest

from trimaran.bench.accounting import FOLD_EVENTS, Account, Window
from trimaran.bench.crew import Crew
from trimaran.bench.schedule import NANOSECONDS, Schedule
from trimaran.bench.task import Task

MILLISECOND = 1_000_000


class Run:
    """One event after the other, each answered after 3 ms, on a virtual clock."""

    def __init__(self, *, chunk: int) -> None:
        self.now_ns = 0
        self.sent = 0
        self.schedule = Schedule(rate=10_000, start_ns=0, chunk=chunk)
        self.account = Account(Window(start_ns=0, end_ns=10**15), lambda: self.now_ns)

    def chunks(self, count: int) -> None:
        chunk = self.schedule.chunk
        for number in range(self.sent, self.sent + count):
            due_ns = self.schedule.due_ns(number)
            self.now_ns = due_ns + 3 * MILLISECOND
            sent = self.account.chunk(
                number=number,
                first_ns=self.schedule.intended_ns(number * chunk),
                step_ns=self.schedule.step_ns,
                due_ns=due_ns,
                size=chunk,
            )
            for _ in range(chunk):
                sent.delivered(None, None)
        self.sent += count


@pytest.mark.parametrize("chunk", [1, 64])
def test_what_is_kept_does_not_grow_with_the_events_that_were_reported(chunk: int) -> None:
    run = Run(chunk=chunk)
    run.chunks(2 * FOLD_EVENTS // chunk)
    gc.collect()
    objects = len(gc.get_objects())
    tracemalloc.start()
    try:
        run.chunks(20 * FOLD_EVENTS // chunk)
        grown_bytes, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert len(gc.get_objects()) <= objects + 10, "the collector has nothing more to follow"
    assert grown_bytes < 80 * FOLD_EVENTS, "of 20 folds, the columns of one"
    assert len(run.account.reported_ns) < FOLD_EVENTS


@pytest.mark.parametrize("chunk", [1, 64])
def test_folded_events_are_all_counted_with_what_they_took(chunk: int) -> None:
    run = Run(chunk=chunk)

    run.chunks(3 * FOLD_EVENTS + 7)
    run.account.close()

    events = run.sent * chunk
    account = run.account
    assert account.answered == account.offered == account.answers_in_window == events
    assert account.event_us == {3_000 + 100 * place: run.sent for place in range(chunk)}
    assert account.chunk_us == {3_000: events}


def test_answers_of_the_warm_up_that_come_in_the_window_count_for_the_rate() -> None:
    run = Run(chunk=1)
    run.account.window = Window(start_ns=NANOSECONDS, end_ns=2 * NANOSECONDS)

    run.chunks(25_000)
    run.account.close()

    assert run.account.answered == run.account.offered == 10_000
    assert run.account.answers_in_window == 10_000, "30 come from before, 30 come after the end"
    assert run.account.answers_total == 25_000


CLIENT = """\
import gc

class Client:
    queue_full = 0
    def __init__(self, task, payloads):
        self.client = self
        self.open = []
    def wait(self, duration_ns):
        self.poll(0.001)
    def send_chunk(self, number, size, delivered):
        self.queue_full += gc.isenabled() or not gc.get_freeze_count()
        delivered(None, None)
    def poll(self, timeout):
        return 1
    def flush(self, timeout):
        return 0
"""


@pytest.mark.clients
def test_load_process_collects_nothing_while_it_sends(tmp_path, monkeypatch) -> None:
    (tmp_path / "watching_client.py").write_text(CLIENT)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    task = Task(
        settings={},
        topic="t",
        partitions=1,
        load="one_in_flight",
        event_bytes=8,
        seconds=0.05,
        client="watching_client:Client",
    )

    with Crew([task]) as crew:
        crew.start()
        (outcome,) = crew.outcomes(1, lambda _answered: None)

    assert outcome.answered > 0
    assert outcome.queue_full == 0, "the collector was on for so many events"
