"""The in-memory tail, checked against a plain list."""

import tracemalloc
from collections import deque

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from trimaran.raft.log import RaftLog
from trimaran.records.entry import Entry, EntryKind, LogPosition


def record(index: int, term: int, offset: int, count: int = 1, size: int = 0) -> Entry:
    kind = EntryKind.RECORDS if count else EntryKind.LEADER_START
    return Entry(index, term, kind, offset, count, 10 * index, bytes(size))


def test_an_empty_log_starts_before_index_1() -> None:
    log = RaftLog()

    assert (log.first_index, log.last_index, log.last_term) == (1, 0, 0)
    assert (log.next_offset, log.last_log_time_ms, log.bytes, len(log)) == (0, 0, 0, 0)
    assert log.term_at(0) == 0
    assert log.term_at(1) is None
    assert log.slice(1) == []


def test_a_log_that_starts_after_a_boundary_knows_the_boundarys_term() -> None:
    boundary = LogPosition(index=41, term=3, next_offset=100, log_time_ms=7)

    log = RaftLog(boundary, [record(42, 4, 100)])

    assert [log.term_at(index) for index in (40, 41, 42, 43)] == [None, 3, 4, None]
    assert log.position_at(41) is boundary
    assert log.position_at(42) == LogPosition(index=42, term=4, next_offset=101, log_time_ms=420)


def test_small_entries_count_for_about_what_they_take_in_memory() -> None:
    """In the log, and in the flusher's list of what may leave memory."""
    log, tail = RaftLog(), deque()
    tracemalloc.start()
    try:
        for index in range(1, 5_001):
            log.append(record(index, 3, 1_000 + index, size=170))
            tail.append((log, log.last_index, log.entry(index).size))
        taken = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()

    assert len(tail) == 5_000
    assert 0.75 * taken < log.bytes < 1.5 * taken


def test_a_slice_holds_what_the_byte_limit_allows_yet_at_least_one_entry(entries) -> None:
    log = RaftLog(None, entries([1, 1, 1, 1], size=100))
    size = log.entry(1).size

    assert len(log.slice(1, None, 3 * size)) == 3
    assert len(log.slice(1, None, 3 * size - 1)) == 2
    assert len(log.slice(2, 4, 10 * size)) == 2
    assert [entry.index for entry in log.slice(2, None, 1)] == [2]
    assert log.slice(5, None, 1) == []


def test_a_gap_a_falling_term_or_a_reused_offset_cannot_be_appended(entries) -> None:
    log = RaftLog(None, entries([1, 2]))

    for wrong in (record(4, 2, 2), record(3, 1, 2), record(3, 2, 1)):
        with pytest.raises(AssertionError):
            log.append(wrong)


def test_only_entries_in_memory_can_be_truncated_or_read(entries) -> None:
    log = RaftLog(None, entries([1, 1, 1]))
    log.release(1)

    for index in (1, 4):
        with pytest.raises(AssertionError):
            log.truncate(index)
    with pytest.raises(AssertionError):
        log.entry(1)
    with pytest.raises(AssertionError):
        log.slice(1)


def test_releasing_what_is_gone_already_does_nothing(entries) -> None:
    log = RaftLog(None, entries([1, 1, 1]))
    log.release(2)

    log.release(1)

    assert (log.first_index, len(log)) == (3, 1)
    assert log.before == LogPosition(index=2, term=1, next_offset=2, log_time_ms=0)


def test_a_reset_log_starts_over_after_the_boundary(entries) -> None:
    log = RaftLog(None, entries([1, 1, 1]))

    log.reset(LogPosition(index=9, term=2, next_offset=20, log_time_ms=5))

    assert (log.first_index, log.last_index, log.last_term) == (10, 9, 2)
    assert (log.next_offset, log.last_log_time_ms, log.bytes) == (20, 5, 0)


def test_an_offset_is_found_in_its_entry_or_after_the_hole() -> None:
    log = RaftLog(LogPosition(index=5, term=1, next_offset=10))
    log.extend([record(6, 2, 10, 0), record(7, 2, 10, 3), record(8, 2, 15, 2), record(9, 3, 17, 0)])

    found = {offset: log.find_offset(offset) for offset in (9, 10, 12, 13, 14, 15, 16, 17)}

    assert found == {9: None, 10: 7, 12: 7, 13: 8, 14: 8, 15: 8, 16: 8, 17: None}


@pytest.mark.parametrize(
    ("index", "term", "expected"),
    [(9, 5, 9), (12, 5, 9), (9, 4, 8), (9, 3, 8), (9, 2, 6), (7, 2, 6), (7, 1, 4), (3, 9, 3)],
)
def test_a_possible_match_is_the_last_entry_with_no_higher_term(index, term, expected) -> None:
    log = RaftLog(LogPosition(index=5, term=2), [record(6, 2, 0), record(7, 3, 1)])
    log.extend([record(8, 3, 2), record(9, 5, 3)])

    assert log.possible_match(index, term) == expected


def test_a_possible_match_never_lies_before_the_log() -> None:
    log = RaftLog(LogPosition(index=0, term=0), [record(1, 3, 0)])

    assert log.possible_match(1, 2) == 0
    assert log.possible_match(0, 0) == 0


class LogMachine(RuleBasedStateMachine):
    """RaftLog beside a list of all entries ever kept and a count of released ones."""

    def __init__(self) -> None:
        super().__init__()
        self.log = RaftLog()
        self.model: list[Entry] = []
        self.released = 0

    @rule(term_step=st.integers(0, 2), hole=st.integers(0, 2), count=st.integers(0, 3))
    def append(self, term_step: int, hole: int, count: int) -> None:
        last = self.model[-1] if self.model else record(0, 0, 0, 0)
        offset = last.next_offset + hole
        entry = record(last.index + 1, last.term + term_step, offset, count, size=3 * count)
        self.model.append(entry)
        self.log.append(entry)

    @rule(share=st.floats(0, 1))
    def truncate(self, share: float) -> None:
        kept = self.released + int(share * (len(self.model) - self.released))
        if kept < len(self.model):
            del self.model[kept:]
            self.log.truncate(kept + 1)

    @rule(share=st.floats(0, 1))
    def release(self, share: float) -> None:
        up_to = int(share * len(self.model))
        self.released = max(self.released, up_to)
        self.log.release(up_to)

    @rule(start=st.floats(0, 1), bytes_max=st.integers(0, 1_500))
    def slice(self, start: float, bytes_max: int) -> None:
        first = self.released + int(start * (len(self.model) - self.released))
        expected: list[Entry] = []
        size = 0
        for entry in self.model[first:]:
            size += entry.size
            if expected and size > bytes_max:
                break
            expected.append(entry)
        assert self.log.slice(first + 1, None, bytes_max) == expected

    @rule(offset=st.integers(0, 60))
    def find(self, offset: int) -> None:
        start = self.model[self.released - 1].next_offset if self.released else 0
        following = [e.index for e in self.model[self.released :] if e.next_offset > offset]
        expected = following[0] if following and offset >= start else None
        assert self.log.find_offset(offset) == expected

    @rule(index=st.integers(0, 60), term=st.integers(0, 40))
    def match(self, index: int, term: int) -> None:
        index = min(index, len(self.model))
        if index < self.released:
            return
        candidates = [e.index for e in self.model[:index] if e.term <= term]
        expected = candidates[-1] if candidates else 0
        found = self.log.possible_match(index, term)
        assert found == expected if expected >= self.released else found < self.released

    @invariant()
    def facts_agree(self) -> None:
        log = self.log
        kept = self.model[self.released :]
        last = self.model[-1] if self.model else record(0, 0, 0, 0)
        assert log.slice(log.first_index) == kept
        assert (log.first_index, log.last_index) == (self.released + 1, len(self.model))
        assert (log.last_term, log.next_offset) == (last.term, last.next_offset)
        assert log.last_log_time_ms == last.log_time_ms
        assert log.bytes == sum(entry.size for entry in kept)
        assert [log.term_at(entry.index) for entry in kept] == [entry.term for entry in kept]


TestLogMachine = LogMachine.TestCase
