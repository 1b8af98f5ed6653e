"""What has been handed out to the disk, what is synced, and what must wait for it.

Two things become durable: the hard state (counted by versions, one for each change of term or
vote) and the log up to an index. A `Ready` hands both out under a token; tokens grow, and
`synced(token)` makes everything up to that token durable.

    log     1 2 3 4 5 6 7 8 9
            ----------> synced_index       what the disk holds of the log AS IT NOW STANDS
            --------------> handed_index   what is on its way
    token 7 ------------>                  what `synced(7)` will make durable

A truncation from index x cuts all three to x - 1, the marks of tokens still under way included: a
sync that was started for entries since replaced must not count for their replacements (the ABA
race). Messages that speak of a term or vote not yet synced are held here until they are.

Does not: touch a disk, or know what the entries are.
"""

from collections import deque

from trimaran.ids import Index, NodeId, Term
from trimaran.raft.messages import Message


class _HandedOut:
    """What one token covers."""

    __slots__ = ("last", "term", "token", "version")

    def __init__(self, *, token: int, version: int, term: Term, last: Index) -> None:
        self.token = token
        self.version = version
        self.term = term
        self.last = last


class Durability:
    """How far the disk has followed one group's hard state and log."""

    __slots__ = (
        "_handed_version",
        "_held",
        "_outstanding",
        "_synced_version",
        "_version",
        "handed_index",
        "synced_index",
        "synced_term",
        "token",
    )

    def __init__(self, *, term: Term, last_index: Index) -> None:
        """Start with a synced hard state in `term` and a log synced up to `last_index`."""
        self.token = 0
        """The token handed out last."""
        self.synced_term = term
        self.synced_index = last_index
        self.handed_index = last_index
        self._version = 0
        self._handed_version = 0
        self._synced_version = 0
        self._outstanding: deque[_HandedOut] = deque()
        self._held: deque[tuple[int, NodeId, Message]] = deque()

    @property
    def is_hard_state_synced(self) -> bool:
        """Whether the current term and vote may be spoken of."""
        return self._synced_version == self._version

    @property
    def is_hard_state_due(self) -> bool:
        """Whether the current term and vote have not been handed out."""
        return self._handed_version != self._version

    def hard_state_changed(self) -> None:
        """Note a new term or vote."""
        self._version += 1

    def hold(self, peer: NodeId, message: Message) -> None:
        """Keep `message` until the hard state of this moment is synced.

        One of a kind for each peer: a later one says all that the earlier one did, and whoever asks
        again and again during a slow sync must not fill the memory.
        """
        assert not self.is_hard_state_synced
        kind = type(message)
        for at, (_, other, held) in enumerate(self._held):
            if other == peer and type(held) is kind:
                del self._held[at]
                break
        self._held.append((self._version, peer, message))

    def truncated(self, start: Index) -> None:
        """Forget whatever is said about entries from `start` on: they were replaced."""
        last = Index(start - 1)
        self.synced_index = min(self.synced_index, last)
        self.handed_index = min(self.handed_index, last)
        for handed in self._outstanding:
            handed.last = min(handed.last, last)

    def installed(self, boundary: Index) -> None:
        """Note that everything up to `boundary` is durable by other means."""
        self.synced_index = max(self.synced_index, boundary)
        self.handed_index = max(self.handed_index, boundary)

    def hand_out(self, *, term: Term, last_index: Index) -> int:
        """Return the token for all that is new: the hard state, in `term`, and the log's end."""
        assert last_index >= self.handed_index
        self.token += 1
        if self.is_hard_state_due or last_index > self.handed_index:
            self.handed_index = last_index
            self._handed_version = self._version
            self._outstanding.append(
                _HandedOut(token=self.token, version=self._version, term=term, last=last_index)
            )
        return self.token

    def synced(self, token: int) -> list[tuple[NodeId, Message]]:
        """Count everything up to `token` as durable; return the messages this sets free.

        A token that was already counted changes nothing.
        """
        assert token <= self.token
        outstanding = self._outstanding
        while outstanding and outstanding[0].token <= token:
            handed = outstanding.popleft()
            self._synced_version = handed.version
            self.synced_term = handed.term
            self.synced_index = max(self.synced_index, handed.last)
        assert self.synced_index <= self.handed_index
        free = []
        held = self._held
        while held and held[0][0] <= self._synced_version:
            _, peer, message = held.popleft()
            free.append((peer, message))
        return free
