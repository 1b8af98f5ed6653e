"""A partition's log start never goes back, never passes what is committed, and is one for all.

It is a decision in the log (design D12): replicas that applied the same entries begin at the same
offset, and what a boundary says on disk never comes before the entry that decided it.
"""

from collections.abc import Iterator, Sequence

from trimaran.broker.partition import Partition
from trimaran.ids import GroupId, Index, Offset
from trimaran.sim.checkers.checker import Checker, Evidence


class LogStartMonotone(Checker):
    """Remembers each replica's log start, and each group's at each applied entry."""

    def __init__(self) -> None:
        self._last: dict[tuple[str, int, GroupId], tuple[Index, Offset]] = {}
        self._known: dict[tuple[GroupId, Index], tuple[Offset, str]] = {}

    def step(self, views: Sequence[Evidence]) -> Iterator[str]:
        """Compare with the last look and with the others."""
        for view in views:
            if view.replica is None or not isinstance(view.replica.machine, Partition):
                continue
            machine, applied = view.replica.machine, view.replica.applied
            name = f"{view.node} group {view.group.hex()}"
            key = (view.node, view.incarnation, view.group)
            last = self._last.get(key)
            found = (applied, machine.log_start)
            if last == found:
                continue
            self._last[key] = found
            if last is not None and found[1] < last[1]:
                yield f"{name}: the log start went from {last[1]} to {found[1]}"
            if machine.log_start > machine.high_watermark:
                yield (
                    f"{name}: begins at {machine.log_start}, beyond what is committed, "
                    f"{machine.high_watermark}"
                )
            if view.replica.boundary.log_start_offset > machine.log_start:
                yield (
                    f"{name}: the boundary begins at {view.replica.boundary.log_start_offset}, "
                    f"the partition at {machine.log_start}"
                )
            start, who = self._known.setdefault(
                (view.group, applied), (machine.log_start, view.node)
            )
            if start != machine.log_start:
                yield (
                    f"{name}: begins at {machine.log_start} after entry {applied}, {who} at {start}"
                )
