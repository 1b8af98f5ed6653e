"""Where a group's segments end and its journal begins: one journal record per group.

A boundary says that everything up to its position is in synced segments and state files. It
precedes every release of journal files; at start, segment bytes beyond it are cut and the journal
is replayed from it. Its bytes are the body of a BOUNDARY record (journal_format.py):

    position  bytes  field
    0         8      index of the last entry below
    8         4      its term
    12        8      next offset
    20        8      its log time, ms
    28        8      log start index
    36        8      log start offset
    44        1      number of voters, v
    45        1      number of state files, s
    46        4 v    node ids of the voters, in replica order
    ...       s x    1 byte length of the name, the name, 8 bytes size, 4 bytes CRC-32C

All numbers are big-endian. A name has small letters, digits and `-` only: it becomes part of a
path, and may come from another node. Does not: sync anything.
"""

import re
import struct
from dataclasses import dataclass
from typing import TypeAlias

from trimaran.ids import GroupId, Index, NodeId, Offset, Term
from trimaran.records.entry import LogPosition

BOUNDARY_HEAD = struct.Struct(">QIqqQqBB")
STATE_FILE_TAIL = struct.Struct(">QI")
VOTERS_MAX = 64
STATE_FILES_MAX = 255
NAME_BYTES_MAX = 100
NAME = re.compile(rb"[a-z0-9-]+")
FIRST_INDEX = Index(1)
FIRST_OFFSET = Offset(0)
LOG_BEGIN = LogPosition()

StateFile: TypeAlias = tuple[str, int, int]
"""Name, size in bytes, CRC-32C of the content."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Boundary:
    """What is known of a group below the entries in its journal."""

    group: GroupId
    position: LogPosition = LOG_BEGIN
    """The last entry below."""
    voters: tuple[NodeId, ...] = ()
    log_start_index: Index = FIRST_INDEX
    """First index that is served; at most position.index + 1."""
    log_start_offset: Offset = FIRST_OFFSET
    state_files: tuple[StateFile, ...] = ()


def boundary_bytes(boundary: Boundary) -> int:
    """Return the length of `encode_boundary(boundary)`."""
    names = sum(1 + len(name) + STATE_FILE_TAIL.size for name, _, _ in boundary.state_files)
    return BOUNDARY_HEAD.size + 4 * len(boundary.voters) + names


def encode_boundary(boundary: Boundary) -> bytes:
    """Return the bytes of the record's body."""
    position = boundary.position
    assert len(boundary.voters) <= VOTERS_MAX
    assert len(boundary.state_files) <= STATE_FILES_MAX
    assert 1 <= boundary.log_start_index <= position.index + 1
    assert 0 <= boundary.log_start_offset <= position.next_offset
    parts = [
        BOUNDARY_HEAD.pack(
            position.index,
            position.term,
            position.next_offset,
            position.log_time_ms,
            boundary.log_start_index,
            boundary.log_start_offset,
            len(boundary.voters),
            len(boundary.state_files),
        ),
        struct.pack(f">{len(boundary.voters)}I", *boundary.voters),
    ]
    for name, size, checksum in boundary.state_files:
        encoded = name.encode("ascii")
        assert 0 < len(encoded) <= NAME_BYTES_MAX
        assert NAME.fullmatch(encoded)
        parts += [bytes((len(encoded),)), encoded, STATE_FILE_TAIL.pack(size, checksum)]
    return b"".join(parts)


def decode_boundary(group: GroupId, body: bytes) -> Boundary:
    """Return the boundary that `body` holds.

    Raises:
        ValueError: the bytes are no boundary.
    """
    try:
        index, term, next_offset, log_time, start_index, start_offset, voters, names = (
            BOUNDARY_HEAD.unpack_from(body)
        )
        at = BOUNDARY_HEAD.size
        voter_ids = struct.unpack_from(f">{voters}I", body, at)
        at += 4 * voters
        state_files = []
        for _ in range(names):
            end = at + 1 + body[at]
            if not 0 < body[at] <= NAME_BYTES_MAX:
                raise ValueError(f"a state file's name of {body[at]} bytes")
            size, checksum = STATE_FILE_TAIL.unpack_from(body, end)
            state_files.append((_name(body[at + 1 : end]), size, checksum))
            at = end + STATE_FILE_TAIL.size
    except (struct.error, IndexError) as error:
        raise ValueError(f"the boundary is too short: {error}") from error
    if at != len(body) or voters > VOTERS_MAX:
        raise ValueError("the boundary's lengths do not fit")
    if not 1 <= start_index <= index + 1 or not 0 <= start_offset <= next_offset:
        raise ValueError("the boundary's log start is not in its log")
    return Boundary(
        group=group,
        position=LogPosition(
            index=Index(index),
            term=Term(term),
            next_offset=Offset(next_offset),
            log_time_ms=log_time,
        ),
        voters=tuple(NodeId(voter) for voter in voter_ids),
        log_start_index=Index(start_index),
        log_start_offset=Offset(start_offset),
        state_files=tuple(state_files),
    )


def _name(encoded: bytes) -> str:
    """Return a state file's name, which becomes part of a path."""
    if not NAME.fullmatch(encoded):
        raise ValueError(f"a state file's name {encoded!r}; expected small letters, digits and -")
    return encoded.decode("ascii")
