"""Where cores, peers, time and the journal meet: the node's part in all of its groups.

Everything that concerns more than one group, or a group and the outside, is joined here: frames
from peers go to cores, what cores are ready with goes to peers and the journal (rounds), signs of
life and their absence become elections. Each of these lives in its own module; this one only
connects them. Does not: know topics or Kafka.
"""

import asyncio
import logging
from collections.abc import Sequence
from typing import Protocol

from trimaran.broker.elections import Elections
from trimaran.broker.groups import GroupTable
from trimaran.broker.heartbeats import Heartbeats
from trimaran.broker.leaders import LeaderTable
from trimaran.broker.log_clock import LogClock
from trimaran.broker.peer_frames import (
    Frame,
    Heartbeat,
    HeartbeatAnswer,
    Hello,
    Leaders,
    Messages,
    PeerLane,
    Propose,
    ProposeAnswer,
    write_leaders,
)
from trimaran.broker.peers import Peer, Peers
from trimaran.broker.ports import Lane, Ports
from trimaran.broker.replica import Replica
from trimaran.broker.rounds import Rounds
from trimaran.broker.space import Space
from trimaran.broker.tasks import Tasks
from trimaran.config import NodeConfig
from trimaran.errors import PeerError
from trimaran.ids import DiskId, GroupId, Index, NodeId, Term
from trimaran.raft.messages import (
    AppendAnswer,
    AppendEntries,
    Message,
    PreVote,
    PreVoteAnswer,
    RequestVote,
    VoteAnswer,
)
from trimaran.raft.ready import OlderEntries, Ready, Role
from trimaran.records.entry import Entry, LogPosition
from trimaran.storage.journal import Journal
from trimaran.storage.recovery import RecoveredGroup

log = logging.getLogger(__name__)

OLDER_BYTES_MAX = 1 << 20
"""Entries read from segments for a follower at a time."""
TRANSFER_S = 0.3
"""A follower that has not taken over leadership by then does not."""
EARLY_MESSAGES_MAX = 4_096
"""Messages kept of groups that the metadata has not told us of yet, one per group and sender."""
EARLY_BYTES_MAX = 4_096
"""Longest of them."""


class ConsensusOwner(Protocol):
    """What the node does with what concerns its metadata, disk and end."""

    def receive_propose(self, peer: Peer, frame: Propose) -> None:
        """A peer forwards a command."""

    def receive_propose_answer(self, frame: ProposeAnswer) -> None:
        """A peer answers a command forwarded from here."""

    def disk_of(self, node: NodeId) -> DiskId | None:
        """Return the disk registered for `node`."""

    def committed(self, replica: Replica, size: int) -> None:
        """The group has `size` more committed bytes to flush."""

    def group_removed(self, replica: Replica) -> None:
        """The group was deleted: nothing of it needs to be flushed."""

    def dormant_groups(self) -> Sequence[RecoveredGroup]:
        """Return the groups that this node only keeps, ordered."""

    def fail(self, error: BaseException) -> None:
        """End the process."""


class Consensus:
    """The node's part in all of its groups."""

    def __init__(
        self,
        *,
        owner: ConsensusOwner,
        config: NodeConfig,
        hello: Hello,
        groups: GroupTable,
        journal: Journal,
        ports: Ports,
        tasks: Tasks,
    ) -> None:
        """`hello` is this node's greeting on the control lane."""
        settings = config.replication
        self.node_id = hello.node_id
        self.groups = groups
        self.leaders = LeaderTable()
        self._owner = owner
        self._ports = ports
        self._tasks = tasks
        self._loop = asyncio.get_running_loop()
        self._log_clock = LogClock()
        self.space = Space(
            files=ports.files,
            workers=ports.workers,
            reserve_bytes=config.storage.free_space_reserve_bytes,
            changed=self._room_changed,
        )
        self._announced: list[tuple[GroupId, Term, NodeId]] = []
        self._early: dict[tuple[GroupId, NodeId], Message] = {}
        addresses = {
            address.id: address for address in config.cluster.nodes if address.id != self.node_id
        }
        self.peers = Peers(
            owner=self,
            network=ports.network,
            tasks=tasks,
            identity=lambda lane: Hello(
                lane=lane,
                node_id=hello.node_id,
                boot_id=hello.boot_id,
                disk_id=hello.disk_id,
                cluster_id=hello.cluster_id,
            ),
            addresses=addresses,
        )
        self.rounds = Rounds(
            owner=self,
            journal=journal,
            workers=ports.workers,
            peers=self.peers,
            batch_max_events=settings.batch_max_events,
            batch_linger_s=settings.batch_linger_ms / 1000,
            round_bytes_max=settings.round_bytes_max,
        )
        self.heartbeats = Heartbeats(
            owner=self,
            node_id=self.node_id,
            peers=self.peers.peers,
            clock=ports.clock,
            log_clock=self._log_clock,
            interval_s=settings.heartbeat_ms / 1000,
            silence_s=settings.election_timeout_min_ms / 1000,
            quorum_lost_s=settings.quorum_lost_ms / 1000,
        )
        self.elections = Elections(
            owner=self,
            node_id=self.node_id,
            chance=ports.chance,
            rank_delay_s=settings.rank_delay_ms / 1000,
            timeout_min_s=settings.election_timeout_min_ms / 1000,
            timeout_max_s=settings.election_timeout_max_ms / 1000,
        )

    # What groups ask for

    def log_time_ms(self) -> int:
        """Return the cluster's time in ms since the Unix epoch."""
        return self._log_clock.time_ms(self._loop.time())

    def can_store(self) -> bool:
        """Whether there is room for events."""
        return self.space.has_room

    def proposed(self, replica: Replica, events: int) -> None:
        """The group has something new to send and sync."""
        self.rounds.proposed(replica, events)

    def touched(self, replica: Replica) -> None:
        """Something was put into the group's core."""
        self.rounds.touched(replica)

    def confirm_leadership(self, replica: Replica) -> int:
        """Send heartbeats now; return the number of the last one sent before."""
        return self.heartbeats.confirm(replica)

    def group_added(self, replica: Replica, *, is_new: bool) -> None:
        """Take part in a recovered or new group; deliver what came for it too early."""
        self.groups.add(replica)
        start = Index(replica.boundary.position.index + 1)
        if replica.applied >= start:
            end = Index(replica.applied + 1)
            self._owner.committed(replica, replica.raft.log.bytes_between(start, end))
        if is_new:
            self.elections.group_added(replica)
        else:
            self.elections.role_changed(replica)
        for peer in self.peers.peers:
            message = self._early.pop((replica.group, peer), None)
            if message is not None:
                replica.raft.step(peer, message)
        self.rounds.touched(replica)

    def group_removed(self, replica: Replica) -> None:
        """Leave a deleted group."""
        replica.removed = True
        self._owner.group_removed(replica)
        self.elections.forget(replica.group)
        self.heartbeats.led_changed(replica, is_leader=False)
        self.leaders.forget(replica.group)
        for node in self.peers.peers:
            self._early.pop((replica.group, node), None)

    def live_replicas(self) -> Sequence[Replica]:
        """Return all groups of this node, ordered."""
        return self.groups.all()

    def replica(self, group: GroupId) -> Replica | None:
        """Return this node's member of `group`."""
        return self.groups.get(group)

    # What a core was ready with

    def ready_handled(self, replica: Replica, ready: Ready) -> None:
        """Do what a `Ready` asks beyond the group itself."""
        if ready.role_change is not None:
            self._role_changed(replica, ready.role_change.role)
        if ready.committed_to is not None:
            self._committed(replica, ready)
        for older in ready.older:
            self._tasks.spawn(self._read_older(replica, older), name="read-older")

    def _committed(self, replica: Replica, ready: Ready) -> None:
        assert ready.committed_from is not None
        assert ready.committed_to is not None
        raft = replica.raft
        end = Index(ready.committed_to + 1)
        self._owner.committed(replica, raft.log.bytes_between(ready.committed_from, end))
        if raft.is_leader:
            self.heartbeats.progressed(replica)

    def _role_changed(self, replica: Replica, role: Role) -> None:
        raft = replica.raft
        was_leader = self.leaders.hint(replica.group) == (self.node_id, raft.term)
        self.leaders.note(replica.group, raft.term, raft.leader, now_s=self._loop.time())
        if role is Role.LEADER:
            replica.leader_since_s = self._loop.time()
            self._announce(replica)
        elif was_leader:
            log.info("leadership lost group=%s term=%s", replica.group.hex(), raft.term)
        self.heartbeats.led_changed(replica, is_leader=role is Role.LEADER)
        self.heartbeats.following_changed(replica)
        self.elections.role_changed(replica)

    def _announce(self, replica: Replica) -> None:
        """Tell all nodes at the end of the turn, in one frame for all groups won in it."""
        log.info(
            "leadership won group=%s term=%s last_index=%s",
            replica.group.hex(),
            replica.raft.term,
            replica.raft.log.last_index,
        )
        if not self._announced:
            self._loop.call_soon(self._send_announcements)
        self._announced.append((replica.group, replica.raft.term, self.node_id))

    def _send_announcements(self) -> None:
        facts, self._announced = self._announced, []
        for peer in self.peers.peers.values():
            peer.send(PeerLane.CONTROL, write_leaders(facts))

    async def _read_older(self, replica: Replica, older: OlderEntries) -> None:
        """Read entries that left memory for a follower that is far behind."""
        first = max(Index(1), Index(older.start - 1))
        work = replica.storage.plan_read_index(first, OLDER_BYTES_MAX)
        read = await self._ports.workers.submit(Lane.READS, work)
        if replica.removed:
            return
        prev, entries = _after(read, older.start)
        replica.raft.older_entries_read(older.peer, prev, entries)
        self.rounds.touched(replica)

    # What peers say

    def peer_frames(self, peer: Peer, frames: Sequence[Frame]) -> None:
        """Handle frames in order."""
        for frame in frames:
            match frame:
                case Messages():
                    for group, message in frame.messages:
                        self._raft_message(peer, group, message)
                case Heartbeat():
                    self.heartbeats.receive(peer, frame)
                case HeartbeatAnswer():
                    self.heartbeats.receive_answer(peer, frame)
                case Leaders():
                    now_s = self._loop.time()
                    for group, term, leader in frame.leaders:
                        self.leaders.note(group, term, leader, now_s=now_s)
                case Propose():
                    self._owner.receive_propose(peer, frame)
                case ProposeAnswer():
                    self._owner.receive_propose_answer(frame)
                case _:
                    raise PeerError(f"{type(frame).__name__} is no frame for this point")

    def _raft_message(self, peer: Peer, group: GroupId, message: Message) -> None:
        replica = self.groups.get(group)
        if replica is None:
            self._keep_early(peer.node_id, group, message)
            return
        if not peer.counts:
            if isinstance(message, (PreVote, PreVoteAnswer, RequestVote, VoteAnswer)):
                return
            if isinstance(message, AppendAnswer):
                message.counts = False
        replica.raft.step(peer.node_id, message)
        if isinstance(message, AppendAnswer):
            self.heartbeats.progressed(replica)
        self.rounds.touched(replica)

    def _keep_early(self, sender: NodeId, group: GroupId, message: Message) -> None:
        """Keep the last message of a group that the metadata has not told us of yet.

        What is not kept is asked for again: the next heartbeat answer names the group as missing.
        """
        size = 0
        if isinstance(message, AppendEntries):
            size = sum(entry.size for entry in message.entries)
        if size <= EARLY_BYTES_MAX and len(self._early) < EARLY_MESSAGES_MAX:
            self._early[group, sender] = message
        else:
            self.heartbeats.missed(sender, group)

    def peer_up(self, peer: Peer, lane: PeerLane) -> None:
        """A lane is new: tell the peer who leads what, probe what it holds."""
        if lane is PeerLane.CONTROL:
            self.heartbeats.connected(peer.node_id)
            led = [(group, term, self.node_id) for group, term in self.leaders.led_by(self.node_id)]
            peer.send(PeerLane.CONTROL, write_leaders(led))
            self._campaign_where_leaderless(peer)
        if peer.is_connected:
            for replica in self._led_with(peer.node_id):
                replica.raft.peer_reset(peer.node_id)
                self.rounds.touched(replica)

    def _campaign_where_leaderless(self, peer: Peer) -> None:
        """A voter more can be reached: groups that wait for a majority need not wait longer."""
        for replica in self.groups.all():
            if replica.raft.leader is None and peer.node_id in replica.node_ids:
                self.elections.leader_gone(replica, None)

    def peer_down(self, peer: Peer, lane: PeerLane) -> None:
        """A lane broke: without the control lane the process counts as gone."""
        if lane is PeerLane.CONTROL:
            self.heartbeats.disconnected(peer.node_id)
            self.elections.connection_broke(self.groups.all(), peer.node_id)
            self._lead_lost(peer.node_id)
            self.heartbeats.gone(peer.node_id)

    def _lead_lost(self, node: NodeId) -> None:
        """Groups that this node is no member of lost their leader as well."""
        now_s = self._loop.time()
        for group, term in self.leaders.led_by(node):
            if self.groups.get(group) is None:
                self.leaders.note(group, term, None, now_s=now_s)

    def _led_with(self, node: NodeId) -> list[Replica]:
        return [
            replica
            for replica in self.groups.all()
            if replica.raft.is_leader and node in replica.node_ids
        ]

    def disk_of(self, node: NodeId) -> DiskId | None:
        """Return the disk registered for `node`."""
        return self._owner.disk_of(node)

    # Silence

    def peer_silent(self, node: NodeId) -> None:
        """`node` was silent for the shortest election time-out."""
        log.warning("peer silent peer=%s", node)
        self.elections.fell_silent(self.groups.all(), node)
        self._lead_lost(node)

    def majority_silent(self, replica: Replica) -> None:
        """This node leads the group and hears no majority of it (CheckQuorum)."""
        log.warning(
            "majority lost group=%s term=%s effect=step down",
            replica.group.hex(),
            replica.raft.term,
        )
        replica.raft.quorum_lost()
        replica.machine.majority_lost()
        self.rounds.touched(replica)

    def claim_dropped(self, group: GroupId, node: NodeId) -> None:
        """`node` no longer says that it leads `group`."""
        replica = self.groups.get(group)
        if replica is not None and replica.raft.leader == node:
            self.elections.leader_gone(replica, node)

    def leader_missing(self, replica: Replica) -> None:
        """The group's leader is gone, as far as this node can tell."""
        raft = replica.raft
        self.leaders.note(replica.group, raft.term, raft.leader, now_s=self._loop.time())

    # Disk and end

    def disk_full(self, full: bool) -> None:
        """The journal's last write found the disk full, or did not."""
        self.space.write_ended(refused=full)

    def _room_changed(self, has_room: bool) -> None:
        """Without room for events this node leads nothing that another could lead."""
        if has_room:
            log.warning("disk has room again effect=events are accepted")
            return
        log.error("disk full effect=no events accepted, leaderships given up")
        self.give_up_leaderships()

    def give_up_leaderships(self) -> None:
        """Hand each led group to the follower that has most of its log and is alive."""
        for replica in self.groups.all():
            raft = replica.raft
            if not raft.is_leader:
                continue
            followers = [
                node
                for node in raft.voters
                if node != self.node_id and self.heartbeats.can_lead(node, replica.group)
            ]
            if followers:
                self.transfer(replica, max(followers, key=raft.follower_match))

    def transfer(self, replica: Replica, target: NodeId) -> None:
        """Hand the leadership of a group led here to `target`, if it takes over in time."""
        replica.raft.transfer(target)
        self.rounds.touched(replica)
        self._loop.call_later(TRANSFER_S, self._abort_transfer, replica)

    def _abort_transfer(self, replica: Replica) -> None:
        """Nobody took over in time: take proposals again."""
        if not replica.removed and replica.raft.is_transferring:
            replica.raft.abort_transfer()
            self.rounds.touched(replica)

    def dormant_groups(self) -> Sequence[RecoveredGroup]:
        """Return the groups that this node only keeps, ordered."""
        return self._owner.dormant_groups()

    def fail(self, error: BaseException) -> None:
        """End the process."""
        self._owner.fail(error)


def _after(entries: Sequence[Entry], start: Index) -> tuple[LogPosition, Sequence[Entry]]:
    """Split off the entry before `start`."""
    if start == 1:
        return LogPosition(), entries
    before = entries[0]
    assert before.index == start - 1
    position = LogPosition(
        index=before.index,
        term=before.term,
        next_offset=before.next_offset,
        log_time_ms=before.log_time_ms,
    )
    return position, entries[1:]
