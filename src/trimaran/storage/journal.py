"""The node's one write-ahead log: what is fresh, of all groups, one sync a round (design D5).

`plan_round` lays out a round on the event loop; `RoundWrite.run` encodes, writes and syncs it in a
thread, or `RoundWrite.plain` encodes it and whoever knows how does the rest without Python;
`RoundWrite.finish`, back on the loop, makes it count. Formats: journal_format.py.

Invariants:
- one RoundWrite at a time: no byte of a round is written before the round before is synced;
- files are allocated under a name that recovery ignores, start with the live state of all groups,
  are synced, and only then get their name; they are never reused;
- a file is deleted only when no group needs an entry in it: each is below the group's synced
  boundary, was replaced, or was copied into a later file;
- after a failed sync nothing is written any more.

Does not: read (journal_scan.py), decide when to roll over, or know what an entry means.
"""

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import dropwhile

from trimaran.errors import DiskFullError, StorageError
from trimaran.ids import GroupId, Index
from trimaran.storage.boundary import FIRST_INDEX
from trimaran.storage.files import Buffer, File, Files, PlainWrite
from trimaran.storage.identity import Identity
from trimaran.storage.journal_files import JOURNAL_DIRECTORY, journal_path, write_range
from trimaran.storage.journal_format import (
    SECTOR_BYTES,
    ZERO_SECTOR,
    RoundContent,
    RoundFrame,
    content_bytes,
    encode_file_head,
    encode_round,
    record_count,
)
from trimaran.storage.live_state import LiveGroup, live_rounds

RELEASE_STEP_BYTES = 2 << 20
"""A file that is not needed any more is cut by this much at a time before it goes."""
PLAIN_RECORDS_MAX = 256
"""A round of more is encoded in the thread: each takes some 2 us, and nothing may hold the loop."""
UNCACHE_STEP_BYTES = 1 << 20
"""How much of the current file the system may hold in its cache."""
__all__ = ["Journal", "JournalSettings", "LiveGroup", "Release", "RoundContent", "RoundWrite"]


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalSettings:
    """Sizes. All in bytes."""

    file_bytes: int = 64 << 20
    """Size of a file; one that must hold a longer round is longer."""
    round_bytes: int = 6 << 20
    """Room that the current file should have left; below it a rollover is due."""
    total_bytes_max: int = 1 << 30
    """All files together: at the limit the caller takes in no more until flushing let files go.
    The journal itself never refuses a round: a boundary, which frees space, is one."""


@dataclass(slots=True)
class JournalFile:
    """One file on disk and what it is still needed for."""

    generation: int
    size: int
    needs: dict[GroupId, Index] = field(default_factory=dict)
    """Group to the highest index of it that is nowhere else but here."""


@dataclass(slots=True)
class JournalTail:
    """The chain's end: what the next round follows."""

    generation: int
    sequence: int
    checksum: int
    """Sequence and checksum of the last round; 0 and 0 before the first."""


class RoundWrite:
    """One round on its way to the disk. Made by `Journal.plan_round` and `plan_rollover`."""

    __slots__ = (
        "_content",
        "_frame",
        "_grow",
        "_journal",
        "checksum",
        "end",
        "grown",
        "start",
        "state",
    )

    def __init__(
        self, journal: "Journal", frame: RoundFrame, content: RoundContent, *, grow: bool
    ) -> None:
        """Write `content` at `frame`; `grow` makes the file longer first."""
        self._journal = journal
        self._frame = frame
        self._content = content
        self._grow = grow
        self.start = self.end = frame.position
        self.checksum = 0
        self.grown = False
        self.state = "planned"

    @property
    def content(self) -> RoundContent:
        """What the round holds."""
        return self._content

    @property
    def frame(self) -> RoundFrame:
        """Where it stands."""
        return self._frame

    def run(self) -> None:
        """Write and sync, in a thread.

        Raises:
            DiskFullError: nothing of the round counts, the journal can go on: `abandon`.
            StorageError: the journal cannot be written any more; the process must end.
        """
        assert self.state == "planned", "a round is written once"
        self.state = "failed"
        try:
            file = self._open()
            try:
                self._write(file)
                file.sync()
            except StorageError:
                self._discard(file)
                raise
            self._publish(file)
        except DiskFullError:
            self.state = "full"
            raise
        self.state = "synced"

    def plain(self) -> PlainWrite | None:
        """Encode the round, on the loop; return the write and sync that are left to do.

        None: there is more to it, and nothing happened. What came of it: `plain_synced`,
        `plain_unwritten`; neither if the sync failed, after which nothing is written any more.
        """
        assert self.state == "planned", "a round is written once"
        if self._grow or record_count(self._content) > PLAIN_RECORDS_MAX:
            return None
        self.state = "failed"
        buffers = self._encode(self._content)
        start, size = self._due_to_uncache()
        return PlainWrite(
            file=self._open(),
            position=self._frame.position,
            buffers=buffers,
            uncache_from=start,
            uncache_bytes=size,
        )

    def plain_synced(self) -> None:
        """All bytes of the plain write are synced: it counts as a `run` that returned."""
        if self._due_to_uncache()[1]:
            self._journal.cached_from = self.end
        self.state = "synced"

    def plain_unwritten(self) -> None:
        """The plain write failed before its sync: `run` writes again, and finds out why."""
        self.state = "planned"

    def finish(self) -> None:
        """Count the round, on the loop, after `run` returned."""
        assert self.state == "synced"
        self._journal._finished(self)

    def abandon(self) -> None:
        """Forget the round, on the loop, after `run` raised DiskFullError."""
        assert self.state == "full"
        self._journal._abandoned(self)

    def _open(self) -> File:
        file = self._journal._file
        assert file is not None
        return file

    def _discard(self, file: File) -> None:
        """Only a new file's write has one of its own to take back."""

    def _publish(self, file: File) -> None:
        """Only a new file's write has a name to give."""

    def _due_to_uncache(self) -> tuple[int, int]:
        """Return where the system's copy begins and how much of it should go; mostly nothing.

        In steps: nobody reads a running journal.
        """
        start = self._journal.cached_from
        size = self.end - start
        return start, size if size >= UNCACHE_STEP_BYTES else 0

    def _write(self, file: File) -> None:
        if self._grow:
            self._announce_growth(file)
        self._write_frame(file, self._content)

    def _announce_growth(self, file: File) -> None:
        """Make the file longer, synced; then sync a round that says so.

        Without it a cut in the added part would look like the end of the log. And it would look
        like a cut if it were on the disk before the new size.
        """
        frame = self._frame
        file.allocate(frame.file_bytes)
        file.sync()
        self._write_frame(file, RoundContent())
        file.sync()
        self.grown = True
        self._advance()

    def _advance(self) -> None:
        """Go on to the round behind the one that was written last."""
        frame = self._frame
        frame.position = self.end
        frame.sequence += 1
        frame.previous_checksum = self.checksum
        frame.first = False

    def _write_frame(self, file: File, content: RoundContent) -> None:
        buffers = self._encode(content)
        start = self._frame.position
        try:
            file.pwrite(buffers, start)
        except DiskFullError as error:
            self._blank(file, self.end - start, error)
            raise

    def _encode(self, content: RoundContent) -> list[Buffer]:
        """Return the frame's bytes; note where it ends and its checksum."""
        frame = self._frame
        buffers, self.checksum = encode_round(frame, content)
        size = sum(len(buffer) for buffer in buffers)
        assert size % SECTOR_BYTES == 0
        assert frame.position + size <= frame.file_bytes, "the plan made room"
        self.end = frame.position + size
        return buffers

    def _blank(self, file: File, size: int, error: DiskFullError) -> None:
        """Overwrite what was partly written: its head must never be taken for a round.

        The rest is only wiped so that it is not taken for damage; that may fail.
        """
        start = self._frame.position
        try:
            file.pwrite([ZERO_SECTOR], start)
        except StorageError as second:
            raise StorageError(f"{second}; this followed {error}") from second
        with suppress(DiskFullError):
            file.pwrite([bytes(size - SECTOR_BYTES)], start + SECTOR_BYTES)


class Rollover(RoundWrite):
    """The rounds that make a new file and are its first."""

    __slots__ = ("_more", "file", "live")

    def __init__(
        self,
        journal: "Journal",
        frame: RoundFrame,
        contents: list[RoundContent],
        live: list[LiveGroup],
    ) -> None:
        """Make the file `frame.generation` with the live state of all groups."""
        super().__init__(journal, frame, contents[0], grow=False)
        self._more = contents[1:]
        self.live = live
        self.file: File | None = None

    def plain(self) -> PlainWrite | None:
        """A new file takes more than a write."""
        return None

    def _open(self) -> File:
        files = self._journal._files
        path = journal_path(self._frame.generation, new=True)
        if files.exists(path):
            files.remove(path)
        return files.open(path, create=True)

    def _discard(self, file: File) -> None:
        """Give the space back; what cannot be removed now is removed at the next start."""
        file.close()
        with suppress(StorageError):
            self._journal._files.remove(journal_path(self._frame.generation, new=True))

    def _write(self, file: File) -> None:
        frame = self._frame
        file.allocate(frame.file_bytes)
        head = encode_file_head(self._journal._identity, frame.generation, frame.file_bytes)
        file.pwrite([head], 0)
        self._write_frame(file, self._content)
        for content in self._more:
            self._advance()
            self._write_frame(file, content)

    def _blank(self, file: File, size: int, error: DiskFullError) -> None:
        """Leave it: the file has no name yet, and goes."""

    def _publish(self, file: File) -> None:
        files = self._journal._files
        path = journal_path(self._frame.generation)
        try:
            files.rename(journal_path(self._frame.generation, new=True), path)
            files.sync_directory(JOURNAL_DIRECTORY)
        except DiskFullError as error:
            raise StorageError(f"{error}: the new file's name is in doubt") from error
        file.path = path
        self.file = file
        self._journal.cached_from = 0


class Release:
    """Deletes files that no group needs. Made by `Journal.release`."""

    __slots__ = ("_files", "_newest", "_oldest", "generations")

    def __init__(self, files: Files, generations: list[int], oldest: int, newest: int) -> None:
        """Delete `generations`; afterwards the journal is `oldest` to `newest`."""
        self._files = files
        self._oldest = oldest
        self._newest = newest
        self.generations = generations

    def run(self) -> None:
        """Note the remaining range durably, then delete, in a thread. Raises StorageError."""
        write_range(self._files, self._oldest, self._newest)
        for generation in self.generations:
            path = journal_path(generation)
            if self._files.exists(path):
                self._delete(path)

    def _delete(self, path: str) -> None:
        """Delete in steps: in one, the file system keeps the next round waiting for it all."""
        file = self._files.open(path)
        for size in range(file.size() - RELEASE_STEP_BYTES, 0, -RELEASE_STEP_BYTES):
            file.truncate(size)
        file.close()
        self._files.remove(path)


class Journal:
    """The journal as it is written. One owner: the node's rounds, on the event loop."""

    __slots__ = (
        "_boundaries",
        "_file",
        "_file_list",
        "_files",
        "_identity",
        "_known",
        "_last",
        "_position",
        "_settings",
        "_tail",
        "_writing",
        "bytes_written",
        "cached_from",
        "rounds",
    )

    def __init__(
        self,
        files: Files,
        *,
        identity: Identity,
        settings: JournalSettings,
        tail: JournalTail,
    ) -> None:
        """Continue after `tail`; a rollover must come first, no old file is written again."""
        self._files = files
        self._identity = identity
        self._settings = settings
        self._tail = tail
        self._file: File | None = None
        self._file_list: list[JournalFile] = []
        self._position = 0
        self._writing: RoundWrite | None = None
        self._boundaries: dict[GroupId, Index] = {}
        self._last: dict[GroupId, Index] = {}
        self._known: dict[GroupId, None] = {}
        self.rounds = 0
        self.bytes_written = 0
        self.cached_from = 0
        """Where in the current file the system's cache begins."""

    @property
    def generation(self) -> int:
        """The current file's number."""
        return self._tail.generation

    @property
    def position(self) -> int:
        """Where the next round goes in the current file; everything below is synced."""
        return self._position

    @property
    def file_count(self) -> int:
        """Files on disk."""
        return len(self._file_list)

    @property
    def bytes(self) -> int:
        """Size of all files."""
        return sum(file.size for file in self._file_list)

    @property
    def needs_rollover(self) -> bool:
        """Whether the next round should go to a new file."""
        return self._room < min(self._settings.round_bytes, self._settings.file_bytes // 4)

    def is_full(self, live: Iterable[LiveGroup] = ()) -> bool:
        """Whether a new file that begins with `live` would pass the limit: take in less, flush.

        Files that may go then do not count; one that must stay may be as long as it likes.
        """
        copied = {item.group: item.entries[0].index for item in live if item.entries}
        kept = [*dropwhile(lambda file: self._is_free(file, copied), self._file_list)]
        size = sum(file.size for file in kept) + self._settings.file_bytes
        return len(kept) > 1 and size > self._settings.total_bytes_max

    @property
    def _room(self) -> int:
        return self._file_list[-1].size - self._position if self._file is not None else 0

    def plan_round(self, content: RoundContent) -> RoundWrite:
        """Lay out the next round; an empty one only marks what is before it as synced.

        A round that is longer than the room left makes the current file longer.

        Raises:
            StorageError: an earlier round failed; nothing can be written any more.
        """
        self._start_writing()
        assert self._file is not None, "the first round of a life makes a file"
        current = self._file_list[-1]
        size = content_bytes(content)
        grow = size > self._room
        file_bytes = current.size
        if grow:
            file_bytes = self._position + 2 * SECTOR_BYTES + size
        frame = RoundFrame(
            generation=self._tail.generation,
            position=self._position,
            sequence=self._tail.sequence + 1,
            file_bytes=file_bytes,
            previous_checksum=self._tail.checksum,
        )
        self._writing = RoundWrite(self, frame, content, grow=grow)
        return self._writing

    def plan_rollover(self, live: Iterable[LiveGroup]) -> RoundWrite:
        """Lay out a new file that starts with the state of all groups on this node.

        Raises:
            StorageError: an earlier round failed; nothing can be written any more.
        """
        self._start_writing()
        groups = list(live)
        missing = self._known.keys() - {item.group for item in groups}
        assert not missing, "a new file holds the state of every group"
        contents = live_rounds(groups)
        size = SECTOR_BYTES + sum(map(content_bytes, contents))
        frame = RoundFrame(
            generation=self._tail.generation + 1,
            position=SECTOR_BYTES,
            sequence=self._tail.sequence + 1,
            file_bytes=max(self._settings.file_bytes, size + self._settings.file_bytes // 2),
            previous_checksum=self._tail.checksum,
            first=True,
            synced_end=size,
            copies=True,
        )
        self._writing = Rollover(self, frame, contents, groups)
        return self._writing

    def release(self) -> Release:
        """Let go of the oldest files that no group needs; the work deletes them.

        To be run after each rollover even if nothing can be deleted: it also notes the newest file.
        """
        gone: list[int] = []
        while len(self._file_list) > 1 and self._is_free(self._file_list[0], {}):
            gone.append(self._file_list.pop(0).generation)
        oldest, newest = self._file_list[0].generation, self._file_list[-1].generation
        return Release(self._files, gone, oldest, newest)

    def close(self) -> None:
        """Close the current file; does not sync."""
        if self._file is not None:
            self._file.close()

    def _is_free(self, file: JournalFile, copied: Mapping[GroupId, Index]) -> bool:
        """Whether nobody needs it once a later file holds the groups' ends from `copied` on."""
        return all(
            min(index, copied.get(group, index + 1) - 1) <= self._boundaries.get(group, 0)
            for group, index in file.needs.items()
        )

    def _start_writing(self) -> None:
        """Make sure that no round is on its way, and that none failed."""
        if self._writing is not None and self._writing.state == "failed":
            raise StorageError("the journal failed before and is not written any more")
        assert self._writing is None, "one round at a time"

    def _finished(self, write: RoundWrite) -> None:
        assert write is self._writing
        self._writing = None
        frame = write.frame
        if isinstance(write, Rollover):
            assert write.file is not None
            self.close()
            self._file = write.file
            self._file_list.append(JournalFile(frame.generation, frame.file_bytes))
            assert write.end == frame.synced_end
        self._file_list[-1].size = frame.file_bytes
        self._position = write.end
        self._tail = JournalTail(frame.generation, frame.sequence, write.checksum)
        self.rounds += 1
        self.bytes_written += write.end - write.start
        if isinstance(write, Rollover):
            self._count_copies(write.live)
        else:
            self._count(write.content)

    def _abandoned(self, write: RoundWrite) -> None:
        """Stay where the last synced round ended: a growth announced by `write` stands."""
        assert write is self._writing
        self._writing = None
        frame = write.frame
        if write.grown:
            self._position = frame.position
            self._file_list[-1].size = frame.file_bytes
            self._tail = JournalTail(frame.generation, frame.sequence - 1, frame.previous_checksum)

    def _count(self, content: RoundContent) -> None:
        """Note what the current file is needed for now."""
        needs = self._file_list[-1].needs
        for group, _ in content.hard_states:
            self._known[group] = None
        for group in content.started_over:
            self._not_needed_from(group, FIRST_INDEX)
        for boundary in content.boundaries:
            self._known[boundary.group] = None
            self._boundaries[boundary.group] = boundary.position.index
        for group, _, entries in content.entries:
            if not entries:
                continue
            self._known[group] = None
            first, last = entries[0].index, entries[-1].index
            if first <= self._last.get(group, 0):
                self._not_needed_from(group, first)
            needs[group] = last
            self._last[group] = last
        for group in content.removed:
            self._forget(group)

    def _count_copies(self, live: list[LiveGroup]) -> None:
        needs = self._file_list[-1].needs
        for item in live:
            self._known[item.group] = None
            self._boundaries[item.group] = item.boundary.position.index
            if item.entries:
                self._not_needed_from(item.group, item.entries[0].index)
                needs[item.group] = item.entries[-1].index
                self._last[item.group] = item.entries[-1].index

    def _not_needed_from(self, group: GroupId, first: Index) -> None:
        """Entries from `first` on are elsewhere, or replaced: no file so far is needed for them."""
        for file in self._file_list:
            needed = file.needs.get(group)
            if needed is not None and needed >= first:
                file.needs[group] = Index(first - 1)

    def _forget(self, group: GroupId) -> None:
        for file in self._file_list:
            file.needs.pop(group, None)
        self._known.pop(group, None)
        self._boundaries.pop(group, None)
        self._last.pop(group, None)
