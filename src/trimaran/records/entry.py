"""The entries of a group's log, and what must be remembered beside them.

Plain data, shared by the consensus core (which orders entries) and storage (which keeps them):
the two do not know each other. An entry's index counts entries, its offset counts events; control
entries take no offset. Entries are built per batch on the way of an event, so they are slotted, not
frozen; nobody changes one after it was appended.
Does not: know bytes on disk or on the wire.
"""

from dataclasses import dataclass
from enum import IntEnum
from typing import TypeAlias

from trimaran.ids import Index, NodeId, Offset, Term

Payload: TypeAlias = bytes | memoryview

ENTRY_OVERHEAD_BYTES = 350
"""What an entry takes in memory beside its bytes: its objects, its places in the log and the tail.

Measured (CPython 3.11); without it many small entries take a multiple of every budget.
"""


class EntryKind(IntEnum):
    """What an entry holds. Only RECORDS takes offsets and is seen by clients."""

    RECORDS = 0
    """A Kafka RecordBatch v2, final bytes: base offset and leader epoch stamped."""
    LEADER_START = 1
    """A leader's first entry in its term; empty payload."""
    CONFIGURATION = 2
    """Voters and learners; laid out, not yet proposed."""
    LOG_START = 3
    SETTINGS = 4
    DEDUP_MARK = 5
    COMPACTION = 6
    COMMAND = 7
    """A command of an internal state machine (metadata, consumer groups)."""
    BARRIER = 8
    """Something of the leader's term that was proposed after a moment; empty payload."""


@dataclass(slots=True)
class Entry:
    """One entry of a group's log."""

    index: Index
    term: Term
    kind: EntryKind
    offset: Offset
    """Offset of the first event; for control entries the offset the next event will get."""
    offset_count: int
    """Offsets taken: lastOffsetDelta + 1 of the batch, 0 for control entries."""
    log_time_ms: int
    """Leader's append time, never below the predecessor's."""
    payload: Payload
    event_ids: bytes = b""
    """What the dedup window must know of the batch; packed by `dedup.event_ids`."""

    @property
    def next_offset(self) -> Offset:
        """The offset after this entry's last event."""
        return Offset(self.offset + self.offset_count)

    @property
    def size(self) -> int:
        """Bytes this entry counts for in every limit: payload, ids and ENTRY_OVERHEAD_BYTES."""
        return len(self.payload) + len(self.event_ids) + ENTRY_OVERHEAD_BYTES


@dataclass(frozen=True, slots=True, kw_only=True)
class HardState:
    """What must be synced before anybody hears of it (Raft paper, figure 2, persistent state)."""

    term: Term
    vote: NodeId | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LogPosition:
    """The entry just before a log's first in-memory entry: what remains known of it."""

    index: Index = Index(0)
    term: Term = Term(0)
    next_offset: Offset = Offset(0)
    log_time_ms: int = 0
