"""What a checker is: it gets views of all replicas often, and the clients' history at the end.

A checker yields one line per violation. It never asserts and never raises: the run goes on, so that
one seed shows all that is wrong.

Does not: check anything itself.
"""

import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from trimaran.ids import GroupId, Index, NodeId, Term
from trimaran.raft.log import RaftLog
from trimaran.raft.ready import Role
from trimaran.records.entry import Entry
from trimaran.sim.history import History


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
    def log(self) -> RaftLog:
        """The entries in memory."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """One replica at one moment."""

    node: str
    incarnation: int
    """Number of the process on that machine."""
    group: GroupId
    core: Core


class Checker:
    """Base of all checkers: sees nothing wrong."""

    def step(self, views: Sequence[Evidence]) -> Iterable[str]:
        """Look at all living replicas, many times a virtual second."""
        del views
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


def entries_after(log: RaftLog, index: Index, up_to: Index) -> Iterator[Entry]:
    """Yield the entries in memory from after `index` up to and including `up_to`."""
    start = Index(max(index + 1, log.first_index))
    if start <= up_to:
        yield from log.slice(start, Index(up_to + 1))
