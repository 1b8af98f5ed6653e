"""Which batches of idempotent producers a leader refused for now, so that none overtakes them.

Clients have several batches under way. If the first is refused for a reason that passes (too much
is uncommitted, the disk has no room) and the next comes when it has passed, the next must wait for
the first to come again. A known producer's sequences see to that, and what is remembered of it is
void: what was refused may have been a copy of what is stored, which comes no more. One that the
table does not know may start anywhere (see `producers.judge`), and its first batch could never be
stored after that.

It is the leader's own memory and no part of the fold: it only ever refuses, and its loss leaves
what Kafka does.

Does not: judge against the log (`producers`).
"""

from trimaran.dedup.producers import SEQUENCE_MAX, out_of_order
from trimaran.errors import ErrorCode

PRODUCERS_MAX = 1_000
"""Producers of one partition that are remembered; beyond it the first refused is forgotten."""
_LATER_MAX = 1 << 30
"""A sequence up to so far ahead comes after another, as sequences begin again after the highest."""
_PASSING = (
    ErrorCode.NOT_ENOUGH_REPLICAS,
    ErrorCode.KAFKA_STORAGE_ERROR,
    ErrorCode.NOT_LEADER_OR_FOLLOWER,
)


class RefusedBatches:
    """The first refused sequence of each producer, in one partition, for one leadership."""

    __slots__ = ("_first",)

    def __init__(self) -> None:
        self._first: dict[tuple[int, int], int] = {}

    def __bool__(self) -> bool:
        """Return whether anything waits to come again."""
        return bool(self._first)

    def refused(self, producer: tuple[int, int], sequence: int, code: ErrorCode) -> None:
        """Note what became of a batch of `producer` (id and epoch) that begins at `sequence`."""
        if code not in _PASSING:
            return
        first = self._first.setdefault(producer, sequence)
        if is_later(first, than=sequence):
            self._first[producer] = sequence
        if len(self._first) > PRODUCERS_MAX:
            del self._first[next(iter(self._first))]

    def forget(self, producer: tuple[int, int]) -> None:
        """`producer` is known by now: its sequences say what comes next."""
        self._first.pop(producer, None)

    def judge(self, producer: tuple[int, int], sequence: int) -> None:
        """Refuse a new producer's batch that would overtake one; let that pass, and forget it.

        Raises:
            RequestError: OUT_OF_ORDER_SEQUENCE_NUMBER, as for any other gap.
        """
        first = self._first.pop(producer, sequence)
        if is_later(sequence, than=first):
            self._first[producer] = first
            raise out_of_order(*producer, first, sequence)


def is_later(sequence: int, *, than: int) -> bool:
    """Return whether a producer sends `sequence` after `than`; after 2**31 - 1 comes 0."""
    return 0 < (sequence - than) & SEQUENCE_MAX < _LATER_MAX
