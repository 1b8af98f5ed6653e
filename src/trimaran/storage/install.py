"""A group's files taken over from another node: staged, checked, moved, loaded (design D11).

    staging/<group>/groups/<group>/...   the files as they come, in the layout of a data directory

The staged files are opened and read through like a store's own: every row, every payload, every
state file against the boundary. Then they are moved, one rename each, to where the group's files
are; only afterwards may the caller put the boundary into the journal, and then load the group.

Invariants: before the boundary is synced nothing is deleted, and no file is replaced but by one
that begins with the same entries: segments of one name are equal as far as both go. So a crash at
any step leaves a group that is what it was, or has the new boundary. Staging takes no space that
is reserved: without it a node could not even store that it gave up.
Does not: fetch, or write the journal.
"""

from collections.abc import Collection
from dataclasses import replace

from trimaran.errors import CorruptionError, StorageError
from trimaran.ids import GroupId, group_name
from trimaran.storage.boundary import Boundary
from trimaran.storage.files import File, Files, expect_room
from trimaran.storage.log_recovery import LogRecovery, recover_log, tidy_log
from trimaran.storage.open_files import OpenFiles
from trimaran.storage.partition_log import LogFiles, StoredLog
from trimaran.storage.scrub import ScrubPart
from trimaran.storage.segment import GROUPS_DIRECTORY, SEGMENT_SUFFIX, group_directory
from trimaran.storage.state_files import STATE_DIRECTORY

STAGING_DIRECTORY = "staging"
CHECK_BYTES = 4 << 20
"""Read at a time while staged files are checked."""


class _Below:
    """A part of the data directory as if it were a whole one."""

    __slots__ = ("_files", "_root")

    def __init__(self, files: Files, root: str) -> None:
        self._files = files
        self._root = root

    def open(self, path: str, *, create: bool = False) -> File:
        return self._files.open(f"{self._root}/{path}", create=create)

    def exists(self, path: str) -> bool:
        return self._files.exists(f"{self._root}/{path}")

    def list(self, directory: str) -> list[str]:
        return self._files.list(f"{self._root}/{directory}")

    def make_directory(self, path: str, *, parents: bool = True) -> None:
        self._files.make_directory(f"{self._root}/{path}", parents=parents)

    def rename(self, source: str, target: str) -> None:
        self._files.rename(f"{self._root}/{source}", f"{self._root}/{target}")

    def remove(self, path: str) -> None:
        self._files.remove(f"{self._root}/{path}")

    def sync_directory(self, path: str) -> None:
        self._files.sync_directory(f"{self._root}/{path}")

    def uncache(self, path: str, start: int, end: int) -> None:
        self._files.uncache(f"{self._root}/{path}", start, end)

    def free_bytes(self) -> int:
        return self._files.free_bytes()


def staging_root(group: GroupId) -> str:
    """Return the directory in which `group` is staged."""
    return f"{STAGING_DIRECTORY}/{group_name(group)}"


class BeginStaging:
    """Makes room for a group's files. All works here run on the lane of segments."""

    __slots__ = ("_files", "_group", "_needed_bytes")

    def __init__(self, files: Files, group: GroupId, needed_bytes: int) -> None:
        """Stage `group`; what an earlier attempt left behind goes."""
        self._files = files
        self._group = group
        self._needed_bytes = needed_bytes

    def run(self) -> None:
        """Remove and make directories, in a thread.

        Raises:
            DiskFullError: fewer bytes are free than needed; nothing is staged.
            StorageError: the disk failed.
        """
        DiscardStaged(self._files, self._group).run()
        root = staging_root(self._group)
        expect_room(self._files, root, self._needed_bytes)
        self._files.make_directory(f"{root}/{group_directory(self._group)}/{STATE_DIRECTORY}")


class DiscardStaged:
    """Gives back the space of what was staged."""

    __slots__ = ("_files", "_group")

    def __init__(self, files: Files, group: GroupId) -> None:
        """Remove all that is staged of `group`, if anything is."""
        self._files = files
        self._group = group

    def run(self) -> None:
        """Remove it, in a thread. Raises StorageError."""
        root = staging_root(self._group)
        if self._files.exists(root):
            self._files.remove(root)


class StagePart:
    """Writes a part of one staged file."""

    __slots__ = ("_data", "_files", "_is_last", "_path", "_position", "_reserve_bytes")

    def __init__(
        self,
        files: Files,
        group: GroupId,
        name: str,
        data: bytes,
        *,
        position: int,
        is_last: bool,
        reserve_bytes: int,
    ) -> None:
        """Write `data` at `position` of the file `name` in the group's directory."""
        self._files = files
        self._reserve_bytes = reserve_bytes
        self._path = f"{staging_root(group)}/{group_directory(group)}/{name}"
        self._data = data
        self._position = position
        self._is_last = is_last

    def run(self) -> None:
        """Write, in a thread; with the last part the file is synced.

        Raises:
            DiskFullError: no space above the reserve; the same part may be written again.
            StorageError: the disk failed.
        """
        expect_room(self._files, self._path, self._reserve_bytes + len(self._data))
        create = not self._files.exists(self._path)
        file = self._files.open(self._path, create=create)
        try:
            file.pwrite([self._data], self._position)
            if self._is_last:
                file.sync()
        finally:
            file.close()


class AdoptStaged:
    """Checks everything that is staged, and moves it to where the group's files are."""

    __slots__ = ("_boundary", "_shared")

    def __init__(self, shared: LogFiles, boundary: Boundary) -> None:
        """Adopt what belongs to `boundary`, which the journal does not hold yet."""
        self._shared = shared
        self._boundary = boundary

    def run(self) -> None:
        """Read, rename and sync, in a thread.

        Raises:
            CorruptionError: what was staged is not what `boundary` names; nothing was moved.
            StorageError: the disk failed.
        """
        files, group = self._shared.files, self._boundary.group
        root, directory = staging_root(group), group_directory(group)
        check_files(_Below(files, root), self._boundary)
        self._shared.writes.drop_below(directory + "/")
        self._shared.reads.retire(directory + "/")
        files.make_directory(f"{directory}/{STATE_DIRECTORY}")
        for part in (directory, f"{directory}/{STATE_DIRECTORY}"):
            for name in files.list(f"{root}/{part}"):
                if name != STATE_DIRECTORY:
                    files.rename(f"{root}/{part}/{name}", f"{part}/{name}")
        for part in (f"{directory}/{STATE_DIRECTORY}", directory, GROUPS_DIRECTORY, "."):
            files.sync_directory(part)
        files.remove(root)


class LoadInstalled:
    """Opens a group's files under its new boundary, which must be synced by now."""

    __slots__ = ("_boundary", "_keep", "_shared")

    def __init__(self, shared: LogFiles, boundary: Boundary, keep: Collection[str]) -> None:
        """Open what `boundary` names: segments whose payload files are named in `keep`."""
        self._shared = shared
        self._boundary = boundary
        self._keep = keep

    def run(self) -> StoredLog:
        """Look at the files, in a thread; what the boundary does not cover is cut and removed.

        Raises:
            CorruptionError: they are damaged (again).
            StorageError: the disk failed.
        """
        shared = self._shared
        directory = group_directory(self._boundary.group)
        for name in shared.files.list(directory):
            stem = name.partition(".")[0]
            if name != STATE_DIRECTORY and stem + SEGMENT_SUFFIX not in self._keep:
                shared.files.remove(f"{directory}/{name}")
        found = _recovered(shared.files, self._boundary, shared)
        tidy_log(shared.files, found)
        return found.stored


def check_files(files: Files, boundary: Boundary) -> None:
    """Make sure that `files` hold all that `boundary` names, byte by byte.

    Raises:
        CorruptionError: the first place that fails a check.
        StorageError: the disk failed.
    """
    opened = OpenFiles(files)
    shared = LogFiles.of_one_lane(files, opened)
    try:
        found = recover_log(shared, boundary)
        if found.damage is not None:
            raise CorruptionError(group_directory(boundary.group), 0, found.damage.text)
        for segment in found.stored.segments:
            number = 0
            while number < segment.row_count:
                part = ScrubPart(opened, segment, number, CHECK_BYTES).run()
                if part.bad_index is not None:
                    raise CorruptionError(segment.path, 0, part.reason)
                number = part.next_number
    finally:
        opened.close()


def _recovered(files: Files, boundary: Boundary, shared: LogFiles) -> LogRecovery:
    """Return what recovery finds, read through handles of this thread."""
    opened = OpenFiles(files)
    try:
        found = recover_log(replace(shared, writes=opened, reads=opened), boundary)
    finally:
        opened.close()
    if found.damage is not None:
        raise CorruptionError(group_directory(boundary.group), 0, found.damage.text)
    return found


class ReadPart:
    """Reads a part of a file as it is, for another node, which checks it. On the lane of reads."""

    __slots__ = ("_count", "_files", "_path", "_position")

    def __init__(self, files: Files, path: str, *, position: int, count: int) -> None:
        """Read up to `count` bytes at `position`."""
        self._files = files
        self._path = path
        self._position = position
        self._count = count

    def run(self) -> bytes | None:
        """Return the bytes, None if there is no such file (any more). Raises StorageError."""
        try:
            file = self._files.open(self._path)
        except StorageError:
            if not self._files.exists(self._path):
                return None
            raise
        try:
            return file.pread(self._count, self._position)
        finally:
            file.close()
