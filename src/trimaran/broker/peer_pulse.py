"""What a node knows of another node's life; `heartbeats` keeps it up to date.

Does not: judge.
"""

from trimaran.broker.peer_frames import Refusal
from trimaran.ids import GroupId, Index, Term

NEVER_S = float("-inf")
NO_TERM = Term(0)


class PeerPulse:
    """What is known of one other node's life."""

    __slots__ = (
        "alive_since_s",
        "answered_number",
        "answered_sent_s",
        "bulk_bytes",
        "bulk_moved_s",
        "busy",
        "changed",
        "claimed",
        "doubtful",
        "dropped",
        "excepted_since_s",
        "has_room",
        "heard_s",
        "held_back",
        "is_owed",
        "is_silent",
        "is_starved",
        "missed",
        "not_following",
        "sent_s",
        "timed_number",
        "timed_s",
        "told",
    )

    def __init__(self) -> None:
        self.heard_s = 0.0
        """When its last heartbeat came, moved on by our own lateness."""
        self.is_silent = True
        self.has_room = True
        """Whether its disk takes events, as it said last."""
        self.is_starved = False
        """Whether it gets too little processor time to give signs of life on time, as it says."""
        self.is_owed = False
        """A read waits for a heartbeat that was not sent, so many were under way."""
        self.bulk_bytes = 0
        """What it had of us on the bulk connection, as it said last."""
        self.bulk_moved_s = 0.0
        """When that last grew, or nothing was on its way."""
        self.alive_since_s = 0.0
        """Since when it has been heard of without a break."""
        self.claimed: dict[GroupId, Term] = {}
        """Groups it says it leads."""
        self.doubtful: dict[GroupId, None] = {}
        """Claimed groups that may have to be named as exceptions in the next answer."""
        self.missed: dict[GroupId, None] = {}
        """Groups of which a message was dropped here: exceptions in the next answer."""
        self.held_back: dict[GroupId, None] = {}
        """Groups of which events were dropped here: exceptions while none are taken."""
        self.told: dict[GroupId, tuple[Term, Index]] | None = None
        """What we told it of the groups we lead; None: tell it everything."""
        self.changed: dict[GroupId, None] = {}
        self.dropped: dict[GroupId, None] = {}
        self.sent_s: dict[int, float] = {}
        """When each unanswered heartbeat left, by number."""
        self.timed_number = 0
        """The heartbeat whose round trip is measured, and when it left; 0: the next one."""
        self.timed_s = 0.0
        self.answered_number = 0
        self.answered_sent_s = NEVER_S
        """When the last heartbeat that it answered on this connection was sent."""
        self.excepted_since_s: dict[GroupId, float] = {}
        """Groups we lead that it does not follow, and since when."""
        self.busy: dict[GroupId, None] = {}
        """Groups we lead that it follows without taking events."""
        self.not_following: dict[GroupId, None] = {}
        """Those of them that it did not follow at all when it last named them."""

    def begin(self, now_s: float) -> None:
        """The control lane is new: it is told everything, and given time."""
        self.told = None
        self.timed_number = 0
        self.sent_s.clear()
        self.heard_s = self.alive_since_s = self.bulk_moved_s = now_s
        self.is_silent = False

    def end(self) -> None:
        """The control lane broke: what it claimed is void."""
        self.is_silent = True
        self.claimed.clear()
        self.doubtful.clear()
        self.told = None
        self.answered_sent_s = NEVER_S

    def take_missed(self, *, takes_events: bool) -> list[tuple[GroupId, Term, Refusal]]:
        """Return of which groups something was dropped here, each once or while none are taken."""
        missed = [(group, NO_TERM, Refusal.MISSING) for group in self.missed]
        missed += [(group, NO_TERM, Refusal.BUSY) for group in self.held_back]
        self.missed.clear()
        if takes_events:
            self.held_back.clear()
        return missed

    def bulk_idle_s(self, sent: int, arrived: int, *, now_s: float) -> float:
        """Return for how long something was on its way on the bulk connection and none arrived.

        `sent` and `arrived` count bytes of the connection of now; what is said of the one before
        looks like more.
        """
        if arrived != self.bulk_bytes or sent <= arrived:
            self.bulk_moved_s = now_s
        self.bulk_bytes = arrived
        return now_s - self.bulk_moved_s
