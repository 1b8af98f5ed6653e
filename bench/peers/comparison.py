"""Runs the rounds: every system in turn, every load, and tells what became of each.

A run that fails gives no row but a line that says why, and the next run follows; a system of which
a node ended, or that did not start, is over for that round. Rounds begin with different systems, so
that nobody is always the first on a rested disk.
Does not: print results.
"""

import contextlib
import os
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from bench.peers.loads import client_name, plans, warming
from bench.peers.peer import NODES, Peer
from bench.peers.processes import is_running
from bench.peers.results import Comparison, Failure
from trimaran.bench.errors import BenchError
from trimaran.bench.measure import run_once
from trimaran.bench.plan import Plan
from trimaran.bench.target import Target

BYTES_PER_S = 100_000_000
"""Of values, the most that a load is expected to store."""
COPIES = 2
"""On each node: a journal and its segments, a log and its rewriting."""
BESIDE_S = 3.0
"""What a run takes beyond its load, about: connecting, measuring the disk."""
START_S = 12.0

Save = Callable[[], None]


@dataclass(slots=True, kw_only=True)
class Rounds:
    """What is run, and how far it is."""

    peers: Sequence[Peer]
    loads: Sequence[str]
    count: int
    seconds: float
    warm_up_s: float
    warming_s: float | None
    """Before a system is measured; None: what it needs itself."""
    data: Path
    logs: Path
    """Where the logs of a system go that failed."""
    begun_s: float = field(default_factory=time.monotonic)
    done_s: float = 0.0
    """Of the time that was planned."""

    def plans(self, peer: Peer) -> list[Plan]:
        """Return the runs of one system in one round."""
        return plans(peer, seconds=self.seconds, warm_up_s=self.warm_up_s, loads=self.loads)

    def order(self, number: int) -> list[Peer]:
        """Return the systems in the order of round `number`, counted from 1."""
        first = (number - 1) * len(self.peers) // self.count
        return [*self.peers[first:], *self.peers[:first]]

    def planned_s(self) -> float:
        """Return how long all of it takes, about."""
        return self.count * sum(
            START_S + sum(plan.total_s + BESIDE_S for plan in self._all(peer))
            for peer in self.peers
        )

    def warming(self, peer: Peer) -> list[Plan]:
        """Return what is run before a system is measured: one load, or none."""
        seconds = peer.warming_s if self.warming_s is None else self.warming_s
        return [warming(peer, seconds=seconds)] if seconds else []

    def _all(self, peer: Peer) -> list[Plan]:
        return [*self.warming(peer), *self.plans(peer)]

    def bytes_needed(self) -> int:
        """Return what one system may store between its start and its end."""
        loads_s = [
            sum(plan.total_s for plan in self.plans(peer) if plan.load == "at_most")
            for peer in self.peers
        ]
        return space(max(loads_s))

    def tell(self, what: str, planned_s: float) -> None:
        """Say what begins now, which takes `planned_s`."""
        spent_s = time.monotonic() - self.begun_s
        left_s = self.planned_s() - self.done_s
        if self.done_s:
            left_s *= spent_s / self.done_s
        self.done_s += planned_s
        print(
            f"[{spent_s / 60:.0f} min, about {left_s / 60:.0f} left] {what}",
            file=sys.stderr,
            flush=True,
        )


def space(seconds: float) -> int:
    """Return the bytes that loads of so many seconds may store on all nodes."""
    return round(NODES * COPIES * BYTES_PER_S * seconds)


def require_space(directory: Path, needed: int) -> None:
    """Raise BenchError if a directory's disk has less free than `needed`."""
    free = shutil.disk_usage(directory).free
    if free < needed:
        raise BenchError(
            f"{free / 1e9:.0f} GB are free at {directory}, {needed / 1e9:.0f} GB may be needed: "
            "choose another disk with --data, or less with --seconds"
        )


def run(rounds: Rounds, comparison: Comparison, save: Save) -> None:
    """Run all rounds; `comparison` is saved after each run."""
    for number in range(1, rounds.count + 1):
        for peer in rounds.order(number):
            with contextlib.suppress(_OverError):
                _System(rounds, comparison, save, peer, number).run()


class _OverError(Exception):
    """The system's round is over; why has been told."""


@dataclass(slots=True)
class _System:
    """One start of one system."""

    rounds: Rounds
    comparison: Comparison
    save: Save
    peer: Peer
    number: int

    def run(self) -> None:
        """Start it, run its loads, end it."""
        # What the system before left in the page cache is not this one's to write.
        os.sync()
        self.rounds.tell(f"round {self.number}, {self.peer.name}: starting", START_S)
        try:
            with self.peer.open(self.rounds.data) as target:
                self._loads(replace(target, name=self.peer.name))
        except _OverError:
            raise
        except Exception as error:  # noqa: BLE001  whatever is wrong with one, the others go on
            self._fail("", "", error)

    def _loads(self, target: Target) -> None:
        for plan in self.rounds.warming(self.peer):
            self._one(plan, target, is_counted=False)
        for plan in self.rounds.plans(self.peer):
            self._one(plan, target, is_counted=True)

    def _one(self, plan: Plan, target: Target, *, is_counted: bool) -> None:
        client = client_name(plan.client)
        what = f"round {self.number}, {self.peer.name}, {client}: {plan.scenario}"
        self.rounds.tell(what, plan.total_s + BESIDE_S)
        os.sync()
        try:
            require_space(target.disk, space(plan.total_s if plan.load == "at_most" else 1.0))
            row = run_once(plan, target, repeat=self.number, progress=_quiet)
            _require_nodes(target)
        except Exception as error:  # noqa: BLE001  a run that fails is a line of the results
            self._fail(plan.scenario, client, error)
            self._keep_logs(target)
            _end_if_broken(target)
            return
        if is_counted:
            self.comparison.rows.append(row)
            self.save()

    def _fail(self, load: str, client: str, error: Exception) -> None:
        failure = Failure(
            round=self.number,
            system=self.peer.name,
            load=load,
            client=client,
            reason=str(error) or repr(error),
        )
        self.comparison.failures.append(failure)
        print(f"FAILED: {failure.in_words}", file=sys.stderr, flush=True)
        self.save()

    def _keep_logs(self, target: Target) -> None:
        """Copy what the servers said; their directory goes with them."""
        kept = self.rounds.logs / f"{self.number}-{self.peer.name}"
        kept.mkdir(parents=True, exist_ok=True)
        for path in [*target.disk.glob("log-*"), *target.disk.glob("**/node-*.log")]:
            with contextlib.suppress(OSError):
                shutil.copy(path, kept / path.name)


def _require_nodes(target: Target) -> None:
    """Raise BenchError if a node ended: what was measured then is not what it is called."""
    gone = [node for node, pid in target.pids().items() if not is_running(pid)]
    if gone:
        raise BenchError(f"node {', '.join(map(str, gone))} ended during the run")


def _end_if_broken(target: Target) -> None:
    """Raise _OverError if a node ended."""
    try:
        _require_nodes(target)
    except BenchError:
        raise _OverError from None


def _quiet(_text: str, _done: float) -> None:
    """Say nothing: `tell` did."""
