"""Which leader epoch begins at which offset: what OffsetForLeaderEpoch asks for (KIP-101, KIP-320).

One row per term that left an entry in the log, ascending in term, index and offset. Built from the
rows of the segments at start, kept as entries come and go. Does not: know about commits.
"""

from bisect import bisect_right

from trimaran.ids import Index, Offset, Term
from trimaran.records.entry import Entry


class LeaderEpochs:
    """The terms of one log with their first index and offset."""

    __slots__ = ("_first_indexes", "_start_offsets", "_terms")

    def __init__(self) -> None:
        self._terms: list[Term] = []
        self._first_indexes: list[Index] = []
        self._start_offsets: list[Offset] = []

    def begin(self, term: Term, index: Index, offset: Offset) -> None:
        """Note the first entry of `term`; earlier terms only."""
        assert not self._terms or term > self._terms[-1]
        self._terms.append(term)
        self._first_indexes.append(index)
        self._start_offsets.append(offset)

    def appended(self, entry: Entry) -> None:
        """Note `entry` if it is the first of its term."""
        if not self._terms or entry.term > self._terms[-1]:
            self.begin(entry.term, entry.index, entry.offset)

    def truncated(self, start: Index) -> None:
        """Forget terms whose first entry was at or after `start`."""
        while self._first_indexes and self._first_indexes[-1] >= start:
            self._terms.pop()
            self._first_indexes.pop()
            self._start_offsets.pop()

    def end(self, leader_epoch: int, *, log_end: Offset) -> tuple[int, Offset]:
        """Return (largest epoch <= asked, first offset after it); (-1, -1) if unknown.

        An epoch older than all that are known ends where the first of them begins: its events were
        deleted, nothing of what a reader has was replaced (as Kafka's LeaderEpochFileCache says).
        """
        if leader_epoch < 0 or not self._terms:
            return -1, Offset(-1)
        following = bisect_right(self._terms, Term(leader_epoch))
        if following == 0:
            return leader_epoch, self._start_offsets[0]
        if following == len(self._terms):
            if leader_epoch > self._terms[-1]:
                return -1, Offset(-1)
            return self._terms[-1], log_end
        return self._terms[following - 1], self._start_offsets[following]
