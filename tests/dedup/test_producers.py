"""Producer sequences: Kafka's rules, and the table as a pure function of the log."""

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimaran.dedup.producers import (
    BATCHES_MAX,
    FORGOTTEN_PER_FOLD_MAX,
    SEQUENCE_MAX,
    Accept,
    Duplicate,
    ProducerTable,
    Verdict,
    last_sequence,
)
from trimaran.errors import CorruptionError, ErrorCode, RequestError

DAY_MS = 86_400_000
NEXT, FIRST = Accept(is_known=True), Accept(is_known=False)


@dataclass
class Log:
    """A partition's log as far as producers care, judged and folded like the leader does."""

    table: ProducerTable = field(default_factory=ProducerTable)
    end: int = 0
    index: int = 0
    now_ms: int = 1_000

    def judge(self, producer: int, epoch: int, first: int, count: int) -> Verdict:
        return self.table.judge(
            producer_id=producer,
            epoch=epoch,
            first_sequence=first,
            last_sequence=last_sequence(first, count - 1),
            log_time_ms=self.now_ms,
            log_end=self.end,
        )

    def append(self, producer: int, epoch: int, first: int, count: int = 1) -> Duplicate:
        """Append what is not judged; return what its duplicate would be answered."""
        self.index += 1
        self.table.fold(
            producer_id=producer,
            epoch=epoch,
            first_sequence=first,
            last_sequence=last_sequence(first, count - 1),
            base_offset=self.end,
            last_offset=self.end + count - 1,
            entry_index=self.index,
            log_time_ms=self.now_ms,
        )
        self.end += count
        return Duplicate(
            base_offset=self.end - count, log_append_time_ms=self.now_ms, index=self.index
        )

    def refusal(self, producer: int, epoch: int, first: int, count: int = 1) -> ErrorCode:
        with pytest.raises(RequestError) as raised:
            self.judge(producer, epoch, first, count)
        return raised.value.code


def test_unknown_producer_starts_at_zero_on_a_partition_that_was_never_written():
    log = Log()

    assert log.judge(7, 0, 0, 3) == FIRST
    assert log.refusal(7, 0, 3) is ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER


def test_unknown_producer_starts_anywhere_on_a_topic_made_again():
    log = Log(table=ProducerTable(is_successor=True))

    assert log.judge(7, 0, 41, 2) == FIRST
    log.table = log.table.copy()
    assert log.judge(7, 0, 41, 2) == FIRST
    log.append(7, 0, 41, count=2)
    assert log.refusal(7, 0, 44) is ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER


def test_unknown_producer_starts_anywhere_on_a_partition_that_was_written():
    log = Log(end=1)

    assert log.judge(7, 3, 41, 2) == FIRST


def test_next_batch_begins_after_the_last_sequence():
    log = Log()
    log.append(7, 0, 0, count=10)

    assert log.judge(7, 0, 10, 5) == NEXT
    assert log.refusal(7, 0, 11) is ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER
    assert log.refusal(7, 0, 9) is ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER


def test_each_of_the_last_five_batches_is_answered_as_the_first_time():
    log = Log()
    answers = [log.append(7, 0, first, count=3) for first in range(0, 18, 3)]

    verdicts = [log.judge(7, 0, first, 3) for first in range(3, 18, 3)]

    assert verdicts == answers[1:]
    assert log.refusal(7, 0, 0, 3) is ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER, "the sixth is gone"


def test_same_first_sequence_with_another_length_is_no_duplicate():
    log = Log()
    log.append(7, 0, 0, count=3)

    assert log.refusal(7, 0, 0, 2) is ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER
    assert log.refusal(7, 0, 1, 2) is ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER


def test_sequences_of_another_producer_change_nothing():
    log = Log()
    log.append(7, 0, 0, count=3)
    log.append(8, 0, 0, count=3)

    assert log.judge(7, 0, 3, 3) == NEXT
    assert log.judge(8, 0, 3, 3) == NEXT


def test_sequence_wraps_to_zero_inside_and_between_batches():
    log = Log(end=1)
    log.append(7, 0, SEQUENCE_MAX - 1, count=4)
    log.append(8, 0, SEQUENCE_MAX, count=1)

    assert last_sequence(SEQUENCE_MAX - 1, 3) == 1
    assert log.judge(7, 0, 2, 1) == NEXT
    assert log.judge(8, 0, 0, 1) == NEXT
    assert log.judge(7, 0, SEQUENCE_MAX - 1, 4) == Duplicate(
        base_offset=1, log_append_time_ms=1_000, index=1
    )


def test_older_epoch_is_fenced_even_if_the_batch_was_stored_under_it():
    log = Log()
    log.append(7, 1, 0)
    log.append(7, 2, 0)

    assert log.refusal(7, 1, 0) is ErrorCode.INVALID_PRODUCER_EPOCH
    assert log.refusal(7, 0, 5) is ErrorCode.INVALID_PRODUCER_EPOCH


def test_newer_epoch_starts_at_zero_and_forgets_the_batches_before():
    log = Log()
    log.append(7, 0, 0, count=2)

    assert log.refusal(7, 1, 2) is ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER
    assert log.judge(7, 1, 0, 2) == NEXT, "the same sequences, but not the same epoch"

    answer = log.append(7, 1, 0, count=2)
    assert log.judge(7, 1, 0, 2) == answer
    assert log.judge(7, 1, 2, 2) == NEXT


@pytest.mark.parametrize(
    ("producer", "epoch", "first"), [(-1, 0, 0), (7, -1, 0), (7, 0, -1), (7, -1, -1)]
)
def test_negative_numbers_are_refused(producer, epoch, first):
    log = Log(end=1)

    with pytest.raises(RequestError) as raised:
        log.table.judge(
            producer_id=producer,
            epoch=epoch,
            first_sequence=first,
            last_sequence=0,
            log_time_ms=0,
            log_end=1,
        )

    assert raised.value.code is ErrorCode.INVALID_RECORD


def test_producer_silent_for_a_day_of_log_time_is_unknown():
    log = Log()
    log.append(7, 5, 0)

    log.now_ms += DAY_MS - 1
    assert log.refusal(7, 5, 3) is ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER
    log.now_ms += 1
    assert log.judge(7, 4, 3, 1) == FIRST, "any sequence and epoch, as for any unknown producer"

    log.append(7, 4, 3)
    assert log.refusal(7, 4, 0) is ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER, "nothing old is left"
    assert log.judge(7, 4, 4, 1) == NEXT


def test_expired_producer_comes_back_without_its_old_batches():
    log = Log()
    log.append(7, 0, 0)
    log.now_ms += DAY_MS

    log.append(7, 0, 1)

    assert log.refusal(7, 0, 0) is ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER


def test_expired_producers_are_dropped_a_few_at_a_time():
    log = Log()
    for producer in range(40):
        log.append(producer, 0, 0)
    log.now_ms += DAY_MS

    sizes = []
    for sequence in range(4):
        log.append(99, 0, sequence)
        sizes.append(len(log.table))

    assert sizes == [41 - FORGOTTEN_PER_FOLD_MAX, 41 - 2 * FORGOTTEN_PER_FOLD_MAX, 1, 1]
    assert FORGOTTEN_PER_FOLD_MAX == 16


def test_producer_that_goes_on_writing_outlives_those_that_do_not():
    log = Log()
    log.append(1, 0, 0)
    log.append(2, 0, 0)
    log.now_ms += DAY_MS - 1
    log.append(1, 0, 1)
    log.now_ms += 1

    log.append(3, 0, 0)

    assert len(log.table) == 2
    assert log.judge(1, 0, 2, 1) == NEXT
    assert log.judge(2, 0, 9, 1) == FIRST, "unknown again"


def test_beyond_the_limit_the_longest_silent_producers_are_forgotten():
    log = Log(table=ProducerTable(producers_max=20))
    for producer in range(20):
        log.append(producer, 0, 0)
    log.append(0, 0, 1)

    log.append(20, 0, 0)

    assert len(log.table) == 21 - FORGOTTEN_PER_FOLD_MAX
    assert log.refusal(0, 0, 9) is ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER, "wrote just before"
    assert log.judge(16, 0, 9, 1) == FIRST, "the last one that was forgotten"
    assert log.refusal(17, 0, 9) is ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER


def test_mark_moves_the_sequence_on_and_keeps_the_original_offset():
    log = Log()
    log.append(7, 0, 0, count=5)
    log.append(8, 0, 0, count=5)

    log.table.fold_mark(
        producer_id=8,
        epoch=0,
        first_sequence=5,
        last_sequence=9,
        original_offset=2,
        entry_index=3,
        log_time_ms=2_000,
    )

    assert log.judge(8, 0, 5, 5) == Duplicate(base_offset=2, log_append_time_ms=2_000, index=3)
    assert log.judge(8, 0, 10, 1) == NEXT
    assert log.table.last_index == 3


def test_fold_refuses_an_entry_it_has_seen():
    log = Log()
    log.append(7, 0, 0)
    log.index = 0

    with pytest.raises(AssertionError, match="fold of 1 after 1"):
        log.append(7, 0, 1)


def test_copy_goes_its_own_way():
    log = Log()
    log.append(7, 0, 0)
    before = log.table.copy()
    state = before.encode()

    log.append(7, 0, 1)
    log.append(8, 0, 0)

    assert before.encode() == state
    assert before.digest() != log.table.digest()
    assert len(before) == 1


def test_empty_table_is_fourteen_bytes():
    assert ProducerTable().encode() == bytes.fromhex("0001" + 8 * "00" + 4 * "00")
    assert len(ProducerTable.decode(ProducerTable().encode())) == 0


def test_encoded_form_is_as_the_byte_table_says():
    log = Log()
    log.append(7, 2, 5, count=3)

    assert log.table.encode() == bytes.fromhex(
        "0001"
        "0000000000000001"
        "00000001"
        "0000000000000007"
        "0002"
        "01"
        "00000005"
        "00000007"
        "0000000000000000"
        "0000000000000002"
        "0000000000000001"
        "00000000000003e8"
    )


def encoded_with_two_producers() -> bytes:
    log = Log()
    log.append(7, 0, 0)
    log.append(7, 0, 1)
    log.append(8, 0, 0)
    return log.table.encode()


def test_every_cut_of_the_encoded_form_is_corruption():
    data = encoded_with_two_producers()

    for length in range(len(data)):
        with pytest.raises(CorruptionError, match="state file"):
            ProducerTable.decode(data[:length], source="state file")
    with pytest.raises(CorruptionError, match="1 bytes too many"):
        ProducerTable.decode(data + b"\0")


@pytest.mark.parametrize(
    ("position", "value", "found"),
    [
        (1, 2, "expected version 1, found 2"),
        (10, 1, "producers"),
        (14, 0x80, "found producer -"),
        (22, 0x80, "epoch -"),
        (24, 0, "expected 1-5 batches, found 0"),
        (24, 6, "expected 1-5 batches, found 6"),
        (25, 0x80, "first_sequence=-"),
        (40, 9, "base_offset=9"),
        (9, 9, "expected last entry 9, found 3"),
        (56, 2, "expected an entry after"),
        (64, 0xFF, "expected an entry after"),
        (112, 7, "producer 7 comes twice"),
        (147, 1, "expected an entry after 2"),
        (154, 0, "expected an entry after 2 of 1000 ms"),
    ],
)
def test_values_that_no_table_has_are_corruption(position, value, found):
    data = bytearray(encoded_with_two_producers())
    assert data[position] != value
    data[position] = value

    with pytest.raises(CorruptionError, match=found):
        ProducerTable.decode(data)


@given(st.binary(max_size=200))
def test_decode_of_any_bytes_gives_a_table_or_corruption(data):
    try:
        table = ProducerTable.decode(b"\0\1" + data)
    except CorruptionError:
        return
    assert table.encode() == b"\0\1" + data


@dataclass
class Model:
    """Keeps every batch for ever and looks through all of them."""

    batches: list[tuple[int, int, int, int, Duplicate]] = field(default_factory=list)

    def verdict(self, log: Log, producer: int, epoch: int, first: int, count: int):
        mine = [batch for batch in self.batches if batch[0] == producer]
        alive: list[tuple[int, int, int, int, Duplicate]] = []
        for batch in mine:
            silent_ms = batch[4].log_append_time_ms - (
                alive[-1][4].log_append_time_ms if alive else batch[4].log_append_time_ms
            )
            fresh = not alive or silent_ms >= DAY_MS or alive[-1][1] != batch[1]
            alive = [batch] if fresh else [*alive, batch]
        if alive and log.now_ms - alive[-1][4].log_append_time_ms >= DAY_MS:
            alive = []
        if not alive:
            wrong = log.end == 0 and first != 0
            return ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER if wrong else FIRST
        for batch in alive[-BATCHES_MAX:]:
            if batch[1:4] == (epoch, first, (first + count - 1) % 2**31):
                return batch[4]
        if epoch < alive[-1][1]:
            return ErrorCode.INVALID_PRODUCER_EPOCH
        expected = 0 if epoch > alive[-1][1] else (alive[-1][3] + 1) % 2**31
        return NEXT if first == expected else ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER


steps = st.tuples(
    st.integers(0, 2),
    st.integers(0, 2),
    st.one_of(st.integers(0, 12), st.integers(SEQUENCE_MAX - 3, SEQUENCE_MAX)),
    st.integers(1, 4),
    st.sampled_from([0, 0, 0, 0, 1, DAY_MS // 2, DAY_MS]),
    st.sampled_from(["next", "next", "next", "as drawn", "again"]),
)


def drawn_step(model: Model, step) -> tuple[int, int, int, int]:
    """Return (producer, epoch, first, count): as drawn, or bent to what a producer would send."""
    producer, epoch, first, count, _, kind = step
    mine = [batch for batch in model.batches if batch[0] == producer]
    if not mine or kind == "as drawn":
        return producer, epoch, first, count
    if kind == "next":
        return producer, mine[-1][1], (mine[-1][3] + 1) % 2**31, count
    again = mine[-1 - first % min(len(mine), BATCHES_MAX + 1)]
    return producer, again[1], again[2], (again[3] - again[2]) % 2**31 + 1


@given(st.lists(steps, max_size=60), st.integers(0, 60))
def test_table_says_what_a_model_that_keeps_everything_says(drawn, copied_at):
    log, model, copy, since = Log(), Model(), ProducerTable(), []

    for number, step in enumerate(drawn):
        if number == copied_at:
            copy, since = ProducerTable.decode(log.table.encode()), []
        producer, epoch, first, count = drawn_step(model, step)
        log.now_ms += step[4]
        expected = model.verdict(log, producer, epoch, first, count)
        try:
            found = log.judge(producer, epoch, first, count)
        except RequestError as error:
            found = error.code
        assert found == expected
        if found in (NEXT, FIRST):
            answer = log.append(producer, epoch, first, count)
            last = (first + count - 1) % 2**31
            model.batches.append((producer, epoch, first, last, answer))
            since.append((producer, epoch, first, last, answer, count))

    for producer, epoch, first, last, answer, count in since:
        copy.fold(
            producer_id=producer,
            epoch=epoch,
            first_sequence=first,
            last_sequence=last,
            base_offset=answer.base_offset,
            last_offset=answer.base_offset + count - 1,
            entry_index=answer.index,
            log_time_ms=answer.log_append_time_ms,
        )
    assert copy.encode() == log.table.encode(), "folded again from a copy, the state is the same"
    assert copy.digest() == log.table.digest()
