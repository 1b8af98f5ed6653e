"""Replicas' segments are the same files: equal names hold equal bytes, as far as both are written.

Bytes that fail their own checksum are damage, which a node can tell and repair by itself; they are
left out. What passes it must be what the others have.
"""

from collections.abc import Iterator, Sequence

from trimaran.ids import Index
from trimaran.sim.checkers.checker import Checker, Evidence
from trimaran.sim.disk import Disk
from trimaran.sim.history import History
from trimaran.storage.segment import ROWS_SUFFIX, SEGMENT_SUFFIX, Segment
from trimaran.storage.sidecar import (
    ROW_BYTES,
    decode_row,
    payload_checksum,
    row_position,
    row_seed,
)


class _Copy:
    """One replica's copy of a segment, as far as it is written."""

    def __init__(self, node: str, disk: Disk, segment: Segment) -> None:
        self.node = node
        self.segment = segment
        rows_bytes = row_position(segment.row_count)
        self.payloads = disk.file_node(segment.path + SEGMENT_SUFFIX).read(segment.size, 0)
        self.rows = disk.file_node(segment.path + ROWS_SUFFIX).read(rows_bytes, 0)

    def entry(self, number: int) -> tuple[bytes, bytes] | None:
        """Return row and payload of an entry; None if they fail their checks."""
        segment = self.segment
        start = row_position(number)
        data = self.rows[start : start + ROW_BYTES]
        index = None if segment.generation else Index(segment.first_index + number)
        row = decode_row(memoryview(data), row_seed(segment.group), index)
        if row is None:
            return None
        payload = self.payloads[row.position : row.end]
        if payload_checksum(segment.group, row.offset, payload) != row.checksum:
            return None
        return data, payload


class SegmentsIdentical(Checker):
    """Compares all files at the end."""

    sees_all = True

    def __init__(self) -> None:
        self._views: list[Evidence] = []

    def step(self, views: Sequence[Evidence]) -> Iterator[str]:
        """Remember who lives."""
        self._views = list(views)
        return iter(())

    def finish(self, history: History) -> Iterator[str]:
        """Compare what the last look's replicas have on their disks now."""
        del history
        first: dict[str, _Copy] = {}
        for view in self._views:
            replica, disk = view.replica, view.disk
            if replica is None or disk is None or replica.removed:
                continue
            paths = dict.fromkeys(disk.file_paths())
            for segment in replica.storage.segments:
                if not all(segment.path + end in paths for end in (SEGMENT_SUFFIX, ROWS_SUFFIX)):
                    yield f"{view.node}: {segment.path} is written, but not there"
                    continue
                copy = _Copy(view.node, disk, segment)
                other = first.setdefault(segment.path, copy)
                if other is not copy:
                    yield from _compare(other, copy)


def _compare(one: _Copy, other: _Copy) -> Iterator[str]:
    rows_bytes = min(len(one.rows), len(other.rows))
    size = min(len(one.payloads), len(other.payloads))
    if (
        one.rows[:rows_bytes] == other.rows[:rows_bytes]
        and one.payloads[:size] == other.payloads[:size]
    ):
        return
    for number in range(min(one.segment.row_count, other.segment.row_count)):
        mine, theirs = one.entry(number), other.entry(number)
        if mine is not None and theirs is not None and mine != theirs:
            yield (
                f"{one.segment.path}: entry {one.segment.first_index + number} differs between "
                f"{one.node} and {other.node}"
            )
            return
