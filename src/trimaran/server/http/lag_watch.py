"""How far behind the groups are that this node coordinates, looked at every few seconds.

The node's history and `/metrics` tell it from then on, whether or not anybody has a page open. It
is asked for as the REST API does, so that all of them say the same, and takes a bounded part of the
time: a look that took long is followed by a long rest, but never by one that hides a fall behind.
Does not: know how lag is found (`grouping` does).
"""

import asyncio
import logging
from collections.abc import Mapping

from trimaran.errors import ProtocolError, RequestError
from trimaran.server.http import grouping
from trimaran.server.http.context import NodeContext
from trimaran.server.http.problems import ProblemError
from trimaran.server.observing.shapes import GROUPS_TOLD_MAX, GroupLag

EVERY_S = 5.0
REST_FACTOR = 50
"""After a look that took a second comes a rest of so many,"""
REST_S_MAX = 60.0
"""or of this: looks are long, too, when somebody is waited for, as in a failover."""
GROUP_S = 2.0
"""Longest wait for one group; it is left out of this look."""
HELD_LOOKS = 2.5
"""What was found is told for so many times the way to the next look, should that fail."""

log = logging.getLogger(__name__)


class LagWatch:
    """The looks of one node."""

    def __init__(self, node: NodeContext) -> None:
        """Nothing is looked at before `run`."""
        self._node = node

    async def run(self) -> None:
        """Look again and again until cancelled; a look that failed is logged."""
        loop = asyncio.get_running_loop()
        while True:
            begin_s = loop.time()
            try:
                found = await self.look()
            except Exception:  # what only watches must not end what works, nor itself
                log.exception("a look at groups failed effect=no history of their lag meanwhile")
                await asyncio.sleep(REST_S_MAX)
                continue
            rest_s = rest_after(loop.time() - begin_s)
            self._node.observer.note_group_lags(found, held_s=rest_s * HELD_LOOKS)
            await asyncio.sleep(rest_s)

    async def look(self) -> Mapping[str, GroupLag]:
        """Return how far behind each group is, of the first GROUPS_TOLD_MAX by name."""
        try:
            names = await grouping.own_groups(self._node)
        except (OSError, RequestError, ProtocolError):
            return {}
        found: dict[str, GroupLag] = {}
        for group_id in names[:GROUPS_TOLD_MAX]:
            try:
                async with asyncio.timeout(GROUP_S):
                    detail = await grouping.detail(self._node, group_id)
            except (OSError, RequestError, ProblemError, ProtocolError):
                continue  # it moves, or went
            found[group_id] = GroupLag(events=detail.lag_events, seconds=detail.lag_s)
        return found


def rest_after(took_s: float) -> float:
    """Return how long to rest after a look."""
    return min(max(EVERY_S, took_s * REST_FACTOR), REST_S_MAX)
