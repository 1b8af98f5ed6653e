"""One run of one load against one target: start producers, wait, read everything beside it.

The disk is measured before and after each run, never during it. A run on a disk below the limit is
marked and repeated, up to `EXTRA_RUNS_MAX` more times.
Does not: choose loads or print anything.
"""

import contextlib
from collections.abc import Callable, Sequence

from trimaran.bench.crew import Crew
from trimaran.bench.filesystem import measure_disk
from trimaran.bench.histogram import Percentiles
from trimaran.bench.machine import NodeMeter, NodeUse
from trimaran.bench.plan import Plan, consumer_tasks, producer_tasks
from trimaran.bench.results import Figures, Row, combine, combine_read, mark_median
from trimaran.bench.target import Target, fresh_topic

EXTRA_RUNS_MAX = 2

Progress = Callable[[str, float], None]
"""Called with a description and the done fraction, 0 to 1."""


def measure(plan: Plan, target: Target, *, repeats: int, progress: Progress) -> list[Row]:
    """Run `plan` `repeats` times, and again for runs on a slow disk; the median run is marked.

    Raises:
        BenchError: a producer died, or the target refused.
    """
    rows: list[Row] = []
    wanted, limit = repeats, repeats + EXTRA_RUNS_MAX
    while len(rows) < wanted:
        row = run_once(plan, target, repeat=len(rows) + 1, progress=progress)
        rows.append(row)
        wanted = min(limit, wanted + row.disk_limited)
    mark_median(rows)
    return rows


def run_once(plan: Plan, target: Target, *, repeat: int, progress: Progress) -> Row:
    """Run `plan` once in fresh topics. Raises BenchError."""
    label = f"{plan.scenario}, {target.name}, {plan.in_words}, run {repeat}"
    progress(f"{label}: disk", 0.0)
    disk_before = measure_disk(target.disk)
    with contextlib.ExitStack() as stack:
        topics = [
            stack.enter_context(
                fresh_topic(target, partitions=plan.partitions, settings=plan.topic_settings)
            )
            for _ in range(plan.topics)
        ]
        produced, consumed, nodes = _load(plan, target, topics, label, progress)
    outcome = produced.outcome
    return Row(
        scenario=plan.scenario,
        target=target.name,
        load=plan.in_words,
        offered_per_s=plan.rate,
        answered_per_s=_per_second(produced, plan),
        mb_per_s=round(outcome.answers_in_window * plan.event_bytes / plan.seconds / 1e6, 2),
        failed=outcome.failed,
        unanswered=outcome.unanswered,
        latency=produced.latency,
        batch_latency=_batch_latency(plan, produced),
        batch_events_mean=round(outcome.batch_events_mean, 1),
        client_cores=round(outcome.cpu_cores, 3),
        queue_full=outcome.queue_full,
        nodes=nodes,
        disk_before=disk_before,
        disk_after=measure_disk(target.disk),
        seconds=plan.seconds,
        repeat=repeat,
        client=plan.client.rpartition(":")[2],
        histogram=outcome.event_histogram if produced.latency is not None else "",
        end_to_end=consumed.latency if consumed else None,
        consumed_per_s=_per_second(consumed, plan) if consumed else None,
        not_read=consumed.outcome.unanswered if consumed else 0,
        consumer_cores=round(consumed.outcome.cpu_cores, 3) if consumed else 0.0,
        end_to_end_histogram=consumed.outcome.event_histogram if consumed else "",
    )


def _load(
    plan: Plan, target: Target, topics: Sequence[str], label: str, progress: Progress
) -> tuple[Figures, Figures | None, list[NodeUse]]:
    """Run the producers and consumers; return their figures and the nodes' use."""
    expected = (plan.rate or 0) * plan.total_s
    tasks = producer_tasks(plan, target.bootstrap, topics)
    readers = consumer_tasks(plan, target.bootstrap, topics)
    with Crew([*tasks, *readers]) as crew:
        start_ns = crew.start()
        meter = NodeMeter(target.pids())

        def show(answered: int) -> None:
            done = answered / expected if expected else crew.elapsed_s(start_ns) / plan.total_s
            progress(label, min(1.0, done))

        producers, consumers = crew.workers[: len(tasks)], crew.workers[len(tasks) :]
        produced = combine(crew.outcomes(plan.total_s, show, producers))
        read = crew.read_out(consumers, produced.outcome.stamped)
    nodes = meter.read()
    return produced, combine_read(read, produced.outcome.stamped) if read else None, nodes


def _per_second(figures: Figures, plan: Plan) -> float:
    return round(figures.outcome.answers_in_window / plan.seconds, 1)


def _batch_latency(plan: Plan, figures: Figures) -> Percentiles | None:
    return figures.batch_latency if plan.chunk > 1 else None
