"""Readers in fetch sessions and near followers: seeds have them, and they notice planted bugs."""

from collections.abc import Sequence

import pytest

from trimaran.broker import fetching
from trimaran.broker.fetch_sessions import FetchSession, FetchSessions, SessionPartition
from trimaran.broker.fetching import FetchWait
from trimaran.broker.partition import Partition
from trimaran.broker.stored_reads import batches_of
from trimaran.ids import Index
from trimaran.sim.report import added_up
from trimaran.sim.run import run_seed

pytestmark = pytest.mark.sim

SESSION_SEEDS = (2, 4, 8, 9, 10)
NEAR_SEEDS = (2, 5, 7, 9, 10)


def violations_of(beginning, *, seeds, nodes=3, kinds=(), seconds=4):
    """Return what begins so in the first seed that has any."""
    for seed in seeds:
        report = run_seed(seed, seconds=seconds, nodes=nodes, kinds=kinds)
        found = [line for line in report.violations if line.startswith(beginning)]
        if found:
            return found
    return []


def test_seeds_read_in_sessions_and_from_followers():
    reports = [run_seed(seed) for seed in (9, 10, 20)]

    counts = added_up([report.counts for report in reports])
    assert [report.violations for report in reports] == [(), (), ()]
    for name in ("fetch session", "session ended by an error", "left out of a session"):
        assert counts[name] >= 5
    assert counts["read from a follower"] >= 10
    assert counts["reader ahead of a follower"] >= 1


def test_a_session_that_answers_of_what_was_forgotten_is_noticed(monkeypatch):
    change = FetchSession.change

    monkeypatch.setattr(
        FetchSession, "change", lambda session, topics, _forgotten: change(session, topics, ())
    )

    (line, *_) = violations_of("answer: client-3 at node", nodes=1, seeds=SESSION_SEEDS)
    assert "forgotten [" in line


def test_a_session_that_has_no_news_of_a_partition_is_noticed(monkeypatch):
    has_news = SessionPartition.has_news

    monkeypatch.setattr(
        SessionPartition,
        "has_news",
        lambda row, told: has_news(row, told) and row.asked.partition != 1,
    )

    (line, *_) = violations_of("answer: client-3 at node", nodes=1, seeds=SESSION_SEEDS)
    assert line.endswith("an answer without anything, before its time to wait was over")


def test_a_session_that_loses_a_partition_is_noticed(monkeypatch):
    go_on = FetchSessions.go_on

    def go_on_without(sessions, request, **fields):
        session = go_on(sessions, request, **fields)
        lost = [place for place in session.wanted if place[2] == 1]
        for place in lost:
            del session.wanted[place]
        sessions.partition_count -= len(lost)
        return session

    monkeypatch.setattr(FetchSessions, "go_on", go_on_without)

    assert violations_of("liveness: client-3/session reader", nodes=1, seeds=SESSION_SEEDS)


def test_a_session_that_reads_where_a_partition_stood_before_is_noticed(monkeypatch):
    change = FetchSession.change

    def change_nothing_known(session, topics, forgotten):
        before = {place: row.asked for place, row in session.wanted.items()}
        change(session, topics, forgotten)
        for place, row in session.wanted.items():
            row.asked = before.get(place, row.asked)

    monkeypatch.setattr(FetchSession, "change", change_nothing_known)

    (line, *_) = violations_of("answer: client-3: a batch up to", seeds=SESSION_SEEDS)
    assert "was asked for" in line


def test_sessions_whose_epochs_nobody_compares_are_noticed(monkeypatch):
    go_on = FetchSessions.go_on

    def go_on_anyhow(sessions, request, **fields):
        session = sessions._sessions.get(request.session_id)
        if session is not None:
            request.session_epoch = session.epoch
        return go_on(sessions, request, **fields)

    monkeypatch.setattr(FetchSessions, "go_on", go_on_anyhow)

    (line, *_) = violations_of("answer: client-3 at node", seeds=SESSION_SEEDS)
    assert line.endswith("NONE to a request that was to fail with INVALID_FETCH_SESSION_EPOCH")


def test_sessions_that_are_forgotten_at_once_are_noticed(monkeypatch):
    open_session = FetchSessions.open

    def open_and_close(sessions, request, **fields):
        session = open_session(sessions, request, **fields)
        if session is not None:
            del sessions._sessions[session.session_id]
            sessions.partition_count -= len(session.wanted)
        return session

    monkeypatch.setattr(FetchSessions, "open", open_and_close)

    (line, *_) = violations_of("answer: client-3 at node", seeds=SESSION_SEEDS)
    assert line.endswith("FETCH_SESSION_ID_NOT_FOUND in a session that both know")


def all_there_is(partition: Partition, offset: int, bytes_max: int, read) -> Sequence[bytes]:
    """Read up to the end of the log, committed or not."""
    log = partition._raft.log
    first = log.find_offset(offset)
    if first is None:
        return () if offset >= log.next_offset else read(partition, offset, bytes_max)
    return batches_of(log.slice(first, Index(log.last_index + 1)))


def test_a_follower_that_serves_its_uncommitted_end_is_noticed(monkeypatch):
    read, is_readable = Partition.read, FetchWait._is_readable_near

    def read_all(partition, offset, bytes_max):
        if partition.is_leader:
            return read(partition, offset, bytes_max)
        return all_there_is(partition, offset, bytes_max, read)

    monkeypatch.setattr(Partition, "read", read_all)
    monkeypatch.setattr(
        FetchWait,
        "_is_readable_near",
        lambda wait, partition, slot: (
            is_readable(wait, partition, slot) or slot.next_offset < partition.log_end
        ),
    )

    monkeypatch.setattr(fetching, "not_here_yet", lambda *_arguments: None)

    found = violations_of("ReadsCommittedOnly: client-2", seconds=8, seeds=NEAR_SEEDS)
    assert "at or above its high watermark" in found[0]


def test_a_leader_that_sends_readers_to_another_rack_is_noticed(monkeypatch):
    monkeypatch.setattr(
        fetching,
        "nearer_replica",
        lambda broker, partition, _rack: next(
            node for node in partition.replicas if node != broker.node_id
        ),
    )

    (line, *_) = violations_of("answer: client-2: sent to node", seeds=NEAR_SEEDS)
    assert " in rack-" in line


def test_a_follower_that_skips_what_it_has_is_noticed(monkeypatch):
    read = Partition.read

    def skip(partition, offset, bytes_max):
        found = read(partition, offset, bytes_max)
        is_long = isinstance(found, Sequence) and len(found) > 1
        return found if partition.is_leader or not is_long else found[1:]

    monkeypatch.setattr(Partition, "read", skip)

    assert violations_of("HistoryWithoutAnomaly: poll skip", seeds=NEAR_SEEDS)
