"""Simulated clusters, one per seed: the real broker, Kafka clients, faults, and all checkers.

`TRIMARAN_SIM_SEEDS` (default 100) and `TRIMARAN_SIM_FIRST_SEED` (default 1) choose the seeds.
"""

import multiprocessing
import os
import time

import pytest

from trimaran.sim.run import SeedReport, run_seed

SEEDS = int(os.environ.get("TRIMARAN_SIM_SEEDS", "100"))
FIRST_SEED = int(os.environ.get("TRIMARAN_SIM_FIRST_SEED", "1"))
SECONDS = 12.0
PROCESSES = 2
TWICE_EVERY = 10

pytestmark = pytest.mark.sim


def simulate(seed: int) -> tuple[SeedReport, str]:
    """Run one seed; one in ten a second time, to compare."""
    report = run_seed(seed, seconds=SECONDS)
    again = run_seed(seed, seconds=SECONDS).digest if seed % TWICE_EVERY == 0 else report.digest
    return report, again


def test_no_seed_violates_an_invariant(capsys):
    started = time.monotonic()
    seeds = range(FIRST_SEED, FIRST_SEED + SEEDS)
    reports = []
    different = []
    with multiprocessing.get_context("spawn").Pool(PROCESSES) as pool:
        for report, digest_again in pool.imap_unordered(simulate, seeds):
            reports.append(report)
            if digest_again != report.digest:
                different.append(report.seed)
            with capsys.disabled():
                elapsed = time.monotonic() - started
                print(f"\n[{len(reports)}/{SEEDS} {elapsed:.0f} s] {report.summary()}", end="")
                for line in report.violations[:5]:
                    print(f"\n    {line}", end="")
    with capsys.disabled():
        print(f"\n{totals(reports)}")

    assert not different, "one seed, two different runs"
    assert [report.seed for report in reports if not report.passed] == []
    assert sum(report.acked for report in reports) > 100 * SEEDS


def totals(reports: list[SeedReport]) -> str:
    """Say what the seeds did, all together."""
    faults: dict[str, int] = {}
    for report in reports:
        for name, count in report.faults.items():
            faults[name] = faults.get(name, 0) + count
    listed = ", ".join(f"{name} {count}" for name, count in sorted(faults.items()))
    return (
        f"{len(reports)} seeds, {sum(r.virtual_s for r in reports) / 60:.1f} virtual minutes, "
        f"{sum(r.acked for r in reports)} acknowledged records, "
        f"{sum(r.leader_changes for r in reports)} leader changes, "
        f"{sum(r.restarts for r in reports)} restarts; faults: {listed or 'none'}"
    )
