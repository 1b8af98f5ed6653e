"""Questions to other nodes about stored logs: one frame there, one frame back, on the bulk lane.

Does not: know what is asked, or try again.
"""

import asyncio
from collections.abc import Mapping

from trimaran.broker.peer_frames import PeerLane, write_repair_ask
from trimaran.broker.peers import Peer
from trimaran.broker.repair_frames import RepairAnswer, RepairAsk, RepairKind
from trimaran.ids import BootId, GroupId, NodeId

ANSWER_S = 5.0
"""A question that was not answered by then is not answered any more."""


class Asking:
    """This node's open questions."""

    def __init__(self, peers: Mapping[NodeId, Peer], *, boot_id: BootId) -> None:
        """`peers` are all other nodes.

        Numbers begin anywhere (by `boot_id`): an answer to a question of an earlier life of this
        node, which only names the number, is not taken for that to another question.
        """
        self._peers = peers
        self._open: dict[int, tuple[NodeId, asyncio.Future[RepairAnswer]]] = {}
        self._number = boot_id >> 1

    def can_ask(self, node: NodeId) -> bool:
        """Whether there is a way to `node` now."""
        peer = self._peers.get(node)
        return peer is not None and PeerLane.BULK in peer.sessions

    async def ask(
        self,
        node: NodeId,
        kind: RepairKind,
        group: GroupId,
        *,
        start: int = 0,
        count: int = 0,
        name: str = "",
    ) -> bytes | None:
        """Return the body of the answer; None if `node` has not what was asked for, or is silent.

        `start`, `count` and `name` as in `repair_frames`.
        """
        if not self.can_ask(node):
            return None
        self._number += 1
        request = self._number
        answered: asyncio.Future[RepairAnswer] = asyncio.get_running_loop().create_future()
        self._open[request] = (node, answered)
        ask = RepairAsk(
            request=request, kind=kind, group=group, start=start, count=count, name=name
        )
        try:
            self._peers[node].send(PeerLane.BULK, write_repair_ask(ask))
            async with asyncio.timeout(ANSWER_S):
                answer = await answered
        except TimeoutError:
            return None
        finally:
            del self._open[request]
        return answer.body if answer.found else None

    def receive(self, peer: Peer, answer: RepairAnswer) -> None:
        """`peer` answers; what nobody waits for any more is dropped."""
        node, answered = self._open.get(answer.request, (None, None))
        if answered is not None and node == peer.node_id and not answered.done():
            answered.set_result(answer)
