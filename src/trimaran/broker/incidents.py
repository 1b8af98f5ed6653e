"""Failovers as this node saw them: each loss of a node that led groups, with the time of each part.

A node that dies takes many groups' leaders with it: that is one incident, and each phase has the
time of the first and of the last group that got there. The strip that people look at is drawn from
the last ones. All times are milliseconds after the beginning:

    began         the last entries came from the old leader (it acknowledged them about then);
                  without any in its last second, the last sign of life
    detected      its connection broke, or its silence was noticed
    pre_vote      this node asked who would vote for it
    vote          a majority would: this node asked for votes
    elected       the successor is known here (this node, or another)
    first_commit  an entry of the successor's term is committed
    first_ack     a client of this node was answered by the successor (only where this node leads)

Phases that this node had no part in are missing: `pre_vote`, `vote` and `first_ack` of groups that
others won are in the records of those others. A leader that handed over on purpose is no incident.

Invariants: within a group the phases follow one another; INCIDENTS_MAX are kept; an incident that
is over changes no more.
Does not: detect anything, or decide anything.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum

from trimaran.broker.happenings import HappeningKind, Happenings
from trimaran.broker.replica import Replica
from trimaran.ids import GroupId, NodeId, Term
from trimaran.raft.ready import Role

INCIDENTS_MAX = 200
"""Kept; older ones are forgotten."""
GROUPS_NAMED_MAX = 20
IDLE_S = 1.0
"""Entries older than this before the last sign of life say nothing about the failover."""
ACK_WAIT_S = 10.0
"""Clients that have not been answered by then had nothing to ask: the incident is over."""

log = logging.getLogger(__name__)


class Cause(Enum):
    """How the loss of a leader showed."""

    CONNECTION_BROKE = "connection"
    """Its process is gone."""
    SILENT = "silence"
    """Frozen, cut off or without power."""
    STEPPED_DOWN = "stepped-down"
    """Its process lives and is heard; it leads no more."""


class PhaseName(Enum):
    """The parts of a failover, in order."""

    DETECTED = "detected"
    PRE_VOTE = "pre_vote"
    VOTE = "vote"
    ELECTED = "elected"
    FIRST_COMMIT = "first_commit"
    FIRST_ACK = "first_ack"


PHASES = tuple(PhaseName)


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """One part of an incident, over all its groups that got there."""

    name: PhaseName
    first_ms: float
    """After the incident's beginning."""
    last_ms: float
    group_count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Incident:
    """One failover as one node saw it."""

    number: int
    """Rises from 1, for this life of the node; what turned out to be none leaves a gap."""
    observer: NodeId
    """The node that saw it like this."""
    lost_node: NodeId
    cause: Cause
    time_ms: int
    """Wall time of the beginning, ms since the Unix epoch."""
    had_traffic: bool
    """Whether it begins with the last entries of the old leader, not with a mere sign of life."""
    group_count: int
    """Groups of this node that lost their leader."""
    won_count: int
    """Of which this node leads now."""
    groups: tuple[GroupId, ...]
    """The first GROUPS_NAMED_MAX of them."""
    old_term: Term
    """The highest term among those that ended."""
    term: Term
    """The highest term among the successors; 0 before the first."""
    new_leaders: tuple[NodeId, ...]
    """The successors known so far, in the order in which they were."""
    phases: tuple[Phase, ...]
    """In order, those that some group got to."""
    is_settled: bool
    """Every group has committed something under a successor."""
    is_over: bool
    """Nothing of this changes any more."""

    @property
    def total_ms(self) -> float | None:
        """From the beginning to the last group's last phase; None while not settled."""
        return self.phases[-1].last_ms if self.is_settled and self.phases else None


class _Course:
    """How far one group got, as monotonic seconds by phase."""

    __slots__ = ("at_s", "is_won", "old_term")

    def __init__(self, old_term: Term, detected_s: float) -> None:
        self.old_term = old_term
        self.at_s: dict[PhaseName, float] = {PhaseName.DETECTED: detected_s}
        self.is_won = False

    def reached(self, phase: PhaseName, now_s: float) -> None:
        """Note the phase; a campaign that is repeated counts from its last try."""
        if phase in (PhaseName.PRE_VOTE, PhaseName.VOTE):
            if PhaseName.ELECTED not in self.at_s:
                self.at_s[phase] = now_s
        else:
            self.at_s.setdefault(phase, now_s)


class _Open:
    """An incident that still changes."""

    __slots__ = (
        "began_s",
        "cause",
        "courses",
        "had_traffic",
        "is_settled",
        "leaders",
        "lost",
        "number",
        "term",
        "time_ms",
        "uncommitted",
        "unfinished",
    )

    def __init__(self, number: int, lost: NodeId, cause: Cause) -> None:
        self.number = number
        self.lost = lost
        self.cause = cause
        self.began_s = 0.0
        self.time_ms = 0
        self.had_traffic = False
        self.courses: dict[GroupId, _Course] = {}
        self.term = Term(0)
        self.leaders: dict[NodeId, None] = {}
        self.is_settled = False
        self.uncommitted = 0
        """Groups that have committed nothing under a successor."""
        self.unfinished = 0
        """Groups of which something more may be noted."""


class Incidents:
    """The failovers of one node's groups."""

    def __init__(
        self,
        *,
        node_id: NodeId,
        now_s: Callable[[], float],
        wall_ms: Callable[[], int],
        happenings: Happenings,
        kept_max: int = INCIDENTS_MAX,
    ) -> None:
        """`now_s` is monotonic time in seconds, of full resolution."""
        self._node_id = node_id
        self._now_s = now_s
        self._wall_ms = wall_ms
        self._happenings = happenings
        self._closed: deque[Incident] = deque(maxlen=kept_max)
        self._open: dict[NodeId, _Open] = {}
        self._of_group: dict[GroupId, _Open] = {}
        self._number = 0
        self._causes: dict[NodeId, Cause] = {}
        self._appended_s: dict[NodeId, float] = {}
        self._heard_s: dict[NodeId, float] = {}
        self._watchers: dict[object, Callable[[], None]] = {}
        self._is_telling = False

    def watch(self, callback: Callable[[], None]) -> object:
        """Call `callback` whenever an incident begins, gets on or ends; it must not raise."""
        handle = object()
        self._watchers[handle] = callback
        return handle

    def unwatch(self, handle: object) -> None:
        """Stop calling. Unknown handles are ignored."""
        self._watchers.pop(handle, None)

    @property
    def is_open(self) -> bool:
        """Whether some group is on its way from one leader to the next."""
        return len(self._of_group) > 0

    def all(self) -> Sequence[Incident]:
        """Return what is kept, oldest first; those under way last."""
        return [*self._closed, *(self._snapshot(one, is_over=False) for one in self._open.values())]

    # What peers do

    def appended(self, node: NodeId) -> None:
        """`node` sent entries."""
        self._appended_s[node] = self._now_s()

    def peer_lost(self, node: NodeId, cause: Cause, *, heard_ago_s: float) -> None:
        """`node` is gone or silent: what it led is lost for that reason, from now on."""
        self._causes[node] = cause
        self._heard_s[node] = self._now_s() - heard_ago_s

    def peer_back(self, node: NodeId) -> None:
        """`node` is there again."""
        self._causes.pop(node, None)

    # What groups do

    def leader_lost(self, replica: Replica, leader: NodeId | None) -> None:
        """The group counts `leader` as gone."""
        if leader is None or leader == self._node_id:
            return
        now_s = self._now_s()
        incident = self._open.get(leader)
        if incident is not None and incident.is_settled:
            self._close(incident)
            incident = None
        if incident is None:
            incident = self._begin(leader, now_s)
        self._drop(replica.group)  # a successor may be lost as well
        incident.courses[replica.group] = _Course(replica.raft.term, now_s)
        incident.uncommitted += 1
        incident.unfinished += 1
        self._of_group[replica.group] = incident

    def role_changed(self, replica: Replica, role: Role) -> None:
        """Term, role or leader of a group changed here."""
        incident = self._of_group.get(replica.group)
        if incident is None:
            return
        raft, course, now_s = replica.raft, incident.courses[replica.group], self._now_s()
        if role is Role.PRE_CANDIDATE:
            course.reached(PhaseName.PRE_VOTE, now_s)
        elif role is Role.CANDIDATE:
            course.reached(PhaseName.VOTE, now_s)
        elif raft.leader is not None:
            course.reached(PhaseName.ELECTED, now_s)
            course.is_won = role is Role.LEADER
            incident.term = max(incident.term, raft.term)
            incident.leaders[raft.leader] = None
            if raft.term == course.old_term:
                self._drop(replica.group)  # heard again in its own term: nothing was lost

    def committed(self, replica: Replica) -> None:
        """The group has committed something."""
        incident = self._of_group.get(replica.group)
        if incident is None:
            return
        course = incident.courses[replica.group]
        if PhaseName.ELECTED not in course.at_s or PhaseName.FIRST_COMMIT in course.at_s:
            return
        course.reached(PhaseName.FIRST_COMMIT, self._now_s())
        incident.uncommitted -= 1
        if not course.is_won:
            self._finish(replica.group)
        self._look(incident)

    def acknowledged(self, group: GroupId) -> None:
        """A client was told that its events are stored, by this node as the group's leader."""
        incident = self._of_group.get(group)
        if incident is not None and PhaseName.FIRST_COMMIT in incident.courses[group].at_s:
            incident.courses[group].reached(PhaseName.FIRST_ACK, self._now_s())
            self._finish(group)
            self._look(incident)

    def group_removed(self, group: GroupId) -> None:
        """The group was deleted: nobody will lead it."""
        self._drop(group)

    # The life of an incident

    def _begin(self, lost: NodeId, now_s: float) -> _Open:
        self._number += 1
        incident = _Open(self._number, lost, self._causes.get(lost, Cause.STEPPED_DOWN))
        heard_s = now_s if lost not in self._causes else self._heard_s.get(lost, now_s)
        appended_s = self._appended_s.get(lost)
        incident.began_s = heard_s
        if appended_s is not None and heard_s - appended_s < IDLE_S:
            incident.began_s, incident.had_traffic = appended_s, True
        incident.time_ms = self._wall_ms() - round((now_s - incident.began_s) * 1000)
        self._open[lost] = incident
        asyncio.get_running_loop().call_later(ACK_WAIT_S, self._time_over, incident)
        self._changed()
        return incident

    def _finish(self, group: GroupId) -> None:
        """Nothing more will be noted of the group."""
        self._of_group.pop(group).unfinished -= 1

    def _drop(self, group: GroupId) -> None:
        """Take the group out of its incident, if it is on its way in one."""
        incident = self._of_group.get(group)
        if incident is not None:
            self._finish(group)
            course = incident.courses.pop(group)
            incident.uncommitted -= PhaseName.FIRST_COMMIT not in course.at_s
            self._look(incident)

    def _look(self, incident: _Open) -> None:
        """Settle the incident if no group waits for a successor, end it if none for a client."""
        if self._open.get(incident.lost) is not incident:
            return
        if not incident.courses:
            del self._open[incident.lost]
        elif incident.uncommitted == 0:
            if not incident.is_settled:
                incident.is_settled = True
                self._tell(incident)
            if incident.unfinished == 0:
                self._close(incident)
        self._changed()

    def _changed(self) -> None:
        """Tell the watchers at the end of the turn."""
        if self._watchers and not self._is_telling:
            self._is_telling = True
            asyncio.get_running_loop().call_soon(self._tell_watchers)

    def _tell_watchers(self) -> None:
        self._is_telling = False
        for callback in list(self._watchers.values()):
            callback()

    def _tell(self, incident: _Open) -> None:
        told = self._snapshot(incident, is_over=False)
        total_ms = told.total_ms or 0.0
        text = f"node {told.lost_node} lost ({told.cause.value}), replaced after {total_ms:.0f} ms"
        log.info(
            "failover lost=%s cause=%s groups=%s won=%s total_ms=%.1f",
            told.lost_node, told.cause.value, told.group_count, told.won_count, total_ms,
        )  # fmt: skip
        self._happenings.add(
            HappeningKind.INCIDENT,
            node=told.lost_node,
            groups=told.groups,
            group_count=told.group_count,
            term=told.term,
            text=text,
            incident=told.number,
            duration_ms=total_ms,
        )

    def _time_over(self, incident: _Open) -> None:
        if self._open.get(incident.lost) is not incident:
            return
        if incident.is_settled:
            self._close(incident)
        else:
            asyncio.get_running_loop().call_later(ACK_WAIT_S, self._time_over, incident)

    def _close(self, incident: _Open) -> None:
        del self._open[incident.lost]
        for group in incident.courses:
            if self._of_group.get(group) is incident:
                self._finish(group)
        self._closed.append(self._snapshot(incident, is_over=True))
        self._changed()

    def _snapshot(self, incident: _Open, *, is_over: bool) -> Incident:
        courses = list(incident.courses.values())
        phases = []
        for name in PHASES:
            times = [course.at_s[name] for course in courses if name in course.at_s]
            if times:
                first_ms, last_ms = (
                    (time_s - incident.began_s) * 1000 for time_s in (min(times), max(times))
                )
                phases.append(
                    Phase(name=name, first_ms=first_ms, last_ms=last_ms, group_count=len(times))
                )
        return Incident(
            number=incident.number,
            observer=self._node_id,
            lost_node=incident.lost,
            cause=incident.cause,
            time_ms=incident.time_ms,
            had_traffic=incident.had_traffic,
            group_count=len(courses),
            won_count=sum(course.is_won for course in courses),
            groups=tuple(incident.courses)[:GROUPS_NAMED_MAX],
            old_term=max((course.old_term for course in courses), default=Term(0)),
            term=incident.term,
            new_leaders=tuple(incident.leaders),
            phases=tuple(phases),
            is_settled=incident.is_settled,
            is_over=is_over,
        )
