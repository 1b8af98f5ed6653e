"""What a checker is: it gets views of all replicas often, and the clients' history at the end.

A checker yields one line per violation. It never asserts and never raises: the run goes on, so that
one seed shows all that is wrong.

Does not: check anything itself.
"""

import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from trimaran.broker.partition import Partition
from trimaran.broker.replica import Replica
from trimaran.dedup.producers import ProducerTable
from trimaran.ids import GroupId, Index, NodeId, Term
from trimaran.raft.log import RaftLog
from trimaran.raft.progress import Progress
from trimaran.raft.ready import Role
from trimaran.records.entry import Entry
from trimaran.sim.cluster import ReplicaView
from trimaran.sim.disk import Disk
from trimaran.sim.history import Answer, History


class Core(Protocol):
    """What checkers read of `raft.node.RaftNode`."""

    @property
    def node_id(self) -> NodeId:
        """Whose core it is."""

    @property
    def role(self) -> Role:
        """Leader, follower ..."""

    @property
    def term(self) -> Term:
        """The current term."""

    @property
    def commit_index(self) -> Index:
        """How far the log is known to be committed."""

    @property
    def synced_index(self) -> Index:
        """How far the log is known to be on its own disk."""

    @property
    def log(self) -> RaftLog:
        """The entries in memory."""

    @property
    def may_vote(self) -> bool:
        """Whether it counts: not after a loss, until what was lost is replaced."""

    @property
    def progress(self) -> Mapping[NodeId, Progress]:
        """The followers as a leader sees them."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """One replica at one moment."""

    node: str
    incarnation: int
    """Number of the process on that machine."""
    group: GroupId
    core: Core
    replica: Replica | None = None
    """All of it; None where a test shows a core only."""
    disk: Disk | None = None
    """The machine's."""

    def producer_tables(self) -> tuple[tuple[ProducerTable, Index], ...]:
        """Return what a partition knows of producers, and the last entry that it knows it of.

        There are two tables: at the log's end, and as far as the log is flushed.
        """
        replica = self.replica
        if replica is None or not isinstance(replica.machine, Partition):
            return ()
        machine = replica.machine
        return (
            (machine._producers, replica.folded),
            (machine._flushed_producers, machine._flushed_index),
        )


def evidence_of(view: ReplicaView) -> Evidence:
    """Return what checkers see of a living replica."""
    replica = view.replica
    return Evidence(view.node, view.incarnation, replica.group, replica.raft, replica, view.disk)


_Mark = tuple[object, ...]


class Eyes:
    """Tells which replicas changed since the last look: most checkers need no others."""

    def __init__(self) -> None:
        self._seen: dict[tuple[str, int, GroupId], tuple[Evidence, _Mark]] = {}

    def look(self, found: Sequence[ReplicaView]) -> tuple[list[Evidence], list[Evidence]]:
        """Return all replicas, and those in which anything a checker reads is new."""
        views: list[Evidence] = []
        changed: list[Evidence] = []
        for view in found:
            key = (view.node, view.incarnation, view.replica.group)
            mark = _mark(view.replica)
            known = self._seen.get(key)
            if known is not None and known[0].replica is view.replica:
                evidence = known[0]
                if known[1] == mark:
                    views.append(evidence)
                    continue
            else:
                evidence = evidence_of(view)
            self._seen[key] = (evidence, mark)
            views.append(evidence)
            changed.append(evidence)
        return views, changed


def _mark(replica: Replica) -> _Mark:
    """Return everything that differs when a checker that sees changes only could object anew."""
    raft, machine = replica.raft, replica.machine
    log = raft.log
    common = (
        raft.term,
        raft.role,
        raft.commit_index,
        raft.may_vote,
        replica.damage is None,
        log.last_index,
        log.last_term,
        replica.applied,
        replica.boundary.position.index,
    )
    if not isinstance(machine, Partition):
        return common
    return (
        *common,
        replica.folded,
        machine.log_start,
        machine._producers.last_index,
        machine._flushed_producers.last_index,
        machine._flushed_index,
        machine.event_ids.window.last_index,
    )


class Checker:
    """Base of all checkers: sees nothing wrong."""

    sees_all = False
    """Whether `step` must see all replicas; else it sees those that changed since the last look."""

    def step(self, views: Sequence[Evidence]) -> Iterable[str]:
        """Look at living replicas, many times a virtual second."""
        del views
        return ()

    def answered(self, answer: Answer, views: Sequence[Evidence]) -> Iterable[str]:
        """Look at all living replicas when a producer has just been told of success."""
        del answer, views
        return ()

    def finish(self, history: History) -> Iterable[str]:
        """Judge what the clients did and saw, after the final reads."""
        del history
        return ()


def entry_digest(entry: Entry) -> tuple[int, int, int, int, int]:
    """Return what must be equal wherever this entry is stored."""
    return (
        entry.kind,
        entry.offset,
        entry.offset_count,
        entry.log_time_ms,
        zlib.crc32(entry.payload),
    )


def committed_after(core: Core, index: Index) -> Iterator[Entry]:
    """Yield the committed entries in memory from after `index` on.

    A commit index beyond the log is another checker's finding.
    """
    return entries_after(core.log, index, min(core.commit_index, core.log.last_index))


def entries_after(log: RaftLog, index: Index, up_to: Index) -> Iterator[Entry]:
    """Yield the entries in memory from after `index` up to and including `up_to`."""
    start = Index(max(index + 1, log.first_index))
    if start <= up_to:
        yield from log.slice(start, Index(up_to + 1))
