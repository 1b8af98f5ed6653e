"""A failing run made small: fewer kinds of fault, less time, fewer nodes and clients.

Each kind of fault strikes by a clock and a chance of its own (`faults`), so leaving one out keeps
what the others do for as long as the cluster itself does the same. Kinds are left out by delta
debugging: halves first, then smaller parts, until no single one can go.

Does not: print, or know what a failure is (`fails` says).
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

from trimaran.sim.faults import draw_mix
from trimaran.sim.report import RunOptions

RUNS_MAX = 60
SECONDS_MIN = 2.0
Fails = Callable[[RunOptions], bool]


class Shrinker:
    """Looks for the smallest options that still fail, within a number of runs."""

    def __init__(self, fails: Fails, *, runs_max: int = RUNS_MAX) -> None:
        """`fails` runs a simulation; it is asked at most `runs_max` times."""
        self._fails = fails
        self._known: dict[RunOptions, bool] = {}
        self._runs_left = runs_max

    @property
    def run_count(self) -> int:
        """How many simulations were run."""
        return len(self._known)

    def smallest(self, options: RunOptions) -> RunOptions:
        """Return the smallest failing options found; `options` themselves must fail."""
        kinds = draw_mix(f"{options.seed}/faults", options.kinds).kinds
        named = replace(options, kinds=kinds)
        best = named if self._still(named) else options
        before = None
        while before != best:
            before = best
            best = self._fewer_kinds(best)
            best = self._smaller(best, "clients", 1)
            best = self._smaller(best, "nodes", 3)
            best = self._shorter(best)
        return best

    def _still(self, options: RunOptions) -> bool:
        known = self._known.get(options)
        if known is None:
            if self._runs_left <= 0:
                return False
            self._runs_left -= 1
            known = self._known[options] = self._fails(options)
        return known

    def _fewer_kinds(self, best: RunOptions) -> RunOptions:
        """Leave kinds out, in parts of half, a quarter ... and at last one by one."""
        if best.kinds is None:
            return best
        kinds = best.kinds
        part = max(1, len(kinds) // 2)
        while kinds:
            for low in range(0, len(kinds), part):
                rest = kinds[:low] + kinds[low + part :]
                if self._still(replace(best, kinds=rest)):
                    kinds = rest
                    part = min(part, max(1, len(kinds)))
                    break
            else:
                if part == 1:
                    break
                part = (part + 1) // 2
        return replace(best, kinds=kinds)

    def _smaller(self, best: RunOptions, what: str, lowest: int) -> RunOptions:
        """Take the lowest number of nodes or clients that still fails."""
        numbers: Sequence[int] = range(lowest, best.nodes if what == "nodes" else best.clients)
        for number in numbers:
            if what == "nodes" and number % 2 == 0:
                continue
            smaller = (
                replace(best, nodes=number) if what == "nodes" else replace(best, clients=number)
            )
            if self._still(smaller):
                return smaller
        return best

    def _shorter(self, best: RunOptions) -> RunOptions:
        """Halve the time for as long as it still fails, then try three quarters."""
        for factor in (0.5, 0.75):
            while best.seconds * factor >= SECONDS_MIN:
                shorter = replace(best, seconds=round(best.seconds * factor, 2))
                if not self._still(shorter):
                    break
                best = shorter
        return best


def shrink(options: RunOptions, fails: Fails, *, runs_max: int = RUNS_MAX) -> RunOptions:
    """Return the smallest failing options found in at most `runs_max` runs."""
    return Shrinker(fails, runs_max=runs_max).smallest(options)
