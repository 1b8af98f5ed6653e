"""What became of answered events."""

from trimaran.bench.read_back import Accounting, account


def test_everything_there_once_and_in_order_is_nothing_to_report() -> None:
    stored = [(0, 0), (1, 1), (0, 2), (1, 3)]

    found = account([0, 1, 2, 3], stored)

    assert found == Accounting(stored=4, lost=0, duplicated=0, out_of_order=0)


def test_answered_event_that_is_not_there_is_lost() -> None:
    assert account([0, 1, 2], [(0, 0), (0, 2)]).lost == 1


def test_event_without_answer_may_be_there_or_not() -> None:
    found = account([0], [(0, 0), (0, 1)])

    assert found == Accounting(stored=2, lost=0, duplicated=0, out_of_order=0)


def test_event_that_is_there_twice_is_duplicated_and_not_out_of_order() -> None:
    found = account([0, 1, 2], [(0, 0), (0, 1), (0, 0), (0, 2)])

    assert found == Accounting(stored=4, lost=0, duplicated=1, out_of_order=0)


def test_order_is_judged_within_a_partition() -> None:
    swapped = account([0, 1, 2], [(0, 1), (0, 0), (1, 2)])
    other_partition = account([0, 1], [(0, 1), (1, 0)])

    assert swapped.out_of_order == 1
    assert other_partition.out_of_order == 0
