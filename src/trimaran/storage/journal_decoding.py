"""Reading rounds back: every byte is checked before anything is believed.

The layout is in journal_format.py. Nothing here asserts on what it reads; bytes that do not pass
are `None` or a ValueError, and journal_scan.py decides what that means.

Does not: do I/O.
"""

import struct
from dataclasses import dataclass

from trimaran.ids import GroupId, Index, NodeId, Offset, Term
from trimaran.records.checksum import crc32c
from trimaran.records.entry import Entry, EntryKind, HardState
from trimaran.storage.boundary import Boundary, decode_boundary
from trimaran.storage.damage import Damage, DamageKind
from trimaran.storage.journal_format import (
    CHECKSUM,
    COPY,
    ENTRY_BODY,
    ENTRY_HEAD_BYTES,
    HARD_STATE_BODY,
    HINT,
    PLACE,
    PREVIOUS_TERM_UNKNOWN,
    RECORD_HEAD,
    ROUND_HEAD,
    ROUND_HEAD_BYTES,
    ROUND_MAGIC,
    SEQUENCES_END,
    RecordType,
    align,
)


@dataclass(slots=True)
class Record:
    """One decoded record; which of the optional fields is set follows from `type`."""

    type: RecordType
    group: GroupId
    copy: bool
    position: int
    hard_state: HardState | None = None
    entry: Entry | None = None
    previous_term: Term | None = None
    boundary: Boundary | None = None
    damage: Damage | None = None
    intact: bool = True
    """False: the entry's payload fails its check; index and term are right, payload is empty."""
    start: int = 0
    end: int = 0
    """Where an entry's payload and ids are in the file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundHead:
    """A round's head, checked."""

    flags: int
    generation: int
    position: int
    sequence: int
    file_bytes: int
    synced: int
    area_bytes: int
    payload_bytes: int
    previous_checksum: int
    area_checksum: int
    hint_count: int
    record_count: int
    checksum: int

    @property
    def payload_position(self) -> int:
        """Where the first payload is in the file."""
        return self.position + ROUND_HEAD_BYTES + self.area_bytes

    @property
    def end(self) -> int:
        """Where the next round starts."""
        return align(self.payload_position + self.payload_bytes)


def decode_round_head(data: bytes, generation: int, position: int) -> RoundHead | None:
    """Return the round head at the start of `data`, None if it is none for this place."""
    if len(data) < ROUND_HEAD_BYTES or data[:4] != ROUND_MAGIC:
        return None
    checksum: int = CHECKSUM.unpack_from(data, ROUND_HEAD.size)[0]
    if crc32c(data[: ROUND_HEAD.size]) != checksum:
        return None
    fields = ROUND_HEAD.unpack_from(data)
    if fields[2] != generation or fields[3] != position or fields[4] >= SEQUENCES_END:
        return None
    return RoundHead(
        flags=fields[1],
        generation=fields[2],
        position=fields[3],
        sequence=fields[4],
        file_bytes=fields[5],
        synced=fields[6],
        area_bytes=fields[7],
        payload_bytes=fields[8],
        previous_checksum=fields[9],
        area_checksum=fields[10],
        hint_count=fields[11],
        record_count=fields[12],
        checksum=checksum,
    )


def decode_round(
    head: RoundHead, body: memoryview
) -> tuple[list[tuple[GroupId, Index]], list[Record]]:
    """Return hints and records of the round whose area and payloads are `body`.

    An entry whose payload fails its check is returned with `intact` False.

    Raises:
        ValueError: the area fails its check; nothing of the round can be told.
    """
    area = body[: head.area_bytes]
    if len(area) < head.area_bytes or crc32c(area) != head.area_checksum:
        raise ValueError("the round's record heads fail their check")
    hints_end = HINT.size * head.hint_count
    if hints_end > len(area):
        raise ValueError(f"{head.hint_count} commit hints do not fit into {len(area)} bytes")
    hints = [
        (GroupId(group), Index(commit)) for group, commit in HINT.iter_unpack(area[:hints_end])
    ]
    at = hints_end
    payload_at = head.area_bytes
    records = []
    for _ in range(head.record_count):
        record, at = _decode_record(head, area, at)
        if record.entry is not None:
            _read_payload(head, record, body, payload_at)
            payload_at += record.end - record.start
        records.append(record)
    if at != len(area) or payload_at != head.area_bytes + head.payload_bytes:
        raise ValueError("the round's lengths do not add up")
    return hints, records


def _decode_record(head: RoundHead, area: memoryview, at: int) -> tuple[Record, int]:
    """Return the record whose head is at `at`, and where the next head is."""
    try:
        kind, flags, length, group = RECORD_HEAD.unpack_from(area, at)
        end = at + length
        if length < RECORD_HEAD.size + CHECKSUM.size or end > len(area):
            raise ValueError(f"a record head of {length} bytes does not fit into its round")
        body = bytes(area[at + RECORD_HEAD.size : end - CHECKSUM.size])
        record = Record(
            type=RecordType(kind),
            group=GroupId(group),
            copy=bool(flags & COPY),
            position=head.position + ROUND_HEAD_BYTES + at,
        )
        if record.type is RecordType.ENTRY:
            _decode_entry(record, flags, body)
        else:
            placed = PLACE.pack(head.generation, record.position) + area[at : end - CHECKSUM.size]
            if CHECKSUM.unpack_from(area, end - CHECKSUM.size)[0] != crc32c(placed):
                raise ValueError("a record fails its check")
            _decode_plain(record, body)
    except struct.error as error:
        raise ValueError(f"a record head is too short: {error}") from error
    return record, end


def _decode_plain(record: Record, body: bytes) -> None:
    match record.type:
        case RecordType.HARD_STATE:
            term, vote = HARD_STATE_BODY.unpack(body)
            record.hard_state = HardState(term=Term(term), vote=NodeId(vote) if vote else None)
        case RecordType.BOUNDARY:
            record.boundary = decode_boundary(record.group, body)
        case RecordType.DAMAGE:
            record.damage = Damage(
                kind=DamageKind(body[0]), text=body[1:].decode("utf-8", "replace")
            )
        case _:
            assert record.type is not RecordType.ENTRY, "all others have no body"


def _decode_entry(record: Record, flags: int, body: bytes) -> None:
    """Fill in an entry, its payload still missing; `start` and `end` hold lengths for now."""
    fields = ENTRY_BODY.unpack(body)
    record.previous_term = None if flags & PREVIOUS_TERM_UNKNOWN else Term(fields[2])
    record.entry = Entry(
        index=Index(fields[0]),
        term=Term(fields[1]),
        kind=EntryKind(fields[8]),
        offset=Offset(fields[3]),
        offset_count=fields[5],
        log_time_ms=fields[4],
        payload=b"",
    )
    record.start, record.end = fields[6], fields[7]


def _read_payload(head: RoundHead, record: Record, body: memoryview, at: int) -> None:
    """Take the entry's payload and ids out of `body` and check the record's checksum."""
    assert record.entry is not None
    middle = at + record.start
    end = middle + record.end
    record_at = record.position - head.position - ROUND_HEAD_BYTES
    covered = body[record_at : record_at + ENTRY_HEAD_BYTES - CHECKSUM.size]
    stored = CHECKSUM.unpack_from(body, record_at + ENTRY_HEAD_BYTES - CHECKSUM.size)[0]
    checksum = crc32c(PLACE.pack(head.generation, record.position) + covered)
    record.intact = end <= len(body) and crc32c(body[at:end], checksum) == stored
    base = head.position + ROUND_HEAD_BYTES
    record.start, record.end = base + at, base + end
    if record.intact:
        record.entry.payload = bytes(body[at:middle])
        record.entry.event_ids = bytes(body[middle:end])
