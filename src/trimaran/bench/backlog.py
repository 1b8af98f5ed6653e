"""A backlog drained by the raw consumer, alone and while producing goes on.

The topic is filled by the raw producer. Then a paced load of the ordinary client runs alone, then a
consumer reads the whole backlog and nothing else happens, then both at once: what draining costs
the producers, and producing the drain.
Does not: decode what it reads (`raw_consumer`): an application's own work comes on top.
"""

import math
from dataclasses import replace

import msgspec

from trimaran.bench.crew import Crew
from trimaran.bench.errors import BenchError
from trimaran.bench.filesystem import measure_disk
from trimaran.bench.measure import Progress
from trimaran.bench.plan import Plan, producer_tasks
from trimaran.bench.results import Drain, combine
from trimaran.bench.target import Target, fresh_topic
from trimaran.bench.task import RAW_KAFKA_CONSUMER, Outcome, Task
from trimaran.bench.workloads import raw

FILL_S_MAX = 600.0
DRAIN_S_MAX = 300.0


def measure_backlog(target: Target, plan: Plan, *, megabytes: float, progress: Progress) -> Drain:
    """Fill a topic with `megabytes` (10**6) of values and drain it alone and beside `plan`.

    Raises:
        BenchError: the fill or the drain does not end.
    """
    disk = measure_disk(target.disk)
    events = math.ceil(megabytes * 1e6 / plan.event_bytes)
    with (
        fresh_topic(target, partitions=plan.partitions) as backlog,
        fresh_topic(target, partitions=plan.partitions) as busy,
    ):
        stored = _fill(target, backlog, plan, events, progress)
        reader = _reader(target, backlog, plan, stored)
        progress("backlog: producing alone", 0.0)
        tasks = producer_tasks(plan, target.bootstrap, [busy])
        alone = _together([*tasks], plan)
        progress("backlog: drained alone", 0.0)
        (drained,) = _together([reader], plan)
        progress("backlog: drained beside producers", 0.0)
        *produced, beside = _together([*tasks, reader], plan)
    latency_alone, latency_beside = combine(alone).latency, combine(produced).latency
    assert latency_alone is not None
    assert latency_beside is not None
    return Drain(
        target=target.name,
        load=plan.in_words,
        stored_mb=round(stored * plan.event_bytes / 1e6, 1),
        drain_mb_per_s=drain_rate(drained, stored=stored, event_bytes=plan.event_bytes),
        drain_beside_mb_per_s=drain_rate(beside, stored=stored, event_bytes=plan.event_bytes),
        alone=latency_alone,
        beside=latency_beside,
        disk_before=disk,
    )


def drain_rate(read: Outcome, *, stored: int, event_bytes: int) -> float:
    """Return the MB/s (10**6 bytes of values) at which all `stored` events were read.

    Raises:
        BenchError: not all of them were.
    """
    if read.answered < stored:
        raise BenchError(
            f"the drain did not end: {read.answered} of {stored} events in {DRAIN_S_MAX:g} s"
        )
    return round(stored * event_bytes / 1e6 / read.took_s, 1)


def _fill(target: Target, topic: str, plan: Plan, events: int, progress: Progress) -> int:
    filling = raw(replace(plan, load="at_most", rate=None, producers=1))
    chunks = math.ceil(events / filling.chunk)
    (task,) = producer_tasks(filling, target.bootstrap, [topic])
    expected = chunks * filling.chunk
    whole = msgspec.structs.replace(task, warm_up_s=0.0, seconds=FILL_S_MAX, events_max=expected)
    with Crew([whole]) as crew:
        crew.start()
        (outcome,) = crew.outcomes(
            FILL_S_MAX, lambda answered: progress("backlog: fill", min(1.0, answered / events))
        )
    if outcome.failed or outcome.answers_in_window < expected:
        raise BenchError(f"filled {outcome.answers_in_window} of {expected}: {outcome.failed}")
    return expected


def _reader(target: Target, topic: str, plan: Plan, events: int) -> Task:
    return Task(
        settings={"bootstrap.servers": target.bootstrap},
        topic=topic,
        partitions=plan.partitions,
        load="consume",
        event_bytes=plan.event_bytes,
        seconds=DRAIN_S_MAX,
        events_max=events,
        client=RAW_KAFKA_CONSUMER,
        own_partitions=list(range(plan.partitions)),
    )


def _together(tasks: list[Task], plan: Plan) -> list[Outcome]:
    with Crew(tasks) as crew:
        crew.start()
        return crew.outcomes(max(plan.total_s, DRAIN_S_MAX), lambda _answered: None)
