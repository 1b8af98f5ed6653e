"""Compacted segments hold what they must: the same records everywhere, the last of each key.

| looked at | what must hold |
|---|---|
| all the time | segments of one range and generation have one digest, whoever wrote them |
| at the end | the records on the disk are those of the digest |
| at the end | offsets rise, and no two replicas have different records at one offset |
| at the end | what is stored was sent: key and value of each record are in the writers' notes |
| at the end | the last acknowledged value of each key is there, unless a later one of the key is |
| at the end | a tombstone may be gone, but then nothing older of its key is there |

Records that fail their own checks are damage, which a node can tell and repair; they are left out.
"""

from collections.abc import Iterator, Sequence
from hashlib import blake2b
from typing import NamedTuple

from trimaran.broker.partition import Partition
from trimaran.ids import GroupId
from trimaran.records.entry import EntryKind
from trimaran.records.iteration import Record, iterate_records
from trimaran.sim.checkers.checker import Checker, Evidence
from trimaran.sim.disk import Disk
from trimaran.sim.history import History, KeyedRecord, Outcome
from trimaran.storage.compacted_list import DIGEST_BYTES
from trimaran.storage.compaction import digested
from trimaran.storage.segment import ROWS_SUFFIX, SEGMENT_SUFFIX, Segment
from trimaran.storage.sidecar import ROW_BYTES, decode_row, payload_checksum, row_position, row_seed


class _Range(NamedTuple):
    group: GroupId
    first_index: int
    last_index: int
    generation: int


class Compaction(Checker):
    """Looks at digests while a run lasts, and at the records in the end."""

    sees_all = True

    def __init__(self) -> None:
        self._views: list[Evidence] = []
        self._digests: dict[_Range, tuple[bytes, str]] = {}

    @property
    def segment_count(self) -> int:
        """Compacted segments seen, of different ranges or generations."""
        return len(self._digests)

    def step(self, views: Sequence[Evidence]) -> Iterator[str]:
        """Compare the digests of all compacted segments, now and before."""
        self._views = list(views)
        for view in views:
            if view.replica is None or view.replica.removed:
                continue
            for segment in view.replica.storage.segments:
                if not segment.generation:
                    continue
                key = _Range(
                    view.group, segment.first_index, segment.last.index, segment.generation
                )
                digest, node = self._digests.setdefault(key, (segment.digest, view.node))
                if digest != segment.digest:
                    yield f"{segment.path}: {view.node} and {node} kept different records"

    def finish(self, history: History) -> Iterator[str]:
        """Look at what the last look's replicas have on their disks now."""
        groups: dict[GroupId, dict[int, tuple[Record, str]]] = {}
        for view in self._views:
            if not _is_whole(view):
                continue
            yield from _digest_lines(view)
            events = stored_events(view)
            yield from _order_lines(view, events)
            known = groups.setdefault(view.group, {})
            for event in events:
                other, node = known.setdefault(event.offset, (event, view.node))
                if (other.key, other.value) != (event.key, event.value):
                    yield f"offset {event.offset} differs between {view.node} and {node}"
            if _topic(view) == history.keyed_topic and not _is_damaged(view):
                yield from _judge(view, events, history.keyed)


def stored_events(view: Evidence) -> list[Record]:
    """Return the records of a replica's segments, read off its disk; damaged ones are left out."""
    assert view.replica is not None
    assert view.disk is not None
    found: list[Record] = []
    for segment in view.replica.storage.segments:
        found += _events_of(view.disk, segment)
    return found


def _is_whole(view: Evidence) -> bool:
    """Whether the replica is that of a partition, alive, with all files that it names."""
    if view.replica is None or view.disk is None or view.replica.removed:
        return False
    paths = dict.fromkeys(view.disk.file_paths())
    return isinstance(view.replica.machine, Partition) and all(
        segment.path + suffix in paths
        for segment in view.replica.storage.segments
        for suffix in (SEGMENT_SUFFIX, ROWS_SUFFIX)
    )


def _is_damaged(view: Evidence) -> bool:
    """Whether entries of the replica fail their checks, so that events may be missing."""
    assert view.replica is not None
    assert view.disk is not None
    for segment in view.replica.storage.segments:
        if None in _batches_of(view.disk, segment):
            return True
    return view.replica.damage is not None


def _topic(view: Evidence) -> str:
    assert view.replica is not None
    machine = view.replica.machine
    return machine.topic if isinstance(machine, Partition) else ""


def _batches_of(disk: Disk, segment: Segment) -> Iterator[bytes | None]:
    """Yield the batches of a segment that have records; None for each damaged entry."""
    rows = disk.file_node(segment.path + ROWS_SUFFIX).read(row_position(segment.row_count), 0)
    payloads = disk.file_node(segment.path + SEGMENT_SUFFIX).read(segment.size, 0)
    for number in range(segment.row_count):
        start = row_position(number)
        row = decode_row(rows[start : start + ROW_BYTES], row_seed(segment.group), None)
        if row is None:
            yield None
        elif row.kind is EntryKind.RECORDS and row.size > 0:
            payload = payloads[row.position : row.end]
            is_good = payload_checksum(segment.group, row.offset, payload) == row.checksum
            yield payload if is_good else None


def _events_of(disk: Disk, segment: Segment) -> Iterator[Record]:
    for batch in _batches_of(disk, segment):
        if batch is not None:
            yield from iterate_records(batch)


def _digest_lines(view: Evidence) -> Iterator[str]:
    """Yield where the records are not those of the digest; damage is not looked at."""
    assert view.replica is not None
    assert view.disk is not None
    for segment in view.replica.storage.segments:
        if not segment.generation:
            continue
        batches = list(_batches_of(view.disk, segment))
        if None in batches:
            continue
        found = blake2b(digest_size=DIGEST_BYTES)
        for batch in batches:
            found.update(digested(batch or b""))
        if found.digest() != segment.digest:
            yield f"{segment.path}: on {view.node} the records are not those of the digest"


def _order_lines(view: Evidence, events: Sequence[Record]) -> Iterator[str]:
    offset = -1
    for event in events:
        if event.offset <= offset:
            yield f"{view.node}: offset {event.offset} comes after {offset}"
        offset = event.offset


def _judge(view: Evidence, events: Sequence[Record], sent: Sequence[KeyedRecord]) -> Iterator[str]:
    """Hold a replica's records against what the writer sent."""
    assert view.replica is not None
    written = {(record.key, record.value) for record in sent}
    newest: dict[bytes, Record] = {}
    oldest: dict[bytes, Record] = {}
    for event in events:
        if (event.key, event.value) not in written:
            yield f"{view.node}: nobody sent the record at {event.offset}"
        if event.key is not None:
            newest[event.key] = event
            oldest.setdefault(event.key, event)
    end = view.replica.storage.next_offset
    for key, record in _last_acknowledged(sent, end).items():
        found = newest.get(key)
        if found is not None and found.offset >= record.offset:
            continue
        if record.value is not None:
            yield f"{view.node}: the last value of {key!r}, at {record.offset}, is gone"
        elif found is not None:
            yield (
                f"{view.node}: {key!r} has its value of {oldest[key].offset} again, "
                f"which was deleted at {record.offset}"
            )


def _last_acknowledged(sent: Sequence[KeyedRecord], end: int) -> dict[bytes, KeyedRecord]:
    """Return the last record of each key below `end` that was acknowledged.

    Keys that may have been deleted behind it, by a tombstone whose outcome is unknown, are left
    out: it may be stored, and may have gone.
    """
    last: dict[bytes, KeyedRecord] = {}
    for record in sent:
        if record.outcome is Outcome.ACKED and record.offset < end:
            last[record.key] = record
        elif record.value is None and record.outcome is not Outcome.REFUSED:
            last.pop(record.key, None)
    return last
