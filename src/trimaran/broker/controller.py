"""The metadata group on this node: commands in, image out.

A command is proposed by the group's leader; another node forwards it there. Whoever asked waits
until its own image has applied the entry and answers from what applying it returned, so a client
that was told "created" finds it created on the node that told it. When a leader is lost in between
the command is proposed again: commands carry their ids, so a second application is refused and
recognized.

Does not: create or remove partitions (the node does, from the changes).
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Protocol

from trimaran.broker.peer_frames import (
    PeerLane,
    Propose,
    ProposeAnswer,
    write_propose,
    write_propose_answer,
)
from trimaran.broker.peers import Peer
from trimaran.broker.replica import Replica
from trimaran.errors import ErrorCode, NotLeaderError, ProposalRefusedError, RequestError
from trimaran.ids import METADATA_GROUP, Index, NodeId, Term
from trimaran.metadata.commands import Command, CreateTopic, decode_command, encode_command
from trimaran.metadata.image import Image
from trimaran.metadata.results import Refused, Result, TopicCreated
from trimaran.raft.ready import RoleChange
from trimaran.records.entry import Entry, EntryKind

IMAGE_FILE = "image"
RESULTS_MAX = 1024
"""Results kept for those who asked: the leader's answer may come after our own application."""
ATTEMPT_S = 2.0
"""How long one attempt may stay without an answer before the command is proposed again."""


class ControllerOwner(Protocol):
    """What the controller asks of its node."""

    node_id: NodeId

    def log_time_ms(self) -> int:
        """Return the cluster's time."""

    def proposed(self, replica: Replica, events: int) -> None:
        """The group has something new to send and sync."""

    def peer(self, node: NodeId) -> Peer | None:
        """Return the peer of that id."""

    def image_changed(self, results: Sequence[Result]) -> None:
        """The image has applied commands with these results."""


class Controller:
    """State machine of the metadata group, and the way to put commands into it."""

    flush_bytes_max: int | None = None
    """The image stands at the last applied entry: all of them are flushed together."""

    def __init__(self, *, owner: ControllerOwner) -> None:
        """Begin with an empty image; the one at the boundary and `bind` follow."""
        self.image = Image()
        self._owner = owner
        self._replica: Replica
        self._results: OrderedDict[Index, tuple[Term, Result]] = OrderedDict()
        self._waiting: dict[Index, list[Callable[[], None]]] = {}
        self._forwarded: dict[int, asyncio.Future[ProposeAnswer]] = {}
        self._requests = 0
        self._proposals: dict[Index, list[tuple[Term, Callable[[bool], None]]]] = {}

    def bind(self, replica: Replica) -> None:
        """Join with the replica whose state machine this is."""
        self._replica = replica

    @property
    def replica(self) -> Replica:
        """The metadata group's replica."""
        return self._replica

    # Commands

    async def execute(self, command: Command, *, timeout_s: float) -> Result:
        """Have `command` committed and applied here; return what applying it returned.

        Raises:
            RequestError: REQUEST_TIMED_OUT (outcome unknown), or what `encode_command` refuses.
        """
        payload = encode_command(command)
        try:
            async with asyncio.timeout(timeout_s):
                while True:
                    result = await self._attempt(payload)
                    if result is not None:
                        return self._own(command, result)
                    await asyncio.sleep(0.01)
        except TimeoutError:
            raise RequestError(
                ErrorCode.REQUEST_TIMED_OUT,
                f"the metadata group did not commit {type(command).__name__} in {timeout_s} s",
            ) from None

    def _own(self, command: Command, result: Result) -> Result:
        """A creation refused because our own earlier attempt was committed is a success."""
        if isinstance(command, CreateTopic) and isinstance(result, Refused):
            topic = self.image.topic_by_id(command.topic_id)
            if topic is not None:
                return TopicCreated(topic=topic)
        return result

    async def _attempt(self, payload: bytes) -> Result | None:
        """Propose once; None: no leader, or its answer did not come."""
        leader = self._replica.raft.leader
        if leader is None:
            return None
        if leader == self._owner.node_id:
            position = await self._propose_here(payload)
        else:
            position = await self._forward(leader, payload)
        if position is None:
            return None
        return await self._applied(*position)

    async def _propose_here(self, payload: bytes) -> tuple[Index, Term] | None:
        future: asyncio.Future[tuple[Index, Term] | None] = (
            asyncio.get_running_loop().create_future()
        )

        def done(index: Index, term: Term, committed: bool) -> None:
            if not future.done():
                future.set_result((index, term) if committed else None)

        self._propose(payload, done)
        return await future

    def _propose(self, payload: bytes, done: Callable[[Index, Term, bool], None]) -> None:
        raft = self._replica.raft
        try:
            log_time_ms = max(self._owner.log_time_ms(), raft.log.last_log_time_ms)
            entry = raft.propose(EntryKind.COMMAND, payload, log_time_ms=log_time_ms)
        except (NotLeaderError, ProposalRefusedError):
            done(Index(0), Term(0), False)
            return
        self._replica.proposed(entry)
        waiters = self._proposals.setdefault(entry.index, [])
        waiters.append((entry.term, lambda ok: done(entry.index, entry.term, ok)))
        self._owner.proposed(self._replica, 1)

    async def _forward(self, leader: NodeId, payload: bytes) -> tuple[Index, Term] | None:
        peer = self._owner.peer(leader)
        if peer is None or PeerLane.CONTROL not in peer.sessions:
            return None
        self._requests += 1
        request = self._requests
        future: asyncio.Future[ProposeAnswer] = asyncio.get_running_loop().create_future()
        self._forwarded[request] = future
        try:
            peer.send(PeerLane.CONTROL, write_propose(Propose(request, METADATA_GROUP, payload)))
            async with asyncio.timeout(ATTEMPT_S):
                answer = await future
        except TimeoutError:
            return None
        finally:
            del self._forwarded[request]
        if answer.error != ErrorCode.NONE:
            return None
        return answer.index, answer.term

    async def _applied(self, index: Index, term: Term) -> Result | None:
        """Wait until the image here has applied `index`; None if another entry stands there."""
        if self._replica.applied < index:
            future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.setdefault(index, []).append(
                lambda: None if future.done() else future.set_result(None)
            )
            await future
        found = self._results.get(index)
        if found is None or found[0] != term:
            return None
        return found[1]

    # Frames

    def receive_propose(self, peer: Peer, frame: Propose) -> None:
        """A node forwards a command: answer when it is committed or cannot be."""

        def done(index: Index, term: Term, committed: bool) -> None:
            error = ErrorCode.NONE if committed else ErrorCode.NOT_CONTROLLER
            answer = ProposeAnswer(frame.request, error, index, term)
            peer.send(PeerLane.CONTROL, write_propose_answer(answer))

        self._propose(frame.payload, done)

    def receive_answer(self, frame: ProposeAnswer) -> None:
        """The leader's answer to a command forwarded from here."""
        future = self._forwarded.get(frame.request)
        if future is not None and not future.done():
            future.set_result(frame)

    # The state machine

    def appended(self, entries: Sequence[Entry]) -> None:
        """Nothing is judged before it is committed."""

    def truncated(self, start: Index) -> None:
        """Tell those whose command was replaced that it is not in the log."""
        for index in [index for index in self._proposals if index >= start]:
            for _, done in self._proposals.pop(index):
                done(False)

    def committed(self, entries: Sequence[Entry]) -> None:
        """Apply, remember the results, wake those who wait."""
        results: list[Result] = []
        for entry in entries:
            if entry.kind is EntryKind.COMMAND:
                result = self.image.apply(decode_command(entry.payload), entry.index)
                results.append(result)
                self._results[entry.index] = (entry.term, result)
                if len(self._results) > RESULTS_MAX:
                    self._results.popitem(last=False)
        if results:
            self._owner.image_changed(results)
        for entry in entries:
            for wake in self._waiting.pop(entry.index, ()):
                wake()
            for term, done in self._proposals.pop(entry.index, ()):
                done(term == entry.term)

    def synced(self) -> None:
        """Nobody waits for the own sync alone."""

    def role_changed(self, change: RoleChange) -> None:
        """Nothing to do: proposals stay until committed or replaced."""

    def majority_lost(self) -> None:
        """Nobody here learns how proposals end: those who asked try again."""
        proposals, self._proposals = self._proposals, {}
        for waiters in proposals.values():
            for _, done in waiters:
                done(False)

    def deleted(self) -> None:
        """The metadata group is never deleted."""
        raise AssertionError("the metadata group is never deleted")

    def read_confirmed(self, context: int, index: Index | None) -> None:
        """No reads are asked for on this group."""

    def flushed(self, entries: Sequence[Entry]) -> dict[str, bytes]:
        """Return the image; it stands at the last applied entry, which is the last flushed one."""
        assert not entries or self._replica.applied == entries[-1].index
        return {IMAGE_FILE: self.image.encode()}
