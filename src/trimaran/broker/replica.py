"""One group on this node: its consensus core, its stored log, and the state it stands for.

A `Ready` of the core is carried out here as far as it concerns the group alone; messages and
journal rounds of all groups are `rounds`' business. The state machine sees entries as they are
appended (so that a leader can judge against its log end) and again as they are committed.

Invariants: flushed <= committed <= appended; every entry above `boundary` is in memory.
Does not: talk to peers, sync, or know what a payload means.
"""

from collections.abc import Mapping, Sequence
from typing import Protocol, TypeAlias

from trimaran.ids import GroupId, Index, NodeId
from trimaran.raft.node import RaftNode
from trimaran.raft.ready import Ready, Role, RoleChange
from trimaran.records.entry import Entry, HardState
from trimaran.storage.boundary import Boundary, StateFile
from trimaran.storage.damage import Damage
from trimaran.storage.partition_log import PartitionLog

NO_INDEX = Index(0)
Flush: TypeAlias = tuple[Sequence[Entry], Mapping[str, bytes | StateFile]]
"""Entries for the segments, and the state as of the last of them."""


class StateMachine(Protocol):
    """What a group's log stands for."""

    @property
    def flush_bytes_max(self) -> int | None:
        """Most bytes of entries that one flush may take; None: all there are."""

    def appended(self, entries: Sequence[Entry]) -> None:
        """Entries joined the log's end (uncommitted)."""

    def truncated(self, start: Index) -> None:
        """Entries from `start` on were replaced; the replacement follows through `appended`."""

    def committed(self, entries: Sequence[Entry]) -> None:
        """The next entries are committed."""

    def synced(self) -> None:
        """The synced part of the own log may have grown."""

    def role_changed(self, change: RoleChange) -> None:
        """Term, role or leader changed."""

    def majority_lost(self) -> None:
        """This node led, heard no majority and stepped down: nobody here learns how it ends."""

    def deleted(self) -> None:
        """The group is gone: nobody waits any longer."""

    def read_confirmed(self, context: int, index: Index | None) -> None:
        """A read asked for with `context` may see everything up to `index`; None: lost."""

    def flushed(self, entries: Sequence[Entry]) -> Mapping[str, bytes | StateFile]:
        """Committed entries go to the segments; return the state as of the last of them.

        Its files by name: the content of new ones, or a file of an earlier flush that stays.
        """


class Replica:
    """This node's member of one group."""

    __slots__ = (
        "_flush",
        "applied",
        "boundary",
        "commit_known",
        "damage",
        "folded",
        "group",
        "journaled",
        "leader_since_s",
        "leads",
        "machine",
        "node_ids",
        "raft",
        "removed",
        "storage",
    )

    def __init__(
        self,
        *,
        raft: RaftNode,
        storage: PartitionLog,
        boundary: Boundary,
        hard_state: HardState,
        machine: StateMachine,
        damage: Damage | None = None,
        commit_known: Index = NO_INDEX,
    ) -> None:
        """Take up a recovered or new group; `machine` already holds the state at the boundary."""
        self.group: GroupId = boundary.group
        self.node_ids: tuple[NodeId, ...] = boundary.voters
        self.raft = raft
        self.storage = storage
        self.boundary = boundary
        self.machine = machine
        self.removed = False
        self.damage = damage
        """Why this node has no vote in the group; stays in the journal until cleared."""
        self.commit_known = commit_known
        """Highest commit index that the journal held at start; the log may end below it."""
        self.leads = False
        """Whether the machine has been told that this node leads: it has seen all that is in the
        log then. The core knows a little earlier, and has appended an entry of its own."""
        self.leader_since_s = 0.0
        """Loop time at which this node last began to lead the group."""
        self.journaled = hard_state
        """The hard state of the last finished journal round."""
        self._flush: Flush | None = None
        """What is flushed as soon as the journal holds it."""
        self.applied: Index = boundary.position.index
        self.folded: Index = boundary.position.index
        self._fold_inherited()

    def _fold_inherited(self) -> None:
        """Show the machine what was recovered above the boundary."""
        inherited = self._entries(self.folded, self.raft.log.last_index)
        self._append(inherited)
        self._commit(self.raft.commit_index)

    def leave(self) -> None:
        """Take no part any more: the core leads nobody, so nothing is proposed or read with it.

        Nothing is collected from it from now on: what it took in now would never end.
        """
        self.removed = True
        self.leads = False
        self.raft.quorum_lost()

    def repaired(self) -> None:
        """The journal holds that the damage is repaired: this node votes again.

        Both in one step: a core without its vote and without damage is one that finds out that its
        disk was set back in time (`Consensus.ready_handled`).
        """
        self.damage = None
        self.raft.readmit()

    def proposed(self, entry: Entry) -> None:
        """The machine itself folded `entry`, which it has just proposed."""
        assert entry.index == self.folded + 1
        self.folded = entry.index

    def handle(self, ready: Ready) -> None:
        """Carry out what concerns this group alone."""
        if ready.truncated_from is not None:
            self._truncate(ready.truncated_from)
        if ready.entries:
            self._append([entry for entry in ready.entries if entry.index > self.folded])
        if ready.role_change is not None:
            self.leads = ready.role_change.role is Role.LEADER
            self.machine.role_changed(ready.role_change)
        if ready.committed_to is not None:
            self._commit(ready.committed_to)
        for read in ready.reads:
            self.machine.read_confirmed(read.context, read.index)

    def round_finished(self, ready: Ready) -> None:
        """A journal round with `ready` is synced."""
        if ready.hard_state is not None:
            self.journaled = ready.hard_state
        self.raft.synced(ready.token)
        self.machine.synced()

    def next_flush(self) -> Flush | None:
        """Return the next applied entries that no segment holds, and the state as of the last.

        Others may have committed what the own journal does not hold yet. That waits: replay takes
        an entry that comes after a boundary above it for damage. A state is that of a moment, so
        that one is kept until the journal, which others may always be ahead of, has come to it.
        """
        if self._flush is None:
            entries = self._entries_to_flush()
            if not entries:
                return None
            self._flush = entries, self.machine.flushed(entries)
        flush = self._flush
        if flush[0][-1].index > self.raft.synced_index:
            return None
        self._flush = None
        return flush

    def _entries_to_flush(self) -> Sequence[Entry]:
        """Return the entries of the next flush, at least one if there is any."""
        start = self.storage.last_index
        if start < self.boundary.position.index:
            return ()  # segments damaged: nothing is appended behind a hole
        last = self.applied
        if start >= last:
            return ()
        bytes_max = self.machine.flush_bytes_max
        return self.raft.log.slice(Index(start + 1), Index(last + 1), bytes_max=bytes_max)

    def _truncate(self, start: Index) -> None:
        assert start > self.applied, "a committed entry is never replaced"
        if start <= self.folded:
            self.machine.truncated(start)
            self.folded = Index(start - 1)

    def _append(self, entries: Sequence[Entry]) -> None:
        if not entries:
            return
        assert entries[0].index == self.folded + 1
        self.machine.appended(entries)
        self.folded = entries[-1].index

    def _commit(self, index: Index) -> None:
        if index <= self.applied:
            return
        assert index <= self.folded, "only appended entries are committed"
        entries = self._entries(self.applied, index)
        self.applied = index
        self.machine.committed(entries)

    def _entries(self, after: Index, last: Index) -> Sequence[Entry]:
        if last <= after:
            return ()
        return self.raft.log.slice(Index(after + 1), Index(last + 1))
