"""Reads from a group's segments, to be run on the lane of reads.

Each is made on the loop with the segments as they then were, and runs in a thread: what is appended
meanwhile does not matter to it, and every byte is checked against its row before it is returned.

Does not: change anything, or know entries that are still in memory only.
"""

from collections.abc import Sequence
from typing import Protocol

from trimaran.errors import CorruptionError, ErrorCode, RequestError, StorageError
from trimaran.ids import Index, Offset
from trimaran.records.entry import Entry, EntryKind, LogPosition, Payload
from trimaran.records.iteration import Effort
from trimaran.storage.open_files import OpenFiles
from trimaran.storage.segment import (
    ROWS_PER_READ_MAX,
    Segment,
    find_row,
    read_entries,
    read_row,
    read_rows,
    row_number,
)
from trimaran.storage.sidecar import NO_TIMESTAMP, Row, batch_max_timestamp

PIECE_BYTES = 1 << 20
SEARCH_NS_MAX = 2_000_000_000
"""What a search may take by the costs below: all other reads wait behind it. Rows lead to the batch
nearly always; a segment of small batches, of the default size, can still be read through."""
ENTRY_NS = 3_500
"""An entry that is read and passed over costs about this, ..."""
RECORD_NS = 1_300
"""... a record that is looked at this, and a byte that is read or inflated 1. As once measured: a
search has no clock."""


class SearchBatch(Protocol):
    """Looks into one batch."""

    def __call__(
        self, batch: Payload, timestamp_ms: int | None, /, *, effort: Effort | None = None
    ) -> tuple[int, int] | None:
        """Return (offset, timestamp) of its first record not older than `timestamp_ms`, or None.

        None: that of its record with the highest timestamp. `effort` adds up what it takes.
        """


class SegmentsMovedError(StorageError):
    """What was to be read was deleted (log start, reset, removal) since the read was planned."""


class LogRead:
    """What the reads have in common."""

    __slots__ = ("_files", "_segments")

    def __init__(self, files: OpenFiles, segments: Sequence[Segment]) -> None:
        """Read from `segments`, which are one group's, consecutive, and not empty."""
        self._files = files
        self._segments = segments

    def _read_from(
        self, segment: Segment, number: int, bytes_max: int, *, records_only: bool
    ) -> list[Entry]:
        """Return entries from row `number` on: at least one if there is one, one block of rows."""
        rows = read_rows(self._files, segment, number, ROWS_PER_READ_MAX)
        chosen = _choose(rows, bytes_max, records_only=records_only)
        entries = read_entries(self._files, segment, chosen) if chosen else []
        if not records_only:
            return entries
        return [entry for entry in entries if _is_batch(entry.kind, len(entry.payload))]

    def _moved(self, error: StorageError, segment: Segment) -> StorageError:
        return moved(self._files, error, segment)


def moved(files: OpenFiles, error: StorageError, segment: Segment) -> StorageError:
    """Return what a failed read means: files that are not there any more, or the disk."""
    if isinstance(error, CorruptionError) or all(
        files.exists(path) for path in (segment.paths[0], segment.paths[2])
    ):
        return error
    return SegmentsMovedError(f"{segment.path}: deleted while a read was waiting")


class ReadIndex(LogRead):
    """Entries of any kind from an index on, for followers."""

    __slots__ = ("_bytes_max", "_start", "previous")

    def __init__(
        self, files: OpenFiles, segments: Sequence[Segment], start: Index, bytes_max: int
    ) -> None:
        """Read from `start`, which is in `segments`."""
        super().__init__(files, segments)
        self._start = start
        self._bytes_max = bytes_max
        self.previous = LogPosition()
        """The entry before `start`, known once `run` returned."""

    def run(self) -> list[Entry]:
        """Return at least one entry, else up to `bytes_max` bytes of payload, of one segment.

        Of a compacted segment: what is left of its entries at and behind the start.

        Raises:
            SegmentsMovedError: the log start has passed `start` meanwhile.
            CorruptionError: the first entry fails its check.
            StorageError: the disk cannot be read.
        """
        segment = next(part for part in self._segments if self._start <= part.last.index)
        assert self._start >= segment.first_index, "the first segment reaches down to the start"
        try:
            number = row_number(self._files, segment, self._start)
            self.previous = (
                read_row(self._files, segment, number - 1).log_position if number else segment.base
            )
            return self._read_from(segment, number, self._bytes_max, records_only=False)
        except StorageError as error:
            raise self._moved(error, segment) from error


class ReadOffset(LogRead):
    """Record batches from an offset on, for fetches."""

    __slots__ = ("_bytes_max", "_offset")

    def __init__(
        self, files: OpenFiles, segments: Sequence[Segment], offset: Offset, bytes_max: int
    ) -> None:
        """Read from the batch that holds `offset`, or the next one."""
        super().__init__(files, segments)
        self._offset = offset
        self._bytes_max = bytes_max

    def run(self) -> list[Entry]:
        """Return RECORDS entries, at least one if there is one at or behind the offset.

        Raises:
            SegmentsMovedError: the log start has passed the offset meanwhile.
            CorruptionError: the first entry fails its check.
            StorageError: the disk cannot be read.
        """
        for segment in self._segments:
            try:
                entries = self._read_segment(segment)
            except StorageError as error:
                raise self._moved(error, segment) from error
            if entries:
                return entries
        return []

    def _read_segment(self, segment: Segment) -> list[Entry]:
        """Return what there is from the offset on: of a compacted segment perhaps nothing."""
        reached = max(self._offset, segment.base.next_offset)
        number = find_row(self._files, segment, lambda row: row.next_offset > reached)
        entries: list[Entry] = []
        while not entries and number < segment.row_count:
            if segment.generation:
                number = self._skip_empty(segment, number)
            if number < segment.row_count:
                entries = self._read_from(segment, number, self._bytes_max, records_only=True)
                number += 1
        return entries

    def _skip_empty(self, segment: Segment, number: int) -> int:
        """Return the first row from `number` on whose batch has records; the row count if none."""
        while number < segment.row_count:
            for row in read_rows(self._files, segment, number, ROWS_PER_READ_MAX):
                if _is_batch(row.kind, row.size):
                    return number
                number += 1
        return number


class BoundedSearch:
    """Looks into batches, as many as one search may.

    A header may promise later events than there are: batches are stored as they come. A search
    that such headers lead on for too long ends without an answer; "none" would send a consumer to
    the end of the log, past everything that it asked for.
    """

    __slots__ = ("_effort", "_passed_ns", "_search")

    def __init__(self, search: SearchBatch) -> None:
        self._search = search
        self._effort = Effort()
        self._passed_ns = 0

    def look_into(self, entry: Entry, timestamp_ms: int | None) -> tuple[Offset, int] | None:
        """Return what `search` finds in one batch."""
        try:
            found = self._search(entry.payload, timestamp_ms, effort=self._effort)
        except RequestError:
            # The broker stores what is right by its header; inside it may be anything.
            return None
        return None if found is None else (Offset(found[0]), found[1])

    def passed(self, entry: Entry, where: str) -> None:
        """Count an entry in which the search did not end; `where` names its place in a refusal.

        Raises:
            RequestError: OFFSET_NOT_AVAILABLE, it may not go on.
        """
        self._passed_ns += ENTRY_NS + entry.size
        spent_ns = self._passed_ns + RECORD_NS * self._effort.records + self._effort.bytes
        if spent_ns > SEARCH_NS_MAX:
            raise RequestError(
                ErrorCode.OFFSET_NOT_AVAILABLE,
                f"{where}: a search by time has read up to entry {entry.index}, "
                f"{self._effort.records} records of batches whose headers promise later ones",
            )


class FindTime(LogRead):
    """The first record that is not older than a timestamp.

    The first row whose timestamp, the highest so far, is not older is that of the batch. Only where
    a later event before it lies below the log start, or is not what its header says, the segment is
    read through.
    """

    __slots__ = ("_search", "_start_offset", "_timestamp_ms")

    def __init__(
        self,
        files: OpenFiles,
        segments: Sequence[Segment],
        *,
        timestamp_ms: int,
        start_offset: Offset,
        search: SearchBatch,
    ) -> None:
        """Look for `timestamp_ms` from `start_offset` on; `search` looks into one batch."""
        super().__init__(files, segments)
        self._search = BoundedSearch(search)
        self._timestamp_ms = timestamp_ms
        self._start_offset = start_offset

    def run(self) -> tuple[Offset, int] | None:
        """Return its offset and timestamp, None if all are older.

        Raises:
            RequestError: OFFSET_NOT_AVAILABLE, it was not found with what a search may take.
            SegmentsMovedError, CorruptionError, StorageError: as ReadOffset.
        """
        for segment in self._segments:
            if segment.max_timestamp_ms < self._timestamp_ms:
                continue
            try:
                found = self._first_of(segment)
            except StorageError as error:
                raise self._moved(error, segment) from error
            if found is not None:
                return found
        return None

    def _first_of(self, segment: Segment) -> tuple[Offset, int] | None:
        number = find_row(self._files, segment, self._may_hold)
        piece_bytes = 1  # one batch, nearly always the one
        while number < segment.row_count:
            entries = self._read_from(segment, number, piece_bytes, records_only=False)
            number += len(entries)
            piece_bytes = PIECE_BYTES
            for entry in entries:
                found = self._first_in(entry)
                if found is not None:
                    return found
                self._search.passed(entry, segment.path)
        return None

    def _may_hold(self, row: Row) -> bool:
        return row.max_timestamp_ms >= self._timestamp_ms and row.next_offset > self._start_offset

    def _first_in(self, entry: Entry) -> tuple[Offset, int] | None:
        if batch_max_timestamp(entry) < self._timestamp_ms:
            return None
        found = self._search.look_into(entry, self._timestamp_ms)
        return None if found is None or found[0] < self._start_offset else found


class FindLatest(LogRead):
    """The record with the highest timestamp.

    A segment's last row tells its highest timestamp, and the first row that has the same is that of
    the batch. Only where that one lies below the log start, or is not what its header says, the
    segment is read through.
    """

    __slots__ = ("_search", "_start_offset")

    def __init__(
        self,
        files: OpenFiles,
        segments: Sequence[Segment],
        *,
        start: Offset,
        search: SearchBatch,
    ) -> None:
        """Look from `start` on; `search` looks into one batch."""
        super().__init__(files, segments)
        self._search = BoundedSearch(search)
        self._start_offset = start

    def run(self) -> tuple[Offset, int] | None:
        """Return its offset and timestamp, None if there is none with a timestamp.

        Raises:
            RequestError, SegmentsMovedError, CorruptionError, StorageError: as FindTime.
        """
        best: tuple[Offset, int] | None = None
        for segment in sorted(self._segments, key=lambda one: -one.max_timestamp_ms):
            if segment.max_timestamp_ms <= (NO_TIMESTAMP if best is None else best[1]):
                break
            try:
                found = self._latest_of(segment)
            except StorageError as error:
                raise self._moved(error, segment) from error
            best = _later(best, found)
        return best

    def _latest_of(self, segment: Segment) -> tuple[Offset, int] | None:
        files, highest_ms = self._files, segment.max_timestamp_ms
        start = find_row(files, segment, lambda row: row.next_offset > self._start_offset)
        before = read_row(files, segment, start - 1).max_timestamp_ms if start else NO_TIMESTAMP
        if before < highest_ms:
            number = find_row(files, segment, lambda row: row.max_timestamp_ms >= highest_ms, start)
            entries = read_entries(files, segment, [read_row(files, segment, number)])
            found = self._search.look_into(entries[0], None)
            if found is not None and found[1] >= highest_ms:
                return found
        return self._read_through(segment, start)

    def _read_through(self, segment: Segment, number: int) -> tuple[Offset, int] | None:
        best: tuple[Offset, int] | None = None
        while number < segment.row_count:
            entries = self._read_from(segment, number, PIECE_BYTES, records_only=False)
            number += len(entries)
            for entry in entries:
                if batch_max_timestamp(entry) > (NO_TIMESTAMP if best is None else best[1]):
                    best = _later(best, self._search.look_into(entry, None))
                self._search.passed(entry, segment.path)
        return best


def _later(
    one: tuple[Offset, int] | None, other: tuple[Offset, int] | None
) -> tuple[Offset, int] | None:
    """Return which has the higher timestamp, `one` if that is the same."""
    if one is None or (other is not None and other[1] > one[1]):
        return other
    return one


def _is_batch(kind: EntryKind, size: int) -> bool:
    """Whether readers see it; compaction leaves rows of batches of which nothing is left."""
    return kind is EntryKind.RECORDS and size > 0


def _choose(rows: list[Row], bytes_max: int, *, records_only: bool) -> list[Row]:
    """Return the rows to read: up to `bytes_max`, but always one that counts."""
    chosen = 0
    counted = False
    size = 0
    for row in rows:
        counts = _is_batch(row.kind, row.size) or not records_only
        size += row.size
        if counted and size > bytes_max:
            break
        counted = counted or counts
        chosen += 1
    return rows[:chosen]
