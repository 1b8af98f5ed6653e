"""Does cost grow linearly? Ten times the events: ten times the time, the same memory.

The raw producer stores a given number of events as fast as the cluster takes them, each number in a
fresh topic of the same cluster; processor time for an event and the nodes' memory must not grow.
Above `KEPT_EVENTS_MAX` the topic has a retention limit, and the disk stays bounded too.
Does not: judge; the columns do.
"""

from dataclasses import replace

import msgspec

from trimaran.bench.crew import Crew
from trimaran.bench.errors import BenchError
from trimaran.bench.filesystem import measure_disk
from trimaran.bench.machine import NodeMeter
from trimaran.bench.measure import Progress
from trimaran.bench.plan import Plan, producer_tasks
from trimaran.bench.results import Growth
from trimaran.bench.target import Target, fresh_topic
from trimaran.bench.workloads import RETENTION, raw

EVENTS_PER_S_LEAST = 5_000
"""Below this a run is given up."""
KEPT_EVENTS_MAX = 10_000_000


def growth_plan(event_bytes: int, partitions: int) -> Plan:
    """Return the load: one raw producer."""
    plan = Plan(
        scenario="growth",
        load="at_most",
        producers=1,
        event_bytes=event_bytes,
        partitions=partitions,
        settings={},
        warm_up_s=0.0,
        seconds=0.0,
    )
    return raw(plan)


def bytes_kept(plan: Plan, events: int) -> int:
    """Return how much one node's disk takes for a run, about."""
    if events > KEPT_EVENTS_MAX:
        return 4 * int(RETENTION["retention.bytes"]) * plan.partitions
    return 2 * events * (plan.event_bytes + 20)


def measure_growth(target: Target, plan: Plan, *, events: int, progress: Progress) -> Growth:
    """Store `events` events and return what that took.

    Raises:
        BenchError: not all were stored.
    """
    disk = measure_disk(target.disk)
    is_limited = events > KEPT_EVENTS_MAX
    seconds = max(60.0, events / EVENTS_PER_S_LEAST)
    whole = -(-events // plan.chunk) * plan.chunk
    with fresh_topic(
        target, partitions=plan.partitions, settings=RETENTION if is_limited else {}
    ) as topic:
        (task,) = producer_tasks(replace(plan, seconds=seconds), target.bootstrap, [topic])
        with Crew([msgspec.structs.replace(task, events_max=whole)]) as crew:
            start_ns = crew.start()
            meter = NodeMeter(target.pids())
            (outcome,) = crew.outcomes(
                seconds, lambda done: progress(f"growth: {events:,} events", min(1.0, done / whole))
            )
            took_s = crew.elapsed_s(start_ns)
        nodes = meter.read()
    if outcome.answers_in_window < whole:
        raise BenchError(f"stored {outcome.answers_in_window} of {whole}: {outcome.failed}")
    cpu_s = sum(node.cpu_cores for node in nodes) * took_s
    return Growth(
        target=target.name,
        events=whole,
        event_bytes=plan.event_bytes,
        has_retention=is_limited,
        took_s=round(took_s, 2),
        events_per_s=round(whole / took_s),
        node_cpu_us_per_event=round(cpu_s * 1e6 / whole, 3),
        nodes=nodes,
        disk_before=disk,
    )
