"""What follows from silence, and what is taken back when it ends."""

from types import SimpleNamespace

import pytest

from trimaran.broker.groups import GroupTable
from trimaran.broker.leaders import LeaderTable
from trimaran.broker.observations import Observations
from trimaran.broker.reachability import Reachability
from trimaran.ids import GroupId, NodeId, Term

OTHER = NodeId(2)
THIRD = NodeId(3)
GROUP = GroupId(bytes(19) + b"\x07")


def bench():
    """Return a node without groups of its own that knows who leads one, and its leader table."""
    leaders = LeaderTable()
    leaders.note(GROUP, Term(3), OTHER, now_s=0.0)
    parts = SimpleNamespace(
        node_id=NodeId(1),
        groups=GroupTable(),
        elections=SimpleNamespace(fell_silent=lambda replicas, node: None),
        inbox=SimpleNamespace(forget_sender=lambda node: None),
        heartbeats=SimpleNamespace(heard_ago_s=lambda node: 0.15),
        observations=Observations.apart(),
        leaders=leaders,
    )
    return Reachability(parts), leaders


@pytest.mark.asyncio
async def test_a_leader_heard_again_after_a_silence_is_named_to_clients_again():
    reachability, leaders = bench()

    reachability.peer_silent(OTHER)
    assert leaders.hint(GROUP) == (None, 3)
    reachability.peer_heard(OTHER)

    assert leaders.hint(GROUP) == (OTHER, 3)


@pytest.mark.asyncio
async def test_a_leader_heard_again_does_not_take_the_place_of_its_successor():
    reachability, leaders = bench()

    reachability.peer_silent(OTHER)
    leaders.note(GROUP, Term(4), THIRD, now_s=1.0)
    reachability.peer_heard(OTHER)

    assert leaders.hint(GROUP) == (THIRD, 4)
