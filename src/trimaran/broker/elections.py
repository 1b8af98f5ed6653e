"""When this node campaigns for a group (design D7). How votes are counted is the core's business.

A broken control connection: the leader's process is gone; campaign after rank x 20 ms, so that the
first in line usually meets nobody. Silence: campaign at a random moment before the longest election
time-out. No success: again after a random pause. A new group: its preferred replica at once. A
group without other voters: at once, there is nobody to wait for.

Invariants: at most one timer per group, none for a group that has a leader.
Does not: know votes, or detect anything itself.
"""

import asyncio
from collections.abc import Iterable
from typing import Protocol

from trimaran.broker.ports import Chance
from trimaran.broker.replica import Replica
from trimaran.config import ReplicationSection
from trimaran.ids import GroupId, NodeId
from trimaran.metadata.placement import election_rank

NEW_S = 15.0
"""For so long after its start a node lets those go first that have run for longer."""
YOUTH_RANKS = 2.0
"""By so many ranks for each replica when it has just started; by none after NEW_S."""


class ElectionsOwner(Protocol):
    """Where an election takes place."""

    def touched(self, replica: Replica) -> None:
        """Something was put into the group's core."""

    def leader_missing(self, replica: Replica) -> None:
        """The group's leader is gone, as far as this node can tell."""


class Elections:
    """The campaign timers of this node."""

    def __init__(
        self,
        *,
        owner: ElectionsOwner,
        node_id: NodeId,
        chance: Chance,
        settings: ReplicationSection,
    ) -> None:
        """Nobody campaigns before a group is without a leader."""
        self._owner = owner
        self._node_id = node_id
        self._chance = chance
        self._rank_delay_s = settings.rank_delay_ms / 1000
        self._timeout_min_s = settings.election_timeout_min_ms / 1000
        self._timeout_max_s = settings.election_timeout_max_ms / 1000
        self._loop = asyncio.get_running_loop()
        self._started_s = self._loop.time()
        self._timers: dict[GroupId, asyncio.TimerHandle] = {}

    def connection_broke(self, replicas: Iterable[Replica], node: NodeId) -> None:
        """The process of `node` is gone: replace it wherever it led."""
        for replica in replicas:
            if replica.raft.leader == node:
                self._forget(replica)
                rank = self._rank(replica, node) + self._youth(replica)
                self._schedule(replica, rank * self._rank_delay_s)

    def fell_silent(self, replicas: Iterable[Replica], node: NodeId) -> None:
        """`node` was not heard of for the shortest time-out: campaign before the longest."""
        for replica in replicas:
            if replica.raft.leader == node:
                self._forget(replica)
                spread = self._timeout_max_s - self._timeout_min_s
                self._schedule(replica, self._chance.uniform(0.0, spread))

    def leader_gone(self, replica: Replica, node: NodeId | None) -> None:
        """The group's leader gave up or is no leader any more, while its process lives."""
        self._forget(replica)
        self._schedule(replica, self._rank(replica, node) * self._rank_delay_s)

    def group_added(self, replica: Replica, *, is_new: bool) -> None:
        """A group without leader began here, or was found: who is first campaigns at once.

        First is a new group's preferred replica, and whoever has a group for itself.
        """
        rank = replica.node_ids.index(self._node_id) if self._node_id in replica.node_ids else 0
        if rank == 0 and (is_new or len(replica.node_ids) == 1):
            self._campaign(replica)
        elif is_new:
            self._schedule(replica, self._retry_s() + rank * self._rank_delay_s)
        else:
            self.role_changed(replica)

    def role_changed(self, replica: Replica) -> None:
        """Keep a timer exactly while the group has no leader."""
        if replica.raft.leader is not None:
            self.forget(replica.group)
        elif replica.group not in self._timers:
            self._schedule(replica, self._retry_s())

    def forget(self, group: GroupId) -> None:
        """Drop the group's timer."""
        timer = self._timers.pop(group, None)
        if timer is not None:
            timer.cancel()

    def stop(self) -> None:
        """Drop all timers."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()

    def _forget(self, replica: Replica) -> None:
        replica.raft.forget_leader()
        self._owner.leader_missing(replica)
        self._owner.touched(replica)

    def _rank(self, replica: Replica, lost: NodeId | None) -> int:
        return election_rank(replica.group, replica.node_ids, node=self._node_id, lost_leader=lost)

    def _youth(self, replica: Replica) -> float:
        """Ranks by which this node lets others go first, the more the later it started.

        Clients that saw it die still pause before they connect to it again, up to ten seconds. Of
        two that died one after the other it is the first that they are likelier to have come back
        to.
        """
        age_s = self._loop.time() - self._started_s
        return YOUTH_RANKS * len(replica.node_ids) * max(0.0, 1.0 - age_s / NEW_S)

    def _retry_s(self) -> float:
        return self._chance.uniform(self._timeout_min_s / 3, self._timeout_min_s)

    def _schedule(self, replica: Replica, delay_s: float) -> None:
        self.forget(replica.group)
        if delay_s <= 0.0:
            self._campaign(replica)
        else:
            self._timers[replica.group] = self._loop.call_later(delay_s, self._campaign, replica)

    def _campaign(self, replica: Replica) -> None:
        self.forget(replica.group)
        if replica.removed or replica.raft.leader is not None:
            return
        replica.raft.campaign()
        self._owner.touched(replica)
        self._timers[replica.group] = self._loop.call_later(
            self._retry_s(), self._campaign, replica
        )
