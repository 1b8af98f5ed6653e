"""Simulated seeds for hours: `make soak ARGS="--hours 2"`, or `python -m trimaran.sim.soak`.

Each seed is one line of JSON in `DIR/<version>.jsonl`, where the version is a hash of the package's
source: after a change the seeds begin anew, without one a stopped soak goes on where it was. Two
processes work at a time; one seed in ten is run twice and must give the same event log. Clusters
have the sizes that the seeds of the test suite have: three nodes mostly, now and then one or five.

A failing seed is kept with its violations and the command line that repeats it.

With `--real` a random mix of faults breaks clusters of real processes instead, round after round
for as long (`tests/cluster/breaking/test_mix.py`); it too goes on where it was stopped.

Does not: shrink failures (`trimaran sim --shrink` does), or know what a seed does.
"""

import argparse
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import asdict, replace
from itertools import count
from pathlib import Path
from time import monotonic

from trimaran.sim.faults import KINDS
from trimaran.sim.report import SECONDS, RunOptions, SeedReport, missing, options_of, table
from trimaran.sim.run import run

RESULTS = Path("build/soak")
HOURS = 1.0
"""Of a soak that is not told how long."""
PROCESSES = 2
TWICE_EVERY = 10
RUNS_PER_PROCESS = 100
"""A process is replaced after so many runs: what leaks in one of them does not add up."""
BAR_WIDTH = 30
HOUR_S = 3600.0
PACKAGE = Path(__file__).parents[1]
SOURCES = ("*.py", "*.c")
"""What is hashed: all that decides what a run does."""
REAL = "tests/cluster/breaking/test_mix.py"


def source_version(root: Path = PACKAGE) -> str:
    """Return a hash of every source file of the package, short enough for a file name."""
    digest = hashlib.blake2b(digest_size=8)
    sources = [path for kind in SOURCES for path in root.rglob(kind)]
    for path in sorted(sources):
        digest.update(path.relative_to(root).as_posix().encode() + b"\0")
        digest.update(path.read_bytes() + b"\0")
    return digest.hexdigest()


def simulate(options: RunOptions) -> tuple[SeedReport, bool]:
    """Run one seed; return its report, and whether a second run (one seed in ten) was equal."""
    report = run(options, trace_lines=0)
    if options.seed % TWICE_EVERY:
        return report, True
    return report, run(options, trace_lines=0).digest == report.digest


class Results:
    """The lines of one version, on disk and in memory."""

    def __init__(self, directory: Path, version: str) -> None:
        """Read what earlier soaks of the same version left; a last line cut short is dropped."""
        directory.mkdir(parents=True, exist_ok=True)
        self.path = directory / f"{version}.jsonl"
        self.reports: list[SeedReport] = []
        self.failed: list[int] = []
        self.done: dict[int, None] = {}
        text = self.path.read_text(encoding="utf-8") if self.path.exists() else ""
        whole = text[: text.rfind("\n") + 1]
        if whole != text:
            self.path.write_text(whole, encoding="utf-8")
        for line in whole.splitlines():
            found = json.loads(line)
            self._take(_report_from(found["report"]), bool(found["repeatable"]))

    def add(self, report: SeedReport, repeatable: bool) -> None:
        """Append one seed's outcome."""
        row = {"report": asdict(report), "repeatable": repeatable}
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        self._take(report, repeatable)

    def _take(self, report: SeedReport, repeatable: bool) -> None:
        self.reports.append(report)
        self.done[report.seed] = None
        if not (report.passed and repeatable):
            self.failed.append(report.seed)

    def summary(self) -> str:
        """Return the table over all seeds, what never happened, and how failures are repeated."""
        lines = [table(self.reports, expected=KINDS)]
        never = missing(self.reports, expected=KINDS)
        lines.append(f"never happened: {', '.join(never) or 'nothing'}")
        for report in self.reports:
            if report.seed in self.failed:
                what = report.violations[0] if report.violations else "two runs differed"
                lines.append(f"FAILED {report.options.command()}: {what}")
        lines.append(f"{len(self.failed)} of {len(self.reports)} seeds failed; {self.path}")
        return "\n".join(lines)


def _report_from(found: dict[str, object]) -> SeedReport:
    """Make a report of what JSON made of one: lists become tuples again."""
    fields = {
        name: tuple(value) if isinstance(value, list) else value for name, value in found.items()
    }
    options = dict(fields["options"])  # type: ignore[call-overload]
    if options["kinds"] is not None:
        options["kinds"] = tuple(options["kinds"])
    fields["options"] = RunOptions(**options)
    return SeedReport(**fields)  # type: ignore[arg-type]


def soak(
    results: Results,
    *,
    first_seed: int = 1,
    seeds: int | None = None,
    hours: float | None = None,
    seconds: float = SECONDS,
    processes: int = PROCESSES,
) -> Iterator[SeedReport]:
    """Run the seeds that are not done yet, until there are `seeds` of them or `hours` are over.

    Yields each report when it is on disk.
    """
    ends_s = None if hours is None else monotonic() + hours * HOUR_S
    numbers = count(first_seed) if seeds is None else iter(range(first_seed, first_seed + seeds))
    left = (number for number in numbers if number not in results.done)
    under_way: list[Future[tuple[SeedReport, bool]]] = []
    with ProcessPoolExecutor(processes, max_tasks_per_child=RUNS_PER_PROCESS) as pool:
        while True:
            in_time = ends_s is None or monotonic() < ends_s
            while in_time and len(under_way) < processes:
                number = next(left, None)
                if number is None:
                    break
                options = replace(options_of(number), seconds=seconds)
                under_way.append(pool.submit(simulate, options))
            if not under_way:
                return
            wait(under_way, return_when=FIRST_COMPLETED)
            ended = [future for future in under_way if future.done()]
            under_way = [future for future in under_way if not future.done()]
            for future in ended:
                report, repeatable = future.result()
                results.add(report, repeatable)
                yield report


def break_real_clusters(directory: Path, *, hours: float, first_seed: int) -> int:
    """Break clusters of real processes until `hours` of that are on record; return an exit code."""
    directory.mkdir(parents=True, exist_ok=True)
    environment = {
        **os.environ,
        "TRIMARAN_MIX_MINUTES": str(60.0 * hours),
        "TRIMARAN_MIX_SEED": str(first_seed),
        "TRIMARAN_MIX_RESULTS": str(directory / "real.json"),
    }
    command = [sys.executable, "-m", "pytest", "-s", "-q", REAL]
    return subprocess.run(command, env=environment, check=False).returncode


def bar(share: float, text: str) -> str:
    """Return a progress bar of one line."""
    filled = round(BAR_WIDTH * min(1.0, max(0.0, share)))
    return f"[{'#' * filled}{'.' * (BAR_WIDTH - filled)}] {text}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program; return its exit code: 1 if any seed failed."""
    parser = argparse.ArgumentParser(prog="trimaran.sim.soak", description=__doc__)
    parser.add_argument(
        "--results", type=Path, default=RESULTS, help=f"directory of the results ({RESULTS})"
    )
    parser.add_argument(
        "--hours", type=float, help=f"no new seed is begun after so long ({HOURS:g}, or --seeds)"
    )
    parser.add_argument("--seeds", type=int, help="how many seeds in all")
    parser.add_argument("--first-seed", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=SECONDS, help="virtual, of each seed")
    parser.add_argument("--processes", type=int, default=PROCESSES)
    parser.add_argument("--real", action="store_true", help="clusters of real processes instead")
    chosen = parser.parse_args(arguments)
    if chosen.hours is None and chosen.seeds is None:
        chosen.hours = HOURS
    if chosen.real:
        hours = chosen.hours or HOURS
        return break_real_clusters(chosen.results, hours=hours, first_seed=chosen.first_seed)
    results = Results(chosen.results, source_version())
    before, started_s = len(results.done), monotonic()
    out = sys.stdout
    for report in soak(
        results,
        first_seed=chosen.first_seed,
        seeds=chosen.seeds,
        hours=chosen.hours,
        seconds=chosen.seconds,
        processes=chosen.processes,
    ):
        elapsed_s = monotonic() - started_s
        share = elapsed_s / (chosen.hours * HOUR_S) if chosen.hours is not None else 0.0
        if chosen.seeds is not None:
            share = max(share, len(results.done) / chosen.seeds)
        text = f"{len(results.done)} seeds, {len(results.failed)} failed, {elapsed_s:.0f} s"
        out.write(("\r" if out.isatty() else "") + bar(share, text))
        out.write("" if out.isatty() else "\n")
        if not report.passed:
            out.write(f"\n{report.summary()}\n")
        out.flush()
    out.write(f"\n{len(results.done) - before} new seeds\n{results.summary()}\n")
    return 1 if results.failed else 0


if __name__ == "__main__":
    sys.exit(main())
