"""A reader's side of a fetch session: what it names, and which answers are wrong."""

import pytest

from trimaran.errors import ErrorCode
from trimaran.protocol.messages import PartitionData
from trimaran.sim.fetch_session import FINAL_EPOCH, HUNGRY_MAX, ReaderSession


def told(partition, *, high_watermark=0, records=(), error=ErrorCode.NONE):
    return PartitionData(partition, error, high_watermark=high_watermark, records=records)


@pytest.fixture
def session():
    """Session 7, in which partitions 0 and 1 are read from offset 5."""
    session = ReaderSession()
    assert session.answered(session.ask({0: 5, 1: 5}), [told(0), told(1)], 7) == []
    return session


def test_a_full_request_names_everything_and_the_next_ones_what_is_new():
    session = ReaderSession()
    first = session.ask({0: 5, 1: 5})
    session.answered(first, [told(0), told(1)], 7)

    second = session.ask({0: 6, 2: 0})
    session.answered(second, [], 7)
    third = session.ask({0: 6, 2: 0})

    assert (first.session_id, first.epoch, first.positions) == (0, 0, {0: 5, 1: 5})
    assert (second.session_id, second.epoch, second.positions) == (7, 1, {0: 6, 2: 0})
    assert second.forgotten == [1]
    assert (third.epoch, third.positions, third.forgotten) == (2, {}, [])


def test_a_request_whose_answer_was_lost_is_made_again(session):
    lost = session.ask({0: 6})

    assert session.ask({0: 6}) == lost


def test_who_starts_over_ends_the_session_that_it_has(session):
    session.start_over()

    asked = session.ask({0: 6})

    assert (asked.session_id, asked.epoch, asked.positions) == (7, 0, {0: 6})


def test_after_the_final_request_there_is_no_session(session):
    asked = session.ask({0: 6}, ends=True)

    assert (asked.session_id, asked.epoch) == (7, FINAL_EPOCH)
    assert session.answered(asked, [told(0)], 0) == []
    assert not session.is_open


@pytest.mark.parametrize(
    ("wanted", "ends", "answer", "session_id", "wrong"),
    [
        ({0: 5, 1: 5}, False, [], 7, []),
        ({0: 5, 1: 5}, False, [told(1)], 0, []),
        ({0: 5}, False, [told(1)], 7, ["told of [1] in a session of [0], forgotten [1]"]),
        (
            {0: 5},
            False,
            [told(0), told(0)],
            7,
            ["told of [0, 0] in a session of [0], forgotten [1]"],
        ),
        ({0: 5, 1: 5}, False, [], 8, ["asked in session 7, answered in 8"]),
        ({0: 5, 1: 5}, True, [told(0)], 0, ["asked in full for [0, 1], told of [0]"]),
        ({0: 5}, True, [told(0)], 8, ["asked for no session, given 8"]),
    ],
)
def test_an_answer_tells_of_what_is_in_its_session(
    session, wanted, ends, answer, session_id, wrong
):
    assert session.answered(session.ask(wanted, ends=ends), answer, session_id) == wrong


def test_a_partition_that_has_more_and_gets_nothing_answer_after_answer_is_noticed(session):
    news = [told(0, high_watermark=9, records=(b"batch",)), told(1, high_watermark=9)]
    session.answered(session.ask({0: 5, 1: 5}), news, 7)

    wrong = [session.answered(session.ask({0: 9, 1: 5}), [], 7) for _ in range(HUNGRY_MAX)]

    assert wrong[:-2] == [[]] * (HUNGRY_MAX - 2)
    assert wrong[-2] == [
        f"{HUNGRY_MAX} answers without anything of partition 1, which stands at 5 below the high "
        "watermark 9"
    ]


def test_a_partition_that_gets_something_at_times_or_an_error_is_not_hungry(session):
    errors = [told(1, high_watermark=-1, error=ErrorCode.NOT_LEADER_OR_FOLLOWER)]
    for answer in ([told(1, high_watermark=9)], [], [], errors, [], [], []):
        assert session.answered(session.ask({0: 5, 1: 5}), answer, 7) == []
