"""What follows for this node's groups when another node comes, goes, falls silent or is heard.

Does not: detect anything (sessions and heartbeats do), or decide who campaigns when (elections).
"""

import asyncio
import logging
from collections.abc import Sequence
from typing import Protocol

from trimaran.broker.elections import Elections
from trimaran.broker.groups import GroupTable
from trimaran.broker.happenings import HappeningKind
from trimaran.broker.heartbeats import Heartbeats
from trimaran.broker.in_sync import InSync
from trimaran.broker.inbox import Inbox
from trimaran.broker.incidents import Cause
from trimaran.broker.leaders import LeaderTable
from trimaran.broker.observations import Observations
from trimaran.broker.peer_frames import Frame, PeerLane, write_behind, write_leaders
from trimaran.broker.peers import Peer
from trimaran.broker.replica import Replica
from trimaran.ids import DiskId, GroupId, NodeId, Term

log = logging.getLogger(__name__)


class Parts(Protocol):
    """The parts of the node that are told; all of them are there before a peer can be."""

    node_id: NodeId
    groups: GroupTable
    heartbeats: Heartbeats
    elections: Elections
    leaders: LeaderTable
    in_sync: InSync
    inbox: Inbox
    observations: Observations

    def touched(self, replica: Replica) -> None:
        """Something was put into the group's core."""

    def disk_of(self, node: NodeId) -> DiskId | None:
        """Return the disk registered for `node`."""

    def fail(self, error: BaseException) -> None:
        """End the process."""


class Reachability:
    """The owner of all peer sessions (`peers.PeersOwner`)."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._silenced: dict[NodeId, list[tuple[GroupId, Term]]] = {}
        """What silent nodes led of groups that this node is no member of."""
        self._noted_up: dict[NodeId, bool] = {}
        """Nodes last noted as there: going silent and then breaking is one happening."""
        self._loop = asyncio.get_running_loop()

    def peer_frames(self, peer: Peer, frames: Sequence[Frame]) -> None:
        """Handle frames in order."""
        self._parts.inbox.receive(peer, frames)

    def peer_up(self, peer: Peer, lane: PeerLane) -> None:
        """A lane is new: tell the peer who leads what, probe what it holds."""
        parts = self._parts
        if lane is PeerLane.CONTROL:
            parts.heartbeats.connected(peer.node_id)
            self._back(peer.node_id, "connected")
            parts.leaders.notify()
            own = parts.node_id
            led = [(group, term, own) for group, term in parts.leaders.led_by(own)]
            peer.send(PeerLane.CONTROL, write_leaders(led))
            peer.send(PeerLane.CONTROL, write_behind(parts.in_sync.led_facts()))
            self._campaign_where_leaderless(peer)
        if peer.is_connected:
            self.peer_counts(peer)

    def peer_counts(self, peer: Peer) -> None:
        """Probe what `peer` holds: what it said before was lost, or did not count."""
        for replica in self._parts.groups.all():
            if replica.raft.is_leader and peer.node_id in replica.node_ids:
                replica.raft.peer_reset(peer.node_id)
                self._parts.touched(replica)

    def peer_down(self, peer: Peer, lane: PeerLane) -> None:
        """A lane broke: without the control lane the process counts as gone."""
        parts = self._parts
        if lane is PeerLane.CONTROL:
            parts.inbox.forget_sender(peer.node_id)
            self._lost(peer.node_id, Cause.CONNECTION_BROKE)
            parts.heartbeats.disconnected(peer.node_id)
            parts.elections.connection_broke(parts.groups.all(), peer.node_id)
            self._lead_lost(peer.node_id)
            self._silenced.pop(peer.node_id, None)  # it announces itself when it comes back
            parts.heartbeats.gone(peer.node_id)
            parts.leaders.notify()

    def peer_silent(self, node: NodeId) -> None:
        """`node` was silent for the shortest election time-out."""
        log.warning("peer silent peer=%s", node)
        self._lost(node, Cause.SILENT)
        self._parts.inbox.forget_sender(node)
        self._parts.elections.fell_silent(self._parts.groups.all(), node)
        self._silenced[node] = self._lead_lost(node)
        self._parts.leaders.notify()

    def peer_heard(self, node: NodeId) -> None:
        """`node` is heard of again: clients are told that it is there, and what it still leads."""
        log.info("peer heard again peer=%s", node)
        self._back(node, "heard of again")
        for group, term in self._silenced.pop(node, ()):
            self._parts.leaders.note(group, term, node, now_s=self._loop.time())
        self._parts.leaders.notify()

    def disk_of(self, node: NodeId) -> DiskId | None:
        """Return the disk registered for `node`."""
        return self._parts.disk_of(node)

    def fail(self, error: BaseException) -> None:
        """End the process."""
        self._parts.fail(error)

    def _lost(self, node: NodeId, cause: Cause) -> None:
        """Note that `node` is gone, or counts as gone."""
        observations = self._parts.observations
        heard_ago_s = self._parts.heartbeats.heard_ago_s(node)
        observations.incidents.peer_lost(node, cause, heard_ago_s=heard_ago_s)
        text = "its connection broke" if cause is Cause.CONNECTION_BROKE else "it fell silent"
        if self._noted_up.pop(node, False):
            observations.happenings.add(HappeningKind.NODE_DOWN, node=node, text=text)

    def _back(self, node: NodeId, text: str) -> None:
        """Note that `node` is there again."""
        observations = self._parts.observations
        observations.incidents.peer_back(node)
        if not self._noted_up.get(node, False):
            self._noted_up[node] = True
            observations.happenings.add(HappeningKind.NODE_UP, node=node, text=text)

    def _campaign_where_leaderless(self, peer: Peer) -> None:
        """A voter more can be reached: groups that wait for a majority need not wait longer."""
        for replica in self._parts.groups.all():
            if replica.raft.leader is None and peer.node_id in replica.node_ids:
                self._parts.elections.leader_gone(replica, None)

    def _lead_lost(self, node: NodeId) -> list[tuple[GroupId, Term]]:
        """Groups that this node is no member of lost their leader as well: return which."""
        now_s = self._loop.time()
        groups = self._parts.groups
        lost = [led for led in self._parts.leaders.led_by(node) if groups.get(led[0]) is None]
        for group, term in lost:
            self._parts.leaders.note(group, term, None, now_s=now_s)
        return lost
