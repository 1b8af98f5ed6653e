"""Each class of anomaly: a smallest history that has it and nothing else, and a clean twin."""

import gc
import time

import pytest

from trimaran.checking import (
    ALLOWED,
    Anomaly,
    Assign,
    EndRead,
    HistoryError,
    Outcome,
    Payload,
    Poll,
    Seek,
    Send,
    check_history,
    make_value,
    parse_value,
)
from trimaran.checking.check import FINDINGS_MAX

OK, FAILED, UNKNOWN = Outcome.OK, Outcome.FAILED, Outcome.UNKNOWN
A, B, C = (make_value("writer", number) for number in range(3))
STRANGER = make_value("stranger", 7)


def send(*values, at=None, process="writer", during=(0.0, 1.0), outcome=OK, partition=0):
    """Return a send of `values`; `at` is the offset of the first, or one for each."""
    offsets = ()
    if at is not None:
        offsets = range(at, at + len(values)) if isinstance(at, int) else at
    return Send(process, partition, values, during[0], outcome, during[1], offsets)


def poll(*records, process="reader", at_s=5.0, partition=0, **rest):
    """Return a poll of (offset, value) pairs."""
    offsets = [offset for offset, _ in records]
    return Poll(process, partition, offsets, [value for _, value in records], at_s, **rest)


ABC = (send(A, at=0), send(B, at=1), send(C, at=2))
ALL_READ = poll((0, A), (1, B), (2, C), process="all")
OTHERS = (send(A, at=0, process="x"), send(B, at=1, process="y"))

PLANTED = [
    (
        Anomaly.INCONSISTENT_OFFSETS,
        [*OTHERS[:1], send(B, at=0, process="y"), poll((0, A)), poll((0, B), process="other")],
        [*OTHERS, poll((0, A)), poll((1, B), process="other")],
    ),
    (
        Anomaly.DUPLICATE,
        [send(A, at=0), poll((0, A), (1, A))],
        [send(A, at=0), poll((0, A))],
    ),
    (
        Anomaly.LOST_WRITE,
        [*OTHERS, poll((1, B))],
        [*OTHERS, poll((0, A), (1, B))],
    ),
    (
        Anomaly.ABORTED_READ,
        [send(A, outcome=FAILED), poll((0, A))],
        [send(A, outcome=UNKNOWN), poll((0, A))],
    ),
    (
        Anomaly.PRECOMMITTED_READ,
        [send(A, at=0), poll((0, A), high_watermark=0)],
        [send(A, at=0), poll((0, A), high_watermark=1)],
    ),
    (
        Anomaly.POLL_SKIP,
        [*ABC, ALL_READ, poll((0, A)), poll((2, C))],
        [*ABC, ALL_READ, poll((0, A)), Assign("reader", ()), poll((2, C))],
    ),
    (
        Anomaly.NONMONOTONIC_POLL,
        [*ABC, ALL_READ, poll((0, A), (1, B)), poll((1, B), (2, C))],
        [*ABC, ALL_READ, poll((0, A), (1, B)), Seek("reader", 0, 1), poll((1, B), (2, C))],
    ),
    (
        Anomaly.INTERNAL_POLL_SKIP,
        [*ABC, ALL_READ, poll((0, A), (2, C))],
        [*ABC, ALL_READ, poll((0, A), (2, C), rebalanced=True)],
    ),
    (
        Anomaly.INTERNAL_NONMONOTONIC_POLL,
        [*ABC, ALL_READ, poll((1, B), (0, A))],
        [*ABC, ALL_READ, poll((0, A), (1, B))],
    ),
    (
        Anomaly.NONMONOTONIC_SEND,
        [send(A, at=1), send(B, at=0), poll((0, B), (1, A))],
        [send(A, at=1), send(B, at=0, process="other"), poll((0, B), (1, A))],
    ),
    (
        Anomaly.INTERNAL_NONMONOTONIC_SEND,
        [send(A, B, at=(1, 0)), poll((0, B), (1, A))],
        [send(A, B, at=(0, 1)), poll((0, A), (1, B))],
    ),
    (
        Anomaly.INTERNAL_SEND_SKIP,
        [send(A, B, at=(0, 2)), send(C, at=1, process="x"), poll((0, A), (1, C), (2, B))],
        [send(A, B, at=(0, 1)), send(C, at=2, process="x"), poll((0, A), (1, B), (2, C))],
    ),
    (
        Anomaly.UNSEEN,
        [*ABC, poll((0, A), (1, B))],
        [*ABC[:2], send(C, at=2, outcome=UNKNOWN), poll((0, A), (1, B))],
    ),
    (
        Anomaly.CORRUPT_PAYLOAD,
        [poll((0, A[:-2] + b"9 "))],
        [send(A), poll((0, A))],
    ),
    (
        Anomaly.UNEXPECTED_READ,
        [poll((0, STRANGER))],
        [send(STRANGER, process="stranger", at=0), poll((0, STRANGER))],
    ),
    (
        Anomaly.REAL_TIME_ORDER,
        [
            send(A, at=1, process="x", during=(0.0, 1.0)),
            send(B, at=0, process="y", during=(2.0, 3.0)),
            poll((0, B), (1, A)),
        ],
        [
            send(A, at=1, process="x", during=(0.0, 1.0)),
            send(B, at=0, process="y", during=(0.5, 3.0)),
            poll((0, B), (1, A)),
        ],
    ),
    (
        Anomaly.STALE_END,
        [send(A, at=0), poll((0, A)), EndRead("reader", 0, 0, 2.0, 3.0)],
        [send(A, at=0), poll((0, A)), EndRead("reader", 0, 0, 0.5, 3.0)],
    ),
    (
        Anomaly.WATERMARK_BACK,
        [poll(high_watermark=3), poll(high_watermark=2)],
        [poll(high_watermark=3), poll(high_watermark=3), poll(high_watermark=2, process="other")],
    ),
]


def found(history, allowed=()):
    return [finding.anomaly for finding in check_history(history, allowed=allowed)]


def test_a_follower_may_know_less_and_no_leader_may_know_less_than_a_follower_said():
    told = [poll(high_watermark=3), poll(high_watermark=2, at_follower=True)]

    assert found([*told, poll(high_watermark=3)]) == []
    assert found([*told[1:], poll(high_watermark=1)]) == [Anomaly.WATERMARK_BACK]


def test_every_class_has_a_planted_history():
    assert [anomaly for anomaly, _, _ in PLANTED] == list(Anomaly)


@pytest.mark.parametrize(
    ("anomaly", "wrong"),
    [(anomaly, wrong) for anomaly, wrong, _ in PLANTED],
    ids=[anomaly.name for anomaly, _, _ in PLANTED],
)
def test_a_planted_anomaly_is_found_once_and_nothing_else(anomaly, wrong):
    findings = check_history(wrong, allowed=())

    assert [finding.anomaly for finding in findings] == [anomaly]
    assert str(findings[0]).startswith(f"{anomaly.value}: partition 0: ")


@pytest.mark.parametrize(
    "right",
    [right for _, _, right in PLANTED],
    ids=[anomaly.name for anomaly, _, _ in PLANTED],
)
def test_the_clean_counterpart_has_none(right):
    assert found(right) == []


def test_records_of_others_between_those_of_a_send_are_allowed_unless_it_is_one_batch():
    _, wrong, _ = next(row for row in PLANTED if row[0] is Anomaly.INTERNAL_SEND_SKIP)

    assert frozenset({Anomaly.INTERNAL_SEND_SKIP}) == ALLOWED
    assert check_history(wrong) == []


def test_an_empty_history_is_right():
    assert check_history([]) == []


# Variants of the classes


def test_two_offsets_of_one_value_may_be_known_from_an_answer_and_a_read():
    assert found([send(A, at=3), poll((0, A))]) == [Anomaly.DUPLICATE]


def test_a_failed_poll_still_shows_what_must_be_consistent():
    history = [*OTHERS, poll((0, B), outcome=FAILED), poll((0, A), (1, B))]

    assert found(history) == [Anomaly.INCONSISTENT_OFFSETS, Anomaly.DUPLICATE]


def test_a_failed_poll_counts_as_nobody_having_read():
    assert found([send(A, at=0), poll((0, A), outcome=FAILED)]) == [Anomaly.UNSEEN]


def test_a_send_of_unknown_outcome_must_be_whole_once_a_part_of_it_was_read():
    history = [send(A, B, outcome=UNKNOWN), poll((1, B))]

    assert found(history) == [Anomaly.LOST_WRITE]
    assert found([send(A, B, outcome=UNKNOWN), poll((0, A))]) == []


def test_the_answer_to_a_send_that_nobody_read_and_that_is_unknown_is_no_evidence():
    history = [send(A, at=0, outcome=UNKNOWN), send(B, at=0, process="x"), poll((0, B))]

    assert found(history) == []


def test_a_duplicate_far_above_does_not_make_what_is_below_it_lost():
    history = [send(A), send(B, at=3, process="x"), poll((5, A)), poll((0, A), process="other")]

    assert found(history) == [Anomaly.DUPLICATE, Anomaly.UNSEEN]


def test_where_a_record_without_an_offset_stands_is_known_only_of_an_ordered_send():
    half = Send("p", 0, (A, B), 0.0, OK, 1.0, (-1, 1))
    plain = Send("p", 0, (A, B), 0.0, OK, 1.0, (-1, 1), ordered=False)

    assert found([half, poll((1, B))]) == [Anomaly.LOST_WRITE]
    assert found([plain, poll((1, B))]) == [Anomaly.UNSEEN]


def test_an_acknowledged_record_without_a_known_offset_must_be_read_as_well():
    assert found([send(A), poll()]) == [Anomaly.UNSEEN]
    assert found([send(A), poll((0, A))]) == []


def test_an_offset_that_holds_nothing_is_no_gap():
    values = [send(A, at=0), send(B, at=5)]

    assert found([*values, poll((0, A), (5, B))]) == []
    assert found([*values, poll((0, A)), poll((5, B))]) == []


def test_a_reader_that_begins_anywhere_does_not_skip_but_one_that_was_sent_there_does():
    history = [*ABC, ALL_READ]

    assert found([*history, poll((1, B), (2, C))]) == []
    assert found([*history, Seek("reader", 0, 0), poll((1, B), (2, C))]) == [Anomaly.POLL_SKIP]
    assert found([*history, Seek("reader", 0, 2), poll((1, B), (2, C))]) == [
        Anomaly.NONMONOTONIC_POLL
    ]


def test_an_assignment_keeps_the_position_of_partitions_that_stay():
    history = [*ABC, ALL_READ, poll((0, A)), Assign("reader", (0, 1)), poll((2, C))]

    assert found(history) == [Anomaly.POLL_SKIP]


def test_only_successful_polls_move_the_position():
    history = [*ABC, ALL_READ, poll((0, A)), poll((1, B), outcome=UNKNOWN), poll((1, B), (2, C))]

    assert found(history) == []


def test_positions_are_those_of_one_process_in_one_partition():
    history = [
        *ABC,
        send(STRANGER, at=0, partition=1),
        ALL_READ,
        poll((2, C), process="x"),
        poll((0, A), process="y"),
        poll((0, STRANGER), process="x", partition=1),
    ]

    assert found(history) == []


def test_order_is_owed_to_the_last_known_offset_however_many_sends_lie_between():
    history = [send(A, at=2), send(B, outcome=UNKNOWN), send(C, at=1), poll((1, C), (2, A))]

    assert found(history) == [Anomaly.NONMONOTONIC_SEND]


def test_order_is_not_owed_without_a_promise():
    plain = [
        Send("p", 0, (A,), 0.0, OK, 9.0, (1,), ordered=False),
        Send("p", 0, (B,), 1.0, OK, 9.0, (0,), ordered=False),
    ]

    assert found([*plain, poll((0, B), (1, A))]) == []


def test_a_read_of_another_partition_or_of_the_future_is_unexpected():
    elsewhere = [send(A, at=0, partition=1), poll((0, A), partition=1), poll((0, A))]
    early = [send(A, at=0, during=(2.0, 3.0)), poll((0, A), at_s=1.0)]

    assert found(elsewhere) == [Anomaly.UNEXPECTED_READ]
    assert found(early) == [Anomaly.UNEXPECTED_READ]


@pytest.mark.parametrize("earlier", ["read", "end"])
def test_an_end_must_not_leave_out_what_was_read_or_told_before(earlier):
    facts = {
        "read": poll((0, A), at_s=2.0),
        "end": EndRead("x", 0, 1, 1.0, 2.0),
    }
    sent = [send(A, outcome=UNKNOWN, during=(0.0, float("inf")))]

    assert found([*sent, facts[earlier], EndRead("y", 0, 0, 3.0, 4.0)]) == [Anomaly.STALE_END]
    assert found([*sent, facts[earlier], EndRead("y", 0, 1, 3.0, 4.0)]) == []


def test_partitions_may_be_named_by_topic():
    history = [
        send(A, at=0, partition=("t", 0)),
        send(B, at=0, partition=("u", 0)),
        poll((0, A), partition=("t", 0)),
        poll((0, B), partition=("u", 0)),
    ]

    assert found(history) == []


def test_what_is_found_is_limited():
    values = [make_value("writer", number) for number in range(3 * FINDINGS_MAX)]

    assert found([send(*values, at=0)]) == [Anomaly.UNSEEN] * FINDINGS_MAX


# What cannot be a history


@pytest.mark.parametrize(
    "history",
    [
        [send(A), send(A, process="other")],
        [send(A, partition=0), send(A, partition=1)],
        [send(A, B, at=(0,))],
        [Poll("reader", 0, (0, 1), (A,), 1.0)],
        [poll((-1, A))],
    ],
)
def test_a_history_that_cannot_be_is_refused(history):
    with pytest.raises(HistoryError):
        check_history(history)


# Payloads


def test_a_value_says_who_sent_it():
    assert parse_value(make_value("p-1/0", 12, b"..  ..")) == Payload("p-1/0", 12)
    assert len({make_value("p", number) for number in range(100)}) == 100


def test_a_value_with_any_bit_flipped_is_not_whole():
    value = make_value("p", 3, b"fill")
    for position in range(len(value)):
        for bit in range(8):
            broken = bytearray(value)
            broken[position] ^= 1 << bit
            assert parse_value(bytes(broken)) is None, (position, bit)


@pytest.mark.parametrize("value", [b"", b"anything", b"00000000 ", make_value("p", 1)[:-1]])
def test_what_make_value_did_not_make_is_not_whole(value):
    assert parse_value(value) is None


# Size


def test_a_hundred_thousand_operations_take_a_moment():
    history = long_history(100_000)
    gc.disable()
    try:
        begin = time.process_time()
        assert check_history(history) == []
        taken_s = time.process_time() - begin
    finally:
        gc.enable()

    assert taken_s < 6.0


def long_history(count):
    """Return sends of ten producers to four partitions, and polls of eight records."""
    history = []
    ends = [0] * 4
    unread = [[] for _ in range(4)]
    number = 0
    while len(history) < count:
        partition = number % 4
        value = make_value(f"p{number % 10}", number)
        at = ends[partition]
        history.append(
            Send(f"p{number % 10}", partition, (value,), number, OK, number + 30.5, (at,))
        )
        ends[partition] += 1
        unread[partition].append((at, value))
        number += 1
        if len(unread[partition]) == 8:
            history.append(poll(*unread[partition], partition=partition, at_s=number + 1))
            unread[partition] = []
    history += [poll(*rest, partition=one, at_s=1e9) for one, rest in enumerate(unread)]
    return history
