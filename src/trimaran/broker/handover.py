"""Handing leaderships to other nodes: at a stop, on a full disk, and to bring them home.

After a node died and came back, others lead what it led. Once things have been calm for a while its
groups are handed back to it, their preferred (first) replica, a few at a time: a hand-over costs
clients a retry of about 100 ms.
Does not: hand anything to a node that is not alive, whole and following.
"""

import asyncio
from collections.abc import Callable

from trimaran.broker.groups import GroupTable
from trimaran.broker.heartbeats import Heartbeats
from trimaran.broker.replica import Replica
from trimaran.ids import NodeId

TRANSFER_S = 0.3
"""A follower that has not taken over leadership by then does not."""
LOOK_S = 5.0
"""How often preferred leaders are looked for."""
CALM_S = 30.0
"""How long this node must have led a group, and the other been heard of, before a hand-over."""
HANDOVERS_MAX = 20
"""Groups handed back at a time."""


class Handover:
    """Moves leaderships away from this node."""

    def __init__(
        self,
        *,
        node_id: NodeId,
        heartbeats: Heartbeats,
        groups: GroupTable,
        has_room: Callable[[], bool],
        touched: Callable[[Replica], None],
    ) -> None:
        """`has_room`: whether this node can take events.

        `touched` is called with each group whose core was told something.
        """
        self._has_room = has_room
        self._node_id = node_id
        self._heartbeats = heartbeats
        self._groups = groups
        self._touched = touched
        self._loop = asyncio.get_running_loop()

    def give_up_all(self) -> None:
        """Hand each led group to the follower that has most of its log and could lead."""
        for replica in self._groups.all():
            raft = replica.raft
            if not raft.is_leader:
                continue
            followers = [
                node
                for node in raft.voters
                if node != self._node_id and self._heartbeats.can_lead(node, replica.group)
            ]
            if followers:
                self._transfer(replica, max(followers, key=raft.follower_match))

    async def run(self) -> None:
        """Bring leaderships home, for ever; without room for events, keep none."""
        while True:
            await asyncio.sleep(LOOK_S)
            if self._has_room():
                self.bring_home()
            else:
                self.give_up_all()

    def hand_over(self, replica: Replica, target: NodeId) -> bool:
        """Hand a led group to `target` now; False if that node could not lead it yet."""
        raft = replica.raft
        if not raft.is_leader or not self._heartbeats.can_lead(target, replica.group):
            return False
        if raft.follower_match(target) < raft.commit_index:
            return False  # it would take longer than a hand-over may
        if not raft.is_transferring:
            self._transfer(replica, target)
        return True

    def bring_home(self) -> None:
        """Hand what another should lead to it, up to HANDOVERS_MAX groups."""
        due = [replica for replica in self._groups.all() if self._is_due(replica)]
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

    def _transfer(self, replica: Replica, target: NodeId) -> None:
        replica.raft.transfer(target)
        self._touched(replica)
        self._loop.call_later(TRANSFER_S, self._abort, replica)

    def _abort(self, replica: Replica) -> None:
        """Nobody took over in time: take proposals again."""
        if not replica.removed and replica.raft.is_transferring:
            replica.raft.abort_transfer()
            self._touched(replica)
