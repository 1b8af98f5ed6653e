"""The regression guard itself: it passes now, and it fails when the work grows."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.bench.guard import __main__ as guard
from tests.bench.guard.work import Work

ROOT = Path(__file__).parents[2]
GUARD_S_MAX = 120


def test_a_batch_costs_no_clearly_more_than_accepted() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench.guard"],
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": "0"},
        capture_output=True,
        text=True,
        timeout=GUARD_S_MAX,
        check=False,
    )
    print(done.stdout)

    assert done.returncode == 0, f"\n{done.stdout}{done.stderr}"


ACCEPTED = {"batches: ratio": (2.0, 0.04), "batches: calls": (1_000.0, 0.0)}


@pytest.mark.parametrize(
    ("figure", "value", "is_worse"),
    [
        ("batches: ratio", 2.7, False),
        ("batches: ratio", 2.9, True),
        ("batches: calls", 1_040.0, False),
        ("batches: calls", 1_060.0, True),
        ("batches: calls", 500.0, False),
        ("unknown: calls", 1e9, False),
    ],
)
def test_figure_fails_beyond_its_margin_only(figure: str, value: float, is_worse: bool) -> None:
    lines, worse = guard.judge({figure: (value, 0.02)}, ACCEPTED)

    assert worse == ([figure] if is_worse else [])
    assert ("WORSE" in lines[0]) == is_worse


def test_ratios_are_judged_by_the_same_release_and_calls_by_the_same_version() -> None:
    def row(release: str, value: float) -> dict[str, object]:
        return {"python": release, "figures": {"batches: calls": value, "batches: ratio": value}}

    history = [row("3.11.7", 1), row("3.11.2", 2)]

    assert guard.accepted_for("3.11.7", history) == {"batches: calls": 2, "batches: ratio": 1}
    assert guard.accepted_for("3.11.2", history) == {"batches: calls": 2, "batches: ratio": 2}
    assert guard.accepted_for("3.11.9", history) == {"batches: calls": 2}


def test_calls_are_the_same_in_each_run_and_see_added_work() -> None:
    counts = []
    for added in (0, 0, 20):
        work = Work()
        work.produce(guard.WARM_UP_BATCHES + added)
        run, units = (lambda work, more=added: work.produce(40 + more)), 40
        guard_work = guard.WORK
        try:
            guard.WORK = {"batches": (run, units)}
            counts.append(guard.calls(work)["batches"])
        finally:
            guard.WORK = guard_work
            work.close()

    assert counts[0] > 100
    assert counts[2] > 1.2 * counts[0]


def test_record_is_readable_and_names_every_figure() -> None:
    rows = json.loads(guard.RECORD.read_text())

    assert rows
    for row in rows:
        assert set(row["figures"]) == {
            f"{name}: {kind}" for name in guard.WORK for kind in ("calls", "ratio")
        }
