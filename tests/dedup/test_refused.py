"""What a leader refused for now is not overtaken by what the same producer sent after it."""

import pytest

from trimaran.dedup.producers import SEQUENCE_MAX
from trimaran.dedup.refused import PRODUCERS_MAX, RefusedBatches
from trimaran.errors import ErrorCode, RequestError

PRODUCER = 7, 0
FULL = ErrorCode.NOT_ENOUGH_REPLICAS


def is_refused(batches, sequence, producer=PRODUCER):
    try:
        batches.judge(producer, sequence)
    except RequestError as error:
        return error.code is ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER
    return False


def test_what_follows_waits_until_the_first_came_again():
    batches = RefusedBatches()
    batches.refused(PRODUCER, 0, FULL)

    assert is_refused(batches, 5)
    assert is_refused(batches, 10), "however often it is asked"
    assert not is_refused(batches, 0)
    assert not is_refused(batches, 5)


def test_nothing_is_remembered_of_a_producer_that_is_known():
    batches = RefusedBatches()
    batches.refused(PRODUCER, 0, FULL)
    batches.refused((8, 0), 0, FULL)

    batches.forget(PRODUCER)

    assert not is_refused(batches, 5)
    assert is_refused(batches, 5, (8, 0))


def test_the_lowest_of_several_counts():
    batches = RefusedBatches()
    for sequence in (5, 0, 10):
        batches.refused(PRODUCER, sequence, FULL)

    assert is_refused(batches, 5)
    assert not is_refused(batches, 0)


def test_sequences_that_begin_again_come_after_the_highest():
    batches = RefusedBatches()
    batches.refused(PRODUCER, SEQUENCE_MAX - 4, FULL)

    assert is_refused(batches, 0)
    assert not is_refused(batches, SEQUENCE_MAX - 9), "that one came before"


def test_only_reasons_that_pass_hold_anything_up():
    batches = RefusedBatches()
    batches.refused(PRODUCER, 0, ErrorCode.MESSAGE_TOO_LARGE)

    assert not batches
    assert not is_refused(batches, 5), "the client gave that batch up"


@pytest.mark.parametrize("other", [(8, 0), (7, 1)])
def test_other_producers_and_epochs_go_on(other):
    batches = RefusedBatches()
    batches.refused(PRODUCER, 0, FULL)

    assert not is_refused(batches, 5, other)
    assert is_refused(batches, 5)


def test_what_is_remembered_is_bounded():
    batches = RefusedBatches()
    for number in range(PRODUCERS_MAX + 1):
        batches.refused((number, 0), 0, FULL)

    assert not is_refused(batches, 5, (0, 0)), "the first is forgotten"
    assert is_refused(batches, 5, (1, 0))
