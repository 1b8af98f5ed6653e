"""Fetch sessions (KIP-227): a reader of many partitions names them once.

A session keeps what its reader asked for last; a later request of it names only what changed, and
its answer leaves out partitions without news. Epochs count the requests of a session, so that a
lost answer is noticed: the reader then starts over with a full request.

The cache is bounded. When it is full a new session takes the place of one that nobody used for a
while; else the reader goes on without a session. (Kafka's also takes that of a smaller one.) A
session of more partitions than a request may name is not kept, for its reader is refused.

Invariants: `partition_count` is what the sessions hold in all; a session's places are in the order
in which the next answer looks at them.
Does not: read anything, or know who may read.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from trimaran.broker.rows import ROWS_MAX
from trimaran.errors import ErrorCode, RequestError
from trimaran.ids import TopicId
from trimaran.protocol.messages import (
    FetchPartition,
    FetchRequest,
    FetchTopic,
    ForgottenTopic,
    PartitionData,
)

SESSIONS_MAX = 1_000
"""Kafka's max.incremental.fetch.session.cache.slots."""
PARTITIONS_MAX = 200_000
"""Of all sessions: about 100 MB. A session that does not fit is not made."""
IDLE_S = 120.0
"""A session that was not used for so long makes room for a new one."""
NO_SESSION = 0
FULL_EPOCH = 0
"""Session epoch of a request that names everything and asks for a session."""
FINAL_EPOCH = -1
"""Session epoch of a request that names everything and wants none."""
NOWHERE = -1
"""The preferred read replica of a partition that is read where it was asked for."""
_EPOCH_MAX = 2**31 - 1

Place = tuple[str, TopicId, int]
"""Topic name (up to version 12) or id (later), and partition number."""


@dataclass(slots=True)
class SessionPartition:
    """What a session knows of one partition."""

    topic: str
    topic_id: TopicId
    asked: FetchPartition
    high_watermark: int = -1
    """As told last, like the next one."""
    log_start: int = -1

    def has_news(self, told: PartitionData) -> bool:
        """Whether `told` says anything that the reader does not know; it is noted as told."""
        before = (self.high_watermark, self.log_start)
        self.high_watermark, self.log_start = told.high_watermark, told.log_start_offset
        is_elsewhere = told.preferred_read_replica != NOWHERE
        is_failed = told.error_code != ErrorCode.NONE or is_elsewhere
        return is_failed or len(told.records) > 0 or before != (self.high_watermark, self.log_start)


class FetchSession:
    """One reader's partitions."""

    __slots__ = ("epoch", "session_id", "used_s", "uses_ids", "wanted")

    def __init__(self, session_id: int, *, uses_ids: bool, now_s: float) -> None:
        self.session_id = session_id
        """0 once it is closed: its reader is told so."""
        self.uses_ids = uses_ids
        """Whether its reader names topics by their ids."""
        self.epoch = 1
        """Of the next request."""
        self.used_s = now_s
        self.wanted: dict[Place, SessionPartition] = {}

    def change(self, topics: Sequence[FetchTopic], forgotten: Sequence[ForgottenTopic]) -> None:
        """Take in what a request names and drop what it forgets."""
        for topic in topics:
            for asked in topic.partitions:
                place = (topic.topic, topic.topic_id, asked.partition)
                known = self.wanted.get(place)
                if known is None:
                    self.wanted[place] = SessionPartition(topic.topic, topic.topic_id, asked)
                else:
                    known.asked = asked
        for gone in forgotten:
            for number in gone.partitions:
                self.wanted.pop((gone.topic, gone.topic_id, number), None)

    def answered(self, rows: Sequence[SessionPartition]) -> None:
        """Look at partitions that had data last of all next time, so that none is starved."""
        for row in rows:
            place = (row.topic, row.topic_id, row.asked.partition)
            if self.wanted.pop(place, None) is not None:
                self.wanted[place] = row

    def next_epoch(self) -> None:
        """Count a request; after the highest epoch comes 1."""
        self.epoch = 1 if self.epoch == _EPOCH_MAX else self.epoch + 1


class FetchSessions:
    """The sessions of one node's readers."""

    def __init__(self, draw_id: Callable[[], int]) -> None:
        """`draw_id` returns a random positive number of 31 bits."""
        self._draw_id = draw_id
        self._sessions: dict[int, FetchSession] = {}
        """The one used longest ago first."""
        self.partition_count = 0

    def __len__(self) -> int:
        """Return how many sessions there are."""
        return len(self._sessions)

    def open(self, request: FetchRequest, *, uses_ids: bool, now_s: float) -> FetchSession | None:
        """Return the session of a full request, a new one if there is room; else None."""
        self.close(request.session_id)
        count = sum(len(topic.partitions) for topic in request.topics)
        if request.session_epoch != FULL_EPOCH or not self._has_room(count, now_s):
            return None
        session_id = self._draw_id()
        while session_id in self._sessions or session_id == NO_SESSION:
            session_id = self._draw_id()
        session = FetchSession(session_id, uses_ids=uses_ids, now_s=now_s)
        session.change(request.topics, ())
        self._sessions[session_id] = session
        self.partition_count += len(session.wanted)
        return session

    def go_on(self, request: FetchRequest, *, uses_ids: bool, now_s: float) -> FetchSession:
        """Return the session of a request that is not full, changed as it says.

        Raises:
            RequestError: FETCH_SESSION_ID_NOT_FOUND, INVALID_FETCH_SESSION_EPOCH,
                FETCH_SESSION_TOPIC_ID_ERROR. The reader starts over with a full request.
        """
        session = self._sessions.get(request.session_id)
        if session is None:
            raise RequestError(
                ErrorCode.FETCH_SESSION_ID_NOT_FOUND, f"no fetch session {request.session_id}"
            )
        if session.epoch != request.session_epoch:
            raise RequestError(
                ErrorCode.INVALID_FETCH_SESSION_EPOCH,
                f"epoch of session {session.session_id}: expected {session.epoch}, "
                f"found {request.session_epoch}",
            )
        if session.uses_ids != uses_ids:
            raise RequestError(
                ErrorCode.FETCH_SESSION_TOPIC_ID_ERROR, "topic names and ids in one session"
            )
        before = len(session.wanted)
        session.change(request.topics, request.forgotten_topics_data)
        self.partition_count += len(session.wanted) - before
        session.next_epoch()
        session.used_s = now_s
        self._sessions[session.session_id] = self._sessions.pop(session.session_id)
        is_of_use = 0 < len(session.wanted) <= ROWS_MAX
        if not is_of_use or self.partition_count > 2 * PARTITIONS_MAX:
            self.close(session.session_id)
        return session

    def close(self, session_id: int) -> None:
        """Forget a session; unknown ones are ignored."""
        session = self._sessions.pop(session_id, None)
        if session is not None:
            session.session_id = NO_SESSION
            self.partition_count -= len(session.wanted)
            assert self.partition_count >= 0

    def _has_room(self, count: int, now_s: float) -> bool:
        """Make room for a session of so many partitions, if somebody's place may be taken."""
        if count > ROWS_MAX or count > PARTITIONS_MAX:
            return False
        while len(self._sessions) >= SESSIONS_MAX or self.partition_count + count > PARTITIONS_MAX:
            eldest = next(iter(self._sessions.values()))
            if now_s - eldest.used_s < IDLE_S:
                return False
            self.close(eldest.session_id)
        return True
