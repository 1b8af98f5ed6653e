"""What an operator should hear of that no single event shows: dedup windows that are cut short.

A topic that sends more ids in its window than `event.dedup.max.ids` holds forgets some before
their time: a duplicate that comes late is stored again. One warning when that begins.
Does not: repeat itself while it lasts.
"""

import logging

from trimaran.broker.happenings import HappeningKind, Happenings
from trimaran.server.observing.groups import DedupRow, GroupsLook

log = logging.getLogger(__name__)


class DedupWarnings:
    """Which topics' windows are cut short."""

    def __init__(self, happenings: Happenings) -> None:
        """Begin with none."""
        self._happenings = happenings
        self._cut_short: dict[str, None] = {}

    def look(self, groups: GroupsLook) -> None:
        """Warn of topics whose window is cut short since this look."""
        cut_short = {
            name: row.dedup
            for name, row in groups.topics.items()
            if row.dedup is not None and row.dedup.cut_short > 0
        }
        for name, row in cut_short.items():
            if name not in self._cut_short:
                self._warn(name, row)
        self._cut_short = dict.fromkeys(cut_short)

    def _warn(self, name: str, row: DedupRow) -> None:
        log.warning(
            "dedup window cut short topic=%s partitions=%s window_ms=%s effective_ms=%s "
            "advice=raise event.dedup.max.ids or shorten event.dedup.window.ms",
            *(name, row.cut_short, row.window_ms, row.effective_ms),
        )
        text = (
            f"topic {name}: event.dedup.max.ids ends the window after "
            f"{row.effective_ms / 1000:.0f} s of {row.window_ms / 1000:.0f} s"
        )
        self._happenings.add(HappeningKind.WARNING, text=text)
