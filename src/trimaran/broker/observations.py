"""What a node notes of itself while it works, in one place: counts, happenings, failovers.

Made once with the node and handed to the parts where something is to be noted; readers (metrics,
history, the REST API) take it from `Broker.observations`. A part that stands alone, as in tests,
notes into one of its own.
Does not: measure anything itself, log, or keep histories (`server.observing` does).
"""

from collections.abc import Callable
from typing import Self

from trimaran.broker.counters import Counters
from trimaran.broker.happenings import SLOW_DISK_PAUSE_S, HappeningKind, Happenings
from trimaran.broker.incidents import Incidents
from trimaran.broker.ports import Clock
from trimaran.broker.produce_timing import ProduceTiming
from trimaran.broker.replica import Replica
from trimaran.ids import NodeId
from trimaran.raft.ready import Role

SLOW_SYNC_S = 0.1
"""A sync that takes this long is near to the shortest election time-out."""


class Observations:
    """The notes of one node."""

    __slots__ = (
        "_slow_told_s",
        "counters",
        "happenings",
        "incidents",
        "now_s",
        "timing",
    )

    def __init__(
        self, *, node_id: NodeId, now_s: Callable[[], float], wall_ms: Callable[[], int]
    ) -> None:
        """`now_s` is monotonic time in seconds, of full resolution; see `ports.Clock`."""
        self.now_s = now_s
        self.counters = Counters()
        self.timing = ProduceTiming(self.counters, now_s)
        self.happenings = Happenings(wall_ms=wall_ms)
        self.incidents = Incidents(
            node_id=node_id, now_s=now_s, wall_ms=wall_ms, happenings=self.happenings
        )
        self._slow_told_s = float("-inf")

    @classmethod
    def of(cls, node_id: NodeId, clock: Clock) -> Self:
        """Return those of the node with this clock."""
        return cls(node_id=node_id, now_s=clock.precise_s, wall_ms=clock.wall_ms)

    @classmethod
    def apart(cls) -> Self:
        """Return those of a part that stands alone, for which no time passes."""
        return cls(node_id=NodeId(0), now_s=_one_s, wall_ms=_one_ms)

    def role_changed(self, replica: Replica, role: Role) -> None:
        """Term, role or leader of a group changed here."""
        if role is Role.PRE_CANDIDATE:
            self.counters.campaigns += 1
        elif role is Role.LEADER:
            self.counters.elections_won += 1
        if self.incidents.is_open:
            self.incidents.role_changed(replica, role)

    def leader_lost(self, replica: Replica, leader: NodeId | None) -> None:
        """The group counts `leader` (None: it had none) as gone."""
        if leader is not None:
            self.counters.leaders_lost += 1
            self.incidents.leader_lost(replica, leader)

    def synced(self, *, submitted_s: float, begun_s: float, ended_s: float, now_s: float) -> None:
        """A journal round was synced: submitted, taken up, done in its thread, told here."""
        counters = self.counters
        sync_s = ended_s - begun_s
        counters.journal_handoff.add(begun_s - submitted_s)
        counters.journal_sync.add(sync_s)
        counters.journal_callback.add(now_s - ended_s)
        if sync_s < SLOW_SYNC_S:
            return
        counters.slow_syncs += 1
        if now_s - self._slow_told_s >= SLOW_DISK_PAUSE_S:
            self._slow_told_s = now_s
            text = f"a journal sync took {sync_s * 1000:.0f} ms"
            self.happenings.add(HappeningKind.SLOW_DISK, text=text, duration_ms=sync_s * 1000)


def _one_s() -> float:
    return 1.0


def _one_ms() -> int:
    return 1
