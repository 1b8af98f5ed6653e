"""The whole contract between the consensus core and the world.

The driver loop, per group, at the end of a turn in which anything was put into the core:

    ready = node.ready()
    send ready.messages                        # already safe to send: the core held back
                                               # whatever speaks of an unsynced term or vote
    put ready.hard_state, ready.entries into the node's next journal round
    apply ready.committed, answer ready.reads, fetch ready.older
    ... when that journal round is synced:     node.synced(ready.token); node.ready() again

Does not: do any of it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum

from trimaran.ids import Index, NodeId, Term
from trimaran.raft.messages import Message
from trimaran.records.entry import Entry, HardState, LogPosition

_NO_TERM = Term(0)


class Role(Enum):
    """What a member is in its term."""

    FOLLOWER = "follower"
    PRE_CANDIDATE = "pre-candidate"
    CANDIDATE = "candidate"
    LEADER = "leader"


@dataclass(frozen=True, slots=True, kw_only=True)
class RoleChange:
    """The member's view of who leads, given out whenever any part of it changed."""

    term: Term
    role: Role
    leader: NodeId | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadState:
    """A linearizable read that was asked for with `context`.

    `index` is the commit index to wait for before answering; None means leadership was lost before
    the read could be confirmed: answer "not leader".
    """

    context: int
    index: Index | None


@dataclass(frozen=True, slots=True, kw_only=True)
class OlderEntries:
    """`peer` needs entries from `start` on, which are no longer in memory.

    Read them from the segments, then call `node.older_entries_read`.
    """

    peer: NodeId
    start: Index


@dataclass(slots=True)
class Ready:
    """Everything the core wants done since the last call. Empty fields mean "nothing"."""

    token: int
    """Pass to `synced` once `hard_state` and `entries` are durable."""
    messages: list[tuple[NodeId, Message]] = field(default_factory=list)
    hard_state: HardState | None = None
    entries: Sequence[Entry] = ()
    """To journal, in order. A first index at or below what was journaled before truncates."""
    prev_term: Term = _NO_TERM
    """Term of the entry before `entries[0]`."""
    truncated_from: Index | None = None
    """Lowest index whose entry was replaced since the last call (waiters, dedup fold back)."""
    committed_from: Index | None = None
    committed_to: Index | None = None
    """Entries [committed_from, committed_to] became committed; both None if none did."""
    reads: list[ReadState] = field(default_factory=list)
    older: list[OlderEntries] = field(default_factory=list)
    install: LogPosition | None = None
    """The leader cannot send what is missing here: move the files of this boundary, sync them and
    the boundary, then call `node.boundary_installed`."""
    role_change: RoleChange | None = None

    @property
    def must_sync(self) -> bool:
        """Whether anything has to reach the journal."""
        return self.hard_state is not None or len(self.entries) > 0
