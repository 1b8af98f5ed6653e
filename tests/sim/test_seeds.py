"""Simulated clusters, one per seed: the real broker, Kafka clients, faults, and all checkers.

`TRIMARAN_SIM_SEEDS` and `TRIMARAN_SIM_FIRST_SEED` (default 1) choose the seeds. With as many seeds
as by default, each kind of fault and each thing that faults are to bring about must have happened.
"""

import multiprocessing
import os
import time

import pytest

from trimaran.sim.faults import KINDS
from trimaran.sim.report import EXPECTED_COUNTS, SeedReport, missing, options_of, table
from trimaran.sim.run import run

CI_SEEDS = 272
SEEDS = int(os.environ.get("TRIMARAN_SIM_SEEDS", CI_SEEDS))
FIRST_SEED = int(os.environ.get("TRIMARAN_SIM_FIRST_SEED", "1"))
PROCESSES = 2
TWICE_EVERY = 10
COUNTED_SHARE = 0.9
VIRTUAL_S_MIN = 120 * 60.0
"""Of the seeds that count, in a run of CI_SEEDS."""
EXPECTED = (*KINDS, *EXPECTED_COUNTS)

pytestmark = pytest.mark.sim


def simulate(seed: int) -> tuple[SeedReport, str]:
    """Run one seed; one in ten a second time, to compare."""
    options = options_of(seed)
    report = run(options)
    again = report.digest if seed % TWICE_EVERY else run(options).digest
    return report, again


def test_no_seed_violates_an_invariant(capsys):
    started = time.monotonic()
    seeds = range(FIRST_SEED, FIRST_SEED + SEEDS)
    reports = []
    different = []
    with multiprocessing.get_context("spawn").Pool(PROCESSES) as pool:
        for report, digest_again in pool.imap_unordered(simulate, seeds):
            reports.append(report.without_trace())
            if digest_again != report.digest:
                different.append(report.seed)
            if not report.passed:
                with capsys.disabled():
                    print(f"\n{report.options.command()}\n  {report.summary()}")
                    for line in report.violations[:5]:
                        print(f"    {line}")
    elapsed = time.monotonic() - started
    with capsys.disabled():
        print(f"\n{table(reports, expected=EXPECTED)}\n{elapsed:.0f} s")

    assert not different, "one seed, two different runs"
    assert [report.seed for report in reports if not report.passed] == []
    assert sum(report.counted for report in reports) >= COUNTED_SHARE * SEEDS
    if SEEDS >= CI_SEEDS:
        counted_s = sum(report.virtual_s for report in reports if report.counted)
        assert counted_s >= VIRTUAL_S_MIN
        assert missing(reports, expected=EXPECTED) == []
