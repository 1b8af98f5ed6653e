"""Happenings and failovers counted, from the broker's feed as it comes.

Does not: keep them (the broker does).
"""

from trimaran.broker.counters import SECONDS, Histogram
from trimaran.broker.happenings import Happening, HappeningKind
from trimaran.broker.incidents import Cause, Incidents


class FailoverCounts:
    """Counts since the node's start."""

    def __init__(self, incidents: Incidents) -> None:
        """`incidents` says why a failover came about."""
        self._incidents = incidents
        self.by_kind: dict[str, int] = {kind.value: 0 for kind in HappeningKind}
        self.by_cause: dict[str, int] = {cause.value: 0 for cause in Cause}
        self.durations = Histogram(SECONDS)

    def happened(self, happening: Happening) -> None:
        """Take in one."""
        self.by_kind[happening.kind.value] += 1
        if happening.kind is not HappeningKind.INCIDENT or happening.duration_ms is None:
            return
        self.durations.add(happening.duration_ms / 1000)
        for incident in self._incidents.all():
            if incident.number == happening.incident:
                self.by_cause[incident.cause.value] += 1
