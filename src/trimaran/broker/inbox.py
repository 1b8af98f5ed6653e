"""What peers say, taken to whom it concerns.

A message for a group that the metadata has not told this node of yet is kept (the last one per
group and sender, if it is short) and delivered when the group is there; one that is not kept is
asked for again, since the next heartbeat answer names the group as missing. Events that the node
cannot take now are dropped, whatever else leaders send is not.
Does not: connect, or answer.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Protocol

from trimaran.broker.groups import GroupTable
from trimaran.broker.heartbeats import Heartbeats
from trimaran.broker.in_sync import InSync
from trimaran.broker.intake import Intake
from trimaran.broker.leaders import LeaderTable
from trimaran.broker.observations import Observations
from trimaran.broker.peer_frames import (
    BehindFacts,
    Frame,
    HandOver,
    Heartbeat,
    HeartbeatAnswer,
    Leaders,
    Messages,
    Propose,
    ProposeAnswer,
)
from trimaran.broker.peers import Peer
from trimaran.broker.replica import Replica
from trimaran.ids import GroupId, NodeId
from trimaran.raft.messages import (
    AppendAnswer,
    AppendEntries,
    Message,
    PreVote,
    PreVoteAnswer,
    RequestVote,
    VoteAnswer,
)
from trimaran.records.entry import EntryKind

EARLY_GROUPS_MAX = 4_096
"""Groups that the metadata has not told us of yet and that messages are kept for."""
EARLY_BYTES_MAX = 4_096
"""Longest message kept."""


class Commands(Protocol):
    """Who gets what is about metadata commands."""

    def receive_propose(self, peer: Peer, frame: Propose) -> None:
        """A peer forwards a command."""

    def receive_propose_answer(self, frame: ProposeAnswer) -> None:
        """A peer answers a command forwarded from here."""


class Mender(Protocol):
    """Who gets what is about damage."""

    def receive(self, peer: Peer, frame: Frame) -> None:
        """Handle a frame that is about damage. Raises PeerError for any other."""


class Inbox:
    """Frames of admitted sessions, by kind."""

    def __init__(
        self,
        *,
        commands: Commands,
        groups: GroupTable,
        heartbeats: Heartbeats,
        leaders: LeaderTable,
        in_sync: InSync,
        mending: Mender,
        touched: Callable[[Replica], None],
        hand_over: Callable[[Replica, NodeId], object],
        intake: Intake,
        observations: Observations | None = None,
    ) -> None:
        """`touched` is called with each group whose core was told something."""
        self._incidents = (observations or Observations.apart()).incidents
        self._commands = commands
        self._hand_over = hand_over
        self._touched = touched
        self._intake = intake
        self._groups = groups
        self._heartbeats = heartbeats
        self._leaders = leaders
        self._in_sync = in_sync
        self._mending = mending
        self._loop = asyncio.get_running_loop()
        self._early: dict[GroupId, dict[NodeId, Message]] = {}

    def receive(self, peer: Peer, frames: Sequence[Frame]) -> None:
        """Handle frames in order. Raises PeerError for one that has no place here."""
        for frame in frames:
            match frame:
                case Messages():
                    for group, message in frame.messages:
                        self._message(peer, group, message)
                    self._note_entries(peer, frame)
                case Heartbeat():
                    self._heartbeats.receive(peer, frame)
                case HeartbeatAnswer():
                    self._heartbeats.receive_answer(peer, frame)
                case Leaders():
                    now_s = self._loop.time()
                    for group, term, leader in frame.leaders:
                        self._leaders.note(group, term, leader, now_s=now_s)
                case BehindFacts():
                    self._in_sync.take(frame.facts)
                case _:
                    self._asked(peer, frame)

    def _note_entries(self, peer: Peer, frame: Messages) -> None:
        """Note when entries came last from a leader; they travel with nothing else."""
        last = frame.messages[-1][1] if frame.messages else None
        if isinstance(last, AppendEntries) and last.entries:
            self._incidents.appended(peer.node_id)

    def _asked(self, peer: Peer, frame: Frame) -> None:
        """Handle a frame that is about commands, leaderships or damage."""
        match frame:
            case Propose():
                self._commands.receive_propose(peer, frame)
            case ProposeAnswer():
                self._commands.receive_propose_answer(frame)
            case HandOver():
                replica = self._groups.get(frame.group)
                if replica is not None and frame.target in replica.raft.voters:
                    self._hand_over(replica, frame.target)
            case _:
                self._mending.receive(peer, frame)

    def deliver_early(self, replica: Replica) -> None:
        """Give a new group what came for it before it was there."""
        for sender, message in self._early.pop(replica.group, {}).items():
            replica.raft.step(sender, message)

    def forget(self, group: GroupId) -> None:
        """Drop what came for a deleted group, and what was said of it."""
        self._early.pop(group, None)
        self._leaders.forget(group)
        self._in_sync.forget(group)

    def forget_sender(self, node: NodeId) -> None:
        """Drop what `node` sent too early: it is gone, and a group must not begin by following it.

        Its connection broke, or it fell silent, before the group was there to notice.
        """
        for group in [group for group, kept in self._early.items() if node in kept]:
            del self._early[group][node]
            self._heartbeats.missed(node, group)

    def _message(self, peer: Peer, group: GroupId, message: Message) -> None:
        if not peer.counts:
            if isinstance(message, (PreVote, PreVoteAnswer, RequestVote, VoteAnswer)):
                return
            if isinstance(message, AppendAnswer):
                message.counts = False
        replica = self._groups.get(group)
        if replica is None:
            self._keep_early(peer.node_id, group, message)
            return
        if isinstance(message, AppendEntries) and self._is_too_much(message):
            self._heartbeats.held_back(peer.node_id, group)
            return
        replica.raft.step(peer.node_id, message)
        if isinstance(message, AppendAnswer):
            self._heartbeats.progressed(replica)
        self._touched(replica)

    def _is_too_much(self, message: AppendEntries) -> bool:
        """Whether it brings events and none are taken.

        It is dropped as a whole: an answer to a part of it would have the rest sent again at once.
        """
        if not message.entries or self._intake.from_leaders:
            return False
        return any(entry.kind is EntryKind.RECORDS for entry in message.entries)

    def _keep_early(self, sender: NodeId, group: GroupId, message: Message) -> None:
        size = 0
        if isinstance(message, AppendEntries):
            size = sum(entry.size for entry in message.entries)
        if size > EARLY_BYTES_MAX:
            self._heartbeats.missed(sender, group)
            return
        self._early.setdefault(group, {})[sender] = message
        if len(self._early) > EARLY_GROUPS_MAX:
            oldest = next(iter(self._early))  # deleted here before its other members heard of it
            for missed in self._early.pop(oldest):
                self._heartbeats.missed(missed, oldest)
