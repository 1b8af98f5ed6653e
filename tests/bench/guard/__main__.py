"""The regression guard: does a batch cost clearly more than it did?

    python -m tests.bench.guard [--accept] [--history]

Two kinds of figures, neither a time of this machine. *Ratios*: processor time of slices of work
by that of a reference loop between them, in one process; the same slices are done in several
passes, and `record.json` holds what was accepted with its spread; builds of Python differ
in them, so they are judged by figures of the same release. *Calls*: function calls of the
brokers' own code for one batch, the middle one of several slices (a flush may fall into one), the
same in each run of one Python version. Where `perf`
can count instructions, those of a whole run by those of as many reference loops are shown too.
A figure above what was accepted by more than its margin fails (exit code 1); one below by more than
it is worth an `--accept`, which adds a row to the record: its history stays in the tree.
"""

import argparse
import gc
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

from tests.bench.guard.reference import reference
from tests.bench.guard.work import BATCH_EVENTS, Work

RECORD = Path(__file__).with_name("record.json")
PASSES = 4
SLICES = 5
WARM_UP_BATCHES = 60
RATIO_MARGIN = 0.40
"""Twenty runs beside other work: the worst was 24 % above their median."""
ACCEPT_RUNS = 5
CALLS_MARGIN = 0.05
CALL_SLICES = 15
PERF_S = 60
OURS = f"{os.sep}trimaran{os.sep}"
TWINS = f"{os.sep}trimaran{os.sep}sim{os.sep}"

WORK = {
    "batches": (lambda work: work.produce(40), 40),
    "one in flight": (lambda work: work.produce(20, in_flight=1), 20),
    "fetches": (lambda work: work.fetch(100), 100),
}
"""A slice of each kind of work, and how many of its unit that is."""


def cpu_s(run):
    begun_s = time.process_time()
    run()
    return time.process_time() - begun_s


def timed(slices):
    """Return, for each kind, the times of its slices, and the reference's time, once through."""
    gc.collect()
    work = Work()
    try:
        warm_up(work)
        found = {name: [] for name in WORK}
        references = [cpu_s(reference)]
        for _ in range(slices):
            for name, (run, _count) in WORK.items():
                found[name].append(cpu_s(lambda run=run: run(work)))
                references.append(cpu_s(reference))
        return found, references
    finally:
        work.close()


def warm_up(work):
    work.produce(WARM_UP_BATCHES)
    work.fetch(WARM_UP_BATCHES)


def ratios(passes, slices):
    """Return {kind: (ratio, spread)}.

    Every pass does the same work slice for slice, so of each slice the fastest pass counts: what
    comes between only adds. The spread is that of the passes' own ratios.
    """
    runs = [timed(slices) for _ in range(passes)]
    fastest_s = statistics.fmean(min(column) for column in zip(*(r for _, r in runs), strict=True))
    found = {}
    for name in WORK:
        columns = zip(*(times[name] for times, _ in runs), strict=True)
        value = statistics.fmean(min(column) for column in columns) / fastest_s
        own = [statistics.fmean(t[name]) / statistics.fmean(r) for t, r in runs]
        found[name] = (value, (max(own) - min(own)) / statistics.median(own))
    return found


def calls(work):
    """Return, for each kind, the calls of the brokers' own functions for one unit."""
    return {
        name: statistics.median(calls_of(run, work) for _ in range(CALL_SLICES)) / count
        for name, (run, count) in WORK.items()
    }


def calls_of(run, work):
    """Return how many calls of the brokers' own functions a slice of work makes."""
    counted = 0

    def count_call(frame, event, _argument):
        nonlocal counted
        path = frame.f_code.co_filename
        if event == "call" and OURS in path and TWINS not in path:
            counted += 1

    sys.setprofile(count_call)
    try:
        run(work)
    finally:
        sys.setprofile(None)
    return counted


def measure(passes, slices):
    """Return {figure: (value, spread)}; the spread of calls is 0."""
    gc.collect()
    gc.freeze()
    gc.disable()
    work = Work()
    try:
        warm_up(work)
        figures = {f"{name}: calls": (round(one, 1), 0.0) for name, one in calls(work).items()}
    finally:
        work.close()
    for name, (value, spread) in ratios(passes, slices).items():
        figures[f"{name}: ratio"] = (round(value, 3), round(spread, 3))
    gc.enable()
    return figures


def judge(figures, accepted):
    """Return (lines to show, figures that are clearly worse)."""
    lines, worse = [], []
    for name, (value, spread) in figures.items():
        line = f"{name:<22} {value:>9.3f}  spread {spread:.1%}"
        if name in accepted:
            was, _spread = accepted[name]
            margin = CALLS_MARGIN if name.endswith("calls") else RATIO_MARGIN
            change = value / was - 1
            line += f"  accepted {was:.3f}, {change:+.1%} (limit {margin:+.0%})"
            if change > margin:
                worse.append(name)
                line += "  WORSE"
        lines.append(line)
    return lines, worse


def instructions():
    """Return the instructions of a whole run by those of the reference loop; None if uncounted."""
    if shutil.which("perf") is None:
        return None
    counted = []
    for code in (
        "from tests.bench.guard.__main__ import measure; measure(2, 4)",
        "from tests.bench.guard.reference import reference\nfor _ in range(50): reference()",
    ):
        command = ["perf", "stat", "-x,", "-e", "instructions:u", sys.executable, "-c", code]
        done = subprocess.run(command, capture_output=True, text=True, timeout=PERF_S, check=False)
        field = done.stderr.strip().splitlines()[-1].partition(",")[0] if done.stderr else ""
        if not field.isdecimal():
            return None
        counted.append(int(field))
    return counted[0] / counted[1]


def main():
    parser = argparse.ArgumentParser(prog="python -m tests.bench.guard")
    parser.add_argument("--accept", action="store_true", help="add these figures to the record")
    parser.add_argument("--history", action="store_true", help="show the record, measure nothing")
    options = parser.parse_args()
    release = platform.python_version()
    version = minor(release)
    history = [row for row in json.loads(RECORD.read_text()) if minor(row["python"]) == version]
    for row in history:
        shown = ", ".join(f"{name} {value[0]:g}" for name, value in row["figures"].items())
        print(f"{row['date']} Python {row['python']}: {shown}")
    if options.history:
        return 0
    figures = measure(PASSES, SLICES)
    accepted = accepted_for(release, history)
    if accepted.keys() != figures.keys():
        print(f"not all is accepted for Python {release} yet: the rest is shown, not judged")
    lines, worse = judge(figures, accepted)
    print(f"one batch is {BATCH_EVENTS} events; Python {release}")
    print("\n".join(lines))
    ratio = instructions()
    print("instructions: not counted on this machine" if ratio is None
          else f"instructions by those of the reference loop: {ratio:.3f}")  # fmt: skip
    if options.accept:
        runs = [figures, *(measure(PASSES, SLICES) for _ in range(ACCEPT_RUNS - 1))]
        accept(release, {name: over_runs([run[name][0] for run in runs]) for name in figures})
    return 1 if worse and not options.accept else 0


def minor(release):
    """Return "3.11" of "3.11.7"."""
    return ".".join(release.split(".")[:2])


def accepted_for(release, history):
    """Return the newest figures that hold for `release`: calls of its version, its own ratios."""
    found = {}
    for row in history:
        is_own = row["python"] == release
        found |= {
            name: figure
            for name, figure in row["figures"].items()
            if is_own or name.endswith("calls")
        }
    return found


def over_runs(values):
    """Return the median and how far apart the runs are, by it."""
    middle = statistics.median(values)
    return round(middle, 3), round((max(values) - min(values)) / middle, 3)


def accept(version, figures):
    rows = json.loads(RECORD.read_text())
    date = datetime.now(UTC).date().isoformat()
    rows.append({"date": date, "python": version, "figures": figures})
    RECORD.write_text("[\n" + ",\n".join(json.dumps(row) for row in rows) + "\n]\n")


if __name__ == "__main__":
    if os.environ.get("PYTHONHASHSEED") != "0":
        environment = {**os.environ, "PYTHONHASHSEED": "0"}
        os.execve(
            sys.executable, [sys.executable, "-m", "tests.bench.guard", *sys.argv[1:]], environment
        )
    sys.exit(main())
