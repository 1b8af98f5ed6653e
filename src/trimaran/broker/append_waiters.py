"""Who waits for a partition's entries: until they are committed, synced here, or gone.

Waiters stay while a newer leader is followed, as their entry may still be committed; once another
entry takes its place they are told "not leader", which clients take as "outcome unknown".

Invariants: each deque ascends by index; nobody waits for an entry that is already settled.
Does not: append or commit anything (partition).
"""

from collections import deque

from trimaran.broker.pending import PendingAppend
from trimaran.errors import ErrorCode
from trimaran.ids import Index
from trimaran.records.entry import Entry


class AppendWaiters:
    """The answers of one partition that are due later."""

    __slots__ = ("_commit", "_duplicates", "_sync")

    def __init__(self) -> None:
        self._commit: deque[PendingAppend] = deque()
        self._sync: deque[PendingAppend] = deque()
        self._duplicates: list[PendingAppend] = []
        """Of entries that others wait for: in no order."""

    def of_entry(self, entry: Entry, acks: int) -> PendingAppend:
        """Return the answer for `entry`, done when `acks` (0, 1, -1) says so."""
        pending = PendingAppend(entry.offset, entry.index, entry.term)
        if acks == 0:
            pending.finish(None)
        elif acks == 1:
            self._sync.append(pending)
        else:
            self._commit.append(pending)
        return pending

    def of_duplicate(self, pending: PendingAppend) -> None:
        """Have `pending`, whose entry is in the log for another batch, done when that commits."""
        self._duplicates.append(pending)

    def is_commit_awaited(self, index: Index) -> bool:
        """Whether the first who waits for a commit waits for an entry up to `index`."""
        return bool(self._commit) and self._commit[0].index <= index

    def committed(self, index: Index) -> None:
        """Everything up to `index` is committed and applied."""
        waiters = self._commit
        while waiters and waiters[0].index <= index:
            waiters.popleft().finish(None)
        if self._duplicates:
            settled = [waiter for waiter in self._duplicates if waiter.index <= index]
            self._duplicates = [waiter for waiter in self._duplicates if waiter.index > index]
            for waiter in settled:
                waiter.finish(None)

    def synced(self, index: Index) -> None:
        """Everything up to `index` is synced on this node."""
        waiters = self._sync
        while waiters and waiters[0].index <= index:
            waiters.popleft().finish(None)

    def lost(self, start: Index) -> None:
        """Entries from `start` on are gone, or nobody here will learn how they end."""
        for waiters in (self._commit, self._sync):
            while waiters and waiters[-1].index >= start:
                waiters.pop().finish(ErrorCode.NOT_LEADER_OR_FOLLOWER)
        lost = [waiter for waiter in self._duplicates if waiter.index >= start]
        self._duplicates = [waiter for waiter in self._duplicates if waiter.index < start]
        for waiter in lost:
            waiter.finish(ErrorCode.NOT_LEADER_OR_FOLLOWER)
