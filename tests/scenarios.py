"""Run the tests of the table of scenarios and put what became of each on record.

    python -m tests.scenarios            all of them, some ten minutes
    python -m tests.scenarios S4 S12     only those of these
    make test ARGS="-p tests.scenarios"  the whole suite, and these on record

`tests/sim/scenarios.toml` says which test plays which scenario; the record, with the date of each
run, is `tests/sim/scenario_results.toml`; `docs/testing.md` shows both. Exit code 1 if one failed.

Does not: run what the seeds' longer forms run (`make soak`, an hour of the random mix).
"""

import json
import sys
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
TABLE = ROOT / "tests/sim/scenarios.toml"
RESULTS = ROOT / "tests/sim/scenario_results.toml"
HEAD = (
    "# What became of the tests of the scenarios when they were run last. Written by\n"
    "#     python -m tests.scenarios\n"
)


@dataclass(kw_only=True, slots=True)
class Result:
    """One test function, all its parameters."""

    test: str
    date: str
    passed: int = 0
    failed: int = 0
    skipped: int = 0
    seconds: float = 0.0

    @property
    def outcome(self) -> str:
        """In a word: only what ran and never failed has passed."""
        if self.failed:
            return "failed"
        return "passed" if self.passed and not self.skipped else "skipped"


class Recorder:
    """A plugin of the test runner that counts by test function."""

    def __init__(self, date: str) -> None:
        self._date = date
        self.results: dict[str, Result] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take the call, and what failed or was skipped before or after it."""
        name = report.nodeid.partition("[")[0]
        result = self.results.setdefault(name, Result(test=name, date=self._date))
        result.seconds += report.duration
        if report.failed:
            result.failed += 1
        elif report.skipped:
            result.skipped += 1
        elif report.when == "call":
            result.passed += 1

    def pytest_sessionfinish(self) -> None:
        """Put those of the table on record, beside what is there of those that did not run."""
        ran = {**load_results(), **self.results}
        wanted = played_by([])
        kept = {name: row for name, row in ran.items() if name in wanted}
        RESULTS.write_text(results_text(kept), encoding="utf-8")


def pytest_configure(config: pytest.Config) -> None:
    """Record, where this module is given to the test runner as a plugin."""
    config.pluginmanager.register(Recorder(datetime.now(UTC).date().isoformat()))


def load_results(path: Path = RESULTS) -> dict[str, Result]:
    """Return what is on record, by test; empty if there is no record."""
    if not path.exists():
        return {}
    rows = tomllib.loads(path.read_text(encoding="utf-8")).get("result", ())
    return {row["test"]: Result(**row) for row in rows}


def results_text(results: Mapping[str, Result]) -> str:
    """Return the record as a file's content, sorted by test."""
    parts = [HEAD]
    for name in sorted(results):
        row = results[name]
        parts.append(
            f"\n[[result]]\ntest = {json.dumps(row.test)}\ndate = {json.dumps(row.date)}\n"
            f"passed = {row.passed}\nfailed = {row.failed}\nskipped = {row.skipped}\n"
            f"seconds = {row.seconds:.1f}\n"
        )
    return "".join(parts)


def load_table() -> list[dict[str, Any]]:
    """Return the rows of the table of scenarios, in its order."""
    rows: list[dict[str, Any]] = tomllib.loads(TABLE.read_text("utf-8"))["scenario"]
    return rows


def played_by(ids: Sequence[str]) -> list[str]:
    """Return the tests of these scenarios, of all if there are none named, each once.

    Raises:
        KeyError: there is no such scenario.
    """
    table = {row["id"]: row for row in load_table()}
    rows = [table[name] for name in ids or table]
    return list(dict.fromkeys(test for row in rows for test in row.get("tests", ())))


def main(ids: Sequence[str]) -> int:
    """Run them, record them; return the test runner's exit code."""
    tests = [str(ROOT / test) for test in played_by(ids)]
    return int(pytest.main(["-q", "-p", "tests.scenarios", *tests]))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
