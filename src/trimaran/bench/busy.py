"""Busy loops beside the cluster: does an election ever interrupt a stream that is acknowledged?

A producer offers numbered events at a steady rate while processes of the same priority take all
the processor there is. Two things are looked at: every election of the topic's partitions (a node
is asked for leaders and terms all the time), with the longest gap between acknowledgements around
it; and every long gap without one, which is the machine's or the client's.

Does not: kill or freeze anything.
"""

import contextlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import msgspec

from trimaran.bench.crew import Crew
from trimaran.bench.errors import BenchError
from trimaran.bench.failover import noted_task, read_notes
from trimaran.bench.failures import FailoverPlan
from trimaran.bench.gaps import longest_gap_ns
from trimaran.bench.measure import Progress
from trimaran.bench.probe import Probe, Stall, worst_ms
from trimaran.bench.read_back import account, read_back
from trimaran.bench.schedule import NANOSECONDS
from trimaran.bench.target import Nodes, Target, fresh_topic

ASK_S = 0.05
AROUND_NS = 1_000_000_000
"""How far before and after an election a gap is taken to be its work."""

LONG_GAP_MS = 100.0
PATIENCE_S = 60.0
LOOP = "while True: pass"


class Election(msgspec.Struct, frozen=True, kw_only=True):
    """A partition whose leader or term changed."""

    partition: int
    term: int
    leader: int
    gap_ms: float
    """The longest time between acknowledgements of the partition around it."""
    stall_ms: float


class Busy(msgspec.Struct, kw_only=True):
    """One run beside busy loops."""

    loops: int
    seconds: float
    rate: float
    elections: list[Election]
    long_gaps_ms: list[float]
    """Gaps over 100 ms without an election near, longest first."""
    gap_max_ms: float
    stalls: int
    """How often the probe found the machine to stand still for 100 ms or more."""
    stall_max_ms: float
    offered: int
    answered: int
    lost: int
    duplicated: int
    out_of_order: int

    @property
    def interrupted(self) -> int:
        """Elections that interrupted an acknowledged stream for more than 100 ms."""
        return sum(one.gap_ms > LONG_GAP_MS for one in self.elections)


def measure_busy(
    target: Target, *, loops: int, seconds: float, plan: FailoverPlan, progress: Progress
) -> Busy:
    """Run for `seconds` beside `loops` busy loops.

    Raises:
        BenchError: the target's nodes are not ours, or no answers came any more.
    """
    nodes = target.nodes
    if nodes is None:
        raise BenchError("this needs a cluster of its own")
    with (
        fresh_topic(target, partitions=plan.partitions) as topic,
        tempfile.TemporaryDirectory(prefix="trimaran-bench-") as directory,
    ):
        notes_path = Path(directory) / "notes"
        with (
            Probe(target.disk) as probe,
            Crew([noted_task(plan, target, topic, notes_path)]) as crew,
        ):
            crew.start()
            crew.wait(lambda: _all_answered(crew, plan.partitions), PATIENCE_S)
            with _busy(loops):
                seen = _watch(nodes, topic, crew, seconds, progress)
            crew.wait(lambda: _all_answered(crew, plan.partitions), PATIENCE_S)
            crew.stop()
            (outcome,) = crew.outcomes(PATIENCE_S, lambda _answered: None)
            stalls = probe.stalls()
        notes = read_notes(notes_path, outcome)
        stored = read_back(target, topic, partitions=plan.partitions)
    elections = [_judge(change, notes.times, stalls) for change in seen]
    gaps = [_gaps_ms(times) for times in notes.times.values()]
    accounting = account(notes.numbers, [one for one in stored if one[1] < outcome.offered])
    return Busy(
        loops=loops,
        seconds=seconds,
        rate=plan.rate,
        elections=elections,
        long_gaps_ms=sorted(_calm_gaps(notes.times, seen), reverse=True),
        gap_max_ms=round(max(max(own, default=0.0) for own in gaps), 1),
        stalls=sum(one.worst_ms >= LONG_GAP_MS for one in stalls),
        stall_max_ms=max((one.worst_ms for one in stalls), default=0.0),
        offered=outcome.offered,
        answered=outcome.answered,
        lost=accounting.lost,
        duplicated=accounting.duplicated,
        out_of_order=accounting.out_of_order,
    )


class _Change(msgspec.Struct, frozen=True, kw_only=True):
    """A new leader or term of a partition, between two questions."""

    partition: int
    term: int
    leader: int
    before_ns: int
    after_ns: int


def _watch(
    nodes: Nodes, topic: str, crew: Crew, seconds: float, progress: Progress
) -> list[_Change]:
    """Ask one node after the other who leads, until the time is over."""
    changes: list[_Change] = []
    known: dict[int, tuple[int, int]] = {}
    asked_ns = time.monotonic_ns()
    begun_s = time.monotonic()
    turn = 0
    while (elapsed_s := time.monotonic() - begun_s) < seconds:
        progress("busy loops beside the cluster", elapsed_s / seconds)
        node = nodes.nodes[turn % len(nodes.nodes)]
        turn += 1
        answer = nodes.metadata(topic, node=node)
        now_ns = time.monotonic_ns()
        for number, row in (answer.partitions if answer is not None else {}).items():
            found = (row.leader_epoch, row.leader)
            if found[0] > known.get(number, (-1, -1))[0]:
                if number in known:
                    changes.append(
                        _Change(
                            partition=number,
                            term=row.leader_epoch,
                            leader=row.leader,
                            before_ns=asked_ns,
                            after_ns=now_ns,
                        )
                    )
                known[number] = found
        asked_ns = now_ns
        crew.poll(ASK_S)
    return changes


@contextlib.contextmanager
def _busy(loops: int) -> Iterator[None]:
    """Take all the processor there is, at normal priority, each loop in a session of its own."""
    running = [
        subprocess.Popen([sys.executable, "-c", LOOP], start_new_session=True) for _ in range(loops)
    ]
    try:
        yield
    finally:
        for process in running:
            process.kill()
            process.wait()


def _all_answered(crew: Crew, partitions: int) -> bool:
    return len(crew.workers[0].latest.get("latest_ns", {})) == partitions


def _judge(change: _Change, times: dict[int, list[int]], stalls: Sequence[Stall]) -> Election:
    start_ns, end_ns = change.before_ns - AROUND_NS, change.after_ns + AROUND_NS
    column = times.get(change.partition, [])
    gap_ns = longest_gap_ns(column, start_ns=start_ns, end_ns=end_ns) or 0
    return Election(
        partition=change.partition,
        term=change.term,
        leader=change.leader,
        gap_ms=round(gap_ns / 1e6, 1),
        stall_ms=worst_ms(stalls, start_ns=start_ns, end_ns=end_ns),
    )


def _gaps_ms(times: Sequence[int]) -> list[float]:
    return [(after - before) / 1e6 for before, after in pairwise(times)]


def _calm_gaps(times: dict[int, list[int]], changes: Sequence[_Change]) -> Iterator[float]:
    """Yield the long gaps of each partition that no election of it is near."""
    for partition, column in times.items():
        near = [
            (one.before_ns - AROUND_NS, one.after_ns + AROUND_NS)
            for one in changes
            if one.partition == partition
        ]
        for before, after in pairwise(column):
            is_long = after - before > LONG_GAP_MS / 1e3 * NANOSECONDS
            if is_long and not any(before <= end and after >= start for start, end in near):
                yield round((after - before) / 1e6, 1)
