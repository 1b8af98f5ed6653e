"""A follower as its leader sees it, and how much may be under way to it.

    PROBE      one message at a time, to find where the logs agree        -- success -->  REPLICATE
    REPLICATE  pipelined, bounded by messages and bytes                   -- refusal -->  PROBE
    INSTALL    nothing, files are being moved                             -- done ----->  PROBE

Invariant: 0 <= match < next. `match` is what the follower has synced of this leader's log; it only
grows, except when the follower itself says that it lost what it had. Source: thesis section 10.2.1
(flow control is left to the implementer there; the three states are common practice).

Does not: send anything, or decide what is committed.
"""

from collections import deque
from dataclasses import dataclass
from enum import Enum

from trimaran.ids import Index


class ProgressState(Enum):
    """How entries travel to a follower."""

    PROBE = "probe"
    REPLICATE = "replicate"
    INSTALL = "install"


@dataclass(frozen=True, slots=True, kw_only=True)
class RaftLimits:
    """Bounds of one group's memory and traffic."""

    inflight_messages_max: int = 64
    """Unanswered AppendEntries to one follower."""
    inflight_bytes_max: int = 16 * 2**20
    """Unanswered bytes to one follower; the message that passes the limit is the last one."""
    message_bytes_max: int = 2**20
    """One AppendEntries, unless its only entry is bigger."""
    uncommitted_bytes_max: int = 64 * 2**20
    """A leader's uncommitted tail, unless its only entry is bigger."""


class Progress:
    """What a leader knows of one follower in its term."""

    __slots__ = (
        "_inflight",
        "counts",
        "inflight_bytes",
        "install_index",
        "is_reading",
        "match",
        "next",
        "probe_sent",
        "sent_commit",
        "state",
    )

    def __init__(self, *, next_index: Index) -> None:
        """Probe from `next_index`; nothing is known to match."""
        assert next_index > 0
        self.state = ProgressState.PROBE
        self.match = Index(0)
        self.next = next_index
        self.counts = True
        """Whether the follower may vote: a damaged one or one with a new disk says it may not."""
        self.probe_sent = False
        self.is_reading = False
        """Older entries were asked of the driver; nothing is sent until it brings them."""
        self.install_index = Index(0)
        self.sent_commit = Index(0)
        """The commit index in the last message to this follower."""
        self.inflight_bytes = 0
        self._inflight: deque[tuple[Index, int]] = deque()

    @property
    def inflight_count(self) -> int:
        """Unanswered messages with entries, while replicating."""
        return len(self._inflight)

    def is_paused(self, limits: RaftLimits) -> bool:
        """Whether nothing may be sent until something was answered."""
        if self.is_reading:
            return True
        if self.state is ProgressState.REPLICATE:
            return (
                len(self._inflight) >= limits.inflight_messages_max
                or self.inflight_bytes >= limits.inflight_bytes_max
            )
        return self.state is ProgressState.INSTALL or self.probe_sent

    def sent(self, last: Index, *, message_bytes: int) -> None:
        """Note a message with entries [next, last]; a probe may be empty, last = next - 1."""
        assert last >= self.next - 1
        assert self.state is not ProgressState.INSTALL
        if self.state is ProgressState.PROBE:
            self.probe_sent = True
            return
        self.next = Index(last + 1)
        self._inflight.append((last, message_bytes))
        self.inflight_bytes += message_bytes

    def accepted(self, index: Index) -> None:
        """Note that the follower matches and has synced up to `index`; never goes back."""
        self.match = max(self.match, index)
        inflight = self._inflight
        while inflight and inflight[0][0] <= index:
            self.inflight_bytes -= inflight.popleft()[1]
        if self.state is ProgressState.REPLICATE:
            self.next = max(self.next, Index(self.match + 1))
        elif self.state is ProgressState.PROBE or self.match >= self.install_index:
            self._become(ProgressState.REPLICATE)
            self.next = Index(self.match + 1)
        assert self.match < self.next

    def maybe_retreat(self, refused: Index, *, hint: Index) -> bool:
        """Probe again at or below `hint` + 1, unless the refusal of `refused` is out of date."""
        if self.state is ProgressState.PROBE:
            is_current = refused == self.next - 1
        else:
            is_current = self.state is ProgressState.REPLICATE and refused > self.match
        if not is_current:
            return False
        self._become(ProgressState.PROBE)
        self.next = max(Index(self.match + 1), min(refused, Index(hint + 1)))
        return True

    def become_probe(self) -> None:
        """Start over after a loss of messages: from match + 1, or where the probing stood."""
        if self.state is not ProgressState.PROBE:
            self.next = Index(self.match + 1)
        self._become(ProgressState.PROBE)
        assert self.match < self.next

    def become_install(self, index: Index) -> None:
        """Send nothing until the follower holds the boundary at `index`."""
        assert index > self.match
        self._become(ProgressState.INSTALL)
        self.install_index = index
        self.next = Index(index + 1)

    def forget_match(self, refused: Index) -> None:
        """The follower lost what it had: probe as if `refused` had just been tried."""
        self._become(ProgressState.PROBE)
        self.match = Index(0)
        self.next = Index(refused + 1)

    def _become(self, state: ProgressState) -> None:
        self.state = state
        self.probe_sent = False
        self.is_reading = False
        self.inflight_bytes = 0
        self._inflight.clear()
