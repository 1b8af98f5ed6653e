"""A history, indexed: who sent each value, and the one log of each partition that all saw parts of.

A partition's log is put together from every place where a client saw a value at an offset: all
polls, even failed ones, for what is shown to anybody must be right; and the answers to sends that
must have committed. A send must have committed if it was acknowledged, or if its outcome is unknown
and somebody read one of its values.

Does not: judge.
"""

from bisect import bisect_left
from collections.abc import Iterable
from typing import TypeVar

from trimaran.checking.operations import (
    UNKNOWN_OFFSET,
    Assign,
    EndRead,
    Operation,
    Outcome,
    Partition,
    Poll,
    Send,
)

ItemT = TypeVar("ItemT")


class HistoryError(ValueError):
    """The history itself cannot be: its values are not unique, or its lists do not fit."""


class SeenLog:
    """What is known of one partition's log."""

    __slots__ = ("_sorted", "divergent", "offsets", "read", "repeated", "values")

    def __init__(self) -> None:
        self.values: dict[int, bytes] = {}
        """The value at each offset, the first that was seen there."""
        self.divergent: dict[int, list[bytes]] = {}
        """All values of the offsets where there is more than one."""
        self.offsets: dict[bytes, int] = {}
        """Where each value is, the first place where it was seen."""
        self.repeated: dict[bytes, list[int]] = {}
        """All offsets of the values that have more than one."""
        self.read: dict[bytes, int] = {}
        """The lowest offset at which a successful poll returned each value."""
        self._sorted: list[int] | None = None

    def saw(self, offset: int, value: bytes) -> None:
        """Take in that somebody saw `value` at `offset`."""
        known = self.values.setdefault(offset, value)
        if known is not value and known != value:
            _add_new(self.divergent.setdefault(offset, [known]), value)
        place = self.offsets.setdefault(value, offset)
        if place != offset:
            _add_new(self.repeated.setdefault(value, [place]), offset)

    def skipped(self, start: int, end: int) -> int:
        """Return how many known offsets lie in [start, end); those that hold nothing are none."""
        if start >= end:
            return 0
        if self._sorted is None or len(self._sorted) != len(self.values):
            self._sorted = sorted(self.values)
        return bisect_left(self._sorted, end) - bisect_left(self._sorted, start)

    def last_offset(self, value: bytes) -> int:
        """Return the highest offset of `value`, UNKNOWN_OFFSET if nobody saw it anywhere."""
        repeated = self.repeated.get(value)
        return max(repeated) if repeated else self.offsets.get(value, UNKNOWN_OFFSET)


class Evidence:
    """All that the checks look at. Raises HistoryError."""

    def __init__(self, operations: Iterable[Operation]) -> None:
        self.operations = list(operations)
        self.sends = [one for one in self.operations if isinstance(one, Send)]
        self.polls = [one for one in self.operations if isinstance(one, Poll)]
        self.ends = [one for one in self.operations if isinstance(one, EndRead)]
        self.writers: dict[bytes, Send] = {}
        """Who sent each value."""
        self.logs: dict[Partition, SeenLog] = {}
        for operation in self.operations:
            if not isinstance(operation, Assign):
                self.logs.setdefault(operation.partition, SeenLog())
        for send in self.sends:
            self._take_send(send)
        for poll in self.polls:
            self._take_poll(poll)
        for send in self.sends:
            if send.offsets and self.must_have_committed(send):
                self._take_answer(send)

    def must_have_committed(self, send: Send) -> bool:
        """Whether a send took place for certain."""
        if send.outcome is Outcome.UNKNOWN:
            read = self.logs[send.partition].read
            return any(value in read for value in send.values)
        return send.outcome is Outcome.OK

    def _take_send(self, send: Send) -> None:
        if send.offsets and len(send.offsets) != len(send.values):
            raise HistoryError(f"{send.process}: {len(send.offsets)} offsets of {send.values}")
        for value in send.values:
            if self.writers.setdefault(value, send) is not send:
                raise HistoryError(f"{send.process}: {value!r} was sent before")

    def _take_poll(self, poll: Poll) -> None:
        if len(poll.offsets) != len(poll.values):
            raise HistoryError(f"{poll.process}: {len(poll.offsets)} offsets of {poll.values}")
        if poll.offsets and min(poll.offsets) < 0:
            raise HistoryError(f"{poll.process}: read at offset {min(poll.offsets)}")
        log = self.logs[poll.partition]
        saw, read = log.saw, log.read
        counts = poll.outcome is Outcome.OK
        for offset, value in zip(poll.offsets, poll.values, strict=True):
            saw(offset, value)
            if counts and read.setdefault(value, offset) > offset:
                read[value] = offset

    def _take_answer(self, send: Send) -> None:
        saw = self.logs[send.partition].saw
        for offset, value in zip(send.offsets, send.values, strict=True):
            if offset != UNKNOWN_OFFSET:
                saw(offset, value)


def _add_new(items: list[ItemT], item: ItemT) -> None:
    if item not in items:
        items.append(item)
