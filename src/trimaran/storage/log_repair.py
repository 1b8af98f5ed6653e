"""Writing stored entries again, from a peer, where the disk lost them (design D11).

Replicas' segments are equal byte by byte, so an entry from a peer goes exactly where the damaged
one was. A row that stands decides what the entry must be; where the row is damaged too, the rows
around it decide where the entry is. In a compacted segment only an entry whose row stands can be
put back: peers' bytes may differ there, and which entries there were only rows tell.

With a segment's first entry the header of its rows is written again, from what is known of it.

A page that the disk cannot read takes a write only as a whole: what else is in it is lost, too, and
fails its check from then on. That happens only for an entry that a peer has given.

Invariants: bytes that pass their check are only ever overwritten with the same bytes.
Does not: find damage, or fetch from peers.
"""

from collections.abc import Sequence

from trimaran.errors import CorruptionError
from trimaran.records.entry import Entry
from trimaran.storage.files import PAGE_BYTES, Buffer
from trimaran.storage.open_files import OpenFiles
from trimaran.storage.segment import ROWS_SUFFIX, Segment, read_row, row_number
from trimaran.storage.sidecar import (
    NO_TIMESTAMP,
    Row,
    encode_row,
    encode_rows_head,
    make_row,
    row_position,
    row_seed,
)


class LogRepair:
    """Entries to be put back. Made by `PartitionLog.plan_repair`; runs on the lane of segments."""

    __slots__ = ("_entries", "_files", "_segments")

    def __init__(
        self, files: OpenFiles, segments: Sequence[Segment], entries: Sequence[Entry]
    ) -> None:
        """Put `entries`, ascending, back into `segments`."""
        self._files = files
        self._segments = segments
        self._entries = entries

    def run(self) -> None:
        """Write and sync, in a thread.

        Raises:
            CorruptionError: an entry is not the one that was stored here, or the row before it is
                damaged too (repair from the first damaged entry on).
            StorageError: the disk failed.
        """
        touched: dict[str, None] = {}
        for entry in self._entries:
            segment = next(part for part in self._segments if entry.index <= part.last.index)
            self._put_back(segment, entry)
            touched.update(dict.fromkeys(segment.paths))
        for path in touched:
            self._files.sync(path)

    def _put_back(self, segment: Segment, entry: Entry) -> None:
        number = row_number(self._files, segment, entry.index)
        before = read_row(self._files, segment, number - 1) if number else None
        row = make_row(
            segment.group,
            entry,
            position=before.end if before else 0,
            ids_position=before.ids_end if before else 0,
            max_timestamp_ms=before.max_timestamp_ms if before else NO_TIMESTAMP,
        )
        self._check(segment, number, row)
        payload_path, ids_path, rows_path = segment.paths
        self._write(segment, payload_path, entry.payload, row.position)
        if row.ids_bytes and segment.ids_size:
            self._write(segment, ids_path, entry.event_ids, row.ids_position)
        if number == 0:
            head = encode_rows_head(segment.group, segment.base, segment.generation)
            self._write(segment, rows_path, head, 0)
        encoded = encode_row(row, row_seed(segment.group))
        self._write(segment, rows_path, encoded, row_position(number))

    def _write(self, segment: Segment, path: str, data: Buffer, position: int) -> None:
        """Write into pages of which each can be read: the others are emptied before."""
        file = self._files.write(path, segment.serial)
        first = position - position % PAGE_BYTES
        for page in range(first, position + len(data), PAGE_BYTES):
            try:
                file.pread(PAGE_BYTES, page)
            except CorruptionError:
                size = file.size()
                file.pwrite([bytes(PAGE_BYTES)], page)
                file.truncate(min(size, file.size()))
        file.pwrite([data], position)

    def _check(self, segment: Segment, number: int, row: Row) -> None:
        """Make sure that `row` is the one that stood at `number`."""
        path = segment.path + ROWS_SUFFIX
        try:
            found = read_row(self._files, segment, number)
        except CorruptionError:
            if segment.generation:
                raise
            end = self._end_of(segment, number)
            if end is not None and end != row.end:
                text = f"entry {row.index} ends at {row.end} and does not fit, expected {end}"
                raise CorruptionError(path, row_position(number), text) from None
            return
        if found != row:
            text = f"the row stands for another entry {row.index}"
            raise CorruptionError(path, row_position(number), text)

    def _end_of(self, segment: Segment, number: int) -> int | None:
        """Return where entry `number` must end, None if the row behind it is damaged too."""
        if number + 1 == segment.row_count:
            return segment.size
        try:
            return read_row(self._files, segment, number + 1).position
        except CorruptionError:
            return None
