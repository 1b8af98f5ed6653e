"""What a node knows of another node's life; `heartbeats` keeps it up to date.

Does not: judge.
"""

from trimaran.ids import GroupId, Index, Term

NEVER_S = float("-inf")


class PeerPulse:
    """What is known of one other node's life."""

    __slots__ = (
        "alive_since_s",
        "answered_number",
        "answered_sent_s",
        "bulk_bytes",
        "bulk_moved_s",
        "changed",
        "claimed",
        "doubtful",
        "dropped",
        "excepted_since_s",
        "has_room",
        "heard_s",
        "is_owed",
        "is_silent",
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
        self.not_following: dict[GroupId, None] = {}
        """Those of them that it did not follow at all when it last named them."""

    def bulk_idle_s(self, sent: int, arrived: int, *, now_s: float) -> float:
        """Return for how long something was on its way on the bulk connection and none arrived.

        `sent` and `arrived` count bytes of the connection of now; what is said of the one before
        looks like more.
        """
        if arrived != self.bulk_bytes or sent <= arrived:
            self.bulk_moved_s = now_s
        self.bulk_bytes = arrived
        return now_s - self.bulk_moved_s
