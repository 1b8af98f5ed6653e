"""A small data directory as a fuzz target: one of its files is damaged, then a node starts on it.

What the start lets pass is read: every entry by index, by offset and by time, and the checks of
`trimaran verify`. Then the node starts again on what the first start left behind.

Does not: judge what is found; that damage is never silent is the storage tests' business.
"""

import struct
from collections.abc import Callable, Mapping
from dataclasses import replace
from random import Random

from trimaran.errors import CorruptionError
from trimaran.ids import ClusterId, DiskId, GroupId, Index, NodeId, Offset, Term, TopicId, group_id
from trimaran.records.batch import stamp
from trimaran.records.building import build_batch
from trimaran.records.checksum import crc32c
from trimaran.records.control import Compaction
from trimaran.records.entry import Entry, EntryKind, HardState
from trimaran.records.iteration import Record
from trimaran.sim.disk import Disk
from trimaran.sim.files import SimFiles
from trimaran.sim.trace import EventLog
from trimaran.storage.boundary import Boundary
from trimaran.storage.damage import Damage, DamageKind
from trimaran.storage.formatting import format_store
from trimaran.storage.frames import CHECKSUM, FRAME_HEAD
from trimaran.storage.identity import Identity
from trimaran.storage.journal import JournalSettings, LiveGroup, RoundContent
from trimaran.storage.journal_format import (
    ENTRY_BODY,
    PLACE,
    RECORD_HEAD,
    ROUND_HEAD,
    ROUND_HEAD_BYTES,
    ROUND_MAGIC,
    SECTOR_BYTES,
    RecordType,
)
from trimaran.storage.log_reads import SegmentsMovedError
from trimaran.storage.partition_log import PartitionLog
from trimaran.storage.recovery import RecoveredGroup, Store, StoreSettings, open_store
from trimaran.storage.sidecar import ROW, ROW_BYTES, ROWS_HEAD, row_seed
from trimaran.storage.verify import verify_store

IDENTITY = Identity(cluster_id=ClusterId("c" * 22), node_id=NodeId(1), disk_id=DiskId(b"disk" * 4))
GROUPS = tuple(group_id(TopicId(b"topic-0-topic-00"), number) for number in (0, 3))
SETTINGS = StoreSettings(
    journal=JournalSettings(file_bytes=8 << 10, round_bytes=2 << 10, total_bytes_max=64 << 10),
    segment_bytes=700,
    open_files_max=4,
)
READ_BYTES = 1_000
KEYS_BYTES = 1 << 20
ENTRY_COUNT = 12
FLUSHED_COUNT = 8


def store_samples() -> dict[str, bytes]:
    """Return the files of a data directory: two groups, segments, states, two journal files.

    The first group's finished segments are compacted.
    """
    files = _empty_files()
    format_store(files, IDENTITY)
    store = open_store(files, identity=IDENTITY, settings=SETTINGS)
    for group in GROUPS:
        boundary = Boundary(group=group, voters=(NodeId(1), NodeId(2), NodeId(3)))
        adding = store.plan_add_group(boundary)
        adding.run()
        adding.finish()
        state = HardState(term=Term(2), vote=NodeId(2))
        _round(store, RoundContent(boundaries=[boundary], hard_states=[(group, state)]))
    for group in GROUPS:
        entries = [_entry(index, group) for index in range(1, ENTRY_COUNT + 1)]
        found = store.groups[group]
        for entry in entries:
            before = Term(1 if entry.index == 2 else 2 if entry.index > 2 else 0)
            content = RoundContent(entries=[(group, before, [entry])])
            content.commits = [(group, Index(entry.index - 1))]
            _round(store, content)
        flush = found.log.plan_flush(entries[:FLUSHED_COUNT], {"producers": b"state" * 9})
        flush.run()
        flush.finish()
        found.boundary = Boundary(
            group=group,
            position=found.log.synced_position,
            voters=found.boundary.voters,
            state_files=flush.state_files,
        )
        _round(store, RoundContent(boundaries=[found.boundary]))
        found.entries = entries[FLUSHED_COUNT:]
    _compact(store, store.groups[GROUPS[0]])
    _round(store, RoundContent(damaged=[(GROUPS[1], Damage(kind=DamageKind.GAP, text="a gap"))]))
    _round(store, RoundContent(repaired=[GROUPS[1]]))
    _roll_over(store)
    _round(
        store, RoundContent(entries=[(GROUPS[0], Term(2), [_entry(ENTRY_COUNT + 1, GROUPS[0])])])
    )
    store.close()
    return _contents(files)


def store_reader(samples: Mapping[str, bytes]) -> Callable[[str, bytes], None]:
    """Return what starts a node on `samples` with one file replaced, and reads everything."""

    def read(path: str, data: bytes) -> None:
        files = _empty_files()
        for directory in dict.fromkeys(name.rpartition("/")[0] for name in samples):
            if directory:
                files.make_directory(directory)
        for name, content in samples.items():
            files.open(name, create=True).pwrite([data if name == path else content], 0)
        verify_store(files)
        store = open_store(files, identity=IDENTITY, settings=SETTINGS)
        for found in store.groups.values():
            _read_log(found.log)
        store.close()
        open_store(files, identity=IDENTITY, settings=SETTINGS).close()

    return read


def repair_store_file(path: str, data: bytearray) -> None:
    """Make lengths and checksums of a file right."""
    if path.endswith(".journal"):
        _repair_journal(data)
    elif path.endswith(".rows"):
        _repair_rows(data)
    elif not path.startswith("groups/"):
        _repair_frame(data)


def _round(store: Store, content: RoundContent) -> None:
    write = store.journal.plan_round(content)
    write.run()
    write.finish()


def _roll_over(store: Store) -> None:
    live = [
        LiveGroup(
            group=found.group,
            hard_state=HardState(term=Term(2), vote=NodeId(2)),
            boundary=found.boundary,
            entries=found.entries[-1:] if found.group == GROUPS[0] else found.entries,
            commit=Index(ENTRY_COUNT - 1),
        )
        for found in store.groups.values()
    ]
    write = store.journal.plan_rollover(live)
    write.run()
    write.finish()


def _compact(store: Store, found: RecoveredGroup) -> None:
    """Write the finished segments again, two of them as one, as the flusher does."""
    finished = found.log.segments[:-1]
    wanted = Compaction(
        generation=1,
        end=finished[-1].last.index,
        starts=tuple(segment.first_index for segment in finished[::2]),
        tombstones=0,
        passes=(),
    )
    work = found.log.plan_compaction(wanted, keys_bytes_max=KEYS_BYTES, reserve_bytes=0)
    assert work is not None
    while not work.done:
        work.plan_step().run()
    swap = found.log.plan_swap(work)
    assert swap is not None
    swap.run()
    assert swap.state_file is not None
    files = (*found.boundary.state_files, swap.state_file)
    found.boundary = replace(found.boundary, state_files=files)
    _round(store, RoundContent(boundaries=[found.boundary]))
    found.log.swapped(swap).run()


def _entry(index: int, group: GroupId) -> Entry:
    chance = Random(index)
    payload = chance.randbytes(chance.randint(61, 300))
    if group == GROUPS[0]:
        payload = _keyed(index, payload)
    return Entry(
        index=Index(index),
        term=Term(1 if index == 1 else 2),
        kind=EntryKind.LEADER_START if index <= 2 else EntryKind.RECORDS,
        offset=Offset(max(0, index - 3)),
        offset_count=0 if index <= 2 else 1,
        log_time_ms=1_000 + index,
        payload=b"" if index <= 2 else payload,
        event_ids=b"" if index % 4 else bytes(range(16)),
    )


def _keyed(index: int, value: bytes) -> bytes:
    """Return a batch of one event, as the log holds it; every third one has the same key."""
    batch = build_batch([Record(value, b"key-%d" % (index % 3), (), 1_000 + index)])
    stamp(batch, base_offset=Offset(max(0, index - 3)), leader_epoch=Term(2))
    return bytes(batch)


class _NoLog(EventLog):
    """Of a million inputs nobody reads which file was opened when."""

    def add(self, who: str, what: str) -> None:
        """Keep nothing."""


def _empty_files() -> SimFiles:
    disk = Disk("disk", Random(1), _NoLog(lambda: 0.0))
    return SimFiles(disk, who="fuzz")


def _contents(files: SimFiles, directory: str = ".") -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for name in files.list(directory):
        path = name if directory == "." else f"{directory}/{name}"
        if files.list(path):
            found |= _contents(files, path)
        elif "." in name or name in ("identity", "range") or "/state" in path:
            file = files.open(path)
            found[path] = file.pread(file.size(), 0)
            file.close()
    return found


def _read_log(log: PartitionLog) -> None:
    """Read all that the log says it holds; damage may be found on the way."""
    works: list[Callable[[], object]] = []
    index = log.first_index
    while index <= log.last_index and log.segment_count:
        works.append(log.plan_read_index(index, READ_BYTES).run)
        index = Index(index + 3)
        if len(works) > ENTRY_COUNT:
            break
    if log.segment_count:
        works.append(log.plan_read_offset(log.start_offset, READ_BYTES).run)
        works.append(log.plan_find_time(1_003, lambda *_, **__: None).run)
        works.append(log.plan_find_time(None, lambda *_, **__: None).run)
        works += [log.plan_scrub(segment, 0, READ_BYTES).run for segment in log.segments]
        works += [log.plan_digest(segment).run for segment in log.segments]
    for run in works:
        try:
            run()
        except (CorruptionError, SegmentsMovedError):
            continue


# Checksums


def _repair_frame(data: bytearray) -> None:
    end = len(data) - CHECKSUM.size
    if end >= FRAME_HEAD.size:
        struct.pack_into(">I", data, 8, end - FRAME_HEAD.size)
        CHECKSUM.pack_into(data, end, crc32c(bytes(data[:end])))


def _repair_rows(data: bytearray) -> None:
    if len(data) >= ROW_BYTES:
        CHECKSUM.pack_into(data, ROWS_HEAD.size, crc32c(bytes(data[: ROWS_HEAD.size])))
    group = GroupId(bytes(data[12:32]))
    for start in range(ROW_BYTES, len(data) - ROW_BYTES + 1, ROW_BYTES):
        covered = bytes(data[start : start + ROW.size])
        CHECKSUM.pack_into(data, start + ROW.size, crc32c(covered, row_seed(group)))


def _repair_journal(data: bytearray) -> None:
    """Make every round right, from the inside out; the chain between rounds stays as it is."""
    for start in range(SECTOR_BYTES, len(data), SECTOR_BYTES):
        if data[start : start + 4] != ROUND_MAGIC or start + ROUND_HEAD_BYTES > len(data):
            continue
        head = list(ROUND_HEAD.unpack_from(data, start))
        area_at = start + ROUND_HEAD_BYTES
        _repair_records(data, area_at, area_at + head[7], hints=head[11], records=head[12])
        head[10] = crc32c(bytes(data[area_at : area_at + head[7]]))
        ROUND_HEAD.pack_into(data, start, *head)
        checksum = crc32c(bytes(data[start : start + ROUND_HEAD.size]))
        CHECKSUM.pack_into(data, start + ROUND_HEAD.size, checksum)


def _repair_records(data: bytearray, at: int, end: int, *, hints: int, records: int) -> None:
    generation = ROUND_HEAD.unpack_from(data, at - ROUND_HEAD_BYTES)[2]
    payload_at, at = end, at + 28 * hints
    for _ in range(records):
        if at + RECORD_HEAD.size > min(end, len(data)):
            return
        kind, _flags, length, _group = RECORD_HEAD.unpack_from(data, at)
        if length < RECORD_HEAD.size + CHECKSUM.size or at + length > len(data):
            return
        covered = PLACE.pack(generation, at) + bytes(data[at : at + length - CHECKSUM.size])
        if kind == RecordType.ENTRY and length >= RECORD_HEAD.size + ENTRY_BODY.size:
            sizes = ENTRY_BODY.unpack_from(data, at + RECORD_HEAD.size)[6:8]
            covered += bytes(data[payload_at : payload_at + sum(sizes)])
            payload_at += sum(sizes)
        CHECKSUM.pack_into(data, at + length - CHECKSUM.size, crc32c(covered))
        at += length
