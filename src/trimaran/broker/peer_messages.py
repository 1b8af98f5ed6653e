"""Raft messages as bytes, inside a MESSAGES frame. All integers are big-endian.

    20s group, u8 kind, then by kind:
    1 AppendEntries   u64 term, u64 prev index, u64 prev term, u64 commit, u64 match, u32 count,
                      then each entry: u64 index, u64 term, u8 kind, u64 offset, u32 offset count,
                      i64 log time in ms, u32 payload bytes, u32 event-id bytes, event ids, payload
    2 AppendAnswer    u64 term, u8 success, u64 index, u64 hint index, u64 hint term, u8 counts
    3 PreVote         u64 term, u64 last index, u64 last term
    4 PreVoteAnswer   u64 term, u8 granted
    5 RequestVote     u64 term, u64 last index, u64 last term, u8 transfer
    6 VoteAnswer      u64 term, u8 granted
    7 InstallBoundary u64 term, u64 index, u64 index's term, u64 next offset, i64 log time in ms
    8 InstallAnswer   u64 term, u8 success, u64 index
    9 TimeoutNow      u64 term

What is read can be stored: terms fit where Kafka's leader epochs do, positions into 63 bits, and
the entries of a message follow each other. A peer with a bug is refused; the core, which asserts
all that, never meets it.
Does not: copy payloads; a read entry's payload is a view on the received frame.
"""

import struct
from collections.abc import Callable

from trimaran.errors import PeerError
from trimaran.ids import GroupId, Index, Offset, Term
from trimaran.raft.messages import (
    AppendAnswer,
    AppendEntries,
    InstallAnswer,
    InstallBoundary,
    Message,
    PreVote,
    PreVoteAnswer,
    RequestVote,
    TimeoutNow,
    VoteAnswer,
)
from trimaran.records.entry import Entry, EntryKind, LogPosition

_HEAD = struct.Struct(">20sB")
_APPEND = struct.Struct(">QQQQQI")
_ENTRY = struct.Struct(">QQBQIqII")
_ANSWER = struct.Struct(">QBQQQB")
_ASK = struct.Struct(">QQQ")
_ASK_TRANSFER = struct.Struct(">QQQB")
_GRANT = struct.Struct(">QB")
_INSTALL = struct.Struct(">QQQQq")
_INSTALL_ANSWER = struct.Struct(">QBQ")
_TERM = struct.Struct(">Q")

TERM_MAX = 2**31 - 1
POSITION_MAX = 2**63 - 1

_KINDS = {kind.value: kind for kind in EntryKind}


def write_message(buffers: list[bytes | memoryview], group: GroupId, message: Message) -> None:
    """Append the encoding of `message` to `buffers`, without copying entry payloads."""
    match message:
        case AppendEntries():
            _write_append(buffers, group, message)
        case AppendAnswer():
            buffers.append(
                _HEAD.pack(group, 2)
                + _ANSWER.pack(
                    message.term,
                    message.success,
                    message.index,
                    message.hint_index,
                    message.hint_term,
                    message.counts,
                )
            )
        case PreVote():
            fields = _ASK.pack(message.term, message.last_index, message.last_term)
            buffers.append(_HEAD.pack(group, 3) + fields)
        case PreVoteAnswer():
            buffers.append(_HEAD.pack(group, 4) + _GRANT.pack(message.term, message.granted))
        case RequestVote():
            fields = _ASK_TRANSFER.pack(
                message.term, message.last_index, message.last_term, message.transfer
            )
            buffers.append(_HEAD.pack(group, 5) + fields)
        case VoteAnswer():
            buffers.append(_HEAD.pack(group, 6) + _GRANT.pack(message.term, message.granted))
        case InstallBoundary():
            at = message.boundary
            fields = _INSTALL.pack(message.term, at.index, at.term, at.next_offset, at.log_time_ms)
            buffers.append(_HEAD.pack(group, 7) + fields)
        case InstallAnswer():
            fields = _INSTALL_ANSWER.pack(message.term, message.success, message.index)
            buffers.append(_HEAD.pack(group, 8) + fields)
        case TimeoutNow():
            buffers.append(_HEAD.pack(group, 9) + _TERM.pack(message.term))


def _write_append(
    buffers: list[bytes | memoryview], group: GroupId, message: AppendEntries
) -> None:
    entries = message.entries
    head = _HEAD.pack(group, 1) + _APPEND.pack(
        message.term,
        message.prev_index,
        message.prev_term,
        message.commit,
        message.match,
        len(entries),
    )
    for entry in entries:
        payload = entry.payload
        head += _ENTRY.pack(
            entry.index,
            entry.term,
            entry.kind,
            entry.offset,
            entry.offset_count,
            entry.log_time_ms,
            len(payload),
            len(entry.event_ids),
        )
        buffers.append(head + entry.event_ids)
        buffers.append(payload)
        head = b""
    if head:
        buffers.append(head)


def read_messages(body: memoryview) -> list[tuple[GroupId, Message]]:
    """Return the messages of a MESSAGES frame.

    Raises:
        PeerError, struct.error, ValueError: bytes that are no such messages.
    """
    count = int.from_bytes(body[:4], "big")
    position = 4
    messages: list[tuple[GroupId, Message]] = []
    for _ in range(count):
        group, kind = _HEAD.unpack_from(body, position)
        reader = _READERS.get(kind)
        if reader is None:
            raise PeerError(f"raft message kind {kind}; expected 1 to {len(_READERS)}")
        message, position = reader(body, position + _HEAD.size)
        if message.term > TERM_MAX:
            raise PeerError(f"raft message of term {message.term}; expected at most {TERM_MAX}")
        messages.append((GroupId(group), message))
    if position != len(body):
        raise PeerError(f"raft messages end at byte {position} of a body of {len(body)}")
    return messages


def _read_append(body: memoryview, position: int) -> tuple[Message, int]:
    term, prev_index, prev_term, commit, match, count = _APPEND.unpack_from(body, position)
    position += _APPEND.size
    entries: list[Entry] = []
    last_term, next_offset = prev_term, 0
    for number in range(count):
        index, entry_term, kind, offset, offset_count, log_time_ms, size, ids_size = (
            _ENTRY.unpack_from(body, position)
        )
        position += _ENTRY.size
        payload_at = position + ids_size
        end = payload_at + size
        if end > len(body):
            raise PeerError(f"entry {index} ends at byte {end} of a body of {len(body)}")
        if index != prev_index + number + 1 or entry_term < last_term or offset < next_offset:
            raise PeerError(
                f"entry {index} of term {entry_term} at offset {offset}; expected entry"
                f" {prev_index + number + 1} of term {last_term} or above, at offset {next_offset}"
                " or above"
            )
        last_term, next_offset = entry_term, offset + offset_count
        entries.append(
            Entry(
                index,
                entry_term,
                _KINDS[kind] if kind in _KINDS else EntryKind(kind),
                offset,
                offset_count,
                log_time_ms,
                body[payload_at:end],
                bytes(body[position:payload_at]),
            )
        )
        position = end
    if last_term > term or next_offset > POSITION_MAX or prev_index + count > POSITION_MAX:
        raise PeerError(
            f"{count} entries behind {prev_index} of terms up to {last_term}, which end at offset"
            f" {next_offset}; expected terms up to {term}, that of their leader, and 63-bit numbers"
        )
    return AppendEntries(term, prev_index, prev_term, commit, entries, match), position


def _read_answer(body: memoryview, position: int) -> tuple[Message, int]:
    term, success, index, hint_index, hint_term, counts = _ANSWER.unpack_from(body, position)
    answer = AppendAnswer(term, bool(success), index, hint_index, hint_term, bool(counts))
    return answer, position + _ANSWER.size


def _read_pre_vote(body: memoryview, position: int) -> tuple[Message, int]:
    term, last_index, last_term = _ASK.unpack_from(body, position)
    message = PreVote(term=Term(term), last_index=Index(last_index), last_term=Term(last_term))
    return message, position + _ASK.size


def _read_pre_vote_answer(body: memoryview, position: int) -> tuple[Message, int]:
    term, granted = _GRANT.unpack_from(body, position)
    return PreVoteAnswer(term=Term(term), granted=bool(granted)), position + _GRANT.size


def _read_request_vote(body: memoryview, position: int) -> tuple[Message, int]:
    term, last_index, last_term, transfer = _ASK_TRANSFER.unpack_from(body, position)
    message = RequestVote(
        term=Term(term),
        last_index=Index(last_index),
        last_term=Term(last_term),
        transfer=bool(transfer),
    )
    return message, position + _ASK_TRANSFER.size


def _read_vote_answer(body: memoryview, position: int) -> tuple[Message, int]:
    term, granted = _GRANT.unpack_from(body, position)
    return VoteAnswer(term=Term(term), granted=bool(granted)), position + _GRANT.size


def _read_install(body: memoryview, position: int) -> tuple[Message, int]:
    term, index, index_term, next_offset, log_time_ms = _INSTALL.unpack_from(body, position)
    if index_term > term or max(index, next_offset) > POSITION_MAX:
        raise PeerError(
            f"a boundary at {index} of term {index_term}, offset {next_offset}; expected a term up"
            f" to {term}, that of its leader, and 63-bit numbers"
        )
    boundary = LogPosition(
        index=Index(index),
        term=Term(index_term),
        next_offset=Offset(next_offset),
        log_time_ms=log_time_ms,
    )
    return InstallBoundary(term=Term(term), boundary=boundary), position + _INSTALL.size


def _read_install_answer(body: memoryview, position: int) -> tuple[Message, int]:
    term, success, index = _INSTALL_ANSWER.unpack_from(body, position)
    answer = InstallAnswer(term=Term(term), success=bool(success), index=Index(index))
    return answer, position + _INSTALL_ANSWER.size


def _read_timeout_now(body: memoryview, position: int) -> tuple[Message, int]:
    (term,) = _TERM.unpack_from(body, position)
    return TimeoutNow(term=Term(term)), position + _TERM.size


_READERS: dict[int, Callable[[memoryview, int], tuple[Message, int]]] = {
    1: _read_append,
    2: _read_answer,
    3: _read_pre_vote,
    4: _read_pre_vote_answer,
    5: _read_request_vote,
    6: _read_vote_answer,
    7: _read_install,
    8: _read_install_answer,
    9: _read_timeout_now,
}
