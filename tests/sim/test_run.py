"""Whole runs: equal seeds are equal, nothing wrong is found, and planted bugs are."""

import gc
import os
import subprocess
import sys
from dataclasses import replace
from itertools import count

import pytest
from tests.sim.test_checkers import Core

from trimaran.broker.append_waiters import AppendWaiters
from trimaran.broker.partition import Partition
from trimaran.broker.pending import PendingAppend
from trimaran.sim.checkers import OneLeaderPerTerm
from trimaran.sim.disk import FileNode
from trimaran.sim.faults import FAULTS, HONEST_KINDS, STORAGE_DAMAGE_KINDS
from trimaran.sim.files import SimFile
from trimaran.sim.report import RunOptions
from trimaran.sim.run import SeedRun, run, run_seed

pytestmark = pytest.mark.sim


def test_a_calm_run_acknowledges_everything_that_was_to_be_acknowledged_and_finds_nothing():
    report = run_seed(1, seconds=3, kinds=(), clients=3)

    assert report.violations == ()
    assert report.acked == report.sent > 100
    assert report.read > 0
    assert report.faults == {}
    assert report.trace == ()
    assert report.progress_s < 1.0


def test_what_only_the_leader_acked_or_nobody_is_not_called_acknowledged():
    report = run_seed(1, seconds=3, kinds=())

    assert report.violations == ()
    assert 0 < report.acked < report.sent
    assert report.sent == report.acked + report.unknown


@pytest.mark.parametrize("nodes", [1, 5])
def test_other_cluster_sizes_run_as_well(nodes):
    report = run_seed(2, seconds=3, nodes=nodes, kinds=("kill",))

    assert report.violations == ()
    assert report.acked > 50


def test_one_seed_gives_one_run_and_another_seed_another():
    first, again, other = (run_seed(seed, seconds=4) for seed in (3, 3, 4))

    assert first == again
    assert first.digest != other.digest


def test_a_seed_gives_the_same_run_in_another_process_whatever_its_hash_seed_is():
    program = "from trimaran.sim.run import run_seed; print(run_seed(5, seconds=4).digest)"
    digests = [
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for hash_seed in ("1", "2")
    ]

    assert digests[0] == digests[1]
    assert len(digests[0]) > 10


@pytest.mark.parametrize("kind", HONEST_KINDS)
def test_each_kind_of_fault_alone_violates_nothing(kind):
    report = run_seed(7, seconds=8, kinds=(kind,))

    assert report.violations == ()
    assert report.faults[kind] > 0


@pytest.mark.parametrize("kind", STORAGE_DAMAGE_KINDS)
def test_a_disk_that_lies_makes_no_node_lie(kind):
    """A group may stop; what was acknowledged is there, and nothing else is read."""
    reports = [run_seed(seed, seconds=8, kinds=(kind, "kill")) for seed in (11, 12, 13)]

    assert [report.lies for report in reports] == [(), (), ()]
    assert sum(report.faults.get(kind, 0) for report in reports) > 0


def test_a_calm_run_restarts_one_node_in_order_and_loses_no_leader_for_long():
    report = run_seed(1, seconds=10, kinds=())

    assert report.violations == ()
    assert report.counts["orderly stop"] == 1
    assert report.leader_changes >= 1
    assert report.counts["recovery"] == 1


def violations_of(checker, *, kinds, seeds=range(1, 9), seconds=6):
    """Return what `checker` finds in the first seed in which it finds anything."""
    for seed in seeds:
        report = run_seed(seed, seconds=seconds, kinds=kinds)
        found = [line for line in report.violations if line.startswith(checker)]
        if found:
            assert report.trace, "a failing seed tells how it came to it"
            return found
    return []


def test_a_run_leaves_nothing_in_memory():
    """A process simulates hundreds of seeds, one after the other."""
    before = seed_runs()

    run_seed(1, seconds=1, kinds=())

    assert not [run for run in seed_runs() if all(run is not one for one in before)]


def seed_runs():
    """Return the runs in memory; those that tests made themselves may wait to be collected."""
    return [thing for thing in gc.get_objects() if isinstance(thing, SeedRun)]


def test_acknowledging_before_the_sync_is_noticed(monkeypatch):
    """A round of the journal becomes durable only with the one after it."""
    sync = SimFile.sync
    held = {}

    def late(file):
        if not file.path.startswith("journal/0"):
            sync(file)
            return
        node = file._node
        before = held.get(id(node), {})
        now = {sector: node.dirty[sector] for sector in list(node.dirty) if sector not in before}
        for sector in now:
            del node.dirty[sector]
        sync(file)
        node.dirty.update(now)
        held[id(node)] = now

    monkeypatch.setattr(SimFile, "sync", late)

    seeds = (1, 20, 23, 27)
    assert violations_of("AcknowledgedNeverLost", kinds=("power cut of all",), seeds=seeds)


def test_a_disk_that_never_syncs_is_noticed(monkeypatch):
    monkeypatch.setattr(FileNode, "sync", lambda _node: None)

    assert violations_of("", kinds=("power cut of all",))


def test_an_answer_before_its_entry_is_stored_is_noticed(monkeypatch):
    def at_once(_waiters, entry, _acks):
        pending = PendingAppend(entry.offset, entry.index, entry.term)
        pending.finish(None)
        return pending

    monkeypatch.setattr(AppendWaiters, "of_entry", at_once)

    assert violations_of("AnswersAreTrue", kinds=(), seeds=(1,))


def test_what_a_power_cut_would_lose_is_noticed_without_one(monkeypatch):
    monkeypatch.setattr(FileNode, "sync", lambda _node: None)

    assert violations_of("PowerCutLosesNothing", kinds=(), seeds=(1,))


def test_a_run_may_end_at_the_first_violation_of_safety(monkeypatch):
    monkeypatch.setattr(FileNode, "sync", lambda _node: None)

    report = run(RunOptions(seed=1, seconds=20, kinds=()), ends_at_a_lie=True)

    # One look may find several, all of one node's disk.
    assert len({tuple(text.split(":")[:2]) for text in report.violations}) == 1
    assert report.virtual_s < 15.0


def test_a_cluster_whose_only_disk_lied_need_not_go_on_but_may_not_lie(monkeypatch):
    monkeypatch.setattr("trimaran.sim.faults.REFUSED_STARTS", 1_000)
    report = run_seed(198, nodes=1, seconds=8, kinds=("bit rot", "misdirected write", "kill"))

    assert report.violations == ()
    assert report.faults["bit rot"] > 0


def test_producer_sequences_that_nobody_checks_are_noticed(monkeypatch):
    monkeypatch.setattr(Partition, "_judge", lambda *_arguments: None)

    assert violations_of("ProducerSequencesStoredOnce", kinds=("kill", "isolate"))


def test_a_majority_that_makes_no_progress_is_noticed():
    """Nodes that hear nothing of each other cannot agree, whatever `narrow` calls healthy."""
    run = SeedRun(RunOptions(seed=1, seconds=2, kinds=()))
    narrow = run.faults.narrow

    def cut_instead():
        majority = narrow()
        names = [node.name for node in run.cluster.nodes]
        run.network.cut(names, names)
        return majority

    run.faults.narrow = cut_instead
    run.history.is_calm = False
    report = run.execute(trace_lines=10)
    run.loop.close()

    assert any("no progress" in line for line in report.violations)
    assert report.progress_s == 15.0
    assert report.lies == ()


def test_a_checker_that_dies_is_a_violation_and_goes_on_looking(monkeypatch):
    step = OneLeaderPerTerm.step
    looks = count(1)

    def dies_once(checker, views):
        if next(looks) == 20:
            raise KeyError("what it did not expect")
        return step(checker, views)

    monkeypatch.setattr(OneLeaderPerTerm, "step", dies_once)
    report = run_seed(1, seconds=2, kinds=())

    (line,) = report.violations
    assert line.startswith("OneLeaderPerTerm died of KeyError('what it did not expect') test_run.")
    assert next(looks) > 100


def test_a_replica_that_breaks_what_checkers_count_on_is_reported_not_overlooked():
    """Its commit index is beyond its log for one look."""
    run = SeedRun(RunOptions(seed=1, seconds=2, kinds=()))
    look = run.eyes.look
    looks = count(1)

    def see(found):
        views, changed = look(found)
        if next(looks) == 100:
            broken = views[0].core
            core = Core(broken.term, broken.role, broken.log.last_index + 3, broken.log)
            changed = [replace(views[0], core=core)]
        return views, changed

    run.eyes.look = see
    report = run.execute(trace_lines=10)
    run.loop.close()

    assert any("beyond the log's last index" in line for line in report.violations)
    assert all(line.startswith("CommitAndTermMonotone: ") for line in report.violations)


@pytest.mark.parametrize("broken", ["strike", "orderly stop"])
def test_a_part_of_the_run_that_dies_is_a_violation(monkeypatch, broken):
    def die(*_arguments):
        raise KeyError("the run is broken")

    if broken == "strike":
        monkeypatch.setitem(FAULTS, "kill", die)
    else:
        monkeypatch.setattr("trimaran.sim.run.SimCluster.stop", die)
    report = run_seed(1, seconds=8, kinds=("kill",))

    assert report.violations[0].startswith("uncaught in world: KeyError('the run is broken')")
