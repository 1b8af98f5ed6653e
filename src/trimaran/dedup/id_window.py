"""Which event ids a partition remembers: a fold over its log, forward and back.

An id counts at a moment of log time T if its event came less than the window before T, is among the
newest `ids_max`, and its offset is not below the floor. The floor rises when a client deleted
events, and when the rules change: what a rule has forgotten no later rule brings back. A duplicate
is not folded, so it prolongs nothing. All of this follows from the log alone; a replica drops from
memory, a few at a time, only what no longer counts as of the entries that are in its segments.

Invariants: equal logs give equal digests, whatever was dropped; folding back restores what was.
Does not: find ids in records, decide what a batch becomes (`id_judging`), or read clocks.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import NamedTuple

from trimaran.dedup.event_ids import HASH_BYTES, unpack_ids
from trimaran.dedup.id_columns import IdColumns
from trimaran.dedup.id_lookup import FINGERPRINT_BYTES, NUMBER_MASK, IdLookup
from trimaran.dedup.id_pieces import Piece, Rules, encode_piece, piece_ids_min
from trimaran.ids import Index, Offset

DROPPED_PER_FOLD = 256
"""Ids dropped from memory beside each entry folded, and twice as many as that brings."""
ADDED_AT_ONCE = 1_000
"""Ids in one call of the lookup, which keeps the interpreter: some 0.2 ms."""
OFF = Rules()


class Known(NamedTuple):
    """The event that an id stands for already."""

    offset: Offset
    entry_index: Index
    """The entry that holds it: success may be answered once this entry is committed."""
    log_time_ms: int


class Kept(NamedTuple):
    """A piece that was written."""

    name: str
    start: int
    end: int

    @property
    def size(self) -> int:
        """How many ids it holds."""
        return self.end - self.start


@dataclass(frozen=True, slots=True, kw_only=True)
class EventIdStatistics:
    """What a partition's window holds."""

    ids: int
    """That count."""
    ids_max: int
    window_ms: int
    """As set; 0: dedup is off."""
    effective_window_ms: int
    """How far back ids reach that count: below `window_ms` because of the count, or of youth."""
    is_cut_short: bool
    """The count ends the window before time does."""
    evicted: int
    """Ids of this process's time that were forgotten because of the count."""
    oldest_log_time_ms: int
    """Of the oldest id that counts, -1 if none does."""
    memory_bytes: int
    """About."""


class EventIdWindow:
    """The event ids of one partition, at its log's end and as far as the log is flushed."""

    __slots__ = (
        "_columns",
        "_dead",
        "_evicted",
        "_flushed_end",
        "_flushed_rules",
        "_kept",
        "_lookup",
        "_rules",
        "_undo",
        "_written_rules",
    )

    def __init__(self) -> None:
        """Begin without dedup."""
        self._rules = OFF
        self._undo: list[tuple[Index, Rules]] = []
        """Rules before each change that is not flushed, with the entry that changed them."""
        self._flushed_rules = OFF
        self._flushed_end = 0
        """Number behind the last id that is flushed."""
        self._written_rules = OFF
        self._kept: list[Kept] = []
        self._columns = IdColumns()
        self._lookup = IdLookup()
        self._dead = 0
        """No id below this number counts any more, whatever is folded back."""
        self._evicted = 0

    @property
    def rules(self) -> Rules:
        """What holds at the log's end."""
        return self._rules

    @property
    def last_index(self) -> Index:
        """Index of the last entry that matters here; 0 while dedup is off."""
        return self._last()[0] if self._rules.is_on else Index(0)

    # Judging

    def find(self, hashes: bytes, log_time_ms: int) -> dict[int, Known]:
        """Return which of the hashes, one behind the other, are known at `log_time_ms`.

        By their place from 0, rising, each with the event that has this id.
        """
        columns, rules = self._columns, self._rules
        first = columns.end - rules.ids_max
        found: dict[int, Known] = {}
        for place, low in self._lookup.find(hashes):
            number = columns.first + ((low - columns.first) & NUMBER_MASK)
            if number < first or place in found:
                continue
            if not columns.is_at(number, hashes[HASH_BYTES * place : HASH_BYTES * (place + 1)]):
                continue
            event = Known._make(columns.event_at(number))
            if event.offset >= rules.floor and log_time_ms - event.log_time_ms < rules.window_ms:
                found[place] = event
        return found

    # Folding

    def fold(self, *, index: Index, log_time_ms: int, offset: Offset, packed: bytes) -> None:
        """Take in the ids of an entry whose first event has `offset`.

        Raises:
            ProtocolError: `packed` is not what `pack_ids` makes.
        """
        assert index > self._last()[0], f"fold of {index} after {self._last()}"
        deltas, hashes = unpack_ids(packed)
        if isinstance(deltas, range):
            offsets: Sequence[int] = range(offset, offset + len(deltas))
        else:
            offsets = [offset + delta for delta in deltas]
        self._lookup.add(hashes, self._columns.end)
        self._columns.append(index, log_time_ms, offsets, hashes)
        self._drop(DROPPED_PER_FOLD + 2 * len(offsets))

    def change(
        self, *, index: Index, log_time_ms: int, next_offset: Offset, window_ms: int, ids_max: int
    ) -> None:
        """Take in an entry that sets window and count; 0 and 0 end the window, nothing counts."""
        rules = self._rules
        if (window_ms, ids_max) == (rules.window_ms, rules.ids_max):
            return
        floor = next_offset
        if rules.is_on and window_ms > 0:
            tighter = min(window_ms, rules.window_ms)
            first = self._first_counting(log_time_ms, tighter, min(ids_max, rules.ids_max))
            if first < self._columns.end:
                floor = self._columns.event_at(first)[0]
        self._set(Rules(index, log_time_ms, window_ms, ids_max, max(floor, rules.floor)))

    def drop_below(self, offset: Offset, *, index: Index, log_time_ms: int) -> None:
        """Take in an entry by which the events below `offset` are gone: their ids are free."""
        rules = self._rules
        if rules.is_on and offset > rules.floor:
            self._set(rules._replace(entry_index=index, time_ms=log_time_ms, floor=offset))

    def fold_back(self, start: Index) -> None:
        """Undo all entries from `start` on, none of which is flushed."""
        while self._undo and self._undo[-1][0] >= start:
            self._rules = self._undo.pop()[1]
        while (last := self._columns.last_run) is not None and last[0] >= start:
            for number, event_hash in self._columns.drop_last_run():
                self._lookup.drop_last(event_hash[:FINGERPRINT_BYTES], number)
        assert self._columns.end >= self._flushed_end, "what is flushed is never folded back"

    # Storing

    def flush(self, index: Index) -> tuple[list[str], bytes | None]:
        """Note that all up to `index` is flushed; return what stores it, rules included.

        Returns:
            The names of the pieces that stay, and the content of a new one, None if they say all.
            `written` tells the new one's name.
        """
        changes = [rules for at, rules in self._undo if at > index]
        self._undo = [(at, rules) for at, rules in self._undo if at > index]
        rules = self._flushed_rules = changes[0] if changes else self._rules
        start = self._flushed_end
        end = self._flushed_end = self._columns.first_after_index(index)
        self._find_dead()
        self._drop(DROPPED_PER_FOLD)
        dead_end = self._dead
        if not rules.is_on:
            self._kept = []
            self._written_rules = rules
            return [], None
        pieces = [piece for piece in self._kept if piece.end > dead_end]
        if end == start and rules == self._written_rules:
            pieces = pieces or self._kept[-1:]  # the last one says the rules
            self._kept = pieces
            return [piece.name for piece in pieces], None
        enough = piece_ids_min(rules.ids_max)
        while pieces and pieces[-1].size < enough and pieces[-1].size <= 2 * (end - start):
            start = pieces.pop().start
        self._kept = pieces
        self._written_rules = rules
        start = min(max(start, dead_end), end)
        names = [piece.name for piece in pieces]
        self._kept = [*pieces, Kept("", start, end)]
        return names, encode_piece(rules, self._columns, start, end)

    def written(self, name: str) -> None:
        """Note what the piece that `flush` returned is called."""
        last = self._kept[-1]
        assert not last.name
        self._kept[-1] = last._replace(name=name)

    @classmethod
    def restore(cls, pieces: Iterable[tuple[str, Piece]]) -> "EventIdWindow":
        """Return the window that was stored in `pieces`, by name, in the order of writing.

        Like decoding them, in a thread of a node that serves: every step is short, so that the
        interpreter can change to the loop in between.
        """
        named = list(pieces)
        window = cls()
        columns = window._columns
        lookup = window._lookup = IdLookup(sum(len(piece.offsets) for _, piece in named))
        for name, piece in named:
            start = columns.end
            columns.extend(
                indexes=piece.indexes,
                times=piece.times,
                marks=piece.marks,
                offsets=piece.offsets,
                hashes=piece.hashes,
            )
            for number in range(start, columns.end, ADDED_AT_ONCE):
                at = HASH_BYTES * (number - start)
                lookup.add(bytes(piece.hashes[at : at + HASH_BYTES * ADDED_AT_ONCE]), number)
            window._rules = piece.rules
            window._kept.append(Kept(name, start, columns.end))
        window._flushed_rules = window._written_rules = window._rules
        window._flushed_end = columns.end
        return window

    # Reporting

    def digest(self) -> bytes:
        """Return 16 bytes that are equal on replicas that folded the same entries."""
        digest = blake2b(digest_size=16)
        rules = self._rules
        if rules.is_on:
            index, time_ms = self._last()
            digest.update(repr((index, time_ms, rules.window_ms, rules.ids_max)).encode())
            first = self._first_counting(time_ms, rules.window_ms, rules.ids_max)
            plain = rules._replace(entry_index=Index(0), time_ms=0, floor=Offset(0))
            digest.update(encode_piece(plain, self._columns, first, self._columns.end))
        return digest.digest()

    def statistics(self, log_time_ms: int) -> EventIdStatistics:
        """Return what the window holds at `log_time_ms`."""
        rules, columns = self._rules, self._columns
        first = self._first_counting(log_time_ms, rules.window_ms, rules.ids_max)
        oldest_ms = columns.event_at(first)[2] if first < columns.end else -1
        is_cut_short = columns.end - first == rules.ids_max > 0
        return EventIdStatistics(
            ids=columns.end - first,
            ids_max=rules.ids_max,
            window_ms=rules.window_ms,
            effective_window_ms=log_time_ms - oldest_ms if is_cut_short else rules.window_ms,
            is_cut_short=is_cut_short,
            evicted=self._evicted,
            oldest_log_time_ms=oldest_ms,
            memory_bytes=columns.memory_bytes + self._lookup.memory_bytes,
        )

    def live(self) -> Iterator[tuple[bytes, Offset]]:
        """Yield hash and offset of every id that counts as of the last entry, oldest first."""
        rules, columns = self._rules, self._columns
        first = self._first_counting(self._last()[1], rules.window_ms, rules.ids_max)
        for number in range(first, columns.end):
            yield columns.hash_at(number), columns.event_at(number)[0]

    def _last(self) -> tuple[Index, int]:
        """Index and log time of the last entry that matters here."""
        rules = self._rules
        run = self._columns.last_run
        if run is None or run[0] < rules.entry_index:
            return rules.entry_index, rules.time_ms
        return run

    def _first_counting(self, time_ms: int, window_ms: int, ids_max: int) -> int:
        """Return the first id that counts at `time_ms` by these numbers and the floor."""
        columns = self._columns
        return max(
            columns.first_after_time(time_ms - window_ms),
            columns.first_from_offset(self._rules.floor),
            columns.end - ids_max,
        )

    def _set(self, rules: Rules) -> None:
        assert rules.entry_index > self._last()[0]
        self._undo.append((rules.entry_index, self._rules))
        self._rules = rules
        self._drop(DROPPED_PER_FOLD)

    def _find_dead(self) -> None:
        """Look which flushed ids do not count any more by the flushed rules."""
        rules, columns = self._flushed_rules, self._columns
        end = self._flushed_end
        if not rules.is_on or end == columns.first:
            self._dead = end
            return
        time_ms = max(columns.event_at(end - 1)[2], rules.time_ms)
        by_time = columns.first_after_time(time_ms - rules.window_ms)
        by_floor = columns.first_from_offset(rules.floor)
        by_count = end - rules.ids_max
        self._evicted += max(0, by_count - max(by_time, by_floor, self._dead))
        self._dead = min(max(by_time, by_floor, by_count, self._dead), end)

    def _drop(self, count_max: int) -> None:
        """Drop from memory some ids that are dead, all at once if all are."""
        columns = self._columns
        if columns.first < self._dead == columns.end:
            columns.clear()
            self._lookup = IdLookup()
        end = min(self._dead, columns.first + count_max)
        while columns.first < end:
            number = columns.first
            self._lookup.drop_first(columns.drop_first(end - number), number)
