"""A bounded number of open files, least recently used first out.

One thread owns each `OpenFiles`; only `retire` may be called from elsewhere. A file is known by its
path and a serial number: a path that is used again for another file gets another serial, so that
nobody reads an old file through a handle left open.

Names are like bytes: those that an earlier process made, or put in the place of others, may be in
the page cache alone. So a directory's are durable only if it was synced in this life, and nothing
was made in it since.

Invariants: a file with unsynced writes is synced before it is closed.
Does not: decide what is synced when.
"""

from collections import OrderedDict, deque

from trimaran.storage.files import File, Files

OPEN_FILES_MAX = 256


class OpenFiles:
    """Handles of one thread."""

    __slots__ = ("_dirty", "_files", "_limit", "_open", "_retired", "_settled")

    def __init__(self, files: Files, limit: int = OPEN_FILES_MAX) -> None:
        """Keep at most `limit` files open."""
        assert limit >= 2, "a segment and its rows are used together"
        self._files = files
        self._limit = limit
        self._open: OrderedDict[str, tuple[int, File]] = OrderedDict()
        self._dirty: dict[str, None] = {}
        self._settled: dict[str, None] = {}
        """Directories all of whose entries are durable."""
        self._retired: deque[str] = deque()

    def __len__(self) -> int:
        """Return how many files are open."""
        return len(self._open)

    def exists(self, path: str) -> bool:
        """Whether the file is there under that name."""
        return self._files.exists(path)

    def get(self, path: str, serial: int, *, create: bool = False) -> File:
        """Return the open file; `create` makes it anew, whatever is there. Raises StorageError."""
        self.drop_retired()
        found = self._open.get(path)
        if found is not None and found[0] == serial and not create:
            self._open.move_to_end(path)
            return found[1]
        if found is not None:
            self.drop(path)
        while len(self._open) >= self._limit:
            self._close_oldest()
        if create and self._files.exists(path):
            self._files.remove(path)
        if create:
            self.entry_made(path)
        file = self._files.open(path, create=create)
        self._open[path] = (serial, file)
        return file

    def write(self, path: str, serial: int, *, create: bool = False) -> File:
        """Return the open file to write to; it counts as unsynced until `sync`."""
        file = self.get(path, serial, create=create)
        self._dirty[path] = None
        return file

    def sync(self, path: str) -> None:
        """Make what was written to `path` durable. Raises StorageError."""
        if path in self._dirty:
            self._open[path][1].sync()
            del self._dirty[path]

    def entry_made(self, path: str) -> None:
        """A file or directory is about to get the name `path`; it is not durable."""
        self._settled.pop(path.rpartition("/")[0], None)

    def sync_entries(self, directory: str) -> None:
        """Make the names of what is in `directory` durable, if need be. Raises StorageError."""
        if directory not in self._settled:
            self._files.sync_directory(directory)
            self._settled[directory] = None

    def drop(self, path: str) -> None:
        """Close `path` if it is open; the file is gone or replaced, its writes do not matter."""
        self._dirty.pop(path, None)
        found = self._open.pop(path, None)
        if found is not None:
            found[1].close()

    def drop_below(self, prefix: str) -> None:
        """Drop every file whose path is `prefix` or starts with it."""
        for path in [path for path in self._open if path.startswith(prefix)]:
            self.drop(path)
        self._settled.pop(prefix.removesuffix("/"), None)

    def retire(self, prefix: str) -> None:
        """Have the owner `drop_below` at its next use of any file; from any thread.

        The files must be gone by then, or the owner may open them once more before.
        """
        self._retired.append(prefix)

    def drop_retired(self) -> None:
        """Close what was retired: until then it takes its space on the disk."""
        while self._retired:
            self.drop_below(self._retired.popleft())

    def close(self) -> None:
        """Close everything; syncs nothing."""
        for path in list(self._open):
            self.drop(path)

    def _close_oldest(self) -> None:
        path = next(iter(self._open))
        self.sync(path)
        self.drop(path)


class LetGo:
    """Closes files that are deleted, and so frees their space. Runs on the lane of their owner."""

    __slots__ = ("_files",)

    def __init__(self, files: OpenFiles) -> None:
        """Close what was retired in `files`."""
        self._files = files

    def run(self) -> None:
        """Close, in a thread. Raises StorageError."""
        self._files.drop_retired()
