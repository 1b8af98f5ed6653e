"""Who leads when: without room for events a node keeps no leadership that another could have."""

import asyncio
from types import SimpleNamespace

import pytest

from trimaran.broker import handover
from trimaran.broker.handover import Handover
from trimaran.ids import Index, NodeId

NODE = NodeId(1)
OTHER = NodeId(2)


@pytest.mark.asyncio
async def test_a_node_without_room_gives_up_what_it_was_elected_to_lead_since(monkeypatch):
    monkeypatch.setattr(handover, "LOOK_S", 0.0)
    given_up = asyncio.Event()
    raft = SimpleNamespace(
        is_leader=True,
        is_transferring=False,
        voters=(NODE, OTHER),
        follower_match=lambda node: Index(0),
        transfer=lambda target: given_up.set(),
        abort_transfer=lambda: None,
    )
    replica = SimpleNamespace(
        group=b"", raft=raft, node_ids=(NODE, OTHER), leader_since_s=0.0, removed=False
    )
    subject = Handover(
        node_id=NODE,
        heartbeats=SimpleNamespace(can_lead=lambda node, group: True),
        groups=SimpleNamespace(all=lambda: (replica,)),
        has_room=lambda: False,
        touched=lambda replica: None,
    )

    task = asyncio.create_task(subject.run())
    async with asyncio.timeout(5):
        await given_up.wait()

    assert not task.done()
    task.cancel()
