"""Brings leadership back to each group's preferred replica, its first one.

After a node died and came back, others lead what it led. Once things have been calm for a while its
groups are handed back, a few at a time: a hand-over costs clients a retry of about 100 ms.
Does not: hand anything to a node that is not alive and caught up.
"""

import asyncio
from collections.abc import Callable, Sequence

from trimaran.broker.heartbeats import Heartbeats
from trimaran.broker.replica import Replica
from trimaran.ids import NodeId

LOOK_S = 5.0
"""How often leaderships are looked at."""
CALM_S = 30.0
"""How long this node must have led a group, and the other been heard of, before a hand-over."""
HANDOVERS_MAX = 20
"""Groups handed over at a time."""


class Balance:
    """Hands leaderships to preferred replicas."""

    def __init__(
        self,
        *,
        node_id: NodeId,
        heartbeats: Heartbeats,
        replicas: Callable[[], Sequence[Replica]],
        transfer: Callable[[Replica, NodeId], None],
    ) -> None:
        """`replicas` returns this node's groups, `transfer` starts a hand-over."""
        self._node_id = node_id
        self._heartbeats = heartbeats
        self._replicas = replicas
        self._transfer = transfer
        self._loop = asyncio.get_running_loop()

    async def run(self) -> None:
        """Look for ever."""
        while True:
            await asyncio.sleep(LOOK_S)
            self.look()

    def look(self) -> None:
        """Hand over what should be led elsewhere, up to HANDOVERS_MAX groups."""
        due = [replica for replica in self._replicas() if self._is_due(replica)]
        for replica in due[:HANDOVERS_MAX]:
            self._transfer(replica, replica.node_ids[0])

    def _is_due(self, replica: Replica) -> bool:
        preferred = replica.node_ids[0]
        raft = replica.raft
        return (
            raft.is_leader
            and preferred != self._node_id
            and not raft.is_transferring
            and self._loop.time() - replica.leader_since_s > CALM_S
            and self._heartbeats.alive_for_s(preferred) > CALM_S
            and self._heartbeats.can_lead(preferred, replica.group)
            and raft.follower_match(preferred) >= raft.commit_index
        )
