"""A group's state files: what its log stood for at the boundary that names them.

They are in `groups/<group>/state/`, each written once, under a name that was never used before, so
that a boundary always finds the file it names. Layouts belong to those who write them.
Does not: know what is in them, or which of them a boundary names.
"""

from collections.abc import Iterable

from trimaran.errors import CorruptionError
from trimaran.ids import GroupId
from trimaran.records.checksum import crc32c
from trimaran.storage.boundary import StateFile
from trimaran.storage.files import Files
from trimaran.storage.frames import read_whole, replace_whole
from trimaran.storage.open_files import OpenFiles
from trimaran.storage.segment import group_directory

STATE_DIRECTORY = "state"


class StateWrite:
    """Writes one state file. Made by `PartitionLog.plan_write_state`."""

    __slots__ = ("_content", "_directory", "_files", "_name", "_writes")

    def __init__(
        self, files: Files, writes: OpenFiles, group: GroupId, name: str, content: bytes
    ) -> None:
        """Write `content` as `name` into the group's directory; `writes` are its lane's files."""
        self._files = files
        self._writes = writes
        self._directory = group_directory(group)
        self._name = name
        self._content = content

    def run(self) -> StateFile:
        """Write and sync, in a thread; return what the boundary must name.

        Raises:
            DiskFullError: no space; nothing is changed.
            StorageError: the disk failed.
        """
        directory = f"{self._directory}/{STATE_DIRECTORY}"
        if not self._files.exists(directory):
            self._writes.entry_made(directory)
            self._files.make_directory(directory, parents=False)
        replace_whole(self._files, f"{directory}/{self._name}", self._content)
        self._writes.sync_entries(self._directory)
        return self._name, len(self._content), crc32c(self._content)


class StateDrop:
    """Deletes state files that no boundary names. Made by `PartitionLog.plan_drop_states`."""

    __slots__ = ("_directory", "_files", "_keep")

    def __init__(self, files: Files, group: GroupId, keep: Iterable[str]) -> None:
        """Keep the files of these names."""
        self._files = files
        self._directory = f"{group_directory(group)}/{STATE_DIRECTORY}"
        self._keep = tuple(keep)

    def run(self) -> None:
        """Delete, in a thread. Raises StorageError."""
        for name in self._files.list(self._directory):
            if name not in self._keep:
                self._files.remove(f"{self._directory}/{name}")


def read_state_file(files: Files, group: GroupId, state_file: StateFile) -> bytes:
    """Return a state file's content, checked. Raises CorruptionError, StorageError."""
    name, size, checksum = state_file
    path = f"{group_directory(group)}/{STATE_DIRECTORY}/{name}"
    if not files.exists(path):
        raise CorruptionError(path, 0, "the state file is missing")
    content = read_whole(files, path)
    if len(content) != size or crc32c(content) != checksum:
        raise CorruptionError(path, 0, "the state file is not the one that the boundary names")
    return content
