"""One group's segments: committed entries, appended behind the commit index, never truncated.

The loop plans, a thread runs, the loop finishes: `finish` publishes what `run` wrote. Entries
written count for reads at once; only what `LogSync` made durable may be covered by a boundary.

Invariants: segments are consecutive, and the last one ends at `last_position`; one append at a
time; nothing below the log start is served; files go only after the boundary that allows it is
synced (the caller sees to that).
Does not: hold entries, know terms and votes, or choose when to write and sync.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import count

from trimaran.ids import Index, Offset, Term
from trimaran.records.control import Compaction, begins_segment, decode_settings
from trimaran.records.entry import Entry, EntryKind, LogPosition
from trimaran.storage.boundary import Boundary, StateFile
from trimaran.storage.compacted_list import COMPACTED_FILE, compacted_file
from trimaran.storage.compaction import CompactionSwap, LogCompaction
from trimaran.storage.epochs import LeaderEpochs
from trimaran.storage.files import Files
from trimaran.storage.frames import NEW_SUFFIX
from trimaran.storage.log_reads import (
    FindLatest,
    FindTime,
    ReadIndex,
    ReadOffset,
    SearchBatch,
)
from trimaran.storage.log_repair import LogRepair
from trimaran.storage.open_files import LetGo, OpenFiles
from trimaran.storage.page_cache import CACHED_BYTES_MAX, PageCache
from trimaran.storage.scrub import RowsDigest, ScrubPart
from trimaran.storage.segment import Segment, SegmentAppend, group_directory, new_segment
from trimaran.storage.state_files import StateDrop, StateWrite, read_state_file

SEGMENT_BYTES = 64 << 20
"""Default size of a segment."""
PIECE_BYTES = 256 << 10
"""An append of more than this is laid out, written and synced in pieces of it, so that a journal
round never finds more than one piece before it at the disk, nor the interpreter taken for long."""


@dataclass(slots=True)
class LogFiles:
    """What all groups of a node share: the disk, and each lane's open files."""

    files: Files
    writes: OpenFiles
    """Of the lane of segments, which appends, syncs and deletes."""
    reads: OpenFiles
    """Of the lane of reads."""
    cache: PageCache
    """Of the lane of segments."""
    serials: Iterator[int]
    """A number for each segment; drawn on the lane of segments only."""

    @classmethod
    def of_one_lane(cls, files: Files, opened: OpenFiles) -> "LogFiles":
        """Return them for one thread that reads, and writes nothing to speak of."""
        cache = PageCache(files, CACHED_BYTES_MAX)
        return cls(files=files, writes=opened, reads=opened, cache=cache, serials=count(1))


@dataclass(slots=True)
class StoredLog:
    """What recovery found of a group's segments."""

    segments: tuple[Segment, ...] = ()
    position: LogPosition = field(default_factory=LogPosition)
    """The last entry stored; what comes before the first one while there is none."""
    epochs: LeaderEpochs = field(default_factory=LeaderEpochs)


class LogWrite:
    """Entries on their way into the segments. Made by `PartitionLog.plan_append`."""

    __slots__ = ("_entries", "_log", "appends", "done", "segment_bytes")

    def __init__(self, log: "PartitionLog", entries: Sequence[Entry]) -> None:
        """Write `entries`, which follow what is written."""
        self._log = log
        self._entries = entries
        self.appends: list[SegmentAppend] = []
        self.done = False
        self.segment_bytes = log.segment_bytes
        """The cut rule after the last entry, once `run` returned."""

    @property
    def entries(self) -> Sequence[Entry]:
        """What is written."""
        return self._entries

    @property
    def written(self) -> list[Segment]:
        """The segments that `run` wrote to, as they are then."""
        found: dict[int, Segment] = {}
        for append in self.appends:
            found[append.start.serial] = append.grown
        return list(found.values())

    def run(self) -> None:
        """Write payloads and rows, in a thread, piece by piece; only payloads may be synced yet.

        Raises:
            DiskFullError: nothing counts; the same may be planned again.
            StorageError: the disk failed.
        """
        log = self._log
        writes = log._shared.writes
        segments = log._segments
        self.appends = []
        segment_bytes = log.segment_bytes
        current = SegmentAppend(segments[-1] if segments else self._new(log.last_position))
        for entry in self._entries:
            size = len(entry.payload)
            is_over = current.size + size > segment_bytes and not current.is_empty
            if entry.kind is EntryKind.LOG_START:
                is_over = is_over or (begins_segment(entry) and not current.is_empty)
            elif entry.kind is EntryKind.SETTINGS:
                segment_bytes = decode_settings(entry.payload).segment_bytes
            if is_over or current.added_bytes + size > PIECE_BYTES:
                grown = self._write_piece(writes, current)
                writes.sync(grown.paths[0])
                current = SegmentAppend(self._new(grown.last) if is_over else grown)
            current.add(entry)
        self._write_piece(writes, current)
        self.segment_bytes = segment_bytes
        self.done = True

    def _write_piece(self, writes: OpenFiles, append: SegmentAppend) -> Segment:
        """Write what was laid out; return the segment with it."""
        grown = append.grown
        if grown is not append.start:
            append.write(writes)
            self.appends.append(append)
        return grown

    def finish(self) -> None:
        """Publish what was written, on the loop, after `run` returned."""
        assert self.done
        self._log._appended(self)

    def abandon(self) -> None:
        """Forget it, on the loop: it, or what belongs to it, found the disk full."""
        assert self._log._writing is self
        self._log._writing = None

    def _new(self, base: LogPosition) -> Segment:
        return new_segment(self._log.group, base, next(self._log._shared.serials))


class LogSync:
    """Makes what was finished before it durable. Made by `PartitionLog.plan_sync`."""

    __slots__ = ("_log", "_position", "_segments")

    def __init__(self, log: "PartitionLog", segments: list[Segment], position: LogPosition) -> None:
        """Sync the files of `segments`; the log is durable up to `position` then."""
        self._log = log
        self._segments = segments
        self._position = position

    def run(self) -> None:
        """Sync, in a thread: payloads and ids before the rows that speak of them.

        Raises:
            StorageError: the files' content is unknown from here on; the process must end.
        """
        writes = self._log._shared.writes
        for segment in self._segments:
            for path in segment.paths:
                writes.sync(path)
        writes.sync_entries(group_directory(self._log.group))

    def finish(self) -> None:
        """Note what is durable, on the loop, after `run` returned."""
        assert self._position.index >= self._log.synced_position.index
        self._log.synced_position = self._position


class LogFlush:
    """All that must be durable before a boundary, in one work. Made by `PartitionLog.plan_flush`.

    The segments' new end, the state files as of it, and the sync of both.
    """

    __slots__ = ("_log", "_states", "_write", "state_files")

    def __init__(
        self, log: "PartitionLog", write: LogWrite, states: Mapping[str, bytes | StateFile]
    ) -> None:
        """Write `write` and `states`, which are named without the index of the last entry.

        A state file of an earlier flush stays as it is.
        """
        self._log = log
        self._write = write
        self._states = states
        self.state_files: tuple[StateFile, ...] = ()
        """What the boundary must name, once `run` returned."""

    def run(self) -> None:
        """Write and sync, in a thread: payloads and ids before the rows that speak of them.

        Raises:
            DiskFullError: nothing counts; `abandon`, then the same may be planned again.
            StorageError: the files' content is unknown from here on; the process must end.
        """
        log, shared = self._log, self._log._shared
        self._write.run()
        last = self._write.entries[-1].index
        self.state_files = tuple(
            StateWrite(shared.files, shared.writes, log.group, f"{name}-{last}", state).run()
            if isinstance(state, bytes)
            else state
            for name, state in sorted(self._states.items())
        )
        for segment in self._write.written:
            for path in segment.paths:
                shared.writes.sync(path)
        shared.writes.sync_entries(group_directory(log.group))
        for append in self._write.appends:
            shared.cache.synced(append.start.paths[0], append.start.size, append.size)

    def finish(self) -> None:
        """Publish it, on the loop, after `run` returned."""
        log = self._log
        self._write.finish()
        log._unsynced.clear()
        log.synced_position = log.last_position

    def abandon(self) -> None:
        """Forget it, on the loop, after `run` raised DiskFullError."""
        self._write.abandon()


class LogDrop:
    """Deletes segments below the log start. Made by `plan_drop_segments`, `plan_reset`."""

    __slots__ = ("_log", "done", "segments")

    def __init__(self, log: "PartitionLog", segments: Sequence[Segment]) -> None:
        """Delete `segments`, which the log does not name any more."""
        self._log = log
        self.segments = segments
        self.done = not segments

    def run(self) -> None:
        """Delete, in a thread. Raises StorageError."""
        shared = self._log._shared
        for segment in self.segments:
            for path in segment.paths:
                shared.writes.drop(path)
                if shared.files.exists(path):
                    shared.files.remove(path)
            shared.reads.retire(segment.path)
        self.done = True

    def plan_let_go(self) -> LetGo:
        """Close what was deleted: what is open keeps its space. On the lane of reads."""
        return LetGo(self._log._shared.reads)


class PartitionLog:
    """One group's stored log. One owner on the loop."""

    __slots__ = (
        "_base",
        "_compacted",
        "_epochs",
        "_reset",
        "_segments",
        "_shared",
        "_unsynced",
        "_writing",
        "group",
        "last_position",
        "log_start_index",
        "segment_bytes",
        "start_offset",
        "synced_position",
    )

    def __init__(
        self, shared: LogFiles, boundary: Boundary, stored: StoredLog, segment_bytes: int
    ) -> None:
        """Take up what recovery found; without segments the log is empty at its position."""
        self.group = boundary.group
        self._shared = shared
        self._segments = stored.segments
        self._base = stored.position
        self._epochs = stored.epochs
        self._compacted = compacted_file(boundary.state_files)
        self._unsynced: dict[Index, Segment] = {}
        self._writing: LogWrite | None = None
        self._reset: LogDrop | None = None
        self.last_position = stored.position
        self.synced_position = stored.position
        self.log_start_index = boundary.log_start_index
        self.start_offset = boundary.log_start_offset
        self.segment_bytes = segment_bytes
        """Cut rule: that of the last SETTINGS entry written; the owner gives the first."""

    @property
    def last_index(self) -> Index:
        """Index of the last entry written."""
        return self.last_position.index

    @property
    def next_offset(self) -> Offset:
        """The offset behind the last event written."""
        return self.last_position.next_offset

    @property
    def base(self) -> LogPosition:
        """The entry before the first one stored.

        An install starts a follower here: only from a segment's start on does the cut rule give
        equal files.
        """
        return self._segments[0].base if self._segments else self._base

    @property
    def first_index(self) -> Index:
        """Index of the first entry stored; it may be below the log start."""
        return Index(self.base.index + 1)

    @property
    def segment_count(self) -> int:
        """Segments on disk."""
        return len(self._segments)

    @property
    def size(self) -> int:
        """Bytes of payload on disk."""
        return sum(segment.size for segment in self._segments)

    @property
    def segments(self) -> tuple[Segment, ...]:
        """The segments as they are written now, ascending; for retention and reports."""
        return self._segments

    def segment_at(self, offset: Offset) -> Segment:
        """Return the segment that holds `offset`, which is stored."""
        assert self.base.next_offset <= offset < self.next_offset
        return self._from_offset(offset)[0]

    @property
    def epochs(self) -> tuple[tuple[Term, Offset], ...]:
        """Terms of the stored entries, each with its start offset."""
        return self._epochs.starts

    def plan_append(self, entries: Sequence[Entry]) -> LogWrite:
        """Lay out the append of `entries`, committed, right behind what is written."""
        assert self._writing is None, "one append at a time"
        assert entries
        assert entries[0].index == self.last_index + 1, "entries follow without a gap"
        reset = self._reset
        # Deleted later, an old file could be a new one of the same name.
        assert reset is None or reset.done or reset.segments[-1].last.index <= self.last_index
        self._writing = LogWrite(self, entries)
        return self._writing

    def plan_flush(
        self, entries: Sequence[Entry], states: Mapping[str, bytes | StateFile]
    ) -> LogFlush:
        """Append `entries`, write state files as of the last of them, and sync all of it.

        A state file of an earlier flush may stand for itself: it is kept. So is the list of
        compacted segments, which is the log's own.
        """
        assert not self._unsynced, "flushes leave nothing behind"
        if self._compacted is not None:
            states = {**states, COMPACTED_FILE: self._compacted}
        return LogFlush(self, self.plan_append(entries), states)

    def plan_sync(self) -> LogSync:
        """Make everything that is finished now durable."""
        touched, self._unsynced = self._unsynced, {}
        return LogSync(self, list(touched.values()), self.last_position)

    def plan_read_index(self, start: Index, bytes_max: int) -> ReadIndex:
        """Read entries of any kind from `start` on, which is stored; never across segments."""
        assert self.first_index <= start <= self.last_index
        return ReadIndex(self._shared.reads, self._from_index(start), start, bytes_max)

    def plan_read_offset(self, offset: Offset, bytes_max: int) -> ReadOffset:
        """Read record batches from the one that holds `offset` on; never across segments."""
        assert offset >= self.start_offset, "below the log start nothing is served"
        return ReadOffset(self._shared.reads, self._from_offset(offset), offset, bytes_max)

    def plan_repair(self, entries: Sequence[Entry]) -> LogRepair:
        """Write stored entries again, as a peer has them, where their bytes fail their check."""
        assert entries
        assert self.first_index <= entries[0].index
        assert entries[-1].index <= self.last_index
        return LogRepair(self._shared.writes, self._segments, entries)

    def plan_scrub(self, segment: Segment, number: int, bytes_max: int) -> ScrubPart:
        """Check about `bytes_max` bytes of one of the segments, from row `number` on."""
        return ScrubPart(self._shared.reads, segment, number, bytes_max)

    def plan_digest(self, segment: Segment) -> RowsDigest:
        """Digest the rows of one of the segments, to compare it with another replica's."""
        return RowsDigest(self._shared.reads, segment)

    def plan_find_time(
        self, timestamp_ms: int | None, search: SearchBatch, start_offset: Offset | None = None
    ) -> FindTime | FindLatest:
        """Look for the first record not older than `timestamp_ms`, and not below `start_offset`.

        None: for the one with the highest timestamp.
        """
        start = max(self.start_offset, start_offset or self.start_offset)
        files, parts = self._shared.reads, self._from_offset(start)
        if timestamp_ms is None:
            return FindLatest(files, parts, start=start, search=search)
        return FindTime(files, parts, timestamp_ms=timestamp_ms, start_offset=start, search=search)

    def leader_epoch_end(self, term: Term) -> tuple[Term, Offset] | None:
        """Return the highest stored term up to `term` and the offset where it ends.

        For the last stored term that is `next_offset`: entries still in memory may add to it. None
        if `term` is below all stored ones (KIP-101).
        """
        return self._epochs.end_of(term, self.next_offset)

    def plan_write_state(self, name: str, content: bytes) -> StateWrite:
        """Write a state file; `name` was never used before, so that no boundary is broken."""
        assert name.isascii()
        assert "/" not in name
        assert not name.endswith(NEW_SUFFIX)
        return StateWrite(self._shared.files, self._shared.writes, self.group, name, content)

    def plan_drop_states(self, keep: Iterable[str]) -> StateDrop:
        """Delete all state files but those that the synced boundary names."""
        return StateDrop(self._shared.files, self.group, keep)

    def read_state(self, state_file: StateFile) -> bytes:
        """Return a state file's content, checked; blocks.

        Raises:
            CorruptionError: it is not what the boundary names.
            StorageError: it is missing or cannot be read.
        """
        return read_state_file(self._shared.files, self.group, state_file)

    def set_log_start(self, index: Index, offset: Offset) -> None:
        """Serve nothing below; files stay until `plan_drop_segments`."""
        assert self.log_start_index <= index <= self.last_index + 1
        assert self.start_offset <= offset <= self.next_offset
        self.log_start_index = index
        self.start_offset = offset

    def plan_drop_segments(self) -> LogDrop:
        """Delete the segments that are wholly below the log start, but never the last one.

        The boundary with that log start must be synced. The last one stays, so that the next entry
        goes where it goes on every other replica.
        """
        count = 0
        while (
            count < len(self._segments) - 1
            and self._segments[count].last.index < self.log_start_index
        ):
            count += 1
        gone, self._segments = self._segments[:count], self._segments[count:]
        if gone:
            self._epochs.drop_before(self.base.next_offset)
        return LogDrop(self, gone)

    def plan_reset(self, position: LogPosition, *, log_start_index: Index | None = None) -> LogDrop:
        """Start over, empty, right behind `position`: an install, or a damaged log given up.

        Run the work only when the new boundary is synced, or the group is marked damaged: until
        then the old files are what the old boundary speaks of.
        """
        assert self._writing is None
        gone = self._segments
        self._segments = ()
        self._base = self.last_position = self.synced_position = position
        self._unsynced.clear()
        self._compacted = None
        self._epochs.clear()
        self.log_start_index = log_start_index or Index(position.index + 1)
        self.start_offset = position.next_offset
        self._reset = LogDrop(self, gone)
        return self._reset

    # Compaction (compaction.py)

    @property
    def generation(self) -> int:
        """Generation of the newest compacted segment; 0: none."""
        return max((segment.generation for segment in self._segments), default=0)

    @property
    def whole_from(self) -> LogPosition:
        """The entry behind which every entry is stored: the end of the last compacted segment."""
        for segment in reversed(self._segments):
            if segment.generation:
                return segment.last
        return self.base

    def plan_compaction(
        self, wanted: Compaction, *, keys_bytes_max: int, reserve_bytes: int
    ) -> LogCompaction | None:
        """Write the range that `wanted` names again; None if that was done or cannot be yet.

        All of the range must be stored, and its last segment finished. So many bytes as
        `reserve_bytes` of the disk stay free.
        """
        sources = tuple(part for part in self._segments if part.last.index <= wanted.end)
        if self.last_index <= wanted.end or not sources or len(sources) == len(self._segments):
            return None
        if all(segment.generation >= wanted.generation for segment in sources):
            return None
        return LogCompaction(
            self._shared.files,
            sources,
            wanted,
            keys_bytes_max=keys_bytes_max,
            reserve_bytes=reserve_bytes,
        )

    def plan_swap(self, compaction: LogCompaction) -> CompactionSwap | None:
        """Put what `compaction` wrote in its place; None if nothing of that is there any more.

        Of what the log start has passed meanwhile nothing comes back. The next boundary must name
        the list that the work writes; then `swapped`.
        """
        assert compaction.done
        here = {segment.serial: number for number, segment in enumerate(self._segments)}
        segments = list(self._segments)
        gone: list[Segment] = []
        for part in reversed(compaction.written):
            numbers = [here.get(source.serial) for source in part.sources]
            if None in numbers:
                continue
            start, end = here[part.sources[0].serial], here[part.sources[-1].serial] + 1
            assert end - start == len(numbers)
            segments[start:end] = [replace(part.segment, serial=next(self._shared.serials))]
            gone += part.sources
        if not gone:
            return None
        name = f"{COMPACTED_FILE}-{compaction.wanted.generation}"
        if self._compacted is not None and self._compacted[0] == name:
            name += "-0"  # the boundary's own list must stay what it is
        return CompactionSwap(
            self._shared.files,
            self._shared.writes,
            name=name,
            before=self._segments,
            gone=tuple(gone),
            segments=tuple(segments),
        )

    def swapped(self, swap: CompactionSwap) -> LogDrop:
        """The boundary that names the new list is synced: read the new segments from now on."""
        assert self._segments is swap.before, "nothing was written or dropped meanwhile"
        assert swap.state_file is not None
        self._segments = swap.segments
        self._compacted = swap.state_file
        return LogDrop(self, swap.gone)

    def _appended(self, write: LogWrite) -> None:
        assert write is self._writing
        self._writing = None
        segments = list(self._segments)
        for append in write.appends:
            grown = append.grown
            if segments and segments[-1].serial == grown.serial:
                segments[-1] = grown
            else:
                segments.append(grown)
            self._unsynced[grown.first_index] = grown
        self._segments = tuple(segments)
        self.segment_bytes = write.segment_bytes
        self.last_position = segments[-1].last
        for entry in write.entries:
            self._epochs.add(entry.term, entry.offset)

    def _from_index(self, start: Index) -> tuple[Segment, ...]:
        """Return the segments from the one that holds `start` on."""
        first = bisect_left(self._segments, start, key=lambda segment: segment.last.index)
        return self._segments[first:]

    def _from_offset(self, offset: Offset) -> tuple[Segment, ...]:
        """Return the segments from the first that ends behind `offset` on."""
        first = bisect_right(self._segments, offset, key=lambda segment: segment.last.next_offset)
        return self._segments[first:]
