"""Nothing that the clients did and saw is an anomaly: the history checker's classes, all of them.

Each Send is one record batch, so that even records of others within one are an anomaly.
"""

from collections.abc import Iterator

from trimaran.checking import Anomaly, HistoryError, check_history
from trimaran.sim.checkers.checker import Checker
from trimaran.sim.history import LEADER, History

FINDINGS_MAX = 5
"""Of one class: what goes wrong once goes wrong often."""


class HistoryWithoutAnomaly(Checker):
    """Hands the clients' operations to the history checker."""

    def finish(self, history: History) -> Iterator[str]:
        """Judge the whole history; without the final reads nothing can be called unseen."""
        partitions = {record.partition: None for record in history.sent}
        is_complete = all((LEADER, partition) in history.final for partition in partitions)
        allowed = () if is_complete else (Anomaly.UNSEEN,)
        try:
            found = check_history(history.operations(), allowed=allowed)
        except HistoryError as error:
            yield f"the clients noted what cannot be: {error}"
            return
        counts: dict[Anomaly, int] = {}
        for finding in found:
            counts[finding.anomaly] = counts.get(finding.anomaly, 0) + 1
            if counts[finding.anomaly] <= FINDINGS_MAX:
                yield str(finding)
