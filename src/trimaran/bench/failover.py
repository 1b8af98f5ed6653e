"""Leaders killed or frozen under load: how long an ordinary producer had no answer, what was lost.

One ordinary producer offers numbered events at a steady rate to every partition. Again and again a
node that leads is killed with SIGKILL (then restarted) or frozen with SIGSTOP (then thawed). The
gap is taken from the producer's own delivery reports (`gaps`), on the partitions the victim led; at
the end the topic is read back and every answered event accounted for (`read_back`).

A frozen node keeps its connections, and a client that waits on one waits for its own time-out.
What the cluster does is therefore measured from a survivor: when its Metadata names new leaders,
and when a producer that knows only that survivor (`direct`, not a client library, which would
pick any node to ask) has its first acknowledgement.
Does not: need more than a local cluster that can kill, freeze and restart its nodes.
"""

import statistics
import tempfile
from array import array
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from trimaran.bench.crew import Crew
from trimaran.bench.errors import BenchError
from trimaran.bench.failures import PATIENCE_S, SETTLE_S, FailoverPlan, Failure, Series
from trimaran.bench.filesystem import measure_disk
from trimaran.bench.gaps import by_partition, longest_gap_ns
from trimaran.bench.measure import Progress
from trimaran.bench.plan import ORDINARY
from trimaran.bench.probe import Probe, Stall, worst_ms
from trimaran.bench.read_back import account, read_back
from trimaran.bench.results import Failover, Kill
from trimaran.bench.schedule import NANOSECONDS
from trimaran.bench.target import Nodes, Target, fresh_topic
from trimaran.bench.task import Outcome, Task

ELECTION_NS = 600_000_000
"""From a failure on, for so long at least, a stall of the machine may have been in the way."""


def measure_failover(plan: FailoverPlan, target: Target, *, progress: Progress) -> Failover:
    """Run one series.

    Raises:
        BenchError: the target's nodes are not ours, or answers did not come back.
    """
    nodes = target.nodes
    if nodes is None:
        raise BenchError("failover needs a cluster of its own: use --nodes, not --bootstrap")
    disk = measure_disk(target.disk)
    with (
        fresh_topic(target, partitions=plan.partitions) as topic,
        tempfile.TemporaryDirectory(prefix="trimaran-bench-") as directory,
    ):
        notes_path = Path(directory) / "notes"
        with Probe(target.disk) as probe:
            failures, outcome = _run(plan, target, nodes, topic, notes_path, progress)
            stalls = probe.stalls()
        notes = read_notes(notes_path, outcome)
        stored = read_back(target, topic, partitions=plan.partitions)
    own = [(partition, number) for partition, number in stored if number < outcome.offered]
    accounting = account(notes.numbers, own)
    kills = [judge(failure, notes.times, stalls) for failure in failures]
    gaps = [kill.gap_ms for kill in kills]
    return Failover(
        target=target.name,
        manner=plan.manner,
        acks=plan.acks,
        rate=plan.rate,
        kills=kills,
        gap_median_ms=round(statistics.median(gaps), 1),
        gap_max_ms=max(gaps),
        offered=outcome.offered,
        answered=outcome.answered,
        lost=accounting.lost,
        duplicated=accounting.duplicated,
        out_of_order=accounting.out_of_order,
        disk_before=disk,
    )


def _run(
    plan: FailoverPlan,
    target: Target,
    nodes: Nodes,
    topic: str,
    notes_path: Path,
    progress: Progress,
) -> tuple[list[Failure], Outcome]:
    failures = []
    with Crew([noted_task(plan, target, topic, notes_path)]) as crew:
        crew.start()
        series = Series(nodes=nodes, crew=crew, topic=topic, plan=plan)
        for number in range(plan.count):
            progress(f"{plan.manner} {plan.count} leaders, acks={plan.acks}", number / plan.count)
            failures.append(series.fail_once(number))
        crew.wait(series.settled, PATIENCE_S)
        crew.stop()
        (outcome,) = crew.outcomes(PATIENCE_S, lambda _answered: None)
    return failures, outcome


def noted_task(plan: FailoverPlan, target: Target, topic: str, notes_path: Path) -> Task:
    """Return the ordinary producer's task: numbered events at a steady rate, each answer noted."""
    settings = {**ORDINARY, "bootstrap.servers": target.bootstrap}
    if plan.acks != "all":
        # An idempotent producer insists on acks=all.
        settings |= {"acks": plan.acks, "enable.idempotence": False}
    return Task(
        settings=settings,
        topic=topic,
        partitions=plan.partitions,
        load="noted",
        event_bytes=plan.event_bytes,
        rate=plan.rate,
        notes_path=str(notes_path),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Notes:
    """What the producer noted of each answered event."""

    numbers: "array[int]"
    times: dict[int, list[int]]
    """Partition to its ascending report times."""


def read_notes(path: Path, outcome: Outcome) -> Notes:
    """Read the three columns that the worker wrote, `outcome.answered` numbers each."""
    column = array("q")
    column.frombytes(path.read_bytes())
    count = outcome.answered
    assert len(column) == 3 * count
    pairs = zip(column[count : 2 * count], column[2 * count :], strict=True)
    return Notes(numbers=column[:count], times=by_partition(pairs))


def judge(failure: Failure, times: dict[int, list[int]], stalls: Sequence[Stall] = ()) -> Kill:
    """Find the gaps around one failure. Raises BenchError if a partition has too few reports."""
    longest_ms = usual_ms = 0.0
    before_ns = failure.at_ns - round(SETTLE_S * NANOSECONDS)
    for partition in failure.partitions:
        column = times.get(partition, [])
        gap_ns = longest_gap_ns(column, start_ns=failure.at_ns, end_ns=failure.over_ns)
        calm = column[: bisect_left(column, failure.at_ns)]
        usual_ns = longest_gap_ns(calm, start_ns=before_ns, end_ns=failure.at_ns)
        if gap_ns is None:
            raise BenchError(f"partition {partition} had no answers around a failure")
        longest_ms = max(longest_ms, gap_ns / 1e6)
        usual_ms = max(usual_ms, (usual_ns or 0) / 1e6)
    return Kill(
        victim=failure.victim,
        partitions=failure.partitions,
        gap_ms=round(longest_ms, 1),
        usual_gap_ms=round(usual_ms, 1),
        metadata_ms=failure.metadata_ms,
        first_ack_ms=failure.first_ack_ms,
        stale_answers=failure.stale_answers,
        rejoin_ms=failure.rejoin_ms,
        stall_ms=worst_ms(
            stalls,
            start_ns=failure.at_ns,
            end_ns=failure.at_ns + max(ELECTION_NS, round(longest_ms * 1e6)),
        ),
    )
