"""Many groups at a time: all their coordinators at once, each asked once for all that it keeps.

To ask for a group alone costs three questions and an election's patience; for a thousand that would
be thousands of questions and, when a coordinator froze, minutes. Here a page takes as many
questions as there are coordinators, times three, and no longer than one group may.
Does not: know how a lag is found (`group_lags` does).
"""

import asyncio
from collections.abc import Mapping, Sequence

from trimaran.errors import ProtocolError, RequestError
from trimaran.ids import NodeId
from trimaran.server.http.context import NodeContext
from trimaran.server.http.describing import ASK_S, Standing, standings_at
from trimaran.server.http.group_lags import details
from trimaran.server.http.grouping import AGAIN, ATTEMPT_S, coordinators_of
from trimaran.server.http.kafka.client import RETRY_S
from trimaran.server.http.models.groups import GroupDetail

GROUPS_ASKED_MAX = 100
"""In one question: an answer has all members of each group, and no frame is endless."""


async def many_details(
    node: NodeContext, coordinators: Mapping[str, NodeId]
) -> dict[str, GroupDetail]:
    """Return groups with everything, by their ids; what is not to be learnt in time is left out.

    `coordinators` says who kept each group a moment ago; who moved since is looked for.
    """
    return await details(node, await standings(node, coordinators))


async def standings(node: NodeContext, coordinators: Mapping[str, NodeId]) -> dict[str, Standing]:
    """Return where groups stand; those that are gone or stay silent are left out."""
    loop = asyncio.get_running_loop()
    deadline_s = loop.time() + ASK_S
    found: dict[str, Standing] = {}
    left, known = list(coordinators), dict(coordinators)
    while True:
        outcomes = await _attempt(node, known)
        found.update(
            (name, one)
            for name, one in outcomes.items()
            if isinstance(one, Standing) and not one.is_gone
        )
        left = [name for name in left if _may_come(outcomes.get(name))]
        if not left or loop.time() > deadline_s:
            return found
        await asyncio.sleep(RETRY_S)
        known = await _found_anew(node, left)


def _may_come(outcome: Standing | RequestError | None) -> bool:
    """Whether a group was not answered for, or by a node that does not keep it now."""
    return outcome is None or (isinstance(outcome, RequestError) and outcome.code in AGAIN)


async def _found_anew(node: NodeContext, group_ids: Sequence[str]) -> dict[str, NodeId]:
    try:
        return await coordinators_of(node, group_ids)
    except (OSError, ProtocolError, RequestError):
        return {}


async def _attempt(
    node: NodeContext, coordinators: Mapping[str, NodeId]
) -> dict[str, Standing | RequestError]:
    """Ask each coordinator once for all its groups; a silent one's are missing."""
    kept: dict[NodeId, list[str]] = {}
    for name, number in coordinators.items():
        kept.setdefault(number, []).append(name)
    found: dict[str, Standing | RequestError] = {}
    for rows in await asyncio.gather(*(_ask(node, *one) for one in kept.items())):
        found.update(rows)
    return found


async def _ask(
    node: NodeContext, coordinator: NodeId, group_ids: Sequence[str]
) -> dict[str, Standing | RequestError]:
    found: dict[str, Standing | RequestError] = {}
    try:
        for begin in range(0, len(group_ids), GROUPS_ASKED_MAX):
            some = group_ids[begin : begin + GROUPS_ASKED_MAX]
            async with asyncio.timeout(ATTEMPT_S):
                found.update(await standings_at(node, coordinator, some))
    except (OSError, ProtocolError):
        pass  # it is asked again, or its successor
    return found
