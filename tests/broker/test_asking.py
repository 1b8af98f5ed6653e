"""Questions to other nodes: each gets its own answer or none."""

import asyncio

import pytest

from trimaran.broker.asking import Asking
from trimaran.broker.peer_frames import FrameBuffer, PeerLane, read_frame
from trimaran.broker.repair_frames import RepairAnswer, RepairKind
from trimaran.ids import BootId, GroupId, NodeId

OTHER = NodeId(2)
GROUP = GroupId(b"g" * 20)


class FakePeer:
    """Keeps the questions it is asked."""

    def __init__(self):
        self.node_id = OTHER
        self.sessions = {PeerLane.BULK: object()}
        self.asked = []

    def send(self, lane, buffers):
        assert lane is PeerLane.BULK
        self.asked += map(read_frame, FrameBuffer().feed(b"".join(map(bytes, buffers))))


async def ask_in_a_life(peer, boot_id):
    """Ask one question in a life of this node; return who asks and what comes of it."""
    asking = Asking({OTHER: peer}, boot_id=BootId(boot_id))
    answer = asyncio.ensure_future(asking.ask(OTHER, RepairKind.MANIFEST, GROUP))
    await asyncio.sleep(0)
    return asking, answer


@pytest.mark.asyncio
async def test_an_answer_to_the_life_before_is_no_answer():
    """The other node was slow; both lives asked it once, something else."""
    peer = FakePeer()
    _, unanswered = await ask_in_a_life(peer, 2**64 - 1)
    asking, answer = await ask_in_a_life(peer, 2**63 + 7)
    before, now = peer.asked

    late = RepairAnswer(request=before.request, found=True, body=b"of another file")
    asking.receive(peer, late)
    await asyncio.sleep(0)
    assert not answer.done()

    asking.receive(peer, RepairAnswer(request=now.request, found=True, body=b"what was asked for"))
    assert await answer == b"what was asked for"
    unanswered.cancel()
