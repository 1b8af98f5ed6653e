"""`storage.files.Files` on a simulated disk, for one process.

Every call goes through one gate, where faults, latency, the trace and the end of the process meet.
A process that is killed inside a work stops at one of its disk calls (`fuse`): calls before it took
effect, a write may have taken effect in part, calls after it never happen.

Does not: keep anything itself; all state is the disk's.
"""

from collections.abc import Callable, Sequence

from trimaran.errors import CorruptionError, DiskFullError, StorageError
from trimaran.sim.disk import (
    PAGE_BYTES,
    SECTOR_BYTES,
    DirectoryNode,
    Disk,
    FileNode,
    Node,
)
from trimaran.storage.files import Buffer


class ProcessEnded(BaseException):
    """The process was killed at this very call."""


class SimFiles:
    """The file system of one machine, as one process uses it."""

    def __init__(self, disk: Disk, *, who: str) -> None:
        """`who` names the process in the trace."""
        self.disk = disk
        self.who = who
        self.fuse: int | None = None
        """Calls until the process ends; None while nobody kills it."""
        self.on_end: Callable[[], None] | None = None
        """Called once when the fuse is spent: ends a process that runs."""
        self.blocking_allowed = True
        """Whether a call may happen now: at start, then only inside a work."""
        self.blocked_calls: list[str] = []
        """Calls that would have blocked the event loop."""
        self._detached = False

    def detach(self) -> None:
        """The process is dead: refuse every further call."""
        self._detached = True

    def open(self, path: str, *, create: bool = False) -> "SimFile":
        """Open for reading and writing. `create` demands that the file does not exist yet."""
        self.gate("create" if create else "open", path)
        directory, name = self._parent(path)
        node = directory.entries.get(name)
        if create:
            if node is not None:
                raise StorageError(f"{path}: create failed: File exists")
            node = FileNode()
            self.disk.change_entries((directory, name, node))
        if not isinstance(node, FileNode):
            raise StorageError(f"{path}: open failed: No such file")
        return SimFile(self, path, node)

    def exists(self, path: str) -> bool:
        """Whether a file or directory of that name exists."""
        self.gate("exists", path)
        return self._find(path) is not None

    def list(self, directory: str) -> list[str]:
        """Return the names in `directory`, sorted; empty if it does not exist."""
        self.gate("list", directory)
        node = self._find(directory)
        return sorted(node.entries) if isinstance(node, DirectoryNode) else []

    def make_directory(self, path: str, *, parents: bool = True) -> None:
        """Create it and its `parents` where missing; durable after `sync_directory(parent)`."""
        self.gate("mkdir", path)
        if not parents:
            self._parent(path)
        node = self.disk.root
        for part in _parts(path):
            child = node.entries.get(part)
            if child is None:
                child = DirectoryNode()
                self.disk.change_entries((node, part, child))
            if not isinstance(child, DirectoryNode):
                raise StorageError(f"{path}: create failed: {part} is a file")
            node = child

    def rename(self, source: str, target: str) -> None:
        """Replace `target` atomically; durable after `sync_directory`."""
        self.gate("rename", source)
        old_directory, old_name = self._parent(source)
        new_directory, new_name = self._parent(target)
        node = old_directory.entries.get(old_name)
        if node is None:
            raise StorageError(f"{source}: rename failed: No such file")
        self.disk.change_entries((old_directory, old_name, None), (new_directory, new_name, node))

    def remove(self, path: str) -> None:
        """Delete a file, or a directory with all that is in it."""
        self.gate("remove", path)
        directory, name = self._parent(path)
        if name not in directory.entries:
            raise StorageError(f"{path}: remove failed: No such file")
        node = directory.entries[name]
        if isinstance(node, DirectoryNode):
            for child in sorted(node.entries):
                self.remove(f"{path}/{child}")
        self.disk.change_entries((directory, name, None))

    def sync_directory(self, path: str) -> None:
        """Make the entries of a directory durable."""
        fails = self.gate("sync_directory", path)
        node = self._find(path)
        if fails or not isinstance(node, DirectoryNode):
            raise StorageError(f"{path}: sync failed")
        self.disk.spent_s += self.disk.draw_sync_s()
        self.disk.sync_entries(node)

    def uncache(self, path: str, start: int, end: int) -> None:
        """Nothing: a simulated disk is its own cache."""

    def free_bytes(self) -> int:
        """Return the space left for us on this file system."""
        return self.disk.free_bytes()

    def gate(self, operation: str, path: str, size: int = 0) -> bool:
        """Let a call happen; return whether it has to fail. Raises ProcessEnded at the fuse."""
        if self._detached:
            raise StorageError(f"{path}: {operation} failed: the process is dead")
        if self.fuse is not None:
            self.fuse -= 1
            if self.fuse < 0:
                self._end()
                raise ProcessEnded
        if not self.blocking_allowed:
            self.blocked_calls.append(f"{operation} {path}")
        conditions = self.disk.conditions
        self.disk.spent_s += conditions.operation_s + size / conditions.bytes_per_s
        self.disk.log.add(self.who, f"{operation} {path} {size}")
        return bool(self.disk.planned) and self.disk.takes_fault(operation, path)

    def _end(self) -> None:
        """Tell whoever waits for it; works of a process that died so may still be settled."""
        if self.on_end is not None:
            told, self.on_end, self.fuse = self.on_end, None, None
            told()

    def misdirects(self, path: str) -> bool:
        """Whether this write goes to a wrong place; it happens once for each that was planned."""
        return bool(self.disk.planned) and self.disk.takes_fault("misdirect", path)

    def _find(self, path: str) -> Node | None:
        node: Node | None = self.disk.root
        for part in _parts(path):
            if not isinstance(node, DirectoryNode):
                return None
            node = node.entries.get(part)
        return node

    def _parent(self, path: str) -> tuple[DirectoryNode, str]:
        *above, name = _parts(path)
        node = self._find("/".join(above))
        if not isinstance(node, DirectoryNode):
            raise StorageError(f"{path}: no such directory")
        return node, name


class SimFile:
    """An open file. It outlives its name, as on Linux."""

    def __init__(self, files: SimFiles, path: str, node: FileNode) -> None:
        self.path = path
        self._files = files
        self._node = node
        self._open = True

    def pwrite(self, buffers: Sequence[Buffer], position: int) -> None:
        """Write all of `buffers` one after the other from `position` on."""
        assert position >= 0
        data = b"".join(buffers)
        try:
            fails = self._gate("write", len(data))
        except ProcessEnded:
            self._node.write(data[: self._draw_part(position, len(data))], position)
            raise
        if fails:
            self._node.write(data[: self._draw_part(position, len(data))], position)
            raise StorageError(f"{self.path}: write failed: Input/output error")
        if self._files.misdirects(self.path):
            position = self._draw_wrong_place(position, len(data))
        else:
            self._files.disk.written(self.path)
        if self._node.refuses_write(position, position + len(data)):
            raise StorageError(f"{self.path}: write failed: Input/output error")
        growth = position + len(data) - self._node.size
        free = self._files.disk.free_bytes() if growth > 0 else growth
        if growth > free:
            self._files.disk.note("full disk")
            self._node.write(data[: len(data) - (growth - free)], position)
            raise DiskFullError(f"{self.path}: write failed: No space left on device")
        self._node.write(data, position)

    def pread(self, length: int, position: int) -> bytes:
        """Return up to `length` bytes; fewer only at the end of the file."""
        assert position >= 0
        fails = self._gate("read", length)
        self._files.disk.spent_s += self._files.disk.draw_read_s()
        if fails:
            raise StorageError(f"{self.path}: read failed: Input/output error")
        lost = self._node.lost_byte(position, position + length)
        if lost is not None:
            self._files.disk.note("lost read")
            raise CorruptionError(self.path, lost, "read failed: Input/output error")
        return self._node.read(length, position)

    def sync(self) -> None:
        """Make all written bytes (and the size) durable: fdatasync."""
        fails = self._gate("sync")
        self._files.disk.spent_s += self._files.disk.draw_sync_s()
        if fails:
            disk = self._files.disk
            self._node.lose_marks(dropped=disk.chance.random() < disk.conditions.dropped)
            raise StorageError(f"{self.path}: sync failed: Input/output error")
        self._node.sync()
        self._files.disk.synced(self.path)

    def size(self) -> int:
        """Return the length of the file in bytes."""
        self._gate("size")
        return self._node.size

    def truncate(self, size: int) -> None:
        """Cut (or extend with zeros) to `size` bytes; not durable before `sync`."""
        self._gate("truncate", size)
        if self._node.refuses_write(size, self._node.size):
            raise StorageError(f"{self.path}: truncate failed: Input/output error")
        self._node.resize(size)

    def uncache(self, start: int, size: int) -> None:
        """Nothing: a simulated disk is its own cache."""

    def allocate(self, size: int) -> None:
        """Reserve `size` bytes that read as zeros."""
        self._gate("allocate", 0)
        growth = size - self._node.size
        if growth > self._files.disk.free_bytes():
            self._files.disk.note("full disk")
            raise DiskFullError(f"{self.path}: allocate failed: No space left on device")
        self._node.resize(max(size, self._node.size))

    def close(self) -> None:
        """Close; does not sync. Closing again does nothing."""
        self._open = False

    def _gate(self, operation: str, size: int = 0) -> bool:
        assert self._open, f"{self.path} is closed"
        return self._files.gate(operation, self.path, size)

    def _draw_part(self, position: int, size: int) -> int:
        """Return how much of a write took place that was cut short: whole pages, or all of it."""
        drawn = self._files.disk.chance.randint(0, size)
        return drawn if drawn == size else max(0, drawn - (position + drawn) % PAGE_BYTES)

    def _draw_wrong_place(self, position: int, size: int) -> int:
        """Return where a misdirected write goes: some sector inside the file, if it can."""
        sectors = max(0, self._node.size - size) // SECTOR_BYTES
        return self._files.disk.chance.randint(0, sectors) * SECTOR_BYTES + position % SECTOR_BYTES


def _parts(path: str) -> list[str]:
    parts = [part for part in path.split("/") if part not in ("", ".")]
    assert ".." not in parts, "paths stay below the root"
    return parts
