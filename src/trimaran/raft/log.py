"""The in-memory tail of a group's log, and what is known of the entry before it.

    before          entries
    [index 41] | 42 43 44 45 46 47          first_index 42, last_index 47
     term, next offset, log time

Indexes are contiguous; terms, offsets and log times never fall. Beside the entries runs a list of
running byte totals, so that a byte limit, like an offset or a term, is found by bisection and
nobody walks the tail. Entries that were released are read from segments.

Does not: know what is committed or synced, or read anything from disk.
"""

from bisect import bisect_right
from collections.abc import Sequence

from trimaran.ids import Index, Offset, Term
from trimaran.records.entry import Entry, LogPosition


def _next_offset(entry: Entry) -> Offset:
    return entry.next_offset


def _term(entry: Entry) -> Term:
    return entry.term


class RaftLog:
    """Entries [first_index, last_index], possibly none, after the position `before`.

    The attributes are facts to read; only the methods change them.
    """

    __slots__ = (
        "_bytes_before",
        "_ends",
        "_entries",
        "before",
        "first_index",
        "last_index",
        "last_log_time_ms",
        "last_term",
        "next_offset",
    )

    first_index: Index
    """`before.index` + 1, whether or not there is such an entry."""
    last_index: Index
    last_term: Term
    next_offset: Offset
    """The offset that the next event will get."""
    last_log_time_ms: int

    def __init__(self, before: LogPosition | None = None, entries: Sequence[Entry] = ()) -> None:
        """Start after `before` (default: an empty log) with `entries`."""
        self._entries: list[Entry] = []
        self._ends: list[int] = []
        self.reset(before or LogPosition())
        self.extend(entries)

    def __len__(self) -> int:
        """Return how many entries are in memory."""
        return len(self._entries)

    @property
    def bytes(self) -> int:
        """What the entries in memory count for in every limit."""
        return self.bytes_between(self.first_index, Index(self.last_index + 1))

    def append(self, entry: Entry) -> None:
        """Add the entry at last_index + 1."""
        assert entry.index == self.last_index + 1
        assert entry.term >= self.last_term
        assert entry.offset >= self.next_offset
        ends = self._ends
        ends.append((ends[-1] if ends else self._bytes_before) + entry.size)
        self._entries.append(entry)
        self.last_index = entry.index
        self.last_term = entry.term
        self.next_offset = Offset(entry.offset + entry.offset_count)
        self.last_log_time_ms = entry.log_time_ms

    def extend(self, entries: Sequence[Entry]) -> None:
        """Add `entries`, the first of them at last_index + 1."""
        for entry in entries:
            self.append(entry)

    def truncate(self, start: Index) -> None:
        """Drop the entries from `start` on; `start` is in memory."""
        assert self.first_index <= start
        assert start <= self.last_index
        position = start - self.first_index
        del self._entries[position:]
        del self._ends[position:]
        self._read_end()

    def release(self, up_to: Index) -> None:
        """Forget the entries up to and including `up_to`, which may be below the first one."""
        assert up_to <= self.last_index
        if up_to < self.first_index:
            return
        position = up_to - self.first_index
        self.before = self.position_at(up_to)
        self._bytes_before = self._ends[position]
        del self._entries[: position + 1]
        del self._ends[: position + 1]
        self.first_index = Index(up_to + 1)

    def reset(self, before: LogPosition) -> None:
        """Forget everything and start over after `before`."""
        self._entries.clear()
        self._ends.clear()
        self._bytes_before = 0
        self.before = before
        self.first_index = Index(before.index + 1)
        self._read_end()

    def entry(self, index: Index) -> Entry:
        """Return the entry at `index`, which is in memory."""
        assert self.first_index <= index
        return self._entries[index - self.first_index]

    def slice(
        self, start: Index, end: Index | None = None, bytes_max: int | None = None
    ) -> list[Entry]:
        """Return entries [start, end), as many as `bytes_max` allows, yet always at least one.

        `start` is in memory or last_index + 1; `end` None means "to the last".
        """
        first = start - self.first_index
        stop = len(self._entries) if end is None else end - self.first_index
        assert first >= 0
        assert stop <= len(self._entries)
        if bytes_max is not None and first < stop:
            limit = self._bytes_up_to(first) + bytes_max
            if self._ends[stop - 1] > limit:
                stop = max(first + 1, bisect_right(self._ends, limit, first, stop))
        return self._entries[first:stop]

    def bytes_between(self, start: Index, end: Index) -> int:
        """Return what entries [start, end) count for; both ends in memory or just after it."""
        assert self.first_index <= start
        assert start <= end
        assert end <= self.last_index + 1
        return self._bytes_up_to(end - self.first_index) - self._bytes_up_to(
            start - self.first_index
        )

    def term_at(self, index: Index) -> Term | None:
        """Return the term of the entry at `index`; None if it is not known here."""
        position = index - self.first_index
        if 0 <= position < len(self._entries):
            return self._entries[position].term
        return self.before.term if position == -1 else None

    def position_at(self, index: Index) -> LogPosition:
        """Return what a log that starts after `index` must know of the entry there."""
        if index == self.before.index:
            return self.before
        entry = self.entry(index)
        return LogPosition(
            index=index,
            term=entry.term,
            next_offset=entry.next_offset,
            log_time_ms=entry.log_time_ms,
        )

    def find_offset(self, offset: Offset) -> Index | None:
        """Return the index of the entry that contains `offset`, or the next one after a hole.

        None: not in memory, because it lies below (`offset` < before.next_offset) or is not
        written yet.
        """
        if not self.before.next_offset <= offset < self.next_offset:
            return None
        return Index(self.first_index + bisect_right(self._entries, offset, key=_next_offset))

    def possible_match(self, index: Index, term: Term) -> Index:
        """Return the highest index, up to `index`, at which another log's `term` could stand.

        Every entry between the result and `index` has a higher term here. Below memory nothing is
        known, so the answer there is the first index worth asking for. Terms never fall along a
        log, hence the bisection.
        """
        index = min(index, self.last_index)
        if index < self.before.index:
            return index
        position = bisect_right(self._entries, term, 0, index - self.before.index, key=_term)
        if position > 0 or self.before.term <= term:
            return Index(self.before.index + position)
        return Index(max(0, self.before.index - 1))

    def _bytes_up_to(self, position: int) -> int:
        return self._ends[position - 1] if position > 0 else self._bytes_before

    def _read_end(self) -> None:
        end = self.before
        if self._entries:
            end = self.position_at(self._entries[-1].index)
        self.last_index = end.index
        self.last_term = end.term
        self.next_offset = end.next_offset
        self.last_log_time_ms = end.log_time_ms
