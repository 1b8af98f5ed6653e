"""Offline check and dump of a data directory: every checksum, every file against the others.

Reads only; open the directory with `RealFiles(root, read_only=True)`. The node must not run: what
it writes meanwhile would look like damage.

Does not: repair, or judge what damage means for the cluster.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from trimaran.errors import CorruptionError, StorageError
from trimaran.ids import GroupId, group_name
from trimaran.records.entry import Entry, HardState
from trimaran.storage.boundary import Boundary
from trimaran.storage.compaction import RecordsDigest
from trimaran.storage.damage import Damage
from trimaran.storage.files import Files
from trimaran.storage.group_list import GROUP_LIST_PATH, read_group_list
from trimaran.storage.identity import IDENTITY_PATH, Identity, read_identity
from trimaran.storage.journal_scan import JournalScan
from trimaran.storage.log_recovery import LogRecovery, recover_log
from trimaran.storage.open_files import OpenFiles
from trimaran.storage.partition_log import LogFiles
from trimaran.storage.replay import GroupReplay, replay
from trimaran.storage.segment import (
    ROWS_PER_READ_MAX,
    Segment,
    group_directory,
    read_entries,
    read_rows,
)
from trimaran.storage.sidecar import Row

BYTES_PER_READ_MAX = 4 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that is wrong, and where."""

    path: str
    position: int
    text: str

    def __str__(self) -> str:
        """Return place and reason in one line."""
        return f"{self.path} at byte {self.position}: {self.text}"


class DumpedGroup:
    """One group as the directory holds it. Made by `DataDirectory`."""

    __slots__ = ("_found", "_shared", "boundary", "commit_known", "damage", "group", "hard_state")

    def __init__(self, shared: LogFiles, state: GroupReplay) -> None:
        """Put together what journal and segments say of the group."""
        self._shared = shared
        self.group: GroupId = state.group
        self.boundary = state.boundary or Boundary(group=state.group)
        self.hard_state: HardState = state.hard_state
        self.commit_known = max(self.boundary.position.index, state.commit)
        self._found: LogRecovery = recover_log(shared, self.boundary)
        self.damage: Damage | None = state.damage or state.missing() or self._found.damage

    def stored(self) -> Iterator[Entry | Finding]:
        """Yield every entry of the segments in order, and a finding in place of each bad one."""
        before: Entry | None = None
        for segment in self._found.stored.segments:
            is_whole = True
            for item in _segment_items(self._shared.reads, segment):
                if isinstance(item, Entry):
                    problem = _order_problem(before, item)
                    if problem is not None:
                        yield Finding(path=segment.path, position=0, text=problem)
                    before = item
                else:
                    is_whole = False
                yield item
            if segment.generation and is_whole:
                yield from _digest_findings(self._shared.reads, segment)


class DataDirectory:
    """A data directory, read once: the journal is replayed, segments are read on demand."""

    def __init__(self, files: Files) -> None:
        """Read identity, list and journal.

        Raises:
            StorageError: the directory has no usable identity, or the disk cannot be read.
        """
        self._files = files
        self.identity: Identity = read_identity(files)
        self._scan = JournalScan(files, self.identity)
        self._replays = {
            group: state for group, state in sorted(replay(self._scan).items()) if not state.removed
        }
        opened = OpenFiles(files)
        self._shared = LogFiles.of_one_lane(files, opened)

    def groups(self) -> Iterator[DumpedGroup]:
        """Yield the groups of which the journal knows, ascending by id."""
        for state in self._replays.values():
            yield DumpedGroup(self._shared, state)

    def entries(self, group: GroupId) -> Iterator[Entry]:
        """Yield a group's entries, segments then journal, to the log end; bad ones are left out."""
        state = self._replays[group]
        for item in DumpedGroup(self._shared, state).stored():
            if isinstance(item, Entry):
                yield item
        yield from state.entries

    def findings(self) -> Iterator[Finding]:
        """Yield everything that is wrong; nothing on a healthy directory.

        Raises:
            StorageError: the disk cannot be read.
        """
        for fault in self._scan.faults:
            yield Finding(path=fault.path, position=fault.position, text=fault.text)
        yield from self._list_findings()
        for group in self.groups():
            if group.damage is not None:
                directory = group_directory(group.group)
                yield Finding(path=directory, position=0, text=group.damage.text)
            for item in group.stored():
                if isinstance(item, Finding):
                    yield item

    def close(self) -> None:
        """Close all files."""
        self._shared.reads.close()

    def _list_findings(self) -> Iterator[Finding]:
        try:
            listed = read_group_list(self._files)
        except CorruptionError as error:
            yield Finding(path=error.path, position=error.position, text=str(error))
            return
        for group in self._replays:
            if group not in listed:
                text = f"{group_name(group)} is in the journal and not on the list"
                yield Finding(path=GROUP_LIST_PATH, position=0, text=text)
        for group in listed:
            if group not in self._replays and self._files.list(group_directory(group)):
                text = f"{group_name(group)} has files and is not in the journal"
                yield Finding(path=GROUP_LIST_PATH, position=0, text=text)


def verify_store(files: Files) -> list[Finding]:
    """Return everything that is wrong with a data directory; empty means healthy.

    Raises:
        StorageError: the disk cannot be read.
    """
    try:
        directory = DataDirectory(files)
    except CorruptionError as error:
        return [Finding(path=error.path, position=error.position, text=str(error))]
    except StorageError as error:
        return [Finding(path=IDENTITY_PATH, position=0, text=str(error))]
    try:
        return list(directory.findings())
    finally:
        directory.close()


def _digest_findings(files: OpenFiles, segment: Segment) -> Iterator[Finding]:
    """Yield that a compacted segment has other records than its list says."""
    if RecordsDigest(files, segment).run() != segment.digest:
        text = f"the records are not those of generation {segment.generation}"
        yield Finding(path=segment.path, position=0, text=text)


def _segment_items(files: OpenFiles, segment: Segment) -> Iterator[Entry | Finding]:
    number = 0
    while number < segment.row_count:
        try:
            rows = _rows_to_read(read_rows(files, segment, number, ROWS_PER_READ_MAX))
            entries = read_entries(files, segment, rows)
        except CorruptionError as error:
            yield Finding(path=error.path, position=error.position, text=str(error))
            number += 1
            continue
        yield from entries
        number += len(entries)


def _rows_to_read(rows: list[Row]) -> list[Row]:
    """Return the first rows, as many as one read should cover."""
    size = 0
    for number, row in enumerate(rows):
        size += row.size
        if size > BYTES_PER_READ_MAX and number:
            return rows[:number]
    return rows


def _order_problem(before: Entry | None, entry: Entry) -> str | None:
    """Return what of an entry goes back behind the one before it, None if nothing does."""
    if before is None or before.index > entry.index:
        return None
    if entry.term < before.term:
        return f"the term descends at entry {entry.index}"
    is_next = before.index + 1 == entry.index
    if entry.offset != before.next_offset if is_next else entry.offset < before.next_offset:
        return f"the offset of entry {entry.index} is not {before.next_offset}"
    if entry.log_time_ms < before.log_time_ms:
        return f"the log time descends at entry {entry.index}"
    return None
