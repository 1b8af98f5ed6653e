"""What may catch a planted bug, each run in a process of its own on the patched package.

    python -m trimaran.sim.mutation_catchers core 0 120 --checkout .

Prints one line of JSON: `at` (the first seed or plan that failed, "" if none did), `said` (what
went wrong there) and `package` (what was tested). A catcher that cannot begin ends with a
traceback, which nobody takes for a bug that was caught.

Does not: patch anything, or know which bug it looks for.
"""

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import trimaran
from trimaran.sim.report import options_of
from trimaran.sim.run import run
from trimaran.sim.search import Search
from trimaran.sim.search_bounds import PLANS

SEARCH_STATES = 12_000
"""Distinct states of one plan of the small-scope search."""
CORE_RUNS = "tests/raft/test_random_runs.py"
CORE_TEST = "test_a_group_keeps_its_promises_under_faults_and_recovers_after_them"
SAID_MAX = 300
STALLS_NEEDED = 2
"""Of seeds that only show that something took too long, one alone may be chance."""


def core_seeds(checkout: Path) -> Callable[[int], str]:
    """Return what runs one seed of the random core harness and says how it failed."""
    spec = spec_from_file_location("core_runs", checkout / CORE_RUNS)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    run: Callable[[int], None] = getattr(module, CORE_TEST)

    def one(seed: int) -> str:
        try:
            run(seed)
        except Exception as error:  # noqa: BLE001  (whatever a run dies of is a finding)
            return described(error)
        return ""

    return one


def simulated_seed(seed: int) -> str:
    """Run one simulated cluster; return the first violation, empty if there is none."""
    try:
        report = run(options_of(seed), ends_at_a_lie=True)
    except Exception as error:  # noqa: BLE001  (whatever a run dies of is a finding)
        return described(error)
    if report.passed:
        return ""
    grave = [line for line in report.violations if not line.startswith("liveness")]
    return (grave or report.violations)[0]


def searched_plan(name: str) -> str:
    """Search one plan; return the rule that is broken, empty if none is."""
    try:
        return Search(PLANS[name]).run(SEARCH_STATES).violation
    except Exception as error:  # noqa: BLE001  (whatever a search dies of is a finding)
        return described(error)


def described(error: Exception) -> str:
    """Return an exception in one line."""
    frame = error.__traceback__
    while frame is not None and frame.tb_next is not None:
        frame = frame.tb_next
    place = "" if frame is None else f" in {frame.tb_frame.f_code.co_name}"
    return f"{type(error).__name__}: {error}{place}"


def attempts(catcher: str, first: str, count: int, checkout: Path) -> Iterator[tuple[str, str]]:
    """Yield (seed or plan, what went wrong) of one attempt after the other."""
    if catcher == "search":
        for name in list(PLANS) if first == "all" else [first]:
            yield name, searched_plan(name)
        return
    run_one = core_seeds(checkout) if catcher == "core" else simulated_seed
    for seed in range(int(first), int(first) + count):
        yield str(seed), run_one(seed)


def first_failure(outcomes: Iterable[tuple[str, str]], *, stalls_needed: int) -> tuple[str, str]:
    """Return the first outcome with a problem, empty texts if there is none.

    One that only says that something took too long counts if there are `stalls_needed` such.
    """
    stalls: list[tuple[str, str]] = []
    for name, problem in outcomes:
        if not problem:
            continue
        failure = name, " ".join(problem.split())[:SAID_MAX]
        if not problem.startswith("liveness"):
            return failure
        stalls.append(failure)
        if len(stalls) == stalls_needed:
            return stalls[0]
    return "", ""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the attempts that `argv` names until one fails; print which."""
    parser = argparse.ArgumentParser(prog="python -m trimaran.sim.mutation_catchers")
    parser.add_argument("catcher", choices=["core", "search", "seeds"])
    parser.add_argument("first", help="first seed; or a plan of the search, or all")
    parser.add_argument("count", type=int, help="how many seeds")
    parser.add_argument("--checkout", type=Path, default=Path())
    arguments = parser.parse_args(argv)
    at, said = first_failure(
        attempts(arguments.catcher, arguments.first, arguments.count, arguments.checkout),
        stalls_needed=1 if arguments.count == 1 else STALLS_NEEDED,
    )
    answer = {"at": at, "said": said, "package": trimaran.__file__}
    sys.stdout.write(json.dumps(answer) + os.linesep)
    return 0


if __name__ == "__main__":
    sys.exit(main())
