"""How far behind the groups are that this node coordinates, looked at every few seconds.

The node's history and `/metrics` tell it from then on, whether or not anybody has a page open. It
is asked for as the REST API does, so that all of them say the same, and takes a bounded part of the
time: a look at much is followed by a long rest, but never by one that hides a fall behind. What it
costs is counted, not timed: in a failover a look is long because it waits, and costs nothing.
Does not: know how lag is found (`grouping` does).
"""

import asyncio
import logging
from collections.abc import Mapping
from typing import NamedTuple

from trimaran.errors import ProtocolError, RequestError
from trimaran.server.http import grouping
from trimaran.server.http.context import NodeContext
from trimaran.server.http.problems import ProblemError
from trimaran.server.observing.shapes import GROUPS_TOLD_MAX, GroupLag

EVERY_S = 5.0
REST_S_MAX = 60.0
GROUP_COST_S, PARTITION_COST_S = 0.0025, 0.000_05
"""What a look takes of all nodes' cores together (measured: 2.9 ms for a group of 6 partitions, 11
for one of 200)."""
CORE_SHARE = 0.02
"""Of one core, for the looks of one node."""
GROUP_S = 2.0
"""Longest wait for one group; it is left out of this look."""
HELD_LOOKS = 2.5
"""What was found is told for so many times the way to the next look, should that fail."""

log = logging.getLogger(__name__)


class Look(NamedTuple):
    """What one look found."""

    lags: Mapping[str, GroupLag]
    partitions: int
    """Of all those groups together."""


class LagWatch:
    """The looks of one node."""

    def __init__(self, node: NodeContext) -> None:
        """Nothing is looked at before `run`."""
        self._node = node

    async def run(self) -> None:
        """Look again and again until cancelled; a look that failed is logged."""
        while True:
            try:
                found = await self.look()
            except Exception:  # what only watches must not end what works, nor itself
                log.exception("a look at groups failed effect=no history of their lag meanwhile")
                await asyncio.sleep(REST_S_MAX)
                continue
            rest_s = rest_after(len(found.lags), found.partitions)
            self._node.observer.note_group_lags(found.lags, held_s=rest_s * HELD_LOOKS)
            await asyncio.sleep(rest_s)

    async def look(self) -> Look:
        """Return how far behind each group is, of the first GROUPS_TOLD_MAX by name."""
        try:
            names = await grouping.own_groups(self._node)
        except (OSError, RequestError, ProtocolError):
            return Look({}, 0)
        lags: dict[str, GroupLag] = {}
        partitions = 0
        for group_id in names[:GROUPS_TOLD_MAX]:
            try:
                async with asyncio.timeout(GROUP_S):
                    detail = await grouping.detail(self._node, group_id)
            except (OSError, RequestError, ProblemError, ProtocolError):
                continue  # it moves, or went
            lags[group_id] = GroupLag(events=detail.lag_events, seconds=detail.lag_s)
            partitions += len(detail.partitions)
        return Look(lags, partitions)


def rest_after(groups: int, partitions: int) -> float:
    """Return how long to rest after a look that found so much."""
    cost_s = groups * GROUP_COST_S + partitions * PARTITION_COST_S
    return min(max(EVERY_S, cost_s / CORE_SHARE), REST_S_MAX)
