"""Fetch sessions: named once, told what is new, bounded (KIP-227)."""

import itertools

import pytest

from trimaran.broker import fetch_sessions
from trimaran.broker.fetch_sessions import FetchSessions
from trimaran.broker.rows import ROWS_MAX
from trimaran.errors import ErrorCode, RequestError
from trimaran.ids import TopicId
from trimaran.protocol.api import ApiKey
from trimaran.protocol.messages import FetchPartition, FetchRequest, FetchTopic, ForgottenTopic

NO_ID = TopicId(bytes(16))
BATCH_OF_ONE = 61 + 10


def topics_of(*places):
    return [
        FetchTopic(topic, NO_ID, [FetchPartition(number, offset, 1 << 20)])
        for topic, number, offset in places
    ]


def request(*places, session_id=0, epoch=0, forgotten=(), max_wait_ms=500):
    return FetchRequest(
        max_wait_ms,
        1,
        topics_of(*places),
        session_id=session_id,
        session_epoch=epoch,
        forgotten_topics_data=[
            ForgottenTopic(topic, NO_ID, [number]) for topic, number in forgotten
        ],
    )


@pytest.fixture
def ask(client):
    """Return a function that sends a Fetch 11 and returns its answer, waiting for nothing."""

    def send(*places, **fields):
        return client.ask(ApiKey.FETCH, 11, request(*places, max_wait_ms=0, **fields))

    return send


@pytest.fixture
def flights(broker):
    """Return the partitions of a topic, three of them, each with one event."""
    broker.add_topic("flights", 3)
    partitions = [broker.partition("flights", number) for number in range(3)]
    for partition in partitions:
        partition.fill(1)
    return partitions


def numbers(answer):
    return [data.partition_index for topic in answer.responses for data in topic.partitions]


def test_a_session_tells_only_what_is_new(ask, flights):
    first = ask(("flights", 0, 0), ("flights", 1, 1), ("flights", 2, 1))
    assert numbers(first) == [0, 1, 2]
    assert first.session_id > 0

    moved = ask(("flights", 0, 1), session_id=first.session_id, epoch=1)
    assert (numbers(moved), moved.session_id) == ([], first.session_id)

    flights[2].fill(1)
    after = ask(session_id=first.session_id, epoch=2)
    assert numbers(after) == [2]


def test_a_session_may_begin_with_nothing(ask, flights):
    first = ask()
    joined = ask(("flights", 0, 0), session_id=first.session_id, epoch=1)

    assert first.session_id > 0
    assert numbers(joined) == [0]


def test_a_partition_with_data_comes_last_next_time(ask, flights):
    first = ask(("flights", 0, 0), ("flights", 1, 1), ("flights", 2, 1))
    flights[0].fill(1)
    flights[1].fill(1)

    again = ask(session_id=first.session_id, epoch=1)

    assert numbers(again) == [1, 0]


def test_a_moved_log_start_is_news(ask, flights):
    first = ask(("flights", 0, 1), ("flights", 1, 1))
    flights[1].delete_records(1)

    assert numbers(ask(session_id=first.session_id, epoch=1)) == [1]


def test_an_error_is_told_each_time(ask, flights):
    first = ask(("flights", 0, 1), ("flights", 1, -1))
    again = ask(session_id=first.session_id, epoch=1)

    (data,) = again.responses[0].partitions
    assert (data.partition_index, data.error_code) == (1, ErrorCode.OFFSET_OUT_OF_RANGE)


def test_a_forgotten_partition_is_not_looked_at(ask, flights):
    first = ask(("flights", 0, 1), ("flights", 1, 1))
    gone = ask(session_id=first.session_id, epoch=1, forgotten=[("flights", 1)])
    flights[1].fill(1)

    assert numbers(gone) == []
    assert numbers(ask(session_id=first.session_id, epoch=2)) == []


def test_a_request_with_another_epoch_starts_over(ask, flights):
    first = ask(("flights", 0, 1))

    assert ask(session_id=first.session_id, epoch=2).error_code == (
        ErrorCode.INVALID_FETCH_SESSION_EPOCH
    )


def test_a_session_does_not_mix_names_and_ids(client, ask, flights):
    first = ask(("flights", 0, 1))
    later = request(session_id=first.session_id, epoch=1, max_wait_ms=0)

    answer = client.ask(ApiKey.FETCH, 13, later)

    assert answer.error_code == ErrorCode.FETCH_SESSION_TOPIC_ID_ERROR


def test_a_final_request_closes_the_session(broker, ask, flights):
    first = ask(("flights", 0, 1))

    last = ask(("flights", 0, 1), session_id=first.session_id, epoch=-1)

    assert (numbers(last), last.session_id) == ([0], 0)
    assert (len(broker.fetch_sessions), broker.fetch_sessions.partition_count) == (0, 0)


def test_a_session_without_partitions_ends(broker, ask, flights):
    first = ask(("flights", 0, 1))

    last = ask(session_id=first.session_id, epoch=1, forgotten=[("flights", 0)])

    assert last.session_id == 0
    assert len(broker.fetch_sessions) == 0


def made(sessions, count, now_s):
    places = [("flights", number, 0) for number in range(count)]
    return sessions.open(request(*places), uses_ids=False, now_s=now_s)


def test_the_cache_is_bounded_and_only_an_idle_session_gives_way(monkeypatch):
    monkeypatch.setattr(fetch_sessions, "SESSIONS_MAX", 2)
    sessions = FetchSessions(itertools.count(1).__next__)
    eldest, used = made(sessions, 1, 0.0), made(sessions, 1, 1.0)

    assert made(sessions, 1, 100.0) is None
    sessions.go_on(request(session_id=eldest.session_id, epoch=1), uses_ids=False, now_s=100.0)
    assert made(sessions, 1, 130.0) is not None
    assert len(sessions) == 2
    with pytest.raises(RequestError) as unknown:
        sessions.go_on(request(session_id=2, epoch=1), uses_ids=False, now_s=131.0)
    assert unknown.value.code is ErrorCode.FETCH_SESSION_ID_NOT_FOUND
    assert used.session_id == 0


def test_a_session_cannot_hold_more_partitions_than_all_may(monkeypatch):
    monkeypatch.setattr(fetch_sessions, "PARTITIONS_MAX", 5)
    sessions = FetchSessions(itertools.count(1).__next__)

    assert made(sessions, 6, 0.0) is None
    small = made(sessions, 3, 0.0)
    assert made(sessions, 3, 1.0) is None
    sessions.close(small.session_id)
    assert made(sessions, 3, 1.0) is not None
    assert sessions.partition_count == 3


@pytest.mark.parametrize("first_count", [1, ROWS_MAX + 1])
def test_a_session_of_more_partitions_than_may_be_read_is_refused_and_not_kept(
    broker, ask, first_count
):
    places = [("flights", number, 0) for number in range(ROWS_MAX + 1)]

    answer = ask(*places[:first_count])
    if first_count == 1:
        answer = ask(*places[1:], session_id=answer.session_id, epoch=1)

    assert answer.error_code == ErrorCode.INVALID_REQUEST
    assert (len(broker.fetch_sessions), broker.fetch_sessions.partition_count) == (0, 0)


def test_after_the_highest_epoch_comes_one():
    sessions = FetchSessions(itertools.count(1).__next__)
    session = made(sessions, 1, 0.0)
    session.epoch = 2**31 - 1

    sessions.go_on(request(session_id=1, epoch=2**31 - 1), uses_ids=False, now_s=0.0)

    assert session.epoch == 1
