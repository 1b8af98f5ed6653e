"""A disk in memory that can be cut, flipped and filled, and a node's storage driven by hand."""

import struct
from collections.abc import Sequence
from random import Random
from types import SimpleNamespace

import pytest

from trimaran.errors import DiskFullError, StorageError
from trimaran.ids import ClusterId, DiskId, GroupId, Index, NodeId, Offset, Term, TopicId, group_id
from trimaran.records.entry import Entry, EntryKind, HardState, LogPosition
from trimaran.storage.boundary import Boundary
from trimaran.storage.files import Buffer
from trimaran.storage.identity import Identity
from trimaran.storage.journal import JournalSettings, RoundContent
from trimaran.storage.partition_log import PartitionLog
from trimaran.storage.recovery import Store, StoreSettings, format_store, open_store


class MemoryFile:
    """An open file of `MemoryFiles`; it outlives its name."""

    def __init__(self, files, path, content):
        self.path = path
        self.files = files
        self.content = content
        self.closed = False

    def pwrite(self, buffers: Sequence[Buffer], position: int) -> None:
        assert not self.closed
        self.files.gate("write", self.path)
        data = b"".join(buffers)
        room = self.files.room
        written = data if room is None else data[:room]
        if len(self.content) < position:
            self.content.extend(bytes(position - len(self.content)))
        self.content[position : position + len(written)] = written
        if room is not None:
            self.files.room = room - len(written)
            if len(written) < len(data):
                raise DiskFullError(f"{self.path}: no space")

    def pread(self, length: int, position: int) -> bytes:
        assert not self.closed
        self.files.gate("read", self.path)
        return bytes(self.content[position : position + length])

    def sync(self) -> None:
        assert not self.closed
        self.files.gate("sync", self.path)

    def size(self) -> int:
        return len(self.content)

    def truncate(self, size: int) -> None:
        self.files.gate("truncate", self.path)
        del self.content[size:]
        self.content.extend(bytes(size - len(self.content)))

    def allocate(self, size: int) -> None:
        self.files.gate("allocate", self.path)
        self.content.extend(bytes(max(0, size - len(self.content))))

    def close(self) -> None:
        self.closed = True


class MemoryFiles:
    """Files by path. `failing` maps an operation to the error it raises; `log` names every call."""

    def __init__(self):
        self.contents = {}
        self.directories = {"."}
        self.failing = {}
        self.log = []
        self.room = None
        self.fuse = None

    def copy(self):
        other = MemoryFiles()
        other.contents = {path: bytearray(content) for path, content in self.contents.items()}
        other.directories = set(self.directories)
        return other

    def gate(self, operation, path):
        """Note a call; `fuse` counts the calls until the process ends between two of them."""
        if self.fuse is not None:
            self.fuse -= 1
            if self.fuse < 0:
                raise InterruptedError
        self.log.append((operation, path))
        for (failing, part), error in self.failing.items():
            if failing == operation and part in path:
                raise error(f"{path}: {operation} failed")

    def open(self, path, *, create=False):
        self.gate("create" if create else "open", path)
        if create == (path in self.contents):
            raise StorageError(f"{path}: cannot be opened")
        if create:
            assert path.rpartition("/")[0] in ("", *self.directories)
            self.contents[path] = bytearray()
        return MemoryFile(self, path, self.contents[path])

    def exists(self, path):
        return path in self.contents or path in self.directories

    def list(self, directory):
        prefix = directory + "/"
        every = [*self.contents, *self.directories]
        return sorted(
            {path[len(prefix) :].partition("/")[0] for path in every if path.startswith(prefix)}
        )

    def make_directory(self, path):
        self.gate("make_directory", path)
        parts = path.split("/")
        self.directories |= {"/".join(parts[: count + 1]) for count in range(len(parts))}

    def rename(self, source, target):
        self.gate("rename", source)
        for path in list(self.contents):
            if path == source or path.startswith(source + "/"):
                self.contents[target + path[len(source) :]] = self.contents.pop(path)
        for path in list(self.directories):
            if path == source or path.startswith(source + "/"):
                self.directories.remove(path)
                self.directories.add(target + path[len(source) :])

    def remove(self, path):
        self.gate("remove", path)
        assert self.exists(path)
        for known in list(self.contents):
            if known == path or known.startswith(path + "/"):
                del self.contents[known]
        self.directories = {
            known
            for known in self.directories
            if known != path and not known.startswith(path + "/")
        }

    def sync_directory(self, path):
        self.gate("sync_directory", path)
        assert path in self.directories

    def free_bytes(self):
        return 1 << 40


IDENTITY = Identity(cluster_id=ClusterId("c" * 22), node_id=NodeId(1), disk_id=DiskId(b"disk" * 4))
GROUP = group_id(TopicId(b"topic-0-topic-00"), 0)
OTHER = group_id(TopicId(b"topic-1-topic-11"), 3)
SMALL = StoreSettings(
    journal=JournalSettings(file_bytes=16 << 10, round_bytes=4 << 10, total_bytes_max=64 << 10),
    segment_bytes=1000,
    open_files_max=4,
)


def batch(index: int, size: int = 100, timestamp_ms: int = 0) -> bytes:
    """Return something with the header fields that storage looks at, no zero byte behind them."""
    head = bytearray(61)
    struct.pack_into(">q", head, 35, timestamp_ms)
    inside = Random(index).randbytes(max(0, size - 61)).replace(b"\0", b"\1")
    return bytes(head) + inside


def records(
    index: int,
    *,
    term: int = 1,
    offset: int | None = None,
    count: int = 1,
    size: int = 100,
    timestamp_ms: int = 0,
    event_ids: bytes = b"",
) -> Entry:
    return Entry(
        index=Index(index),
        term=Term(term),
        kind=EntryKind.RECORDS,
        offset=Offset(index - 1 if offset is None else offset),
        offset_count=count,
        log_time_ms=1000 + index,
        payload=batch(100 * index + term, size, timestamp_ms),
        event_ids=event_ids,
    )


def control(index: int, *, term: int = 1, offset: int = 0, payload: bytes = b"") -> Entry:
    return Entry(
        index=Index(index),
        term=Term(term),
        kind=EntryKind.COMMAND if payload else EntryKind.LEADER_START,
        offset=Offset(offset),
        offset_count=0,
        log_time_ms=1000 + index,
        payload=payload,
    )


class Driver:
    """A store with the steps of a node: rounds, flushes, restarts."""

    def __init__(self, files, settings=SMALL):
        self.files = files
        self.settings = settings
        self.store: Store = open_store(files, identity=IDENTITY, settings=settings)

    @property
    def journal(self):
        return self.store.journal

    def log(self, group: GroupId = GROUP) -> PartitionLog:
        return self.store.groups[group].log

    def add(self, group: GroupId = GROUP, **fields) -> Boundary:
        boundary = Boundary(group=group, voters=(NodeId(1), NodeId(2), NodeId(3)), **fields)
        work = self.store.plan_add_group(boundary)
        work.run()
        work.finish()
        self.round(
            boundaries=[boundary], hard_states=[(group, HardState(term=Term(1), vote=NodeId(2)))]
        )
        return boundary

    def round(self, **fields) -> None:
        write = self.journal.plan_round(RoundContent(**fields))
        write.run()
        write.finish()

    def append(
        self,
        *entries: Entry,
        group: GroupId = GROUP,
        previous_term: int | None = None,
        commit: int = 0,
    ) -> None:
        before = previous_term
        if before is None:
            before = 0 if entries[0].index == 1 else entries[0].term
        commits = [(group, Index(commit))] if commit else []
        self.round(entries=[(group, Term(before), entries)], commits=commits)

    def rollover(self, *live) -> None:
        write = self.journal.plan_rollover(live)
        write.run()
        write.finish()

    def flush(self, *entries: Entry, group: GroupId = GROUP) -> LogPosition:
        log = self.log(group)
        write = log.plan_append(entries)
        write.run()
        write.finish()
        sync = log.plan_sync()
        sync.run()
        sync.finish()
        return log.synced_position

    def restart(self) -> Store:
        self.store.close()
        self.store = open_store(self.files, identity=IDENTITY, settings=self.settings)
        return self.store


@pytest.fixture
def files():
    """A formatted directory."""
    made = MemoryFiles()
    format_store(made, IDENTITY)
    return made


@pytest.fixture
def driver(files):
    return Driver(files)


@pytest.fixture
def kit():
    """What tests use of this module; it cannot be imported."""
    return SimpleNamespace(
        Driver=Driver,
        GROUP=GROUP,
        IDENTITY=IDENTITY,
        MemoryFiles=MemoryFiles,
        OTHER=OTHER,
        SMALL=SMALL,
        batch=batch,
        control=control,
        records=records,
    )
