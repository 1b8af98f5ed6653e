"""The journal's bytes: files, rounds, records. All numbers are big-endian.

A file is a header sector, then rounds. Each round starts at a multiple of 512 bytes, so that no
write ever touches a sector that holds synced data; the rest of a file reads as zeros.

File header, at byte 0:

    position  bytes  field
    0         8      magic "TRIMJRNL"
    8         4      format version, 1
    12        4      node id
    16        8      generation: the file's number, never used twice
    24        8      size of the file when it was allocated
    32        16     disk id
    48        1      length of the cluster id
    49        64     cluster id, padded with zeros
    113       4      CRC-32C of the bytes before

Round: head, commit hints, record heads (hints and heads are the *area*), payloads, zeros to 512.

    0         4      magic "TRND"
    4         4      flags: 1 the file's first round, 2 some payload sector is all zeros by itself
    8         8      generation of the file
    16        8      position of the round in the file
    24        8      sequence: 1 more than the round before, over all files; below 2^63
    32        8      size of the file: what follows the last round is known to be this long
    40        8      synced: every byte below it was synced before this was written; in the first
                     round of a file (0 in old ones): before the file got its name
    48        4      bytes of the area
    52        4      bytes of the payloads
    56        4      checksum (the field at 72) of the round before
    60        4      CRC-32C of the area
    64        4      number of hints
    68        4      number of records
    72        4      CRC-32C of the bytes before; as it covers the area's, it stands for the round

Hint: 20 bytes group, 8 bytes commit index. Record head:

    0         1      type
    1         1      flags: 1 a copy made at rollover, 2 the predecessor's term is not known
    2         2      bytes of the head, this checksum included
    4         20     group
    24        n      body by type, below
    24 + n    4      CRC-32C of generation and file position of this head (8 bytes each), of
                     the head up to here, then of its payload and event ids

    HARD_STATE 1     4 term, 4 vote (0: none)
    ENTRY 2          8 index, 4 term, 4 predecessor's term, 8 offset, 8 log time ms, 4 offset count,
                     4 bytes of payload, 4 bytes of event ids, 1 kind, 3 zeros
    BOUNDARY 3       see boundary.py
    REMOVED 4        nothing: the group was deleted
    DAMAGE 5         1 kind, then the reason in UTF-8
    REPAIRED 6       nothing: the group's damage is over
    STARTED_OVER 7   nothing: boundary and entries before it are void, a boundary follows

Payloads (each followed by its event ids) stand in the order of their ENTRY heads. A head is never
all zeros within a sector, so a head sector that reads as zeros was not written.

Does not: do I/O, or read its own bytes back (journal_decoding.py).
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import IntEnum

from trimaran.ids import GROUP_ID_BYTES, GroupId, Index, Term
from trimaran.records.checksum import crc32c
from trimaran.records.entry import Entry, HardState
from trimaran.storage.boundary import Boundary, boundary_bytes, encode_boundary
from trimaran.storage.damage import Damage, stored_text
from trimaran.storage.files import Buffer
from trimaran.storage.identity import Identity

SECTOR_BYTES = 512
FILE_HEAD = struct.Struct(">8sIIQQ16sB64s")
FILE_MAGIC = b"TRIMJRNL"
FILE_VERSION = 1
ROUND_HEAD = struct.Struct(">4sIQQQQQIIIIII")
SEQUENCES_END = 1 << 63
"""No journal gets there; from the highest one there would be no next one."""
ROUND_MAGIC = b"TRND"
ROUND_HEAD_BYTES = ROUND_HEAD.size + 4
FIRST_ROUND = 1
ZERO_SECTORS = 2
HINT = struct.Struct(">20sQ")
RECORD_HEAD = struct.Struct(">BBH20s")
PLACE = struct.Struct(">QQ")
HARD_STATE_BODY = struct.Struct(">II")
ENTRY_BODY = struct.Struct(">QIIqqIIIB3x")
CHECKSUM = struct.Struct(">I")
ENTRY_PLACED = struct.Struct(">QQBBH20sQIIqqIIIB3x")
"""PLACE, RECORD_HEAD and ENTRY_BODY in one: entries are written one by one, thousands a second."""
ENTRY_HEAD_BYTES = RECORD_HEAD.size + ENTRY_BODY.size + CHECKSUM.size
COPY = 1
PREVIOUS_TERM_UNKNOWN = 2
ROUND_BYTES_MAX = 1 << 30
"""A longer area or payload is a damaged length, not something we wrote."""
JOINED_BYTES_MAX = 2048
"""Payloads shorter than this are copied together; longer ones are written from where they are."""
ZERO_SECTOR = bytes(SECTOR_BYTES)


class RecordType(IntEnum):
    """What a record head is followed by."""

    HARD_STATE = 1
    ENTRY = 2
    BOUNDARY = 3
    REMOVED = 4
    DAMAGE = 5
    REPAIRED = 6
    STARTED_OVER = 7


@dataclass(slots=True)
class RoundContent:
    """What one round holds. The journal takes it over: nobody changes it after `plan_round`."""

    hard_states: list[tuple[GroupId, HardState]] = field(default_factory=list)
    entries: list[tuple[GroupId, Term | None, Sequence[Entry]]] = field(default_factory=list)
    """Group, term of the entry before the first (None: not known, copies only), entries."""
    boundaries: list[Boundary] = field(default_factory=list)
    commits: list[tuple[GroupId, Index]] = field(default_factory=list)
    """Commit indexes known, as hints for the next start."""
    removed: list[GroupId] = field(default_factory=list)
    damaged: list[tuple[GroupId, Damage]] = field(default_factory=list)
    repaired: list[GroupId] = field(default_factory=list)
    """Groups whose damage is over."""
    started_over: list[GroupId] = field(default_factory=list)
    """Groups whose boundary in this round is of another log than their entries so far."""


def align(position: int) -> int:
    """Return the first sector boundary at or after `position`."""
    return -(-position // SECTOR_BYTES) * SECTOR_BYTES


def content_bytes(content: RoundContent) -> int:
    """Return the bytes that a round with `content` takes in a file, padding included."""
    plain = RECORD_HEAD.size + CHECKSUM.size
    size = ROUND_HEAD_BYTES + HINT.size * len(content.commits)
    size += len(content.hard_states) * (plain + HARD_STATE_BODY.size)
    size += (len(content.removed) + len(content.repaired) + len(content.started_over)) * plain
    size += sum(plain + boundary_bytes(boundary) for boundary in content.boundaries)
    size += sum(plain + 1 + len(stored_text(damage)) for _, damage in content.damaged)
    for _, _, entries in content.entries:
        size += ENTRY_HEAD_BYTES * len(entries)
        size += sum(len(entry.payload) + len(entry.event_ids) for entry in entries)
    return align(size)


def record_count(content: RoundContent) -> int:
    """Return how many records a round with `content` has: what encoding it costs goes by that."""
    count = len(content.hard_states) + len(content.boundaries) + len(content.removed)
    count += len(content.damaged) + len(content.repaired) + len(content.started_over)
    return count + sum(len(entries) for _, _, entries in content.entries)


def encode_file_head(identity: Identity, generation: int, file_bytes: int) -> bytes:
    """Return the first sector of a journal file."""
    cluster = identity.cluster_id.encode("ascii")
    covered = FILE_HEAD.pack(
        FILE_MAGIC,
        FILE_VERSION,
        identity.node_id,
        generation,
        file_bytes,
        identity.disk_id,
        len(cluster),
        cluster,
    )
    return (covered + CHECKSUM.pack(crc32c(covered))).ljust(SECTOR_BYTES, b"\0")


def file_head_problem(sector: bytes, identity: Identity, generation: int) -> str | None:
    """Return what is wrong with a file's first sector, None if nothing is."""
    end = FILE_HEAD.size
    if len(sector) < SECTOR_BYTES or CHECKSUM.unpack_from(sector, end)[0] != crc32c(sector[:end]):
        return "the file header fails its check"
    file_bytes = FILE_HEAD.unpack_from(sector)[4]
    if sector != encode_file_head(identity, generation, file_bytes):
        return "the file header is another cluster's, node's, disk's, file's or version's"
    return None


def file_head_bytes(sector: bytes) -> int:
    """Return the size of the file that a checked first sector speaks of."""
    size: int = FILE_HEAD.unpack_from(sector)[4]
    return size


@dataclass(slots=True)
class RoundFrame:
    """Where a round is written and what it follows."""

    generation: int
    position: int
    sequence: int
    file_bytes: int
    previous_checksum: int
    first: bool = False
    synced_end: int = 0
    """Where the rounds end that are synced together with the file's first."""
    copies: bool = False


def encode_round(frame: RoundFrame, content: RoundContent) -> tuple[list[Buffer], int]:
    """Return the buffers of a round, in order, and the round's checksum."""
    hints = b"".join([HINT.pack(group, commit) for group, commit in content.commits])
    heads, payloads = _encode_records(frame, content, len(hints))
    area = b"".join((hints, *heads))
    payload_bytes = sum(len(buffer) for buffer in payloads)
    assert len(area) < ROUND_BYTES_MAX
    assert payload_bytes < ROUND_BYTES_MAX
    payloads = _joined(payloads)
    before = ROUND_HEAD_BYTES + len(area)
    flags = FIRST_ROUND if frame.first else 0
    flags |= ZERO_SECTORS if _has_zero_sector(payloads, before % SECTOR_BYTES) else 0
    covered = ROUND_HEAD.pack(
        ROUND_MAGIC,
        flags,
        frame.generation,
        frame.position,
        frame.sequence,
        frame.file_bytes,
        frame.synced_end if frame.first else frame.position,
        len(area),
        payload_bytes,
        frame.previous_checksum,
        crc32c(area),
        len(content.commits),
        len(heads),
    )
    checksum = crc32c(covered)
    size = before + payload_bytes
    buffers: list[Buffer] = [b"".join((covered, CHECKSUM.pack(checksum), area)), *payloads]
    if size % SECTOR_BYTES:
        buffers.append(bytes(align(size) - size))
    return buffers, checksum


def _encode_records(
    frame: RoundFrame, content: RoundContent, position: int
) -> tuple[list[bytes], list[Buffer]]:
    """Return record heads and payloads; `position` counts the hints' bytes before them."""
    position += frame.position + ROUND_HEAD_BYTES
    heads: list[bytes] = []
    copy = COPY if frame.copies else 0
    for kind, group, body in _plain_records(content):
        length = RECORD_HEAD.size + len(body) + CHECKSUM.size
        head = RECORD_HEAD.pack(kind, copy, length, group) + body
        checksum = crc32c(PLACE.pack(frame.generation, position) + head)
        heads.append(head + CHECKSUM.pack(checksum))
        position += length
    payloads: list[Buffer] = []
    for group, term_before, entries in content.entries:
        previous_term = term_before
        for entry in entries:
            head = _place_entry(frame.generation, position, copy, group, previous_term, entry)
            checksum = crc32c(entry.payload, crc32c(head))
            payloads.append(entry.payload)
            if entry.event_ids:
                checksum = crc32c(entry.event_ids, checksum)
                payloads.append(entry.event_ids)
            heads.append(head[PLACE.size :] + CHECKSUM.pack(checksum))
            position += ENTRY_HEAD_BYTES
            previous_term = entry.term
    return heads, payloads


def _place_entry(
    generation: int,
    position: int,
    copy: int,
    group: GroupId,
    previous_term: Term | None,
    entry: Entry,
) -> bytes:
    """Return place, head and body of an ENTRY record, without its checksum."""
    return ENTRY_PLACED.pack(
        generation,
        position,
        RecordType.ENTRY,
        copy if previous_term is not None else copy | PREVIOUS_TERM_UNKNOWN,
        ENTRY_HEAD_BYTES,
        group,
        entry.index,
        entry.term,
        previous_term or 0,
        entry.offset,
        entry.log_time_ms,
        entry.offset_count,
        len(entry.payload),
        len(entry.event_ids),
        entry.kind,
    )


def _plain_records(content: RoundContent) -> list[tuple[RecordType, GroupId, bytes]]:
    """Return all records but the entries, in the order in which replay takes them.

    What ends a group's life or damages it stands with the others: a round never both removes a
    group and writes to it.
    """
    records = [(RecordType.REPAIRED, group, b"") for group in content.repaired]
    records += [
        (RecordType.HARD_STATE, group, HARD_STATE_BODY.pack(state.term, state.vote or 0))
        for group, state in content.hard_states
    ]
    records += [(RecordType.STARTED_OVER, group, b"") for group in content.started_over]
    records += [
        (RecordType.BOUNDARY, boundary.group, encode_boundary(boundary))
        for boundary in content.boundaries
    ]
    records += [
        (RecordType.DAMAGE, group, bytes((damage.kind,)) + stored_text(damage))
        for group, damage in content.damaged
    ]
    records += [(RecordType.REMOVED, group, b"") for group in content.removed]
    return records


def _joined(payloads: list[Buffer]) -> list[Buffer]:
    """Return the same bytes in fewer buffers: neighbours that are short become one."""
    joined: list[Buffer] = []
    short: list[Buffer] = []
    for payload in payloads:
        if len(payload) < JOINED_BYTES_MAX:
            short.append(payload)
            continue
        if short:
            joined.append(b"".join(short))
            short = []
        joined.append(payload)
    if short:
        joined.append(b"".join(short))
    return joined


def _has_zero_sector(buffers: Sequence[Buffer], used: int) -> bool:
    """Whether a whole sector of `buffers` is zeros; the first starts `used` bytes into a sector.

    Such a sector looks as if it had not been written, so that a tear could not be told from it.
    """
    zeros_so_far = used == 0
    for buffer in buffers:
        view = memoryview(buffer)
        start = min(-used % SECTOR_BYTES, len(view))
        if start:
            zeros_so_far = zeros_so_far and not any(view[:start])
            used += start
            if used == SECTOR_BYTES:
                if zeros_so_far:
                    return True
                used = 0
        full = (len(view) - start) // SECTOR_BYTES
        end = start + full * SECTOR_BYTES
        # One byte of each sector is enough to rule nearly all of them out.
        sample = bytes(view[start:end:SECTOR_BYTES])
        found = sample.find(0)
        while found >= 0:
            sector = start + found * SECTOR_BYTES
            if view[sector : sector + SECTOR_BYTES] == ZERO_SECTOR:
                return True
            found = sample.find(0, found + 1)
        if end < len(view):
            zeros_so_far = not any(view[end:])
            used = len(view) - end
    return used > 0 and zeros_so_far


assert ENTRY_PLACED.size == PLACE.size + RECORD_HEAD.size + ENTRY_BODY.size
assert GROUP_ID_BYTES == 20
