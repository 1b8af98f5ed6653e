"""The other nodes: two connections to each, kept up; what goes out in a turn leaves as one frame.

The node with the lower id dials. Two lanes: CONTROL carries heartbeats, votes, answers and
announcements; BULK carries entries, so that a sign of life never waits behind data.
A lane never outlives its other: without control bulk is closed and none is admitted (entries would
revive a leader whose silence nobody notices), and a peer that comes back in a new life closes what
is left of the old one.
Does not: decide who is alive (heartbeats) or who leads (elections).
"""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Protocol

from trimaran.broker.observations import Observations
from trimaran.broker.peer_frames import Frame, Hello, PeerLane, write_messages
from trimaran.broker.peer_session import PeerSession
from trimaran.broker.ports import Network
from trimaran.broker.tasks import Tasks
from trimaran.config import PeerAddress
from trimaran.errors import PeerError
from trimaran.ids import BootId, ClusterId, DiskId, GroupId, NodeId
from trimaran.raft.messages import AppendEntries, InstallBoundary, Message

log = logging.getLogger(__name__)

REDIAL_S = 0.05
"""Pause between attempts to reach a node that does not answer."""
GREETING_S = 2.0
"""A connection that was not admitted after this time is closed."""


class PeersOwner(Protocol):
    """What the node does with what its peers say."""

    def peer_frames(self, peer: "Peer", frames: Sequence[Frame]) -> None:
        """Handle frames of an admitted session. Raises PeerError to close it."""

    def peer_up(self, peer: "Peer", lane: PeerLane) -> None:
        """A lane to `peer` was established (again)."""

    def peer_down(self, peer: "Peer", lane: PeerLane) -> None:
        """A lane to `peer` broke."""

    def peer_counts(self, peer: "Peer") -> None:
        """What was sent to `peer` before was dropped, or what it said did not count."""

    def disk_of(self, node: NodeId) -> DiskId | None:
        """Return the disk id registered for `node`, None if none is known yet."""

    def fail(self, error: BaseException) -> None:
        """End the process."""


class Peer:
    """One other node."""

    __slots__ = (
        "address",
        "boot_id",
        "bulk_out",
        "control_out",
        "control_up",
        "counts",
        "node_id",
        "sessions",
    )

    def __init__(self, node_id: NodeId, address: PeerAddress) -> None:
        self.node_id = node_id
        self.address = address
        self.sessions: dict[PeerLane, PeerSession] = {}
        self.boot_id: BootId | None = None
        self.control_up = asyncio.Event()
        """Set while the control lane is there: before that nobody dials the other."""
        self.counts = True
        """False while it speaks from a disk that is not the registered one: no vote, no ack."""
        self.control_out: list[tuple[GroupId, Message]] = []
        self.bulk_out: list[tuple[GroupId, Message]] = []

    @property
    def is_connected(self) -> bool:
        """Whether both lanes are up."""
        return len(self.sessions) == len(PeerLane)

    def queue(self, group: GroupId, message: Message) -> None:
        """Add a Raft message to what `flush` sends; dropped while its lane is down or choked."""
        if isinstance(message, (AppendEntries, InstallBoundary)):
            session = self.sessions.get(PeerLane.BULK)
            if session is not None and not session.is_choked:
                self.bulk_out.append((group, message))
        elif PeerLane.CONTROL in self.sessions:
            self.control_out.append((group, message))

    def flush(self) -> None:
        """Send what was queued: at most one frame a lane."""
        if self.control_out:
            self.send(PeerLane.CONTROL, write_messages(self.control_out))
            self.control_out = []
        if self.bulk_out:
            self.send(PeerLane.BULK, write_messages(self.bulk_out))
            self.bulk_out = []

    def abort(self) -> None:
        """Close both lanes at once, without sending what is queued."""
        for session in list(self.sessions.values()):
            session.abort()

    def send(self, lane: PeerLane, buffers: list[bytes | memoryview]) -> None:
        """Send one frame; dropped while the lane is down."""
        session = self.sessions.get(lane)
        if session is not None:
            session.send(buffers)


class Peers:
    """All other nodes, and the sessions to them."""

    def __init__(
        self,
        *,
        owner: PeersOwner,
        network: Network,
        tasks: Tasks,
        hello: Hello,
        addresses: Sequence[PeerAddress],
        accepts_disks: bool = False,
        observations: Observations | None = None,
    ) -> None:
        """`hello` is this node's greeting on either lane; `addresses` holds all nodes'.

        `accepts_disks`: a disk that is not the registered one counts as soon as it says so of
        itself (forced recovery: nobody is left to register it).
        """
        self._accepts_disks = accepts_disks
        self._counters = (observations or Observations.apart()).counters
        self._owner = owner
        self._network = network
        self._tasks = tasks
        self._own = hello
        self._closing = False
        others = [address for address in addresses if address.id != hello.node_id]
        self.peers = {address.id: Peer(address.id, address) for address in others}

    def dial_all(self) -> None:
        """Start to connect to every node that it is ours to dial."""
        for peer in self.peers.values():
            if self._own.node_id < peer.node_id:
                for lane in PeerLane:
                    self._tasks.spawn(self._dial(peer, lane), name=f"dial-{peer.node_id}")

    def accept(self) -> PeerSession:
        """Return the protocol of an accepted connection."""
        session = PeerSession(self, None)
        asyncio.get_running_loop().call_later(GREETING_S, _close_unless_admitted, session)
        return session

    def flush(self) -> None:
        """Send what this turn queued."""
        for peer in self.peers.values():
            peer.flush()

    def close(self) -> None:
        """Close every session and dial no more."""
        self._closing = True
        for peer in self.peers.values():
            for session in list(peer.sessions.values()):
                session.close()

    def own_hello(self, lane: PeerLane) -> Hello:
        """Return how this node introduces itself on `lane`."""
        return replace(self._own, lane=lane)

    def admit(self, session: PeerSession, hello: Hello) -> None:
        """Take a greeted session up, in the place of an older one.

        Raises:
            PeerError: another cluster, an unknown node, our own id, or data from a node whose
                signs of life would not be heard.
        """
        self._check(hello.cluster_id, hello.node_id)
        peer = self.peers[hello.node_id]
        is_same_life = PeerLane.CONTROL in peer.sessions and peer.boot_id == hello.boot_id
        if hello.lane is PeerLane.BULK and not is_same_life:
            raise PeerError(f"node {hello.node_id} has no control lane here: that one comes first")
        self._judge_disk(peer, hello)
        for lane in PeerLane:
            if lane is hello.lane or peer.boot_id != hello.boot_id:
                self._drop(peer, lane)
        peer.boot_id = hello.boot_id
        peer.sessions[hello.lane] = session
        if hello.lane is PeerLane.CONTROL:
            peer.control_up.set()
        session.counters = self._counters.peer(peer.node_id)
        session.counters.connections += 1
        asyncio.get_running_loop().call_soon(self._up, peer, hello.lane, session)

    def check_disks(self) -> None:
        """Judge by what is registered now: a peer may have been here before its registration."""
        for peer in self.peers.values():
            for session in peer.sessions.values():
                assert session.hello is not None
                self._judge_disk(peer, session.hello)

    def _judge_disk(self, peer: Peer, hello: Hello) -> None:
        known = self._owner.disk_of(peer.node_id)
        is_known = known is None or known == hello.disk_id
        counted, peer.counts = peer.counts, is_known or self._accepts_disks
        if counted and not peer.counts:
            log.warning("peer speaks from another disk peer=%s effect=no vote", peer.node_id)
        elif not counted and peer.counts and peer.is_connected:
            self._owner.peer_counts(peer)

    def _up(self, peer: Peer, lane: PeerLane, session: PeerSession) -> None:
        if peer.sessions.get(lane) is session:
            log.info("peer connected peer=%s lane=%s", peer.node_id, lane.name.lower())
            self._owner.peer_up(peer, lane)

    def received(self, session: PeerSession, frames: Sequence[Frame]) -> None:
        """Hand frames of a current session to the node; those of a replaced one are dropped."""
        assert session.hello is not None
        peer = self.peers[session.hello.node_id]
        if peer.sessions.get(session.hello.lane) is session:
            self._owner.peer_frames(peer, frames)

    def drained(self, session: PeerSession) -> None:
        """Send again what was dropped while the session was choked."""
        hello = session.hello
        if hello is not None and self.peers[hello.node_id].sessions.get(hello.lane) is session:
            self._owner.peer_counts(self.peers[hello.node_id])

    def lost(self, session: PeerSession) -> None:
        """Forget the session; dial again if it is ours to dial."""
        hello = session.hello
        if hello is None:
            return
        peer = self.peers[hello.node_id]
        if peer.sessions.get(hello.lane) is not session:
            return
        if hello.lane is PeerLane.CONTROL:
            # Bulk first: an entry still under way there must not revive a leader that is gone.
            self._drop(peer, PeerLane.BULK)
        self._drop(peer, hello.lane)

    def _drop(self, peer: Peer, lane: PeerLane) -> None:
        """End a lane, if it is up, with what was queued for it."""
        session = peer.sessions.pop(lane, None)
        if session is None:
            return
        if lane is PeerLane.CONTROL:
            peer.control_up.clear()
        session.abort()
        out = peer.control_out if lane is PeerLane.CONTROL else peer.bulk_out
        out.clear()
        log.info("peer disconnected peer=%s lane=%s", peer.node_id, lane.name.lower())
        if not self._closing:
            self._owner.peer_down(peer, lane)

    def fail(self, error: BaseException) -> None:
        """End the process."""
        self._owner.fail(error)

    def _check(self, cluster: ClusterId, node: NodeId) -> None:
        if cluster != self._own.cluster_id:
            raise PeerError(
                f"node {node} belongs to cluster {cluster}; this is cluster {self._own.cluster_id}"
            )
        if node not in self.peers:
            known = ", ".join(str(known) for known in self.peers)
            raise PeerError(f"node id {node} is not in cluster.nodes here; expected one of {known}")

    async def _dial(self, peer: Peer, lane: PeerLane) -> None:
        """Keep one lane to `peer` up."""
        while not self._closing:
            if lane is PeerLane.BULK:
                await peer.control_up.wait()
            session = PeerSession(self, lane)
            closed = asyncio.get_running_loop().create_future()
            dialed = _Dialed(session, closed)
            try:
                await self._network.connect(
                    peer.address.host, peer.address.peer_port, partial(_itself, dialed)
                )
            except OSError:
                await asyncio.sleep(REDIAL_S)
                continue
            asyncio.get_running_loop().call_later(GREETING_S, _close_unless_admitted, session)
            await closed
            if session.hello is None:
                await asyncio.sleep(REDIAL_S)


class _Dialed(asyncio.Protocol):
    """Forwards to a session and tells its dialer when the connection ended."""

    def __init__(self, session: PeerSession, closed: "asyncio.Future[None]") -> None:
        self._session = session
        self._closed = closed
        self.data_received = session.data_received  # type: ignore[method-assign]
        self.pause_writing = session.pause_writing  # type: ignore[method-assign]
        self.resume_writing = session.resume_writing  # type: ignore[method-assign]

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._session.connection_made(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._session.connection_lost(exc)
        if not self._closed.done():
            self._closed.set_result(None)


def _itself(dialed: _Dialed) -> asyncio.Protocol:
    return dialed


def _close_unless_admitted(session: PeerSession) -> None:
    if session.hello is None:
        session.close()
