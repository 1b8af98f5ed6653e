"""Where each term's entries start: Kafka's leader epoch cache (KIP-101), in memory.

Invariants: terms ascend strictly, start offsets never descend.
Does not: read files; recovery finds the starts by binary search over rows (segment.py).
"""

from bisect import bisect_right

from trimaran.ids import Offset, Term


class LeaderEpochs:
    """Terms of one group's stored entries, each with the offset at which it starts."""

    __slots__ = ("_starts", "_terms")

    def __init__(self) -> None:
        """Start without entries."""
        self._terms: list[Term] = []
        self._starts: list[Offset] = []

    @property
    def starts(self) -> tuple[tuple[Term, Offset], ...]:
        """Every term with its start offset, ascending."""
        return tuple(zip(self._terms, self._starts, strict=True))

    def add(self, term: Term, offset: Offset) -> None:
        """Note that an entry of `term` is at `offset`; only a new term's first entry matters."""
        if self._terms and term <= self._terms[-1]:
            assert term == self._terms[-1], "terms never descend along a log"
            return
        assert not self._starts or offset >= self._starts[-1]
        self._terms.append(term)
        self._starts.append(offset)

    def end_of(self, term: Term, log_end: Offset) -> tuple[Term, Offset] | None:
        """Return the highest term up to `term` and the offset where it ends.

        That is the next term's start, or `log_end` for the last. None if `term` is below all.
        """
        at = bisect_right(self._terms, term)
        if at == 0:
            return None
        end = self._starts[at] if at < len(self._terms) else log_end
        return self._terms[at - 1], end

    def drop_before(self, offset: Offset) -> None:
        """Forget terms that end at or before `offset`; the first that is left starts there."""
        while len(self._starts) > 1 and self._starts[1] <= offset:
            del self._terms[0], self._starts[0]
        if self._starts and self._starts[0] < offset:
            self._starts[0] = offset

    def clear(self) -> None:
        """Forget everything."""
        self._terms.clear()
        self._starts.clear()
