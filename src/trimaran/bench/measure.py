"""One run of one load against one target: start producers, wait, read everything beside it.

The disk is measured before and after each run, never during it. A run on a disk below the limit is
marked and repeated, up to `EXTRA_RUNS_MAX` more times.
Does not: choose loads or print anything.
"""

from collections.abc import Callable
from dataclasses import dataclass

from trimaran.bench.crew import Crew
from trimaran.bench.filesystem import measure_disk
from trimaran.bench.histogram import Percentiles
from trimaran.bench.machine import NodeMeter
from trimaran.bench.results import Figures, Row, combine, mark_median
from trimaran.bench.schedule import shares
from trimaran.bench.target import Target, fresh_topic
from trimaran.bench.task import Load, Task

EXTRA_RUNS_MAX = 2

ORDINARY: dict[str, str | int | bool] = {"acks": "all", "enable.idempotence": True, "log_level": 2}
"""The ordinary producer: every other setting is librdkafka's default."""

Progress = Callable[[str, float], None]
"""Called with a description and the done fraction, 0 to 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What one run does."""

    scenario: str
    load: Load
    producers: int
    event_bytes: int
    partitions: int
    warm_up_s: float
    seconds: float
    rate: float | None = None
    """All producers together, events per second."""
    chunk: int = 1
    settings: dict[str, str | int | bool]
    """Client settings beside `ORDINARY`."""

    @property
    def total_s(self) -> float:
        """How long the load lasts, warm-up included."""
        return self.warm_up_s + self.seconds

    @property
    def in_words(self) -> str:
        """The load as one reads it."""
        words = [f"{self.producers} producer{'s' if self.producers > 1 else ''}"]
        words.append(f"{self.event_bytes} B")
        words.append(f"{self.partitions} partition{'s' if self.partitions > 1 else ''}")
        if self.chunk > 1:
            words.append(f"batches of {self.chunk}")
        words.append(_RATE_WORDS[self.load].format(rate=self.rate or 0))
        return ", ".join(words)


_RATE_WORDS: dict[Load, str] = {
    "paced": "{rate:,.0f}/s",
    "at_most": "as fast as it takes them",
    "one_in_flight": "one in flight",
    "noted": "{rate:,.0f}/s, numbered",
}


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
    """Run `plan` once in a fresh topic. Raises BenchError."""
    label = f"{plan.scenario}, {target.name}, {plan.in_words}, run {repeat}"
    progress(f"{label}: disk", 0.0)
    disk_before = measure_disk(target.disk)
    expected = (plan.rate or 0) * plan.total_s

    with fresh_topic(target, partitions=plan.partitions) as topic:
        with Crew(_tasks(plan, target, topic)) as crew:
            start_ns = crew.start()
            meter = NodeMeter(target.pids())

            def show(answered: int) -> None:
                done = answered / expected if expected else crew.elapsed_s(start_ns) / plan.total_s
                progress(label, min(1.0, done))

            outcomes = crew.outcomes(plan.total_s, show)
        nodes = meter.read()

    figures = combine(outcomes)
    return Row(
        scenario=plan.scenario,
        target=target.name,
        load=plan.in_words,
        offered_per_s=plan.rate,
        answered_per_s=round(figures.outcome.answers_in_window / plan.seconds, 1),
        mb_per_s=round(
            figures.outcome.answers_in_window * plan.event_bytes / plan.seconds / 1e6, 2
        ),
        failed=figures.outcome.failed,
        unanswered=figures.outcome.unanswered,
        latency=figures.latency,
        batch_latency=_batch_latency(plan, figures),
        batch_events_mean=round(figures.outcome.batch_events_mean, 1),
        client_cores=round(figures.outcome.cpu_cores, 3),
        queue_full=figures.outcome.queue_full,
        nodes=nodes,
        disk_before=disk_before,
        disk_after=measure_disk(target.disk),
        repeat=repeat,
        histogram=figures.outcome.event_histogram if figures.latency is not None else "",
    )


def _batch_latency(plan: Plan, figures: Figures) -> Percentiles | None:
    return figures.batch_latency if plan.chunk > 1 else None


def _tasks(plan: Plan, target: Target, topic: str) -> list[Task]:
    settings = {
        **ORDINARY,
        **plan.settings,
        "bootstrap.servers": target.bootstrap,
    }
    offsets = [0] * plan.producers
    if plan.rate is not None:
        schedules = shares(rate=plan.rate, producers=plan.producers, chunk=plan.chunk, start_ns=0)
        offsets = [schedule.start_ns for schedule in schedules]
    return [
        Task(
            settings=settings,
            topic=topic,
            partitions=plan.partitions,
            load=plan.load,
            event_bytes=plan.event_bytes,
            chunk=plan.chunk,
            rate=plan.rate / plan.producers if plan.rate is not None else None,
            offset_ns=offset_ns,
            warm_up_s=plan.warm_up_s,
            seconds=plan.seconds,
            seed=number,
        )
        for number, offset_ns in enumerate(offsets)
    ]
