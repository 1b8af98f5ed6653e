"""What clients are told, and when: wrong errors and late answers are noticed."""

from random import Random

import pytest

from trimaran.broker.fetching import FetchSlot, FetchWait
from trimaran.broker.handlers import produce
from trimaran.errors import ErrorCode
from trimaran.sim.checkers import AnswersExpected, FetchesWoken
from trimaran.sim.history import History
from trimaran.sim.run import run_seed

pytestmark = pytest.mark.sim


def judged(checker, **noted):
    return list(checker().finish(History(**noted)))


def test_an_error_that_nobody_may_be_told_is_seen():
    trouble = {"LEADER_NOT_AVAILABLE": 3, "RetryError": 9}

    assert judged(AnswersExpected, answers=trouble) == []
    assert judged(AnswersExpected, answers=trouble, is_calm=True) == [
        "clients were told LEADER_NOT_AVAILABLE 3 times, which nobody may be told in a calm run"
    ]
    assert judged(AnswersExpected, answers={"UNKNOWN_SERVER_ERROR": 1}) == [
        "clients were told UNKNOWN_SERVER_ERROR once, which nobody may be told in any run"
    ]


def test_fetches_that_wait_their_time_out_are_seen_where_nothing_else_delays_them():
    assert judged(FetchesWoken, is_calm=True, fetches=20, late_fetches=2) == []
    assert judged(FetchesWoken, fetches=20, late_fetches=20) == []
    assert judged(FetchesWoken, is_calm=True) == []
    (line,) = judged(FetchesWoken, is_calm=True, fetches=20, late_fetches=3)
    assert line.startswith("3 of 20 fetches")


def lie_to_producers(monkeypatch, code):
    """Let nodes tell producers one time in ten that it went wrong when it did not."""
    respond = produce._partition_response
    chance = Random(1)

    def lie(*arguments):
        answer = respond(*arguments)
        if answer.error_code == ErrorCode.NONE and chance.random() < 0.1:
            answer.error_code = code
        return answer

    monkeypatch.setattr(produce, "_partition_response", lie)


@pytest.mark.parametrize(
    "code", [ErrorCode.UNKNOWN_SERVER_ERROR, ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER]
)
def test_a_node_that_tells_producers_a_wrong_error_is_noticed(monkeypatch, code):
    lie_to_producers(monkeypatch, code)

    report = run_seed(1, seconds=2, kinds=())

    assert any(f"AnswersExpected: clients were told {code.name}" in x for x in report.violations)


def test_a_batch_that_was_spoilt_on_its_way_is_refused():
    report = run_seed(1, seconds=8, kinds=())

    assert report.violations == ()
    assert report.counts["refused record"] == report.refused > 0


@pytest.mark.parametrize(
    ("seed", "noticed"),
    [(2, "RefusedNeverRead: "), (1, "CORRUPT_MESSAGE to an idempotent producer")],
)
def test_a_sound_batch_that_is_refused_and_stored_is_noticed(monkeypatch, seed, noticed):
    lie_to_producers(monkeypatch, ErrorCode.CORRUPT_MESSAGE)

    report = run_seed(seed, seconds=8, kinds=())

    assert any(noticed in line for line in report.violations)


def test_a_wake_that_no_parked_fetch_gets_is_noticed(monkeypatch):
    monkeypatch.setattr(FetchSlot, "woken", lambda _slot: None)

    report = run_seed(1, seconds=2, kinds=())

    assert any("no records at " in line for line in report.violations)


def test_an_answer_that_comes_when_the_time_is_over_is_noticed(monkeypatch):
    """What there is by then is read after all: nothing is missing, all is late."""
    monkeypatch.setattr(FetchWait, "wake", lambda _wait: None)
    monkeypatch.setattr(FetchWait, "expire", look_again)

    report = run_seed(1, seconds=2, kinds=())

    assert [line.split(":")[0] for line in report.violations] == ["FetchesWoken"]


def look_again(wait):
    wait._expired = True
    for slot in wait.slots:
        slot.is_due = True
    if not wait._reading and not wait._ended:
        wait._pass()
