"""The window of event ids against an obviously right, slow second version, and what it costs."""

import math
import tracemalloc
from dataclasses import dataclass, field

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from trimaran.dedup import id_columns, id_lookup, id_pieces, id_window
from trimaran.dedup.event_ids import hash_id, pack_ids
from trimaran.dedup.id_pieces import decode_piece, piece_ids_min
from trimaran.dedup.id_window import EventIdWindow
from trimaran.errors import CorruptionError, ProtocolError
from trimaran.metadata.topic_settings import TOPIC_SETTINGS
from trimaran.storage.boundary import STATE_FILES_MAX


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Make every limit so small that a few ids meet all of them."""
    monkeypatch.setattr(id_columns, "BUCKET_IDS", 4)
    monkeypatch.setattr(id_lookup, "GROUP_IDS", 2)
    monkeypatch.setattr(id_window, "DROPPED_PER_FOLD", 1)
    monkeypatch.setattr(id_pieces, "PIECE_IDS_MIN", 3)


def ids_of(numbers):
    return b"".join(hash_id(b"%d" % number) for number in numbers)


def found_in(window, event_id, time):
    return window.find(hash_id(event_id), time).get(0)


@dataclass
class Model:
    """The whole log, read from its start for every question."""

    log: list = field(default_factory=list)
    """(index, time, what, offset or values)."""

    def state(self):
        """Return (rules, ids that count at the log's end as (id, offset, index, time))."""
        window, most, known = 0, 0, []
        for index, time, what, values in self.log:
            if what == "ids":
                base, numbers = values
                known += [(n, base + at, index, time) for at, n in enumerate(numbers)]
                known = known[-most:]
            elif what == "rules" and values == (window, most):
                continue  # says nothing new: no entry that matters
            elif what == "rules":
                known = self.within(known, time, window)
                window, most = values
                known = self.within(known, time, window)[-most:] if most else []
            else:
                known = [row for row in known if row[1] >= values]
        return (window, most), known

    @staticmethod
    def within(known, time, window):
        return [row for row in known if time - row[3] < window]

    def find(self, number, time):
        (window, _), known = self.state()
        found = [row for row in self.within(known, time, window) if row[0] == number]
        return found[-1][1:] if found else None


class Pair:
    """A window and its model, which do the same."""

    def __init__(self):
        self.window = EventIdWindow()
        self.model = Model()
        self.index, self.time, self.offset, self.flushed = 0, 100, 0, 0
        self.files = {}

    def _next(self, passed):
        self.index += 1
        self.time += passed

    def fold(self, numbers, passed=1):
        self._next(passed)
        if self.model.state()[0][0] == 0:
            return
        packed = pack_ids(ids_of(numbers), range(len(numbers)))
        self.window.fold(index=self.index, log_time_ms=self.time, offset=self.offset, packed=packed)
        self.model.log.append((self.index, self.time, "ids", (self.offset, numbers)))
        self.offset += len(numbers)

    def rules(self, window, most, passed=1):
        self._next(passed)
        self.window.change(
            index=self.index,
            log_time_ms=self.time,
            next_offset=self.offset,
            window_ms=window,
            ids_max=most,
        )
        self.model.log.append((self.index, self.time, "rules", (window, most)))

    def delete(self, back):
        self._next(1)
        offset = max(0, self.offset - back)
        self.window.drop_below(offset, index=self.index, log_time_ms=self.time)
        self.model.log.append((self.index, self.time, "below", offset))

    def fold_back(self, count):
        """The last `count` entries are replaced, as far as they are not flushed."""
        start = max(self.flushed + 1, self.index - count + 1)
        self.window.fold_back(start)
        dropped = [row for row in self.model.log if row[0] >= start]
        self.model.log = [row for row in self.model.log if row[0] < start]
        self.index = start - 1
        for _, _, what, values in dropped:
            if what == "ids":
                self.offset -= len(values[1])

    def flush(self, back):
        index = max(self.flushed, self.index - back)
        if index == self.flushed:
            return
        self.flushed = index
        names, content = self.window.flush(index)
        self.files = {name: self.files[name] for name in names}
        if content is not None:
            self.window.written(f"ids-{index}")
            self.files[f"ids-{index}"] = content

    def restart(self):
        """Start over from the files; what is not flushed is folded again."""
        again = [row for row in self.model.log if row[0] > self.flushed]
        pieces = [(name, decode_piece(data, source=name)) for name, data in self.files.items()]
        self.window = EventIdWindow.restore(pieces)
        for index, time, what, values in again:
            if what == "ids":
                packed = pack_ids(ids_of(values[1]), range(len(values[1])))
                self.window.fold(index=index, log_time_ms=time, offset=values[0], packed=packed)
            elif what == "rules":
                self.window.change(
                    index=index,
                    log_time_ms=time,
                    next_offset=self._offset_at(index),
                    window_ms=values[0],
                    ids_max=values[1],
                )
            else:
                self.window.drop_below(values, index=index, log_time_ms=time)

    def _offset_at(self, index):
        return sum(len(row[3][1]) for row in self.model.log if row[0] < index and row[2] == "ids")

    def check(self):
        (window, most), known = self.model.state()
        rules = self.window.rules
        assert (rules.window_ms, rules.ids_max) == (window, most)
        times = [row[1] for row in self.model.log if row[2] == "ids" or row[0] == rules.entry_index]
        last = times[-1] if times else 0
        expected = [(row[0], row[1]) for row in self.model.within(known, last, window)]
        assert [offset for _, offset in self.window.live()] == [row[1] for row in expected]
        for number in range(12):
            for passed in (0, 3, 8):
                found = found_in(self.window, b"%d" % number, self.time + passed)
                right = self.model.find(number, self.time + passed)
                assert (None if found is None else tuple(found)) == right


NUMBERS = st.lists(st.integers(0, 11), min_size=1, max_size=7, unique=True)
STEPS = st.one_of(
    st.tuples(st.just("fold"), NUMBERS, st.integers(0, 4)),
    st.tuples(st.just("rules"), st.integers(1, 12), st.integers(1, 12)),
    st.tuples(st.just("off")),
    st.tuples(st.just("delete"), st.integers(0, 9)),
    st.tuples(st.just("fold_back"), st.integers(1, 4)),
    st.tuples(st.just("flush"), st.integers(0, 3)),
    st.tuples(st.just("restart")),
)


def do(pair, step):
    name, *values = step
    if name == "off":
        pair.rules(0, 0)
    else:
        getattr(pair, name)(*values)


@settings(max_examples=300)
@given(st.lists(STEPS, max_size=40))
def test_window_knows_what_the_whole_log_says(steps):
    pair = Pair()
    pair.rules(10, 9)
    for step in steps:
        do(pair, step)
        pair.check()


@given(st.lists(STEPS, max_size=30))
def test_replicas_that_flushed_and_restarted_at_other_times_have_equal_digests(steps):
    calm, busy = Pair(), Pair()
    for pair in (calm, busy):
        pair.rules(10, 9)
    for step in steps:
        if step[0] == "fold_back":
            continue
        do(busy, step)
        if step[0] not in ("flush", "restart"):
            do(calm, step)
        assert calm.window.digest() == busy.window.digest()
        assert calm.window.last_index == busy.window.last_index


def test_duplicate_is_known_until_the_window_has_passed_and_not_longer():
    pair = Pair()
    pair.rules(10, 9)
    pair.fold([1])

    found = found_in(pair.window, b"1", pair.time + 9)

    assert found == (0, 2, pair.time)
    assert found_in(pair.window, b"1", pair.time + 10) is None


def test_count_forgets_the_oldest_first_and_says_so():
    pair = Pair()
    pair.rules(1000, 4)
    pair.fold([1, 2, 3])
    pair.fold([4, 5, 6])
    pair.flush(0)

    found = [found_in(pair.window, b"%d" % number, pair.time) for number in range(1, 7)]
    statistics = pair.window.statistics(pair.time + 5)

    assert [row is not None for row in found] == [False, False, True, True, True, True]
    assert statistics.is_cut_short
    assert (statistics.ids, statistics.evicted, statistics.effective_window_ms) == (4, 2, 6)


def test_deleted_events_free_their_ids_and_their_memory():
    pair = Pair()
    pair.rules(1000, 100)
    pair.fold([1, 2, 3])
    pair.fold([4])

    pair.delete(1)
    pair.flush(0)

    assert found_in(pair.window, b"2", pair.time) is None
    assert found_in(pair.window, b"4", pair.time) is not None
    for _ in range(4):
        pair.fold([4])
    assert pair.window._columns.first >= 3


def test_switched_off_and_on_again_begins_empty():
    pair = Pair()
    pair.rules(1000, 100)
    pair.fold([1])
    pair.rules(0, 0)
    off = pair.window.last_index
    pair.rules(1000, 100)

    assert off == 0
    assert found_in(pair.window, b"1", pair.time) is None
    assert pair.window.statistics(pair.time).ids == 0


def test_a_longer_window_does_not_bring_back_what_a_shorter_one_forgot():
    pair = Pair()
    pair.rules(10, 100)
    pair.fold([1])
    pair.fold([2], passed=8)
    pair.rules(4, 100)
    pair.rules(1000, 100)

    assert found_in(pair.window, b"1", pair.time) is None
    assert found_in(pair.window, b"2", pair.time) is not None


def test_an_id_is_written_a_few_times_at_most(monkeypatch):
    monkeypatch.setattr(id_pieces, "PIECE_IDS_MIN", 32)
    pair = Pair()
    pair.rules(10**6, 1000)
    written = 0
    for number in range(500):
        pair.fold([number % 12])
        before = dict(pair.files)
        pair.flush(0)
        written += sum(
            len(decode_piece(data, source=name).offsets)
            for name, data in pair.files.items()
            if name not in before
        )

    assert len(pair.files) <= 500 / 32 + 8
    assert written <= 500 * 8


@settings(deadline=None, max_examples=50)
@given(st.lists(st.integers(1, 60), min_size=40, max_size=80))
@example([17] * 60)
@example([15, 7, 3, 1, 33] * 16)
def test_whatever_a_flush_brings_a_window_is_in_few_pieces(sizes):
    pair, number = Pair(), 0
    pair.rules(10**6, ids_max := 400)
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(id_pieces, "PIECE_IDS_MIN", 8)
        monkeypatch.setattr(id_pieces, "PIECES_MAX", 25)
        enough = 16
        for size in sizes:
            pair.fold(range(number, number := number + size))
            pair.flush(0)

            small_at_the_end = 1 + math.log2(enough)
            cut_short, rules_alone = 1, 1
            most = ids_max / enough + small_at_the_end + cut_short + rules_alone
            assert len(pair.files) <= most


def test_the_longest_window_has_fewer_pieces_than_a_boundary_can_name_files():
    most = TOPIC_SETTINGS["event.dedup.max.ids"].high
    pieces = most / piece_ids_min(most) + math.log2(piece_ids_min(most)) + 3
    others = 10

    assert pieces + others < STATE_FILES_MAX


def test_hashes_that_share_their_first_bytes_are_told_apart():
    window = EventIdWindow()
    window.change(index=1, log_time_ms=0, next_offset=0, window_ms=10, ids_max=9)
    first, second, third = (b"\x00" * 8 + bytes([n]) * 8 for n in (1, 2, 3))
    window.fold(index=2, log_time_ms=0, offset=5, packed=pack_ids(first + second, [0, 3]))

    assert window.find(third + second + first, 0) == {1: (8, 2, 0), 2: (5, 2, 0)}


def test_pieces_that_were_not_written_here_are_refused():
    pair = Pair()
    pair.rules(10, 9)
    pair.fold([1, 2])
    pair.flush(0)
    ((name, data),) = pair.files.items()

    for wrong in (
        b"",
        data[:-1],
        data + b"\0",
        b"\0\2" + data[2:],
        data[:18] + bytes(8) + data[26:],
    ):
        with pytest.raises(CorruptionError, match=name):
            decode_piece(wrong, source=name)


@pytest.mark.parametrize("packed", [b"\1", b"\3" + bytes(16), b"\2\0\0\0\0", b"\1" + bytes(17)])
def test_packed_ids_that_were_not_made_here_are_refused(packed):
    window = EventIdWindow()
    window.change(index=1, log_time_ms=0, next_offset=0, window_ms=10, ids_max=9)

    with pytest.raises(ProtocolError, match="no event ids"):
        window.fold(index=2, log_time_ms=0, offset=0, packed=packed)


def test_an_id_takes_at_most_64_bytes(monkeypatch):
    monkeypatch.setattr(id_columns, "BUCKET_IDS", 50_000)
    monkeypatch.setattr(id_lookup, "GROUP_IDS", 40)
    window = EventIdWindow()
    window.change(index=1, log_time_ms=0, next_offset=0, window_ms=10**6, ids_max=10**6)
    packs = [pack_ids(ids_of(range(64 * n, 64 * n + 64)), range(64)) for n in range(1563)]
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for number, packed in enumerate(packs):
        window.fold(index=2 + number, log_time_ms=number, offset=64 * number, packed=packed)
    taken = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()

    assert taken / (64 * len(packs)) <= 64
    assert 0.7 < window.statistics(0).memory_bytes / taken < 1.3
