"""One segment: the payloads of consecutive entries, nothing else, and its rows.

A group's files are in `groups/<group>/`, named by the segment's first index and first offset, 20
digits each: `<index>-<offset>.segment`, `.rows` (sidecar.py), `.ids`. Of a segment that compaction
wrote again the generation follows, 10 digits: `<index>-<offset>-<generation>.segment`, `.rows`. A
segment is the payloads of all kinds, one behind the other. An entry starts a new segment if the
current one has entries and would grow beyond `segment_bytes` with it, or if it is a LOG_START that
says so: that follows from the log alone (`segment_bytes` is an entry itself), so that replicas cut
at the same places and their files are equal byte by byte. Compacted ones of one generation hold the
same records.

Invariants: a `Segment` describes what is written; what is in the files behind it does not count.
Does not: know other segments (partition_log.py), or sync.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import NamedTuple

from trimaran.errors import CorruptionError
from trimaran.ids import GroupId, Index, Offset, group_name
from trimaran.records.checksum import crc32c
from trimaran.records.entry import Entry, LogPosition
from trimaran.storage.files import Buffer, File
from trimaran.storage.open_files import OpenFiles
from trimaran.storage.sidecar import (
    NO_TIMESTAMP,
    ROW_BYTES,
    Row,
    decode_row,
    encode_row,
    encode_rows_head,
    make_row,
    payload_checksum,
    row_position,
    row_seed,
)

GROUPS_DIRECTORY = "groups"
SEGMENT_SUFFIX = ".segment"
ROWS_SUFFIX = ".rows"
IDS_SUFFIX = ".ids"
COMPACTING_DIRECTORY = "compacting"
"""In a group's directory: segments that compaction has not finished; removed at start."""
DIGITS = 20
GENERATION_DIGITS = 10
ROWS_PER_READ_MAX = 512


def group_directory(group: GroupId) -> str:
    """Return where a group's files are."""
    return f"{GROUPS_DIRECTORY}/{group_name(group)}"


class SegmentName(NamedTuple):
    """What a segment's file names say."""

    first_index: Index
    first_offset: Offset
    generation: int = 0

    @property
    def stem(self) -> str:
        """The name without suffix."""
        stem = f"{self.first_index:0{DIGITS}d}-{self.first_offset:0{DIGITS}d}"
        return f"{stem}-{self.generation:0{GENERATION_DIGITS}d}" if self.generation else stem


@lru_cache(maxsize=1024)
def _segment_path(group: GroupId, name: SegmentName) -> str:
    """Return the common path of a segment's files; asked for several times by each flush."""
    return f"{group_directory(group)}/{name.stem}"


def parse_segment_name(name: str) -> SegmentName | None:
    """Return what the name of a segment's payloads says, None for any other name."""
    stem, dot, suffix = name.partition(".")
    parts = stem.split("-")
    digits = "".join(parts)
    if dot + suffix != SEGMENT_SUFFIX or not digits.isascii() or not digits.isdigit():
        return None
    if [len(part) for part in parts] not in ([DIGITS] * 2, [DIGITS, DIGITS, GENERATION_DIGITS]):
        return None
    index, offset, *generation = [int(part) for part in parts]
    if generation == [0]:
        return None
    return SegmentName(Index(index), Offset(offset), *generation)


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """A segment as far as it is written. Every append makes a new one of these."""

    group: GroupId
    serial: int
    """Tells this file from an earlier one of the same name."""
    base: LogPosition
    """The entry before the first."""
    last: LogPosition
    """The last entry; `base` while there is none."""
    size: int = 0
    """Bytes of payload."""
    ids_size: int = 0
    max_timestamp_ms: int = NO_TIMESTAMP
    generation: int = 0
    """The compaction that wrote it; 0: as its entries were appended."""
    kept_count: int = 0
    """Entries that a compacted one still has."""
    digest: bytes = b""
    """Over the records of a compacted one (compaction.py)."""

    @property
    def first_index(self) -> Index:
        """Index of the first entry."""
        return Index(self.base.index + 1)

    @property
    def row_count(self) -> int:
        """Entries that it has."""
        return self.kept_count if self.generation else self.last.index - self.base.index

    @property
    def name(self) -> SegmentName:
        """What its file names say."""
        return SegmentName(self.first_index, self.base.next_offset, self.generation)

    @property
    def path(self) -> str:
        """The files' common path, without suffix."""
        return _segment_path(self.group, self.name)

    @property
    def paths(self) -> tuple[str, str, str]:
        """Paths of payloads, rows and ids, in the order in which they are synced."""
        return (
            self.path + SEGMENT_SUFFIX,
            self.path + IDS_SUFFIX,
            self.path + ROWS_SUFFIX,
        )


def new_segment(group: GroupId, base: LogPosition, serial: int) -> Segment:
    """Return the segment that will start right after `base`."""
    return Segment(group=group, serial=serial, base=base, last=base)


class SegmentAppend:
    """Entries on their way into one segment: laid out, then written at once.

    Laid out in a thread that shares the interpreter with the event loop: no object per entry but
    its row.
    """

    __slots__ = (
        "_ids",
        "_ids_size",
        "_last",
        "_max_timestamp_ms",
        "_payloads",
        "_rows",
        "_seed",
        "size",
        "start",
    )

    def __init__(self, start: Segment) -> None:
        """Write behind `start`."""
        self.start = start
        self.size = start.size
        """Bytes of payload with what was added."""
        self._ids_size = start.ids_size
        self._max_timestamp_ms = start.max_timestamp_ms
        self._last: Entry | None = None
        self._seed = row_seed(start.group)
        self._payloads: list[Buffer] = []
        self._rows: list[Buffer] = []
        self._ids: list[Buffer] = []

    def add(self, entry: Entry) -> None:
        """Lay out the next entry."""
        before = self._last or self.start.last
        assert entry.index == before.index + 1
        assert entry.offset == before.next_offset
        row = make_row(
            self.start.group,
            entry,
            position=self.size,
            ids_position=self._ids_size,
            max_timestamp_ms=self._max_timestamp_ms,
        )
        self._payloads.append(entry.payload)
        self._rows.append(encode_row(row, self._seed))
        if entry.event_ids:
            self._ids.append(entry.event_ids)
        self._last = entry
        self.size = row.end
        self._ids_size = row.ids_end
        self._max_timestamp_ms = row.max_timestamp_ms

    @property
    def added_bytes(self) -> int:
        """Bytes of payload that were added."""
        return self.size - self.start.size

    @property
    def is_empty(self) -> bool:
        """Whether the segment holds nothing, what was added included."""
        return self._last is None and self.start.row_count == 0

    @property
    def grown(self) -> Segment:
        """The segment with what was added; `start` itself if that is nothing."""
        last = self._last
        if last is None:
            return self.start
        return replace(
            self.start,
            last=LogPosition(
                index=last.index,
                term=last.term,
                next_offset=last.next_offset,
                log_time_ms=last.log_time_ms,
            ),
            size=self.size,
            ids_size=self._ids_size,
            max_timestamp_ms=self._max_timestamp_ms,
        )

    def write(self, files: OpenFiles) -> None:
        """Write what was laid out; writing it again after a failure is harmless.

        Raises:
            DiskFullError: no space; the segment is still what it was.
            StorageError: anything else.
        """
        start = self.start
        payload_path, ids_path, rows_path = start.paths
        create = start.row_count == 0
        files.write(payload_path, start.serial, create=create).pwrite(self._payloads, start.size)
        if self._ids:
            files.write(ids_path, start.serial, create=start.ids_size == 0).pwrite(
                self._ids, start.ids_size
            )
        rows = files.write(rows_path, start.serial, create=create)
        if create:
            rows.pwrite([encode_rows_head(start.group, start.base)], 0)
        rows.pwrite([b"".join(self._rows)], row_position(start.row_count))


def read_row(files: OpenFiles, segment: Segment, number: int) -> Row:
    """Return row `number`, checked. Raises CorruptionError or StorageError."""
    return read_rows(files, segment, number, 1)[0]


def read_rows(files: OpenFiles, segment: Segment, number: int, count: int) -> list[Row]:
    """Return up to `count` rows from `number` on, checked, at most ROWS_PER_READ_MAX.

    Raises:
        CorruptionError: the first of them fails its check; of a later one only what is before it
            is returned.
        StorageError: the file cannot be read.
    """
    count = min(count, segment.row_count - number, ROWS_PER_READ_MAX)
    assert count >= 1
    path = segment.path + ROWS_SUFFIX
    position = row_position(number)
    found, why = _read(files.get(path, segment.serial), count * ROW_BYTES, position)
    data = memoryview(found)
    seed = row_seed(segment.group)
    rows: list[Row] = []
    for at in range(count):
        index = None if segment.generation else Index(segment.first_index + number + at)
        row = decode_row(data[at * ROW_BYTES : (at + 1) * ROW_BYTES], seed, index)
        if row is None or row.end > segment.size or not _ascends(rows, row):
            if rows:
                break
            named = f"entry {index}" if index is not None else f"number {number}"
            raise CorruptionError(path, position + at * ROW_BYTES, f"the row of {named} {why}")
        rows.append(row)
    return rows


def _ascends(rows: Sequence[Row], row: Row) -> bool:
    return not rows or rows[-1].index < row.index


def row_number(files: OpenFiles, segment: Segment, index: Index) -> int:
    """Return the number of the first row at or behind entry `index`, which is in the segment.

    Raises:
        CorruptionError: a row that was looked at fails its check.
        StorageError: the file cannot be read.
    """
    assert segment.first_index <= index <= segment.last.index
    if segment.generation == 0:
        return index - segment.first_index
    return find_row(files, segment, _Reaches(index))


class _Reaches:
    """Whether a row is at or behind an entry."""

    __slots__ = ("_index",)

    def __init__(self, index: Index) -> None:
        self._index = index

    def __call__(self, row: Row) -> bool:
        return row.index >= self._index


def read_entries(files: OpenFiles, segment: Segment, rows: Sequence[Row]) -> list[Entry]:
    """Return the entries of consecutive `rows`, each payload checked; one read for all.

    Raises:
        CorruptionError: the first of them fails its check; of a later one only what is before it
            is returned.
        StorageError: the file cannot be read.
    """
    path = segment.path + SEGMENT_SUFFIX
    start = rows[0].position
    data, why = _read(files.get(path, segment.serial), rows[-1].end - start, start)
    view = memoryview(data)
    entries: list[Entry] = []
    for row in rows:
        payload = view[row.position - start : row.end - start]
        try:
            found = payload_checksum(segment.group, row.offset, payload)
            if len(payload) != row.size or found != row.checksum:
                raise CorruptionError(path, row.position, f"the payload of entry {row.index} {why}")
            event_ids = _read_ids(files, segment, row)
        except CorruptionError:
            if entries:
                break
            raise
        entries.append(
            Entry(
                index=row.index,
                term=row.term,
                kind=row.kind,
                offset=row.offset,
                offset_count=row.offset_count,
                log_time_ms=row.log_time_ms,
                payload=payload,
                event_ids=event_ids,
            )
        )
    return entries


def _read(file: File, length: int, position: int) -> tuple[bytes, str]:
    """Return the bytes up to the first that cannot be read, and what to say of a fault in them."""
    try:
        return file.pread(length, position), "fails its check"
    except CorruptionError as error:
        return file.pread(error.position - position, position), "cannot be read"


def _read_ids(files: OpenFiles, segment: Segment, row: Row) -> bytes:
    """Return the entry's event ids; none of a segment that is looked at without them."""
    if row.ids_bytes == 0 or segment.ids_size == 0:
        return b""
    path = segment.path + IDS_SUFFIX
    data, _ = _read(files.get(path, segment.serial), row.ids_bytes, row.ids_position)
    if len(data) != row.ids_bytes or crc32c(data) != row.ids_checksum:
        raise CorruptionError(
            path, row.ids_position, f"the event ids of entry {row.index} fail their check"
        )
    return data


def find_row(
    files: OpenFiles, segment: Segment, reached: Callable[[Row], bool], start: int = 0
) -> int:
    """Return the first row number from `start` on that `reached` holds for, by binary search.

    `reached` must hold for every row behind one that it holds for. The row count if for none.

    Raises:
        CorruptionError: a row that was looked at fails its check.
    """
    low, high = start, segment.row_count
    while low < high:
        middle = (low + high) // 2
        if reached(read_row(files, segment, middle)):
            high = middle
        else:
            low = middle + 1
    return low
