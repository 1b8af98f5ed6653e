"""The two lanes to a peer: neither outlives what the other knows."""

import asyncio
from dataclasses import replace

import pytest

from trimaran.broker.peer_frames import Hello, PeerLane
from trimaran.broker.peer_session import PeerSession
from trimaran.broker.peers import Peers, _Dialed
from trimaran.config import PeerAddress
from trimaran.errors import PeerError
from trimaran.ids import BootId, ClusterId, DiskId, GroupId, Index, NodeId, Term
from trimaran.raft.messages import AppendEntries

OWN = Hello(
    lane=PeerLane.CONTROL,
    node_id=NodeId(1),
    boot_id=BootId(1),
    disk_id=DiskId(bytes(16)),
    cluster_id=ClusterId("c" * 22),
)
GROUP = GroupId(bytes(20))
OTHER = replace(OWN, node_id=NodeId(2), boot_id=BootId(7))


class Session:
    """An admitted session, as far as Peers sees it."""

    def __init__(self, hello):
        self.hello = hello
        self.aborted = False
        self.is_choked = False

    def abort(self):
        self.aborted = True


class Owner:
    def __init__(self):
        self.events = []
        self.counted = []

    def peer_up(self, peer, lane):
        self.events.append(("up", lane))

    def peer_down(self, peer, lane):
        self.events.append(("down", lane))

    def peer_counts(self, peer):
        self.counted.append(peer.node_id)

    def peer_frames(self, peer, frames):
        raise AssertionError("no frames here")

    def disk_of(self, node):
        return None

    def fail(self, error):
        raise error


def peers_of(owner):
    addresses = [PeerAddress(id=number, host="h", peer_port=number) for number in (1, 2)]
    return Peers(owner=owner, network=None, tasks=None, hello=OWN, addresses=addresses)


def admitted(peers, hello):
    session = Session(hello)
    peers.admit(session, hello)
    return session


@pytest.mark.asyncio
async def test_bulk_is_closed_before_a_broken_control_lane_is_told():
    owner = Owner()
    peers = peers_of(owner)
    control = admitted(peers, OTHER)
    bulk = admitted(peers, replace(OTHER, lane=PeerLane.BULK))

    peers.lost(control)

    assert bulk.aborted
    assert owner.events == [("down", PeerLane.BULK), ("down", PeerLane.CONTROL)]
    assert peers.peers[NodeId(2)].sessions == {}


@pytest.mark.asyncio
async def test_control_lives_on_without_bulk():
    owner = Owner()
    peers = peers_of(owner)
    control = admitted(peers, OTHER)
    bulk = admitted(peers, replace(OTHER, lane=PeerLane.BULK))

    peers.lost(bulk)

    assert not control.aborted
    assert owner.events == [("down", PeerLane.BULK)]


@pytest.mark.asyncio
async def test_a_peer_in_a_new_life_ends_what_is_left_of_the_old_one():
    owner = Owner()
    peers = peers_of(owner)
    old_control = admitted(peers, OTHER)
    old_bulk = admitted(peers, replace(OTHER, lane=PeerLane.BULK))
    await asyncio.sleep(0)
    owner.events.clear()

    admitted(peers, replace(OTHER, boot_id=BootId(8)))
    await asyncio.sleep(0)

    assert (old_control.aborted, old_bulk.aborted) == (True, True)
    down = [("down", PeerLane.CONTROL), ("down", PeerLane.BULK)]
    assert owner.events == [*down, ("up", PeerLane.CONTROL)]


@pytest.mark.asyncio
@pytest.mark.parametrize("boot_id", [None, BootId(7), BootId(8)])
async def test_no_data_is_taken_from_a_node_whose_signs_of_life_are_not_heard(boot_id):
    """Its entries would make it a leader whose silence nobody notices."""
    peers = peers_of(Owner())
    if boot_id is not None:
        control = admitted(peers, replace(OTHER, boot_id=boot_id))
        if boot_id == OTHER.boot_id:
            peers.lost(control)

    with pytest.raises(PeerError, match="no control lane here"):
        admitted(peers, replace(OTHER, lane=PeerLane.BULK))

    assert PeerLane.BULK not in peers.peers[NodeId(2)].sessions


@pytest.mark.asyncio
async def test_the_data_lane_is_dialed_once_the_control_lane_is_there():
    peers = peers_of(Owner())
    peer = peers.peers[NodeId(2)]
    assert not peer.control_up.is_set()

    control = admitted(peers, OTHER)
    assert peer.control_up.is_set()

    peers.lost(control)
    assert not peer.control_up.is_set()


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("hello", "reason"),
    [
        (replace(OTHER, cluster_id=ClusterId("d" * 22)), "belongs to cluster"),
        (replace(OTHER, node_id=NodeId(9)), "not in cluster.nodes"),
    ],
    ids=["another cluster", "unknown node id"],
)
async def test_strangers_are_refused_with_the_reason(hello, reason):
    peers = peers_of(Owner())

    with pytest.raises(PeerError, match=reason):
        peers.admit(Session(hello), hello)


@pytest.mark.asyncio
async def test_entries_for_a_choked_connection_are_dropped_and_probed_for_when_it_drained():
    """Else what waits for a slow peer grows with the number of groups."""
    owner = Owner()
    peers = peers_of(owner)
    admitted(peers, OTHER)
    bulk = admitted(peers, replace(OTHER, lane=PeerLane.BULK))
    peer = peers.peers[NodeId(2)]
    entries = AppendEntries(Term(1), Index(0), Term(0), Index(0), [])

    peer.queue(GROUP, entries)
    bulk.is_choked = True
    peer.queue(GROUP, entries)
    assert len(peer.bulk_out) == 1

    bulk.is_choked = False
    peers.drained(bulk)
    assert owner.counted == [NodeId(2)]
    peer.queue(GROUP, entries)
    assert len(peer.bulk_out) == 2
    peers.drained(Session(OTHER))
    assert owner.counted == [NodeId(2)], "a connection of before says nothing"


@pytest.mark.asyncio
async def test_a_dialed_connection_is_choked_like_an_accepted_one():
    session = PeerSession(peers_of(Owner()), PeerLane.BULK)
    dialed = _Dialed(session, asyncio.get_running_loop().create_future())

    dialed.pause_writing()
    assert session.is_choked
    dialed.resume_writing()
    assert not session.is_choked
