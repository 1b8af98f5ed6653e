"""A coordinator's replica: the log that consumer groups and their offsets are kept in.

One of a fixed number of Raft groups; the partitions of an internal topic, placed and brought into
being like any partition. Its state is a table (`groups.table`) of what was committed. Only the
leader knows the groups alive (`live_groups`): it makes them from the table once it has committed an
entry of its own term, and gives all of them up when it leads no more.

Does not: know Kafka's messages, or topics by name.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Protocol

from trimaran.broker.live_groups import LiveGroups
from trimaran.broker.replica import Replica
from trimaran.errors import (
    ErrorCode,
    NotLeaderError,
    ProposalRefusedError,
    ProtocolError,
    RequestError,
)
from trimaran.groups.commands import Command, decode_command, encode_command
from trimaran.groups.messages import GroupSettings
from trimaran.groups.table import GroupTable
from trimaran.groups.topics import Topics
from trimaran.ids import GroupId, Index, Term
from trimaran.raft.node import RaftNode
from trimaran.raft.ready import RoleChange
from trimaran.records.entry import Entry, EntryKind

GROUPS_FILE = "groups"
EXECUTE_S = 5.0
"""Longest wait for a command to be committed; Kafka's offsets.commit.timeout.ms."""


class CoordinatorOwner(Protocol):
    """What a coordinator asks of its node."""

    def log_time_ms(self) -> int:
        """Return the cluster's time."""

    def proposed(self, replica: Replica, events: int) -> None:
        """The group has something new to send and sync."""

    def confirm_leadership(self, replica: Replica) -> int:
        """Send heartbeats now; return the number of the last one sent before."""


class Coordinator:
    """State machine of one coordinator, and the way to put commands into it."""

    flush_bytes_max: int | None = None
    """The table stands at the last applied entry: all of them are flushed together."""

    def __init__(
        self,
        *,
        number: int,
        table: GroupTable,
        settings: GroupSettings,
        topics: Topics,
        raft: RaftNode,
        owner: CoordinatorOwner,
    ) -> None:
        """`table` is the one at the boundary; `bind` follows."""
        self.number = number
        self.table = table
        self.live: LiveGroups | None = None
        """The groups as the leader knows them; None on others, and on a leader not ready yet."""
        self._settings = settings
        self._topics = topics
        self._raft = raft
        self._owner = owner
        self._replica: Replica
        self._proposals: dict[Index, list[tuple[Term, Callable[[bool], None]]]] = {}
        self._reads: dict[int, asyncio.Future[None]] = {}
        self._read_count = 0
        self._became: list[asyncio.Future[None]] = []
        """Who waits for this leader to be ready, or no leader."""

    def bind(self, replica: Replica) -> None:
        """Join with the replica whose state machine this is."""
        self._replica = replica

    @property
    def replica(self) -> Replica:
        """The Raft group's replica on this node."""
        return self._replica

    @property
    def group(self) -> GroupId:
        """The Raft group."""
        return self._replica.group

    @property
    def is_leader(self) -> bool:
        """Whether this node leads."""
        return self._raft.is_leader

    async def ready(self) -> LiveGroups:
        """Return the living groups, once the log of earlier leaders is known whole.

        Raises:
            RequestError: NOT_COORDINATOR.
        """
        while self.live is None:
            if not self._raft.is_leader:
                raise _not_coordinator()
            became: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._became.append(became)
            await became
        return self.live

    # Commands

    def propose(self, command: Command, done: Callable[[bool], None]) -> None:
        """Have `command` committed; `done` is called once, later, with whether it was.

        Raises:
            RequestError: NOT_COORDINATOR, COORDINATOR_NOT_AVAILABLE for now, INVALID_REQUEST.
        """
        raft = self._raft
        if raft.is_leader and not self._replica.leads:
            raise _not_coordinator()  # leadership begins with the end of this turn
        try:
            payload = encode_command(command)
            log_time_ms = max(self._owner.log_time_ms(), raft.log.last_log_time_ms)
            entry = raft.propose(EntryKind.COMMAND, payload, log_time_ms=log_time_ms)
        except ProtocolError as error:
            raise RequestError(ErrorCode.INVALID_REQUEST, str(error)) from error
        except NotLeaderError as error:
            raise _not_coordinator() from error
        except ProposalRefusedError as error:
            code = ErrorCode.COORDINATOR_NOT_AVAILABLE
            if raft.is_transferring:
                code = ErrorCode.NOT_COORDINATOR
            raise RequestError(code, str(error)) from error
        self._replica.proposed(entry)
        self._proposals.setdefault(entry.index, []).append((entry.term, done))
        self._owner.proposed(self._replica, 0)

    async def execute(self, command: Command) -> None:
        """Have `command` committed and applied.

        Raises:
            RequestError: as `propose`; NOT_COORDINATOR also if the outcome is unknown, and
                COORDINATOR_NOT_AVAILABLE if it still is after EXECUTE_S.
        """
        outcome: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

        def done(committed: bool) -> None:
            if not outcome.done():
                outcome.set_result(committed)

        self.propose(command, done)
        try:
            async with asyncio.timeout(EXECUTE_S):
                is_committed = await outcome
        except TimeoutError:
            raise _not_available() from None
        if not is_committed:
            raise _not_coordinator()

    async def confirm(self) -> None:
        """Return when the table holds all that was committed anywhere before this was called.

        And what was proposed here before: a client that commits and asks at once, on one
        connection, means to see its commit.

        Raises:
            RequestError: NOT_COORDINATOR; COORDINATOR_NOT_AVAILABLE after EXECUTE_S.
        """
        if not self._raft.is_leader:
            raise _not_coordinator()
        self._read_count += 1
        context = self._read_count
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._reads[context] = future
        number = self._owner.confirm_leadership(self._replica)
        self._raft.read(context, number)
        self._owner.proposed(self._replica, 0)
        before = self._all_proposed()
        try:
            async with asyncio.timeout(EXECUTE_S):
                await future
                await before
        except TimeoutError:
            raise _not_available() from None
        finally:
            self._reads.pop(context, None)

    def _all_proposed(self) -> "asyncio.Future[None]":
        """Return a future that is done when nobody waits any more who waits for a command now."""
        settled: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def done(_committed: bool) -> None:
            if not settled.done():
                settled.set_result(None)

        if self._proposals:
            last = self._proposals[next(reversed(self._proposals))]
            last.append((last[-1][0], done))
        else:
            done(True)
        return settled

    # The state machine

    def appended(self, entries: Sequence[Entry]) -> None:
        """Nothing is judged before it is committed."""

    def truncated(self, start: Index) -> None:
        """Tell those whose command was replaced that it is not in the log."""
        for index in [index for index in self._proposals if index >= start]:
            for _, done in self._proposals.pop(index):
                done(False)

    def committed(self, entries: Sequence[Entry]) -> None:
        """Apply, and answer who waited."""
        for entry in entries:
            if entry.kind is EntryKind.COMMAND:
                self.table.apply(decode_command(entry.payload), log_time_ms=entry.log_time_ms)
            for term, done in self._proposals.pop(entry.index, ()):
                done(term == entry.term)
        if self._raft.is_leader and self.live is None and entries[-1].term == self._raft.term:
            self._begin()

    def _begin(self) -> None:
        """This leader knows all that earlier ones committed: take up the groups."""
        self.live = LiveGroups(self, settings=self._settings, topics=self._topics)
        self._wake()

    def synced(self) -> None:
        """Nobody waits for the own sync alone."""

    def role_changed(self, change: RoleChange) -> None:
        """Give the groups up if another leads; what was proposed may still be committed."""
        if self.live is not None and not self._raft.is_leader:
            self._end()
        self._wake()

    def _end(self) -> None:
        live, self.live = self.live, None
        if live is not None:
            live.give_up()

    def _wake(self) -> None:
        became, self._became = self._became, []
        for future in became:
            if not future.done():
                future.set_result(None)

    def majority_lost(self) -> None:
        """This leader stepped down without a successor: nobody here learns how it ends."""
        proposals, self._proposals = self._proposals, {}
        for waiters in proposals.values():
            for _, done in waiters:
                done(False)
        self._end()
        self._wake()

    def deleted(self) -> None:
        """The group starts over from its leader's files: nobody waits any longer."""
        self.majority_lost()
        for future in self._reads.values():
            if not future.done():
                future.set_exception(_not_coordinator())

    def read_confirmed(self, context: int, index: Index | None) -> None:
        """Settle a `confirm`."""
        future = self._reads.get(context)
        if future is None or future.done():
            return
        if index is None:
            future.set_exception(_not_coordinator())
        else:
            assert self._replica.applied >= index
            future.set_result(None)

    def flushed(self, entries: Sequence[Entry]) -> dict[str, bytes]:
        """Return the table; it stands at the last applied entry, which is the last flushed one."""
        assert not entries or self._replica.applied == entries[-1].index
        return {GROUPS_FILE: self.table.encode()}


def _not_available() -> RequestError:
    return RequestError(
        ErrorCode.COORDINATOR_NOT_AVAILABLE,
        f"the groups' log committed nothing within {EXECUTE_S:g} s: outcome unknown",
    )


def _not_coordinator() -> RequestError:
    return RequestError(ErrorCode.NOT_COORDINATOR, "this node does not coordinate the group")
