"""Finished segments written again without what later events of the same key replaced (design D12).

A COMPACTION entry of the log names the range and the segments to write; what stays follows from it
and from the range's records alone, so that every replica keeps the same ones:

    a record stays if no later one in the range has its key
    a tombstone (null value) goes all the same if its entry is one that the compaction lets go
    a record without a key goes
    the last record of the range stays, whatever it is: who reads up to the end gets there
    a batch that cannot be read stays as it is

Offsets never change. An entry keeps its row if something of it is left, if it began a term, or if
it is the first or the last of its segment; so positions, terms and their starts stay known.

    scan    all records read in order, for each key the place of the last one; a bit per record
    write   the range read again, what stays written into `compacting/`, synced piece by piece
    swap    files renamed into the group's directory, the list of compacted segments written,
            both synced; then the boundary that names the list; then the old files removed

Memory: a part of a segment, the keys up to a limit (beyond it the range is scanned several times,
each time for a part of the keys), one bit for each record.

Invariants: nothing that the boundary names changes before the next boundary is synced. Each step
is a short work; running the works again after a crash gives the same records. What is written takes
no space that is reserved: events, votes and deletions need it.
Does not: choose what to compact or how fast, or write boundaries (broker).
"""

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b

from trimaran.errors import RequestError
from trimaran.ids import GroupId
from trimaran.records.control import Compaction
from trimaran.records.entry import Entry, EntryKind, Payload
from trimaran.records.keys import KeyedBatch, digest_part, scan_keys, without_records
from trimaran.storage.boundary import StateFile
from trimaran.storage.compacted_list import DIGEST_BYTES, encode_compacted
from trimaran.storage.files import Buffer, File, Files, expect_room
from trimaran.storage.open_files import OpenFiles
from trimaran.storage.segment import (
    COMPACTING_DIRECTORY,
    ROWS_PER_READ_MAX,
    ROWS_SUFFIX,
    SEGMENT_SUFFIX,
    Segment,
    group_directory,
    read_entries,
    read_rows,
)
from trimaran.storage.sidecar import (
    NO_TIMESTAMP,
    Row,
    encode_row,
    encode_rows_head,
    make_row,
    row_position,
    row_seed,
)
from trimaran.storage.state_files import StateWrite

PART_BYTES = 128 << 10
"""Read in one step, or one batch: what a step may take of the interpreter's time."""
PIECE_BYTES = 256 << 10
"""Written and synced at a time, so that no journal round waits behind more."""
KEY_BYTES = 220
"""Memory for a key while its last record is looked for: its hash, a number, a place for both."""
KEYS_MIN = 1_000
_HASH_BYTES = 16


@dataclass(frozen=True, slots=True)
class WrittenSegment:
    """One segment that waits in `compacting/`, and those that it stands for."""

    segment: Segment
    sources: tuple[Segment, ...]


class LogCompaction:
    """One pass over a range. Made by `PartitionLog.plan_compaction`; `step` works run in order."""

    __slots__ = (
        "_dropped",
        "_files",
        "_keys_max",
        "_last_ordinal",
        "_opened",
        "_reserve_bytes",
        "_steps",
        "done",
        "read_count",
        "sources",
        "wanted",
        "written",
    )

    def __init__(
        self,
        files: Files,
        sources: Sequence[Segment],
        wanted: Compaction,
        *,
        keys_bytes_max: int,
        reserve_bytes: int,
    ) -> None:
        """Write `sources`, consecutive and finished, again; `keys_bytes_max` bounds memory.

        So many bytes as `reserve_bytes` of the disk stay free.
        """
        assert sources
        self._files = files
        self._reserve_bytes = reserve_bytes
        self._opened = OpenFiles(files)
        self._keys_max = max(KEYS_MIN, keys_bytes_max // KEY_BYTES)
        self._dropped = bytearray()
        self._last_ordinal = -1
        self._steps = self._run()
        self.sources = tuple(sources)
        self.wanted = wanted
        self.written: list[WrittenSegment] = []
        """What was written and synced, once `done`."""
        self.done = False
        self.read_count = 0
        """Times that the whole range was read."""

    @property
    def group(self) -> GroupId:
        """Whose log it is."""
        return self.sources[0].group

    @property
    def size(self) -> int:
        """Bytes of payload before."""
        return sum(segment.size for segment in self.sources)

    @property
    def written_size(self) -> int:
        """Bytes of payload afterwards."""
        return sum(part.segment.size for part in self.written)

    def plan_step(self) -> "CompactionStep":
        """Do the next bit, until `done`."""
        assert not self.done
        return CompactionStep(self)

    def plan_discard(self, *, is_removed: bool = False) -> "CompactionDiscard":
        """Leave nothing behind; of a removed group's files another work sees to that."""
        return CompactionDiscard(self, is_removed=is_removed)

    # In a thread from here on

    def step(self) -> int:
        """Return how many bytes were read and written. Raises StorageError."""
        moved = next(self._steps, None)
        if moved is None:
            self.done = True
            self._opened.close()
        return moved or 0

    def discard(self, *, is_removed: bool) -> None:
        """Close files, and remove what waits."""
        self._steps.close()
        self._opened.close()
        if is_removed:
            return
        directory = f"{group_directory(self.group)}/{COMPACTING_DIRECTORY}"
        if self._files.exists(directory):
            self._files.remove(directory)

    def _run(self) -> Generator[int, None, None]:
        directory = group_directory(self.group)
        compacting = f"{directory}/{COMPACTING_DIRECTORY}"
        if self._files.exists(compacting):
            self._files.remove(compacting)
        subset_count = 1
        while not (yield from self._scan(subset_count)):
            subset_count *= 2
        # Its group may be deleted at this moment, by the lane of segments: it stays deleted.
        self._files.make_directory(compacting, parents=False)
        ordinal = 0
        for sources in self._outputs():
            if sources[0].generation >= self.wanted.generation:
                ordinal = yield from self._pass_over(sources, ordinal)
                continue
            output = _Output(self._files, sources, self.wanted.generation, self._reserve_bytes)
            try:
                output.begin()
                for part in self._parts(sources):
                    moved = 0
                    for entry in part:
                        ordinal = self._put(output, entry, ordinal)
                        moved += entry.size
                    yield moved + output.write()
                self.written.append(output.finish())
            finally:
                output.close()
        self._files.sync_directory(compacting)

    def _outputs(self) -> list[tuple[Segment, ...]]:
        """Return the sources of each segment to write, or one that this compaction has written.

        There is such a one after a swap that found a part of the range gone. Written again it would
        take its own place, and be removed as the old one.
        """
        starts = self.wanted.starts
        outputs: list[list[Segment]] = []
        number = -1
        was_done = False
        for segment in self.sources:
            before = number
            while number + 1 < len(starts) and starts[number + 1] <= segment.first_index:
                number += 1
            is_done = segment.generation >= self.wanted.generation
            if not outputs or number != before or is_done or was_done:
                outputs.append([])
            outputs[-1].append(segment)
            was_done = is_done
        return [tuple(output) for output in outputs]

    def _pass_over(self, sources: Sequence[Segment], ordinal: int) -> Generator[int, None, int]:
        """Leave `sources` as they are; return the ordinal behind their records."""
        for part in self._parts(sources):
            for entry in part:
                scanned = _scanned(entry)
                ordinal += 0 if scanned is None else len(scanned.records)
            yield sum(entry.size for entry in part)
        return ordinal

    def _scan(self, subset_count: int) -> Generator[int, None, bool]:
        """Find what later records replace; False if one subset of the keys is too many."""
        for subset in range(subset_count):
            latest: dict[bytes, int] = {}
            ordinal = 0
            self.read_count += 1
            for part in self._parts(self.sources):
                for entry in part:
                    scanned = _scanned(entry)
                    if scanned is None:
                        continue
                    for record in scanned.records:
                        self._note(record.key, ordinal, latest, subset, subset_count)
                        ordinal += 1
                if len(latest) > self._keys_max:
                    return False
                yield sum(entry.size for entry in part)
            self._last_ordinal = ordinal - 1
        if self._last_ordinal >= 0:
            self._reserve(self._last_ordinal)
            self._dropped[self._last_ordinal >> 3] &= ~(1 << (self._last_ordinal & 7))
        return True

    def _note(
        self,
        key: bytes | None,
        ordinal: int,
        latest: dict[bytes, int],
        subset: int,
        subset_count: int,
    ) -> None:
        """Take in one record; of those with its key it is the last one so far."""
        if key is None:
            self._drop(ordinal)
            return
        known = blake2b(key, digest_size=_HASH_BYTES).digest()
        if subset_count > 1 and int.from_bytes(known[:4], "big") % subset_count != subset:
            return
        before = latest.get(known)
        if before is not None:
            self._drop(before)
        latest[known] = ordinal

    def _reserve(self, ordinal: int) -> None:
        missing = (ordinal >> 3) + 1 - len(self._dropped)
        if missing > 0:
            self._dropped.extend(bytes(max(missing, len(self._dropped) >> 3)))

    def _drop(self, ordinal: int) -> None:
        self._reserve(ordinal)
        self._dropped[ordinal >> 3] |= 1 << (ordinal & 7)

    def _put(self, output: "_Output", entry: Entry, ordinal: int) -> int:
        """Put what stays of `entry` into `output`; return the ordinal behind its records."""
        scanned = _scanned(entry)
        if scanned is None:
            output.add(entry, entry.payload, bytes(entry.payload))
            return ordinal
        self._reserve(ordinal + len(scanned.records))
        dropped = self._dropped
        lets_tombstones_go = entry.index <= self.wanted.tombstones
        kept = []
        for place, record in enumerate(scanned.records, ordinal):
            if dropped[place >> 3] & (1 << (place & 7)):
                continue
            if record.is_tombstone and lets_tombstones_go and place != self._last_ordinal:
                continue
            kept.append(record)
        payload = without_records(entry.payload, scanned, kept)
        output.add(entry, payload, digest_part(scanned, kept) if kept else b"")
        return ordinal + len(scanned.records)

    def _parts(self, sources: Sequence[Segment]) -> Iterator[list[Entry]]:
        """Yield the entries of `sources` in order, in parts of about PART_BYTES.

        Raises:
            CorruptionError: an entry fails its check.
        """
        for source in sources:
            segment = replace(source, ids_size=0)  # past the dedup window nobody asks for ids
            number = 0
            while number < segment.row_count:
                rows = _first_of(read_rows(self._opened, segment, number, ROWS_PER_READ_MAX))
                entries = read_entries(self._opened, segment, rows)
                number += len(entries)
                yield entries


class CompactionStep:
    """A bit of a compaction. Runs on the lane of compaction."""

    __slots__ = ("_compaction",)

    def __init__(self, compaction: LogCompaction) -> None:
        """Take `compaction` on."""
        self._compaction = compaction

    def run(self) -> int:
        """Read and write a little, in a thread; return how many bytes.

        Raises:
            CorruptionError: a stored entry fails its check.
            DiskFullError: no space above the reserve.
            StorageError: the disk failed, or the group was removed meanwhile.
        """
        return self._compaction.step()


class CompactionDiscard:
    """Gives a compaction up. Runs on the lane of compaction."""

    __slots__ = ("_compaction", "_is_removed")

    def __init__(self, compaction: LogCompaction, *, is_removed: bool) -> None:
        """Remove what `compaction` wrote."""
        self._compaction = compaction
        self._is_removed = is_removed

    def run(self) -> None:
        """Close and delete, in a thread. Raises StorageError."""
        self._compaction.discard(is_removed=self._is_removed)


class CompactionSwap:
    """Puts written segments where the group's files are. Made by `PartitionLog.plan_swap`.

    Runs on the lane of segments, which also deletes groups. The next boundary must name
    `state_file` instead of the one before.
    """

    __slots__ = ("_files", "_name", "_writes", "before", "gone", "segments", "state_file")

    def __init__(
        self,
        files: Files,
        writes: OpenFiles,
        *,
        name: str,
        before: tuple[Segment, ...],
        gone: tuple[Segment, ...],
        segments: tuple[Segment, ...],
    ) -> None:
        """Make of `before` the log `segments`; `gone` are those that it does not name any more.

        `writes` are the open files of the lane.
        """
        self._files = files
        self._writes = writes
        self._name = name
        self.before = before
        self.gone = gone
        self.segments = segments
        self.state_file: StateFile | None = None
        """The new list, once `run` returned."""

    def run(self) -> None:
        """Rename, write and sync, in a thread; running it again is harmless.

        Raises:
            DiskFullError: no space for the list; the log is still what it was.
            StorageError: the disk failed.
        """
        group = self.segments[0].group
        directory = group_directory(group)
        compacting = f"{directory}/{COMPACTING_DIRECTORY}"
        known = {segment.serial for segment in self.before}
        for segment in self.segments:
            if segment.serial not in known:
                for suffix in (SEGMENT_SUFFIX, ROWS_SUFFIX):
                    waiting = f"{compacting}/{segment.name.stem}{suffix}"
                    if self._files.exists(waiting):
                        self._writes.entry_made(segment.path)
                        self._files.rename(waiting, segment.path + suffix)
        self._writes.sync_entries(directory)
        content = encode_compacted(self.segments)
        write = StateWrite(self._files, self._writes, group, self._name, content)
        self.state_file = write.run()
        if self._files.exists(compacting):
            self._files.remove(compacting)


class RecordsDigest:
    """The digest over a compacted segment's records. Runs on the lane of reads."""

    __slots__ = ("_files", "_segment")

    def __init__(self, files: OpenFiles, segment: Segment) -> None:
        """Read all of `segment`."""
        self._files = files
        self._segment = segment

    def run(self) -> bytes:
        """Return what the list of compacted segments must say. Raises StorageError."""
        digest = blake2b(digest_size=DIGEST_BYTES)
        number = 0
        while number < self._segment.row_count:
            rows = _first_of(read_rows(self._files, self._segment, number, ROWS_PER_READ_MAX))
            entries = read_entries(self._files, self._segment, rows)
            for entry in entries:
                if entry.kind is EntryKind.RECORDS:
                    digest.update(digested(entry.payload))
            number += len(entries)
        return digest.digest()


class _Output:
    """One segment that is being written into `compacting/`."""

    __slots__ = (
        "_buffers",
        "_digest",
        "_files",
        "_open",
        "_reserve_bytes",
        "_rows",
        "_rows_file",
        "_segment",
        "_segment_file",
        "_sources",
        "_term",
        "_waiting_bytes",
        "_written",
    )

    def __init__(
        self, files: Files, sources: tuple[Segment, ...], generation: int, reserve_bytes: int
    ) -> None:
        first, last = sources[0], sources[-1]
        self._files = files
        self._reserve_bytes = reserve_bytes
        self._sources = sources
        self._segment = Segment(
            group=first.group,
            serial=0,
            base=first.base,
            last=last.last,
            generation=generation,
        )
        self._open: list[File] = []
        self._digest = blake2b(digest_size=DIGEST_BYTES)
        self._buffers: list[Buffer] = []
        self._rows: list[Buffer] = []
        self._waiting_bytes = 0
        self._written = 0
        """Rows in the file."""
        self._term: int | None = None

    def begin(self) -> None:
        """Make the files."""
        segment = self._segment
        head = encode_rows_head(segment.group, segment.base, segment.generation)
        self._expect_room(len(head))
        stem = f"{group_directory(segment.group)}/{COMPACTING_DIRECTORY}/{segment.name.stem}"
        for suffix in (SEGMENT_SUFFIX, ROWS_SUFFIX):
            self._open.append(self._files.open(stem + suffix, create=True))
        self._segment_file, self._rows_file = self._open
        self._rows_file.pwrite([head], 0)

    def add(self, entry: Entry, payload: Payload, digested: bytes) -> None:
        """Take what stays of `entry`."""
        segment = self._segment
        has_records = entry.kind is EntryKind.RECORDS and len(payload) > 0
        if has_records:
            self._digest.update(digested)
        is_end = entry.index == segment.last.index
        if not has_records and entry.term == self._term and not is_end:
            return
        self._term = entry.term
        left = replace(entry, payload=payload, event_ids=b"")
        row = make_row(
            segment.group,
            left,
            position=segment.size,
            ids_position=0,
            max_timestamp_ms=segment.max_timestamp_ms,
        )
        self._buffers.append(payload)
        self._rows.append(encode_row(row, row_seed(segment.group)))
        self._waiting_bytes += row.size
        self._segment = replace(
            segment,
            size=row.end,
            kept_count=segment.kept_count + 1,
            max_timestamp_ms=max(row.max_timestamp_ms, NO_TIMESTAMP),
        )

    def write(self) -> int:
        """Write and sync if there is enough; return how many bytes."""
        return self._write() if self._waiting_bytes >= PIECE_BYTES else 0

    def finish(self) -> WrittenSegment:
        """Make all of it durable."""
        self._write()
        assert self._written == self._segment.kept_count > 0
        segment = replace(self._segment, digest=self._digest.digest())
        return WrittenSegment(segment, self._sources)

    def close(self) -> None:
        """Close the files."""
        for file in self._open:
            file.close()

    def _write(self) -> int:
        size = self._waiting_bytes
        position = self._segment.size - size
        rows = b"".join(self._rows)
        self._expect_room(size + len(rows))
        if size:
            self._segment_file.pwrite([part for part in self._buffers if len(part)], position)
        self._rows_file.pwrite([rows], row_position(self._written))
        self._segment_file.sync()
        self._rows_file.sync()
        self._written += len(self._rows)
        self._buffers, self._rows, self._waiting_bytes = [], [], 0
        return size

    def _expect_room(self, size: int) -> None:
        expect_room(self._files, self._segment.path, self._reserve_bytes + size)


def _scanned(entry: Entry) -> KeyedBatch | None:
    """Return a batch read through; None of what is none, is empty, or cannot be read."""
    if entry.kind is not EntryKind.RECORDS or len(entry.payload) == 0:
        return None
    try:
        return scan_keys(entry.payload)
    except RequestError:
        return None  # it came with a right checksum and something else inside: left alone


def digested(batch: Payload) -> bytes:
    """Return what a segment's digest takes in of one of its batches, b"" of an empty one."""
    if len(batch) == 0:
        return b""
    try:
        scanned = scan_keys(batch)
    except RequestError:
        return bytes(batch)
    return digest_part(scanned, scanned.records)


def _first_of(rows: list[Row]) -> list[Row]:
    """Return the first rows that together have PART_BYTES of payload, at least one."""
    size = 0
    for number, row in enumerate(rows):
        size += row.size
        if size > PART_BYTES and number:
            return rows[:number]
    return rows
