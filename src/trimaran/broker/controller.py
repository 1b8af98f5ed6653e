"""The metadata group on this node: commands in, image out.

A command is proposed by the group's leader; another node forwards it there. Whoever asked waits
until its own image has applied the entry and answers from what applying it returned, so a client
that was told "created" finds it created on the node that told it. When a leader is lost in between
the command is proposed again under the same id: the image applies the first copy that is committed,
and that one's result is the answer. Where this image came with another node's files in between, a
later copy is all that is applied here, and whoever asked is told that the result is not known.

Does not: create or remove partitions (the node does, from the changes).
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Protocol, TypeAlias

from trimaran.broker.peer_frames import (
    PeerLane,
    Propose,
    ProposeAnswer,
    write_propose,
    write_propose_answer,
)
from trimaran.broker.peers import Peer
from trimaran.broker.replica import Replica
from trimaran.errors import (
    ErrorCode,
    NotLeaderError,
    ProposalRefusedError,
    ProtocolError,
    RequestError,
)
from trimaran.ids import METADATA_GROUP, BootId, Index, NodeId, Term
from trimaran.metadata.commands import Command, CommandId, decode_command, encode_command
from trimaran.metadata.image import Image
from trimaran.metadata.results import Repeated, Result
from trimaran.raft.ready import RoleChange
from trimaran.records.entry import Entry, EntryKind

IMAGE_FILE = "image"
ATTEMPT_S = 2.0
"""How long one attempt may stay without an answer before the command is proposed again."""
PAUSE_S = 0.01
"""Between an attempt that came to nothing and the next."""

Outcome: TypeAlias = Result | Repeated
"""What applying a command returned; `Repeated` where only its second copy was applied here."""
Judged: TypeAlias = Callable[[Index, Term, bool], None]
"""Called once with where a command stands in the log, and whether it was committed there."""


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

    def __init__(self, *, owner: ControllerOwner, boot_id: BootId) -> None:
        """Begin with an empty image; the one at the boundary and `bind` follow."""
        self.image = Image()
        self._owner = owner
        self._boot_id = boot_id
        self._replica: Replica
        self._command_count = 0
        self._outcomes: dict[CommandId, asyncio.Future[Outcome]] = {}
        """Of the commands that somebody here waits for."""
        self._waiting: dict[Index, list[Callable[[], None]]] = {}
        self._forwarded: dict[int, tuple[NodeId, Judged]] = {}
        """By request: whom it was sent to, and who waits for the answer."""
        self._requests = 0
        self._proposals: dict[Index, list[tuple[Term, Callable[[bool], None]]]] = {}

    def bind(self, replica: Replica) -> None:
        """Join with the replica whose state machine this is."""
        self._replica = replica

    @property
    def is_bound(self) -> bool:
        """Whether the group takes part: not while its damaged files are replaced."""
        return hasattr(self, "_replica")

    @property
    def replica(self) -> Replica:
        """The metadata group's replica."""
        return self._replica

    # Commands

    async def execute(self, command: Command, *, timeout_s: float) -> Result:
        """Have `command` committed and applied here; return what applying it returned.

        Raises:
            RequestError: REQUEST_TIMED_OUT (result unknown), or what `encode_command` refuses.
        """
        self._command_count += 1
        command_id = CommandId(self._owner.node_id, self._boot_id, self._command_count)
        payload = encode_command(command, command_id=command_id)
        outcome: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._outcomes[command_id] = outcome
        try:
            async with asyncio.timeout(timeout_s):
                await self._attempt(payload, outcome)
                while not outcome.done():
                    await asyncio.sleep(PAUSE_S)
                    await self._attempt(payload, outcome)
        except TimeoutError:
            raise RequestError(
                ErrorCode.REQUEST_TIMED_OUT,
                f"the metadata group did not commit {type(command).__name__} in {timeout_s} s",
            ) from None
        finally:
            del self._outcomes[command_id]
        result = outcome.result()
        if isinstance(result, Repeated):
            raise RequestError(
                ErrorCode.REQUEST_TIMED_OUT,
                f"{type(command).__name__} was applied, but its result is not known here: "
                f"it came with the files of another node",
            )
        return result

    async def _attempt(self, payload: bytes, outcome: "asyncio.Future[Outcome]") -> None:
        """Propose once, unless `outcome` is known; return when it is or this came to nothing."""
        leader = self._replica.raft.leader
        if leader is None or outcome.done():
            return
        attempt: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def end(_: object = None) -> None:
            if not attempt.done():
                attempt.set_result(None)

        def judged(index: Index, _term: Term, committed: bool) -> None:
            if committed:
                self._when_applied(index, end)
            else:
                end()

        outcome.add_done_callback(end)
        request = 0
        if leader == self._owner.node_id:
            self._propose(payload, judged)
        else:
            request = self._forward(leader, payload, judged)
        try:
            async with asyncio.timeout(ATTEMPT_S):
                await attempt
        except TimeoutError:
            pass
        finally:
            outcome.remove_done_callback(end)
            self._forwarded.pop(request, None)

    def _propose(self, payload: bytes, done: Judged) -> None:
        raft = self._replica.raft
        try:
            if raft.is_leader and not self._replica.leads:
                raise NotLeaderError("leadership begins with the end of this turn")
            log_time_ms = max(self._owner.log_time_ms(), raft.log.last_log_time_ms)
            entry = raft.propose(EntryKind.COMMAND, payload, log_time_ms=log_time_ms)
        except (NotLeaderError, ProposalRefusedError):
            done(Index(0), Term(0), False)
            return
        self._replica.proposed(entry)
        waiters = self._proposals.setdefault(entry.index, [])
        waiters.append((entry.term, lambda ok: done(entry.index, entry.term, ok)))
        self._owner.proposed(self._replica, 1)

    def _forward(self, leader: NodeId, payload: bytes, done: Judged) -> int:
        """Send the command to `leader`; return the number of the request, 0 if it was not sent."""
        peer = self._owner.peer(leader)
        if peer is None or PeerLane.CONTROL not in peer.sessions:
            done(Index(0), Term(0), False)
            return 0
        self._requests += 1
        self._forwarded[self._requests] = (leader, done)
        propose = Propose(self._requests, METADATA_GROUP, payload)
        peer.send(PeerLane.CONTROL, write_propose(propose))
        return self._requests

    def _when_applied(self, index: Index, callback: Callable[[], None]) -> None:
        """Call `callback` when the image here has applied `index`, maybe at once."""
        if self._replica.applied >= index:
            callback()
        else:
            self._waiting.setdefault(index, []).append(callback)

    # Frames

    def receive_propose(self, peer: Peer, frame: Propose) -> None:
        """A node forwards a command: answer when it is committed or cannot be."""

        def done(index: Index, term: Term, committed: bool) -> None:
            error = ErrorCode.NONE if committed else ErrorCode.NOT_CONTROLLER
            reply(error, index, term)

        def reply(error: ErrorCode, index: Index, term: Term) -> None:
            answer = ProposeAnswer(frame.request, error, index, term)
            peer.send(PeerLane.CONTROL, write_propose_answer(answer))

        try:
            decode_command(frame.payload)  # an entry that nobody can apply would end every node
        except ProtocolError:
            reply(ErrorCode.INVALID_REQUEST, Index(0), Term(0))
            return
        self._propose(frame.payload, done)

    def receive_answer(self, frame: ProposeAnswer) -> None:
        """The leader's answer to a command forwarded from here."""
        if frame.request in self._forwarded:
            _, done = self._forwarded.pop(frame.request)
            done(frame.index, frame.term, frame.error == ErrorCode.NONE)

    # The state machine

    def appended(self, entries: Sequence[Entry]) -> None:
        """Nothing is judged before it is committed."""

    def truncated(self, start: Index) -> None:
        """Tell those whose command was replaced that it is not in the log."""
        for index in [index for index in self._proposals if index >= start]:
            for _, done in self._proposals.pop(index):
                done(False)

    def committed(self, entries: Sequence[Entry]) -> None:
        """Apply, and wake those who wait."""
        results: list[Result] = []
        for entry in entries:
            if entry.kind is not EntryKind.COMMAND:
                continue
            command = decode_command(entry.payload)
            result = self.image.apply(command, entry.index)
            outcome = None if command.id is None else self._outcomes.get(command.id)
            if outcome is not None and not outcome.done():
                outcome.set_result(result)
            if not isinstance(result, Repeated):
                results.append(result)
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
        """Ask no more whom the group does not follow; own proposals stay in the log."""
        for request, (leader, done) in list(self._forwarded.items()):
            if leader != change.leader:
                del self._forwarded[request]
                done(Index(0), Term(0), False)

    def majority_lost(self) -> None:
        """Nobody here learns how proposals end: those who asked try again."""
        proposals, self._proposals = self._proposals, {}
        for waiters in proposals.values():
            for _, done in waiters:
                done(False)

    def started_over(self) -> None:
        """The image is another node's: whoever waited for an entry that it has need not wait."""
        self._owner.image_changed(())
        for index in [index for index in self._waiting if index <= self._replica.applied]:
            for wake in self._waiting.pop(index):
                wake()

    def deleted(self) -> None:
        """The metadata group is never deleted."""
        raise AssertionError("the metadata group is never deleted")

    def read_confirmed(self, context: int, index: Index | None) -> None:
        """No reads are asked for on this group."""

    def flushed(self, entries: Sequence[Entry]) -> dict[str, bytes]:
        """Return the image; it stands at the last applied entry, which is the last flushed one."""
        assert not entries or self._replica.applied == entries[-1].index
        return {IMAGE_FILE: self.image.encode()}
