"""Whole runs: equal seeds are equal, nothing wrong is found, and planted bugs are."""

import itertools

import pytest

from trimaran.broker.partition import Partition
from trimaran.sim import faults
from trimaran.sim.disk import FileNode
from trimaran.sim.files import SimFile
from trimaran.sim.run import run_seed

pytestmark = pytest.mark.sim


def test_a_calm_run_acknowledges_everything_and_finds_nothing():
    report = run_seed(1, seconds=3, kinds=())

    assert report.violations == ()
    assert report.acked == report.sent > 100
    assert report.read > 0
    assert report.faults == {}
    assert report.trace == ()


@pytest.mark.parametrize("nodes", [1, 5])
def test_other_cluster_sizes_run_as_well(nodes):
    report = run_seed(2, seconds=3, nodes=nodes, kinds=("kill",))

    assert report.violations == ()
    assert report.acked > 50


def test_one_seed_gives_one_run_and_another_seed_another():
    first, again, other = (run_seed(seed, seconds=4) for seed in (3, 3, 4))

    assert first == again
    assert first.digest != other.digest


@pytest.mark.parametrize(
    "kind",
    [
        "kill",
        "kill all",
        "power cut",
        "power cut of all",
        "pause",
        "isolate",
        "one-way cut",
        "isolate from peers",
        "slow links",
        "clock jump",
        "slow disk",
        "failed sync",
        "full disk",
    ],
)
def test_each_kind_of_fault_alone_violates_nothing(kind):
    report = run_seed(7, seconds=8, kinds=(kind,))

    assert report.violations == ()
    assert report.faults[kind] > 0


def violations_of(checker, *, kinds, seeds=range(1, 9)):
    """Return what `checker` finds in the first seed in which it finds anything."""
    for seed in seeds:
        report = run_seed(seed, seconds=6, kinds=kinds)
        found = [line for line in report.violations if line.startswith(checker)]
        if found:
            assert report.trace, "a failing seed tells how it came to it"
            return found
    return []


def test_acknowledging_before_the_sync_is_noticed(monkeypatch):
    """Every other round of the journal becomes durable only with the one after it."""
    sync, number = SimFile.sync, itertools.count()

    def sometimes(file):
        if not file.path.startswith("journal/0") or next(number) % 2:
            sync(file)

    monkeypatch.setattr(SimFile, "sync", sometimes)

    assert violations_of("AcknowledgedNeverLost", kinds=("power cut of all",))


def test_a_disk_that_never_syncs_is_noticed(monkeypatch):
    monkeypatch.setattr(FileNode, "sync", lambda _node: None)

    assert violations_of("", kinds=("power cut of all",))


def test_producer_sequences_that_nobody_checks_are_noticed(monkeypatch):
    monkeypatch.setattr(Partition, "_judge", lambda *_arguments: None)

    assert violations_of("ProducerSequencesStoredOnce", kinds=("kill", "isolate"))


def test_a_quarter_of_the_seeds_is_calm():
    calm = [seed for seed in range(200) if not mix_of(seed).kinds]

    assert 30 <= len(calm) <= 70


def mix_of(seed):
    from trimaran.sim.run import SeedRun

    run = SeedRun(seed, seconds=1, nodes=3)
    run.loop.close()
    assert isinstance(run.faults, faults.FaultInjector)
    return run.faults.mix
