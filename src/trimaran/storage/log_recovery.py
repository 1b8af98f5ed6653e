"""A group's segments at start: what the boundary says must be there, and nothing behind it.

Sizes and the ends are checked, by arithmetic: per segment two sizes, the rows' header and the last
row are read, and of the last segment the ends that the next entries are written behind. Payloads
are checked when they are read. What lies behind the boundary was written but not yet covered: it is
cut, and comes again from the journal. If anything is missing or wrong below the boundary, nothing
is cut and nothing deleted.

Does not: repair.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from trimaran.errors import CorruptionError, StorageError
from trimaran.ids import GroupId, Index, Term
from trimaran.records.entry import LogPosition
from trimaran.storage.boundary import Boundary
from trimaran.storage.compacted_list import CompactedSegment, compacted_file, decode_compacted
from trimaran.storage.damage import Damage, DamageKind
from trimaran.storage.epochs import LeaderEpochs
from trimaran.storage.files import PAGE_BYTES, Files
from trimaran.storage.open_files import OpenFiles
from trimaran.storage.partition_log import LogFiles, StoredLog
from trimaran.storage.segment import (
    COMPACTING_DIRECTORY,
    IDS_SUFFIX,
    ROWS_SUFFIX,
    SEGMENT_SUFFIX,
    Segment,
    SegmentName,
    find_row,
    group_directory,
    parse_segment_name,
    read_row,
)
from trimaran.storage.sidecar import ROW_BYTES, Row, decode_rows_head, row_position
from trimaran.storage.state_files import STATE_DIRECTORY, read_state_file


@dataclass(slots=True)
class LogRecovery:
    """What was found of one group, and what to tidy up if nothing at all is damaged."""

    stored: StoredLog
    damage: Damage | None = None
    cuts: list[tuple[str, int]] = field(default_factory=list)
    """Path and size to cut it to."""
    removals: list[str] = field(default_factory=list)
    """Paths of files that belong to nothing."""


_CompactedByName: TypeAlias = Mapping[SegmentName, CompactedSegment]


def recover_log(shared: LogFiles, boundary: Boundary) -> LogRecovery:
    """Look at a group's files; changes nothing."""
    directory = group_directory(boundary.group)
    if not shared.files.exists(directory):
        damage = Damage(kind=DamageKind.MISSING_FILES, text=f"{directory}: the group has no files")
        return LogRecovery(stored=StoredLog(), damage=damage)
    found = LogRecovery(stored=StoredLog())
    try:
        _recover_segments(shared, boundary, found)
        _recover_states(shared.files, boundary, found)
    except CorruptionError as error:
        found.damage = Damage(kind=DamageKind.ROWS, text=str(error))
    return found


def tidy_log(files: Files, found: LogRecovery) -> None:
    """Cut and remove what the boundary does not cover. Raises StorageError."""
    assert found.damage is None, "of a damaged group nothing is cut"
    for path, size in found.cuts:
        file = files.open(path)
        try:
            file.truncate(size)
        finally:
            file.close()
    for path in found.removals:
        files.remove(path)


def _recover_segments(shared: LogFiles, boundary: Boundary, found: LogRecovery) -> None:
    compacted = _compacted(shared.files, boundary)
    named = _needed(shared.files, boundary, compacted, found)
    end = boundary.position
    if not named:
        found.stored.position = end
        return
    if named[0].first_index > boundary.log_start_index:
        path = group_directory(boundary.group)
        raise CorruptionError(
            path, 0, f"entries {boundary.log_start_index} to {named[0].first_index - 1} are missing"
        )
    # Up to the first fault the log is what it was; behind it, nothing can be relied on.
    segments: list[Segment] = []
    for number, name in enumerate(named):
        following = named[number + 1] if number + 1 < len(named) else None
        last_index = Index(following.first_index - 1) if following else end.index
        if name in compacted:
            segment = _check_compacted(shared, boundary.group, compacted[name], found)
        else:
            segment = _check_segment(shared, boundary.group, name, last_index, found)
        last = segment.last
        if following is not None and last.next_offset != following.first_offset:
            raise CorruptionError(segment.path, 0, "the next segment starts at another offset")
        if segments and segments[-1].last != segment.base:
            raise CorruptionError(segment.path, 0, "it does not follow the segment before")
        if last.term < segment.base.term or last.next_offset < segment.base.next_offset:
            raise CorruptionError(segment.paths[2], 0, "it ends before it begins")
        if following is None and last != end:
            raise CorruptionError(segment.path, 0, f"expected to end at {end}, found {last}")
        if following is None:
            _read_ends(shared.reads, segment)
        segments.append(segment)
        found.stored.segments = tuple(segments)
        found.stored.position = last
        _add_epochs(shared.reads, segment, found.stored.epochs)


def _compacted(files: Files, boundary: Boundary) -> _CompactedByName:
    """Return the compacted segments that the boundary names. Raises CorruptionError."""
    state_file = compacted_file(boundary.state_files)
    if state_file is None:
        return {}
    content = read_state_file(files, boundary.group, state_file)
    return {row.name: row for row in decode_compacted(content, source=state_file[0])}


def _needed(
    files: Files, boundary: Boundary, compacted: _CompactedByName, found: LogRecovery
) -> list[SegmentName]:
    """Return the segments that hold what the boundary covers; note the others for removal.

    Those that the boundary names as compacted stand for whatever else is in their ranges; others
    with a generation were never finished, or are replaced.
    """
    directory = group_directory(boundary.group)
    every = sorted(
        name
        for name in map(parse_segment_name, files.list(directory))
        if name is not None and (name in compacted or _is_appended(name, compacted))
    )
    end = boundary.position.index
    needed = [name for name in every if name.first_index <= end]
    while len(needed) > 1 and needed[1].first_index <= boundary.log_start_index:
        needed.pop(0)
    if needed and boundary.log_start_index > end and not _reaches(files, boundary, needed[-1]):
        # Started over at a boundary from a peer: what was stored before is below the log start.
        needed.clear()
    stems = {name.stem for name in needed}
    for file_name in files.list(directory):
        stem, dot, suffix = file_name.partition(".")
        known = dot + suffix in (SEGMENT_SUFFIX, ROWS_SUFFIX, IDS_SUFFIX)
        if (known and stem not in stems) or file_name == COMPACTING_DIRECTORY:
            found.removals.append(f"{directory}/{file_name}")
    if not needed and boundary.log_start_index <= end:
        raise CorruptionError(directory, 0, f"no segment holds entry {boundary.log_start_index}")
    return needed


def _is_appended(name: SegmentName, compacted: _CompactedByName) -> bool:
    """Whether it is as it was appended, and no compacted one has taken its place."""
    return name.generation == 0 and not any(
        row.base_index < name.first_index <= row.last_index for row in compacted.values()
    )


def _reaches(files: Files, boundary: Boundary, name: SegmentName) -> bool:
    """Whether the segment, one as it was appended, has rows up to the boundary."""
    if name.generation:
        return False
    path = f"{group_directory(boundary.group)}/{name.stem}{ROWS_SUFFIX}"
    if not files.exists(path):
        return False
    file = files.open(path)
    try:
        return file.size() >= row_position(boundary.position.index - name.first_index + 1)
    finally:
        file.close()


def _check_compacted(
    shared: LogFiles, group: GroupId, listed: CompactedSegment, found: LogRecovery
) -> Segment:
    """Return the compacted segment, its files checked by size, header and last row."""
    segment = listed.segment(group, next(shared.serials))
    payload_path, _, rows_path = segment.paths
    rows_size = _size(shared.reads, rows_path, segment.serial)
    size = _size(shared.reads, payload_path, segment.serial)
    head = shared.reads.get(rows_path, segment.serial).pread(ROW_BYTES, 0)
    if decode_rows_head(head, group, segment.generation) != segment.base:
        raise CorruptionError(rows_path, 0, "the header fails its check")
    expected = row_position(segment.row_count)
    if rows_size < expected or size < segment.size:
        raise CorruptionError(
            payload_path,
            size,
            f"{size} bytes and {rows_size} of rows, expected {segment.size} and {expected}",
        )
    last = read_row(shared.reads, segment, segment.row_count - 1)
    found_end = (last.log_position, last.end, last.max_timestamp_ms)
    if found_end != (segment.last, segment.size, segment.max_timestamp_ms):
        raise CorruptionError(rows_path, rows_size - ROW_BYTES, "the last row is another one")
    if rows_size > expected:
        found.cuts.append((rows_path, expected))
    if size > segment.size:
        found.cuts.append((payload_path, segment.size))
    return segment


def _check_segment(
    shared: LogFiles, group: GroupId, name: SegmentName, last_index: Index, found: LogRecovery
) -> Segment:
    """Return the segment that ends with `last_index`, its files checked by size and last row."""
    serial = next(shared.serials)
    path = f"{group_directory(group)}/{name.stem}"
    rows_size = _size(shared.reads, path + ROWS_SUFFIX, serial)
    size = _size(shared.reads, path + SEGMENT_SUFFIX, serial)
    head = shared.reads.get(path + ROWS_SUFFIX, serial).pread(ROW_BYTES, 0)
    base = decode_rows_head(head, group)
    if base is None or (base.index + 1, base.next_offset) != (name.first_index, name.first_offset):
        raise CorruptionError(path + ROWS_SUFFIX, 0, "the header fails its check")
    count = last_index - base.index
    if rows_size < row_position(count):
        raise CorruptionError(
            path + ROWS_SUFFIX, rows_size, f"{rows_size} bytes are too few for {count} rows"
        )
    whole = Segment(
        group=group,
        serial=serial,
        base=base,
        last=LogPosition(index=last_index),
        size=size,
    )
    last = read_row(shared.reads, whole, count - 1)
    if rows_size > row_position(count):
        found.cuts.append((path + ROWS_SUFFIX, row_position(count)))
    if size > last.end:
        found.cuts.append((path + SEGMENT_SUFFIX, last.end))
    ids_size = _check_ids(shared, path, serial, last, found)
    return Segment(
        group=group,
        serial=serial,
        base=base,
        last=last.log_position,
        size=last.end,
        ids_size=ids_size,
        max_timestamp_ms=last.max_timestamp_ms,
    )


def _check_ids(shared: LogFiles, path: str, serial: int, last: Row, found: LogRecovery) -> int:
    """Return how many bytes of event ids the segment has; without any there need be no file."""
    if last.ids_end == 0 and not shared.files.exists(path + IDS_SUFFIX):
        return 0
    size = _size(shared.reads, path + IDS_SUFFIX, serial)
    if size < last.ids_end:
        raise CorruptionError(
            path + IDS_SUFFIX, size, f"{size} bytes are too few, expected {last.ids_end}"
        )
    if size > last.ids_end:
        found.cuts.append((path + IDS_SUFFIX, last.ids_end))
    return last.ids_end


def _read_ends(files: OpenFiles, segment: Segment) -> None:
    """Read the pages that the next entries go into. Raises CorruptionError.

    One that cannot be read takes no write either. That of the rows is read with the last row.
    """
    payload_path, ids_path, _ = segment.paths
    for path, size in ((payload_path, segment.size), (ids_path, segment.ids_size)):
        if size:
            files.get(path, segment.serial).pread(size % PAGE_BYTES, size - size % PAGE_BYTES)


def _size(files: OpenFiles, path: str, serial: int) -> int:
    if not files.exists(path):
        raise CorruptionError(path, 0, "the file is missing")
    return files.get(path, serial).size()


def _add_epochs(files: OpenFiles, segment: Segment, epochs: LeaderEpochs) -> None:
    """Find where terms start, looking at few rows: terms ascend, so each start is searched for."""
    number = 0
    if not epochs.starts:
        _add_epoch(files, segment, number, epochs)
    while (known := epochs.starts[-1][0]) < segment.last.term:
        number = find_row(files, segment, _IsLater(known), number)
        _add_epoch(files, segment, number, epochs)


def _add_epoch(files: OpenFiles, segment: Segment, number: int, epochs: LeaderEpochs) -> None:
    """Note where the term of row `number` starts. Raises CorruptionError: it cannot be there."""
    row = read_row(files, segment, number)
    start = epochs.starts[-1][1] if epochs.starts else segment.base.next_offset
    if row.term > segment.last.term or not start <= row.offset <= segment.last.next_offset:
        text = f"term {row.term} at offset {row.offset} does not fit between its neighbours"
        raise CorruptionError(segment.paths[2], row_position(number), text)
    epochs.add(row.term, row.offset)


class _IsLater:
    """Whether a row is of a later term."""

    __slots__ = ("_term",)

    def __init__(self, term: Term) -> None:
        self._term = term

    def __call__(self, row: Row) -> bool:
        return row.term > self._term


def _recover_states(files: Files, boundary: Boundary, found: LogRecovery) -> None:
    directory = f"{group_directory(boundary.group)}/{STATE_DIRECTORY}"
    names = [name for name, _, _ in boundary.state_files]
    found.removals += [f"{directory}/{name}" for name in files.list(directory) if name not in names]
    for state_file in boundary.state_files:
        try:
            read_state_file(files, boundary.group, state_file)
        except StorageError as error:
            found.damage = Damage(kind=DamageKind.BOUNDARY, text=str(error))
