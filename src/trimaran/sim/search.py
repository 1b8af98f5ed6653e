"""Every interleaving of a small group: each state once, the rules checked in all.

    python -m trimaran.sim.search --states 5000000
    python -m trimaran.sim.search --plan elections
    python -m trimaran.sim.search --bounds start=led,campaigns=1,proposals=1,restarts=1

Three real consensus cores, and everything that could happen next: a message arrives, whichever; a
disk finishes a round; a node campaigns, crashes, takes an event. What can be next after all that is
explored too, until there is nothing new within the bounds (search_bounds) or enough was seen.

States are told apart by 16 bytes of BLAKE2b; that two among ten million are taken for one has a
probability of about 10 ** -25. Nodes are not interchangeable (their rank decides ties), so that no
state can stand for its mirror images. Breadth first, no way to a violation is shorter than the one
that is found. What is too big for that can be searched deep instead (`Bounds.is_deep`): the latest
state met comes next, from time to time the oldest.

Exit code 0: no rule is broken in what was explored. 1: one is. 2: asked for wrongly.
Does not: prove anything beyond the bounds, or look at progress; heals and time are the simulator's.
"""

import argparse
import sys
import time
from array import array
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from hashlib import blake2b
from struct import Struct
from typing import TypeAlias

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from trimaran.sim.search_bounds import PLANS, Bounds, parse_bounds
from trimaran.sim.search_group import Group, State

OK = 0
FAILED = 1
STATES = 5_000_000
OLDEST_EVERY = 50
"""In a deep search, one state in so many is the oldest: all dives would else begin alike."""
REPORT_COLUMNS = 120
"""Width of the table where standard output is no terminal."""
REPORT_EVERY = 5_000
"""States gone on from between two reports of how far a search is."""

Observer: TypeAlias = Callable[[int, int, int], None]
"""Told distinct states, events and depth."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What a search met."""

    states: int
    """Distinct ones."""
    explored: int
    """Events that led to a state, whether or not it was known."""
    depth: int
    """Most events from the start to a state that was gone on from."""
    is_exhausted: bool
    """Whether there are no other states within the bounds."""
    violation: str = ""
    """The rule that is broken, empty if none is."""
    path: tuple[str, ...] = ()
    """A way to it, one line for each event."""


class Search:
    """One search within one set of bounds."""

    def __init__(self, bounds: Bounds) -> None:
        self.group = Group(bounds)
        # How each state was first reached, by its place in the order of discovery.
        self._parents = array("I")
        self._actions = array("I")
        self._depths = array("H")
        self._is_deep = bounds.is_deep

    def run(self, states_max: int, observer: Observer | None = None) -> Result:
        """Explore until all is seen, a rule is broken, or `states_max` distinct states are met."""
        assert states_max > 0
        assert not self._parents, "a search is run once"
        start = _packed(self.group.start)
        seen = {_digest(start)}
        self._met(0, 0, 0)
        frontier = deque([(0, start)])
        explored = depth = turn = 0
        while frontier and len(seen) < states_max:
            turn += 1
            is_latest_next = self._is_deep and turn % OLDEST_EVERY > 0
            number, packed = frontier.pop() if is_latest_next else frontier.popleft()
            depth = max(depth, self._depths[number])
            if observer is not None and turn % REPORT_EVERY == 0:
                observer(len(seen), explored, depth)
            new: list[tuple[bytes, bytes, int]] = []
            for action, after in self.group.successors(_unpacked(packed)):
                explored += 1
                if isinstance(after, str):
                    return self._violated(number, action, explored, after)
                packed = _packed(after)
                digest = _digest(packed)
                if digest not in seen:
                    seen.add(digest)
                    new.append((digest, packed, action))
            if self._is_deep:
                new.sort()
            for _, packed, action in new:
                frontier.append((len(self._parents), packed))
                self._met(number, action, self._depths[number] + 1)
        return Result(states=len(seen), explored=explored, depth=depth, is_exhausted=not frontier)

    def _met(self, parent: int, action: int, depth: int) -> None:
        self._parents.append(parent)
        self._actions.append(action)
        self._depths.append(depth)

    def _violated(self, number: int, action: int, explored: int, rule: str) -> Result:
        lines: list[str] = []
        state: State | str | None = self.group.start
        for place, one in enumerate([*self.actions_to(number), action], 1):
            assert isinstance(state, tuple), "only the last event ends in a violation"
            lines.append(f"{place:3} {self.group.told(state, one)}")
            state = self.group.after(state, one)
        return Result(
            states=len(self._parents),
            explored=explored,
            depth=len(lines),
            is_exhausted=False,
            violation=rule,
            path=tuple(lines),
        )

    def actions_to(self, number: int) -> list[int]:
        """Return the events from the start to the state that was the `number`th met, from 0."""
        actions: list[int] = []
        while number > 0:
            actions.append(self._actions[number])
            number = self._parents[number]
        actions.reverse()
        return actions


@cache
def _row(length: int) -> Struct:
    return Struct(f"<{length}I")


def _digest(packed: bytes) -> bytes:
    return blake2b(packed, digest_size=16).digest()


def _packed(state: State) -> bytes:
    return _row(len(state)).pack(*state)


def _unpacked(packed: bytes) -> State:
    return _row(len(packed) // 4).unpack(packed)


# The command


def main(argv: Sequence[str] | None = None) -> int:
    """Search as `argv` says, print what was met, return the exit code."""
    arguments = _parser().parse_args(argv)
    plans = {"given": arguments.bounds} if arguments.bounds else PLANS
    if arguments.plan:
        plans = {arguments.plan: PLANS[arguments.plan]}
    console = Console()
    if not console.is_terminal:
        console = Console(width=REPORT_COLUMNS)
    table = Table("plan", "distinct states", "events", "depth", "s", "states/s", "all of them")
    total = 0
    code = OK
    for at, (name, bounds) in enumerate(plans.items()):
        # What a plan leaves of its share is the others'.
        share = max(1, (arguments.states - total) // (len(plans) - at))
        started = time.monotonic()
        result = _searched(name, bounds, share)
        seconds = time.monotonic() - started
        total += result.states
        table.add_row(
            *(name, f"{result.states:,}", f"{result.explored:,}", f"{result.depth}"),
            *(f"{seconds:.1f}", f"{result.states / seconds:,.0f}"),
            "yes" if result.is_exhausted else "no",
        )
        if result.violation:
            console.print(
                f"{name}: {result.violation}", markup=False, highlight=False, soft_wrap=True
            )
            console.print("\n".join(result.path), markup=False, highlight=False, soft_wrap=True)
            code = FAILED
            break
    console.print(table)
    verdict = "a rule is broken" if code else "no rule is broken in any of them"
    console.print(f"{total:,} distinct states: {verdict}", highlight=False)
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m trimaran.sim.search",
        description="Explore every interleaving of three consensus cores, within bounds.",
    )
    parser.add_argument(
        "--states", type=int, default=STATES, help=f"distinct states, all plans together ({STATES})"
    )
    choice = parser.add_mutually_exclusive_group()
    choice.add_argument("--plan", choices=list(PLANS), help="one of the built-in plans; else all")
    choice.add_argument(
        "--bounds", type=parse_bounds, help="a plan of your own: name=value,name=value (Bounds)"
    )
    return parser


def _searched(name: str, bounds: Bounds, states_max: int) -> Result:
    """Search with a bar on standard error, where that is a terminal."""
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, disable=not console.is_terminal) as bars:
        task = bars.add_task(name, total=states_max)
        started = time.monotonic()

        def show(states: int, explored: int, depth: int) -> None:
            rate = states / max(1e-3, time.monotonic() - started)
            text = f"{name}: {states:,} of {explored:,} distinct, depth {depth}, {rate:,.0f}/s"
            bars.update(task, description=text, completed=states)

        return Search(bounds).run(states_max, show)


if __name__ == "__main__":
    sys.exit(main())
