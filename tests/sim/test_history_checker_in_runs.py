"""Bugs planted in the broker or the disk under a whole simulated cluster, and who notices them."""

import asyncio

import pytest

from trimaran.broker.fetching import FetchWait
from trimaran.broker.partition import Partition
from trimaran.broker.stored_reads import batches_of
from trimaran.ids import Index
from trimaran.sim.files import SimFile
from trimaran.sim.run import run_seed

pytestmark = pytest.mark.sim


def violations_of(beginning, *, kinds=(), seeds=range(1, 7)):
    """Return what begins so in the first seed that has any."""
    for seed in seeds:
        report = run_seed(seed, seconds=4, kinds=kinds)
        found = [line for line in report.violations if line.startswith(beginning)]
        if found:
            return found
    return []


def test_records_served_before_they_are_committed_are_noticed(monkeypatch):
    read = Partition.read

    def read_all(partition, offset, bytes_max):
        log = partition._raft.log
        first = log.find_offset(offset)
        if first is None:
            return () if offset >= log.next_offset else read(partition, offset, bytes_max)
        return batches_of(log.slice(first, Index(log.last_index + 1)))

    monkeypatch.setattr(Partition, "read", read_all)
    monkeypatch.setattr(FetchWait, "_is_readable", lambda _wait, partition, _slot: True)

    assert violations_of(
        "HistoryWithoutAnomaly: precommitted read", kinds=("isolate from peers", "slow links")
    )


def test_an_end_that_leaves_out_what_was_just_acknowledged_is_noticed(monkeypatch):
    def read_index(partition):
        answer = asyncio.get_running_loop().create_future()
        answer.set_result(max(0, partition.high_watermark - 30))
        return answer

    monkeypatch.setattr(Partition, "read_index", read_index)

    assert violations_of("HistoryWithoutAnomaly: stale end")


def test_followers_that_do_not_fold_producers_are_noticed(monkeypatch):
    monkeypatch.setattr(
        Partition,
        "appended",
        lambda partition, entries: (
            [partition._epochs.appended(entry) for entry in entries] and None
        ),
    )

    assert violations_of("ProducerStateEqual")


def test_segments_that_are_not_synced_are_noticed(monkeypatch):
    sync = SimFile.sync

    def sync_others(file):
        if not file.path.endswith(".segment"):
            sync(file)

    monkeypatch.setattr(SimFile, "sync", sync_others)

    assert violations_of("SyncedIsDurable")
