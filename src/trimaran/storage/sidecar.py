"""The rows beside a segment: one for each entry, so that an index leads to bytes and a check.

A `.rows` file is a header and rows of 80 bytes each; row n belongs to the segment's n-th entry. In
a compacted segment entries are missing: rows ascend by index, the last one is always there, and a
batch of which nothing is left has no bytes. All numbers are big-endian.

Header, which also tells what comes before the segment:

    position  bytes  field
    0         8      magic "TRIMROWS"
    8         4      format version, 1
    12        20     group
    32        8      index of the entry before the first
    40        4      its term
    44        8      its log time, ms
    52        8      offset of the segment's first event
    60        4      generation: 0 as it was appended, else the compaction that wrote it again
    64        12     zeros
    76        4      CRC-32C of the bytes before

Row:

    0         8      index
    8         8      offset of the first event
    16        8      position of the payload in the segment
    24        8      log time, ms
    32        8      highest event timestamp of the segment up to here, ms; -1 if there is none
    40        8      position of the event ids in the `.ids` file
    48        4      term
    52        4      offset count
    56        4      bytes of the payload
    60        4      CRC-32C of the payload, seeded with group and offset
    64        4      bytes of the event ids
    68        4      CRC-32C of the event ids
    72        1      kind
    73        3      zeros
    76        4      CRC-32C of the bytes before, seeded with the group

The `.ids` file has the event ids of the entries one after the other; while no entry of the segment
has any there is none.

Does not: read or write files (segment.py).
"""

import struct
from dataclasses import dataclass

from trimaran.ids import GroupId, Index, Offset, Term
from trimaran.records.checksum import crc32c
from trimaran.records.entry import Entry, EntryKind, LogPosition, Payload

ROWS_HEAD = struct.Struct(">8sI20sQIqqI12x")
ROWS_MAGIC = b"TRIMROWS"
ROWS_VERSION = 1
ROW = struct.Struct(">QqQqqQIIIIIIB3x")
CHECKSUM = struct.Struct(">I")
ROW_BYTES = 80
SEED = struct.Struct(">20sq")
MAX_TIMESTAMP = struct.Struct(">q")
MAX_TIMESTAMP_POSITION = 35
"""Of maxTimestamp in the header of a Kafka record batch."""
BATCH_HEADER_BYTES = 61
NO_TIMESTAMP = -1
KINDS = frozenset(kind.value for kind in EntryKind)


@dataclass(slots=True)
class Row:
    """One entry without its payload. Built per entry read or written: slotted, not frozen."""

    index: Index
    offset: Offset
    position: int
    log_time_ms: int
    max_timestamp_ms: int
    ids_position: int
    term: Term
    offset_count: int
    size: int
    checksum: int
    ids_bytes: int
    ids_checksum: int
    kind: EntryKind

    @property
    def next_offset(self) -> Offset:
        """The offset after the entry's last event."""
        return Offset(self.offset + self.offset_count)

    @property
    def end(self) -> int:
        """Where the next entry's payload starts in the segment."""
        return self.position + self.size

    @property
    def ids_end(self) -> int:
        """Where the next entry's event ids start in the `.ids` file."""
        return self.ids_position + self.ids_bytes

    @property
    def log_position(self) -> LogPosition:
        """What remains known of the entry when it is gone."""
        return LogPosition(
            index=self.index,
            term=self.term,
            next_offset=self.next_offset,
            log_time_ms=self.log_time_ms,
        )


def payload_checksum(group: GroupId, offset: Offset, payload: Payload) -> int:
    """Return the checksum of an entry's bytes at their place in the group's log."""
    checksum: int = crc32c(payload, crc32c(SEED.pack(group, offset)))
    return checksum


def row_seed(group: GroupId) -> int:
    """Return what a group's row checksums start from."""
    seed: int = crc32c(group)
    return seed


def row_position(number: int) -> int:
    """Return where row `number` of a segment is in its file."""
    assert number >= 0
    return ROW_BYTES * (1 + number)


def batch_max_timestamp(entry: Entry) -> int:
    """Return the highest timestamp that the entry's batch header names, NO_TIMESTAMP if none."""
    if entry.kind is not EntryKind.RECORDS or len(entry.payload) < BATCH_HEADER_BYTES:
        return NO_TIMESTAMP
    found: int = MAX_TIMESTAMP.unpack_from(entry.payload, MAX_TIMESTAMP_POSITION)[0]
    return found


def make_row(
    group: GroupId, entry: Entry, *, position: int, ids_position: int, max_timestamp_ms: int
) -> Row:
    """Return the row for `entry`; `max_timestamp_ms` is the segment's before it."""
    return Row(
        index=entry.index,
        offset=entry.offset,
        position=position,
        log_time_ms=entry.log_time_ms,
        max_timestamp_ms=max(max_timestamp_ms, batch_max_timestamp(entry)),
        ids_position=ids_position,
        term=entry.term,
        offset_count=entry.offset_count,
        size=len(entry.payload),
        checksum=payload_checksum(group, entry.offset, entry.payload),
        ids_bytes=len(entry.event_ids),
        ids_checksum=crc32c(entry.event_ids),
        kind=entry.kind,
    )


def encode_row(row: Row, seed: int) -> bytes:
    """Return the row's 80 bytes; `seed` is the group's `row_seed`."""
    covered = ROW.pack(
        row.index,
        row.offset,
        row.position,
        row.log_time_ms,
        row.max_timestamp_ms,
        row.ids_position,
        row.term,
        row.offset_count,
        row.size,
        row.checksum,
        row.ids_bytes,
        row.ids_checksum,
        row.kind,
    )
    return covered + CHECKSUM.pack(crc32c(covered, seed))


def decode_row(data: bytes | memoryview, seed: int, index: Index | None) -> Row | None:
    """Return the row of entry `index` in the first 80 bytes of `data`, None if it is not that.

    Without `index` the row of any entry will do.
    """
    if len(data) < ROW_BYTES:
        return None
    if CHECKSUM.unpack_from(data, ROW.size)[0] != crc32c(data[: ROW.size], seed):
        return None
    fields = ROW.unpack_from(data)
    if fields[0] != (fields[0] if index is None else index) or fields[12] not in KINDS:
        return None
    return Row(*(*fields[:12], EntryKind(fields[12])))


def encode_rows_head(group: GroupId, base: LogPosition, generation: int = 0) -> bytes:
    """Return the header of the rows of a segment whose first entry follows `base`."""
    covered = ROWS_HEAD.pack(
        ROWS_MAGIC,
        ROWS_VERSION,
        group,
        base.index,
        base.term,
        base.log_time_ms,
        base.next_offset,
        generation,
    )
    return covered + CHECKSUM.pack(crc32c(covered))


def decode_rows_head(data: bytes, group: GroupId, generation: int = 0) -> LogPosition | None:
    """Return what comes before the segment, None if `data` is not this segment's header."""
    if len(data) < ROW_BYTES or CHECKSUM.unpack_from(data, ROWS_HEAD.size)[0] != crc32c(
        data[: ROWS_HEAD.size]
    ):
        return None
    magic, version, found_group, index, term, log_time, offset, written_by = ROWS_HEAD.unpack_from(
        data
    )
    if (magic, version, found_group, written_by) != (ROWS_MAGIC, ROWS_VERSION, group, generation):
        return None
    return LogPosition(
        index=Index(index), term=Term(term), next_offset=Offset(offset), log_time_ms=log_time
    )


assert ROWS_HEAD.size + CHECKSUM.size == ROW_BYTES
assert ROW.size + CHECKSUM.size == ROW_BYTES
