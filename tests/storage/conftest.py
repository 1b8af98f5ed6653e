"""A disk in memory that can be cut, flipped and filled, and a node's storage driven by hand."""

import struct
from collections.abc import Sequence
from random import Random
from types import SimpleNamespace

import pytest

from trimaran.errors import CorruptionError, DiskFullError, StorageError
from trimaran.ids import ClusterId, DiskId, GroupId, Index, NodeId, Offset, Term, TopicId, group_id
from trimaran.records.batch import Codec, stamp
from trimaran.records.building import build_batch
from trimaran.records.control import Compaction
from trimaran.records.entry import Entry, EntryKind, HardState, LogPosition
from trimaran.records.iteration import Record, iterate_records
from trimaran.storage.boundary import Boundary
from trimaran.storage.compacted_list import compacted_file
from trimaran.storage.files import PAGE_BYTES, Buffer
from trimaran.storage.formatting import format_store
from trimaran.storage.identity import Identity
from trimaran.storage.journal import JournalSettings, RoundContent
from trimaran.storage.partition_log import PartitionLog
from trimaran.storage.recovery import Store, StoreSettings, open_store


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
        lost = self.files.unreadable.get(self.path, set())
        for page in sorted(lost):
            low, high, end = page * PAGE_BYTES, (page + 1) * PAGE_BYTES, position + len(data)
            if low < end and position < high:
                if low < position or end < high:
                    raise StorageError(f"{self.path}: write failed")
                lost.remove(page)
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
        for page in sorted(self.files.unreadable.get(self.path, ())) if length else ():
            if page * PAGE_BYTES < position + length and position < (page + 1) * PAGE_BYTES:
                raise CorruptionError(self.path, max(position, page * PAGE_BYTES), "lost")
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

    def uncache(self, start: int, size: int) -> None:
        self.files.uncached.append((self.path, start, start + size))

    def allocate(self, size: int) -> None:
        self.files.gate("allocate", self.path)
        self.content.extend(bytes(max(0, size - len(self.content))))

    def close(self) -> None:
        self.closed = True


class MemoryFiles:
    """Files by path. `failing` maps an operation to the error it raises; `log` names every call.

    `unreadable` holds numbers of pages by path; a page that is written as a whole is sound again.
    """

    def __init__(self):
        self.contents = {}
        self.unreadable = {}
        self.directories = {"."}
        self.failing = {}
        self.log = []
        self.uncached = []
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

    def make_directory(self, path, *, parents=True):
        self.gate("make_directory", path)
        if not parents and path.rpartition("/")[0] not in self.directories:
            raise StorageError(f"{path}: create failed")
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

    def uncache(self, path, start, end):
        self.uncached.append((path, start, end))

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


def carry_out(write):
    """Write a round as the broker does."""
    plain = write.plain()
    if plain is None:
        write.run()
        return
    try:
        plain.file.pwrite(plain.buffers, plain.position)
    except StorageError:
        write.plain_unwritten()
        write.run()
        return
    plain.file.sync()
    write.plain_synced()
    if plain.uncache_bytes:
        plain.file.uncache(plain.uncache_from, plain.uncache_bytes)


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
        carry_out(write)
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


KEYS_BYTES = 1 << 20


def keyed(index, offset, pairs, *, term=1, codec=Codec.NONE):
    """Return a batch entry; `pairs` are (key, value)."""
    records = [
        Record(value, key, (), 10_000 + 10 * index + number)
        for number, (key, value) in enumerate(pairs)
    ]
    batch = build_batch(records, codec=codec, producer_id=7, producer_epoch=0, base_sequence=index)
    stamp(batch, base_offset=offset, leader_epoch=term)
    return Entry(
        index=Index(index),
        term=Term(term),
        kind=EntryKind.RECORDS,
        offset=Offset(offset),
        offset_count=len(pairs),
        log_time_ms=1000 + index,
        payload=bytes(batch),
    )


def written(seed, count=60, keys=9, codec=Codec.NONE):
    """Return entries of small batches over a few keys, with tombstones and term changes."""
    chance = Random(seed)
    entries, offset = [], 0
    for index in range(1, count + 1):
        term = 1 + index // 20
        if index == 1 or index % 20 == 0:
            entries.append(
                Entry(
                    Index(index), Term(term), EntryKind.LEADER_START, Offset(offset), 0, 1000, b""
                )
            )
            continue
        pairs = []
        for _ in range(chance.randrange(1, 5)):
            value = None if chance.random() < 0.2 else chance.randbytes(40)
            pairs.append((b"key-%d" % chance.randrange(keys), value))
        entries.append(keyed(index, offset, pairs, term=term, codec=codec))
        offset += len(pairs)
    times = 0
    for entry in entries:
        times = entry.log_time_ms = max(times, entry.log_time_ms)
    return entries


def events_of(entries):
    return [
        (record.offset, record.timestamp_ms, record.key, record.value, record.headers)
        for entry in entries
        if entry.kind is EntryKind.RECORDS and len(entry.payload) > 0
        for record in iterate_records(entry.payload)
    ]


def expected(entries, end, tombstones):
    """Return the events that stay: the obviously right way."""
    within = events_of([entry for entry in entries if entry.index <= end])
    letting_go = {
        record.offset
        for entry in entries
        if entry.kind is EntryKind.RECORDS and entry.index <= tombstones
        for record in iterate_records(entry.payload)
        if record.value is None
    }
    last_of = {key: offset for offset, _, key, _, _ in within}
    final = within[-1][0]
    kept = [
        event
        for event in within
        if event[0] == final
        or (event[2] is not None and last_of[event[2]] == event[0] and event[0] not in letting_go)
    ]
    return kept + events_of([entry for entry in entries if entry.index > end])


def read_all(log):
    """Return all stored events by reading on from each offset, as consumers do."""
    found, offset = [], log.start_offset
    while entries := log.plan_read_offset(offset, 300).run():
        found += entries
        offset = Offset(entries[-1].next_offset)
        if offset >= log.next_offset:
            break
    return [event for event in events_of(found) if event[0] >= log.start_offset]


def wanted(log, *, generation=1, tombstones=0, merged=1, end=None):
    """Return a compaction of all finished segments, `merged` written as one."""
    finished = [part for part in log.segments[:-1] if end is None or part.last.index <= end]
    return Compaction(
        generation=generation,
        end=finished[-1].last.index,
        starts=tuple(part.first_index for part in finished[::merged]),
        tombstones=tombstones,
        passes=(),
    )


def write(log, compaction, keys_bytes=KEYS_BYTES):
    work = log.plan_compaction(compaction, keys_bytes_max=keys_bytes, reserve_bytes=0)
    run_through(work)
    return work


def run_through(work):
    while not work.done:
        work.plan_step().run()


def compact(driver, boundary, compaction, keys_bytes=KEYS_BYTES):
    """Do all of it as the flusher does; return the new boundary."""
    log = driver.log()
    swap = log.plan_swap(write(log, compaction, keys_bytes))
    swap.run()
    old = compacted_file(boundary.state_files)
    files = tuple(file for file in boundary.state_files if file != old)
    after = Boundary(
        group=boundary.group,
        position=boundary.position,
        voters=boundary.voters,
        log_start_index=boundary.log_start_index,
        log_start_offset=boundary.log_start_offset,
        state_files=(*files, swap.state_file),
    )
    driver.round(boundaries=[after])
    log.swapped(swap).run()
    log.plan_drop_states([name for name, _, _ in after.state_files]).run()
    return after


def filled(driver, entries):
    """Flush `entries` and bound them."""
    first = driver.add()
    position = driver.flush(*entries)
    boundary = Boundary(group=first.group, position=position, voters=first.voters)
    driver.round(boundaries=[boundary])
    return boundary


@pytest.fixture
def ledger():
    """Keyed batches, and compaction as the flusher does it."""
    return SimpleNamespace(
        KEYS_BYTES=KEYS_BYTES,
        compact=compact,
        events_of=events_of,
        expected=expected,
        filled=filled,
        keyed=keyed,
        read_all=read_all,
        run_through=run_through,
        wanted=wanted,
        write=write,
        written=written,
    )
