"""The disk as storage sees it: the only module of the package that knows `os`.

Everything here blocks; callers run it off the event loop. The simulator implements the same two
protocols with volatile and durable state per file and per directory entry.

Invariants: every failure of the disk is a `StorageError` that names the file; a write that finds no
space is a `DiskFullError`, a sync that fails never is: what it left behind is unknown. Bytes that
the disk has lost (EIO on a read) are a `CorruptionError`, like bytes that fail a check.
Does not: cache, or know what is in a file.
"""

import errno
import fcntl
import os
import shutil
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

from trimaran.errors import CorruptionError, DiskFullError, StorageError

Buffer = bytes | bytearray | memoryview

BUFFERS_PER_WRITE_MAX = 1024
"""IOV_MAX on Linux: more buffers go into further calls."""
LOCK_NAME = "lock"
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
"""What the system reads and writes at once: one bad sector takes its page. A page that cannot be
read can only be written as a whole; then the disk puts it elsewhere, and it is sound again."""
UNREADABLE = b"\xff"
"""Stands for each byte that cannot be read (`read_around`): no part of what we write, no zero."""


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
        """Return up to `length` bytes; fewer only at the end of the file.

        Raises:
            CorruptionError: the disk cannot give them: the path as it was opened, and the position
                of the first byte that is lost.
            StorageError: any other failure.
        """

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

    def uncache(self, start: int, size: int) -> None:
        """Let the system forget its copy of these bytes, which are synced. Advice: never fails."""

    def close(self) -> None:
        """Close; does not sync."""


@dataclass(slots=True, kw_only=True)
class PlainWrite:
    """Bytes to write and then to sync, for whoever does both without asking back."""

    file: File
    position: int
    buffers: Sequence[Buffer]
    uncache_from: int
    """After the sync the system may forget its copy from here..."""
    uncache_bytes: int = 0
    """... for so many bytes."""


def sync_failed(path: str, number: int) -> StorageError:
    """Return the error of a sync that failed with this errno."""
    return StorageError(f"{path}: sync failed: {os.strerror(number)}")


def read_around(file: File, length: int, position: int) -> bytes:
    """Return up to `length` bytes, `UNREADABLE` in the place of those that the disk has lost.

    Raises:
        StorageError: any failure but bytes that cannot be read.
    """
    data = b""
    while True:
        at = position + len(data)
        try:
            return data + file.pread(position + length - at, at)
        except CorruptionError as error:
            bad = error.position
        data += file.pread(bad - at, at)
        end = min((bad // PAGE_BYTES + 1) * PAGE_BYTES, position + length, file.size())
        data += UNREADABLE * (end - bad)


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

    def make_directory(self, path: str, *, parents: bool = True) -> None:
        """Create it and its `parents` where missing; durable after `sync_directory(parent)`.

        Raises:
            StorageError: without `parents`: the directory that it belongs into is missing.
        """

    def rename(self, source: str, target: str) -> None:
        """Replace `target` atomically; durable after `sync_directory`."""

    def remove(self, path: str) -> None:
        """Delete a file, or a directory with all that is in it."""

    def sync_directory(self, path: str) -> None:
        """Make the entries of a directory durable."""

    def uncache(self, path: str, start: int, end: int) -> None:
        """Let the system forget its copy of bytes `start` to `end`, which are synced.

        Advice: it never fails, and a file that is gone is none of its business.
        """

    def free_bytes(self) -> int:
        """Return the space left for us on this file system."""


def expect_room(files: Files, path: str, needed_bytes: int) -> None:
    """Make sure that so many bytes are free; they are for `path`. Raises DiskFullError."""
    free = files.free_bytes()
    if free < needed_bytes:
        raise DiskFullError(f"{path}: {free} bytes are free, {needed_bytes} are needed")


class RealFile:
    """An open file of the operating system."""

    __slots__ = ("_descriptor", "_name", "path")

    def __init__(self, descriptor: int, path: str, name: str) -> None:
        """Take over `descriptor`; `path` names the file in errors, `name` is how it was opened."""
        self.path = path
        self._name = name
        self._descriptor = descriptor

    @property
    def descriptor(self) -> int:
        """The open file's number, for calls that are not made here."""
        assert self._descriptor >= 0, "the file is open"
        return self._descriptor

    def pwrite(self, buffers: Sequence[Buffer], position: int) -> None:
        """Write all of `buffers` from `position` on, in as few calls as the system allows."""
        assert self._descriptor >= 0, "the file is open"
        assert position >= 0
        with _translated(self.path, "write", full_allowed=True):
            for start in range(0, len(buffers), BUFFERS_PER_WRITE_MAX):
                part = buffers[start : start + BUFFERS_PER_WRITE_MAX]
                size = sum(len(buffer) for buffer in part)
                written = os.pwritev(self._descriptor, part, position)
                if written < size:
                    self._write_rest(b"".join(part)[written:], position + written)
                position += size

    def _write_rest(self, rest: bytes, position: int) -> None:
        """Finish a short write; a disk that takes nothing at all is full."""
        while rest:
            written = os.pwrite(self._descriptor, rest, position)
            if written == 0:
                raise OSError(errno.ENOSPC, "write took no bytes")
            rest = rest[written:]
            position += written

    def pread(self, length: int, position: int) -> bytes:
        """Return up to `length` bytes; fewer only at the end of the file."""
        assert self._descriptor >= 0, "the file is open"
        with _translated(self.path, "read"):
            try:
                return self._pread(length, position)
            except OSError as error:
                if error.errno != errno.EIO:
                    raise
            return self._pread_by_page(length, position)

    def _pread(self, length: int, position: int) -> bytes:
        data = os.pread(self._descriptor, length, position)
        while 0 < len(data) < length:
            more = os.pread(self._descriptor, length - len(data), position + len(data))
            if not more:
                break
            data += more
        return data

    def _pread_by_page(self, length: int, position: int) -> bytes:
        """Read again what could not be read at once, to find the page that cannot be read."""
        parts: list[bytes] = []
        at, end = position, position + length
        while at < end:
            size = min(end, at + PAGE_BYTES - at % PAGE_BYTES) - at
            try:
                parts.append(self._pread(size, at))
            except OSError as error:
                if error.errno != errno.EIO:
                    raise
                text = f"read failed: {os.strerror(errno.EIO)}"
                raise CorruptionError(self._name, at, text) from error
            at += size
        return b"".join(parts)

    def sync(self) -> None:
        """Make all written bytes (and the size) durable: fdatasync."""
        assert self._descriptor >= 0, "the file is open"
        with _translated(self.path, "sync"):
            os.fdatasync(self._descriptor)

    def size(self) -> int:
        """Return the length of the file in bytes."""
        with _translated(self.path, "stat"):
            return os.fstat(self._descriptor).st_size

    def truncate(self, size: int) -> None:
        """Cut (or extend with zeros) to `size` bytes; not durable before `sync`."""
        with _translated(self.path, "truncate", full_allowed=True):
            os.ftruncate(self._descriptor, size)

    def allocate(self, size: int) -> None:
        """Reserve `size` bytes that read as zeros."""
        with _translated(self.path, "allocate", full_allowed=True):
            os.posix_fallocate(self._descriptor, 0, size)

    def uncache(self, start: int, size: int) -> None:
        """Let the system forget its copy (POSIX_FADV_DONTNEED)."""
        advise = getattr(os, "posix_fadvise", None)
        if advise is not None:
            # Parts of pages stay: the first one was a part when the bytes before it went.
            before = start % PAGE_BYTES
            with suppress(OSError):
                advise(self._descriptor, start - before, size + before, os.POSIX_FADV_DONTNEED)

    def close(self) -> None:
        """Close; does not sync. Closing again does nothing."""
        if self._descriptor >= 0:
            descriptor, self._descriptor = self._descriptor, -1
            with _translated(self.path, "close"):
                os.close(descriptor)


class RealFiles:
    """A directory of the operating system, and what is below it."""

    __slots__ = ("_lock", "_read_only", "root")

    def __init__(self, root: str, *, read_only: bool = False) -> None:
        """Use `root`, which need not exist yet; it and its parents are created on first need.

        `read_only` opens every file for reading only: nothing below `root` can be changed by it.
        """
        self.root = os.path.abspath(root)
        self._read_only = read_only
        self._lock = -1

    def lock(self) -> None:
        """Keep every other process out of this directory until this one ends (flock).

        Raises:
            StorageError: another process holds it.
        """
        assert self._lock < 0, "locked once"
        self.make_directory(".")
        path = self._absolute(LOCK_NAME)
        with _translated(path, "lock (does another node run on this directory?)"):
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                os.close(descriptor)
                raise
            self._lock = descriptor

    def unlock(self) -> None:
        """Let others in again."""
        if self._lock >= 0:
            descriptor, self._lock = self._lock, -1
            os.close(descriptor)

    def open(self, path: str, *, create: bool = False) -> RealFile:
        """Open for reading and writing. `create` demands that the file does not exist yet."""
        assert not (create and self._read_only)
        flags = os.O_CLOEXEC | (os.O_RDONLY if self._read_only else os.O_RDWR)
        flags |= os.O_CREAT | os.O_EXCL if create else 0
        absolute = self._absolute(path)
        with _translated(absolute, "create" if create else "open", full_allowed=create):
            return RealFile(os.open(absolute, flags, 0o644), absolute, path)

    def exists(self, path: str) -> bool:
        """Whether a file or directory of that name exists."""
        return os.path.lexists(self._absolute(path))

    def list(self, directory: str) -> "list[str]":
        """Return the names in `directory`, sorted; empty if it does not exist."""
        absolute = self._absolute(directory)
        with _translated(absolute, "list"):
            try:
                return sorted(os.listdir(absolute))
            except FileNotFoundError:
                return []

    def make_directory(self, path: str, *, parents: bool = True) -> None:
        """Create it and its `parents` where missing; durable after `sync_directory(parent)`."""
        absolute = self._absolute(path)
        with _translated(absolute, "create", full_allowed=True):
            if parents:
                os.makedirs(absolute, exist_ok=True)
            elif not os.path.isdir(absolute):
                os.mkdir(absolute)

    def rename(self, source: str, target: str) -> None:
        """Replace `target` atomically; durable after `sync_directory`."""
        absolute = self._absolute(source)
        with _translated(absolute, "rename", full_allowed=True):
            os.rename(absolute, self._absolute(target))

    def remove(self, path: str) -> None:
        """Delete a file, or a directory with all that is in it."""
        absolute = self._absolute(path)
        with _translated(absolute, "remove"):
            if os.path.isdir(absolute) and not os.path.islink(absolute):
                shutil.rmtree(absolute)
            else:
                os.unlink(absolute)

    def sync_directory(self, path: str) -> None:
        """Make the entries of a directory durable."""
        absolute = self._absolute(path)
        with _translated(absolute, "sync"):
            descriptor = os.open(absolute, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)

    def uncache(self, path: str, start: int, end: int) -> None:
        """Let the system forget its copy of bytes `start` to `end`."""
        with suppress(StorageError):
            file = self.open(path)
            file.uncache(start, end - start)
            file.close()

    def free_bytes(self) -> int:
        """Return the space left for us on this file system."""
        with _translated(self.root, "stat"):
            found = os.statvfs(self.root)
            return found.f_bavail * found.f_frsize

    def _absolute(self, path: str) -> str:
        assert not path.startswith("/"), "paths are relative to the root"
        assert ".." not in path.split("/"), "and stay below it"
        return os.path.join(self.root, path)


class _translated:  # noqa: N801 - used like a function
    """Turn the system's errors into ours; only with `full_allowed` is "no space" DiskFullError.

    A class, for it stands around every write and sync: a generator costs three times as much.
    """

    __slots__ = ("_action", "_full_allowed", "_path")

    def __init__(self, path: str, action: str, *, full_allowed: bool = False) -> None:
        self._path = path
        self._action = action
        self._full_allowed = full_allowed

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, _kind: type[BaseException] | None, error: BaseException | None, _trace: object
    ) -> None:
        if isinstance(error, OSError):
            full = self._full_allowed and error.errno in (errno.ENOSPC, errno.EDQUOT)
            kind = DiskFullError if full else StorageError
            reason = error.strerror or error
            raise kind(f"{self._path}: {self._action} failed: {reason}") from error
