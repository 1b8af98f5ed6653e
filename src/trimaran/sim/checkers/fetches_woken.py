"""A parked fetch is answered once there is something to read, not when its time is over.

Judged in calm runs: in others an answer may be late for many reasons.
"""

from collections.abc import Iterator

from trimaran.sim.checkers.checker import Checker
from trimaran.sim.history import History

LATE_SHARE_MAX = 0.1
"""A record that comes just when the time is over is no fault of anybody's."""


class FetchesWoken(Checker):
    """Counts the answers with records that came when the time to wait was over."""

    def finish(self, history: History) -> Iterator[str]:
        """Compare late answers with all that had records."""
        late, answers = history.late_fetches, history.fetches
        if history.is_calm and late > LATE_SHARE_MAX * answers:
            yield (
                f"{late} of {answers} fetches that got records were answered when their time was "
                f"over, more than {LATE_SHARE_MAX:.0%}"
            )
