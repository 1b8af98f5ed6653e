"""The checker of event ids and the client that trusts them notice what they are there for."""

from random import Random
from types import SimpleNamespace

import pytest

from trimaran.broker.deduplication import EventIds
from trimaran.broker.partition import Partition
from trimaran.dedup.event_ids import hash_id, pack_ids
from trimaran.dedup.id_window import EventIdWindow
from trimaran.ids import GroupId
from trimaran.sim.checkers import EventIdsEqual, Evidence
from trimaran.sim.history import History, ReadRecord
from trimaran.sim.id_sender import IdSender
from trimaran.sim.report import RunOptions
from trimaran.sim.run import run

GROUP = GroupId(bytes(20))


def view(node, *names, commit=9, folded=0):
    machine = object.__new__(Partition)
    machine.event_ids = EventIds()
    window = machine.event_ids.window
    window.change(index=1, log_time_ms=1, next_offset=0, window_ms=10, ids_max=1000)
    for at, name in enumerate(names):
        packed = pack_ids(hash_id(name), [0])
        window.fold(index=2 + at, log_time_ms=1, offset=at, packed=packed)
    core = SimpleNamespace(commit_index=commit)
    return Evidence(node, 1, GROUP, core, SimpleNamespace(machine=machine, folded=folded))


def test_replicas_that_know_different_ids_at_one_entry_are_seen():
    checker = EventIdsEqual()

    right = [view("a", b"1", b"2"), view("b", b"1"), view("c", b"1", b"2"), view("d", b"1", b"2")]
    assert list(checker.step(right)) == []
    assert len(list(checker.step([view("e", b"1", b"3")]))) == 1
    assert list(checker.step([view("f", b"9", commit=1)])) == []
    assert len(list(checker.step([view("f", b"9", commit=2)]))) == 1


def test_a_replica_that_did_not_fold_the_ids_of_an_entry_is_seen():
    checker = EventIdsEqual()
    list(checker.step([view("a", b"1", b"2", folded=3)]))

    assert list(checker.step([view("b", b"1", folded=2)])) == []
    assert list(checker.step([view("b", b"1", folded=3, commit=2)])) == []
    (line,) = checker.step([view("b", b"1", folded=3)])
    assert "b folded up to 3, but not the event ids of entry 3" in line


@pytest.mark.parametrize(
    ("reads", "found"),
    [
        ([(0, b"a"), (1, b"b")], []),
        ([(0, b"a"), (1, b"b"), (2, b"a")], ["stored at [0, 2]"]),
        ([(0, b"a")], ["was acked and is not stored"]),
        ([(1, b"a"), (2, b"b")], ["was told 0"]),
    ],
)
def test_the_client_says_what_it_was_promised_and_did_not_get(reads, found):
    history = History()
    sender = IdSender(SimpleNamespace(chance=Random(1)), history, think_s=1.0)
    sender._acked = [b"a", b"b"]
    sender._told = {b"a": 0}

    sender._judge([ReadRecord(offset, value, 9) for offset, value in reads])

    assert len(history.oddities) == len(found)
    assert all(what in line for what, line in zip(found, history.oddities, strict=True))


def test_a_leader_that_forgets_ids_is_noticed(monkeypatch):
    monkeypatch.setattr(EventIdWindow, "find", lambda self, hashes, log_time_ms: {})

    report = run(RunOptions(seed=3, seconds=6.0), trace_lines=0)

    assert any("is stored at" in line for line in report.violations)
