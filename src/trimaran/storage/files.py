"""The disk as storage sees it: the only module of the package that knows `os`.

Everything here blocks; callers run it off the event loop. The simulator implements the same two
protocols with volatile and durable state per file and per directory entry.
"""

from collections.abc import Sequence
from typing import Protocol

Buffer = bytes | bytearray | memoryview


class File(Protocol):
    """An open file. All positions are absolute; there is no cursor."""

    path: str

    def pwrite(self, buffers: Sequence[Buffer], position: int) -> None:
        """Write all of `buffers` one after the other from `position` on.

        Raises:
            DiskFullError: ENOSPC or EDQUOT; any prefix may have been written.
            StorageError: any other failure.
        """

    def pread(self, length: int, position: int) -> bytes:
        """Return up to `length` bytes; fewer only at the end of the file."""

    def sync(self) -> None:
        """Make all written bytes (and the size) durable: fdatasync.

        Raises:
            StorageError: the sync failed; the file's content is unknown from here on.
        """

    def size(self) -> int:
        """Return the length of the file in bytes."""

    def truncate(self, size: int) -> None:
        """Cut (or extend with zeros) to `size` bytes; not durable before `sync`."""

    def allocate(self, size: int) -> None:
        """Reserve `size` bytes that read as zeros (posix_fallocate). Raises DiskFullError."""

    def close(self) -> None:
        """Close; does not sync."""


class Files(Protocol):
    """A file system below one root directory; paths are relative, with `/`."""

    def open(self, path: str, *, create: bool = False) -> File:
        """Open for reading and writing. `create` demands that the file does not exist yet.

        Raises:
            StorageError: missing (without `create`) or present (with it), or not openable.
        """

    def exists(self, path: str) -> bool:
        """Whether a file or directory of that name exists."""

    def list(self, directory: str) -> list[str]:
        """Return the names in `directory`, sorted; empty if it does not exist."""

    def make_directory(self, path: str) -> None:
        """Create it and its parents where missing; durable after `sync_directory(parent)`."""

    def rename(self, source: str, target: str) -> None:
        """Replace `target` atomically; durable after `sync_directory`."""

    def remove(self, path: str) -> None:
        """Delete a file, or a directory with all that is in it."""

    def sync_directory(self, path: str) -> None:
        """Make the entries of a directory durable."""

    def free_bytes(self) -> int:
        """Return the space left for us on this file system."""
