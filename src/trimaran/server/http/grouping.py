"""Consumer groups: who they are, and one of them with everything. Coordinators are found and asked.

Does not: change offsets but by `commit`, or know how a lag is found (`group_lags` does).
"""

import asyncio
from collections.abc import Mapping, Sequence

from trimaran.errors import ErrorCode, RequestError
from trimaran.ids import NodeId
from trimaran.metadata.topology import Topic
from trimaran.protocol.api import ApiKey
from trimaran.protocol.messages import (
    Coordinator,
    DeleteGroupsRequest,
    FindCoordinatorRequest,
    FindCoordinatorResponse,
    ListedGroup,
    ListGroupsRequest,
    OffsetCommitRequest,
    OffsetCommitRequestPartition,
    OffsetCommitRequestTopic,
)
from trimaran.server.http.context import NodeContext
from trimaran.server.http.describing import ASK_S, Standing, standings_at
from trimaran.server.http.group_lags import details
from trimaran.server.http.kafka.client import RETRY_S, checked, told
from trimaran.server.http.models.groups import Group, GroupDetail
from trimaran.server.http.problems import not_found

ATTEMPT_S = 1.5
"""For one node to answer; a coordinator that froze has a successor by then."""
AGAIN = (
    ErrorCode.NOT_COORDINATOR,
    ErrorCode.COORDINATOR_NOT_AVAILABLE,
    ErrorCode.COORDINATOR_LOAD_IN_PROGRESS,
)
"""Another node keeps the group by now, or this one does in a moment."""


async def all_groups(node: NodeContext) -> list[tuple[ListedGroup, NodeId]]:
    """Return every group with its coordinator, ascending by id.

    Raises:
        RequestError: a coordinator refuses to tell.
    """

    async def one(number: NodeId) -> list[tuple[ListedGroup, NodeId]]:
        try:
            return [(row, number) for row in await _groups_of(node, number)]
        except OSError:
            return []

    found: dict[str, tuple[ListedGroup, NodeId]] = {}
    for rows in await asyncio.gather(*(one(number) for number in node.alive())):
        found.update({row.group_id: (row, number) for row, number in rows})
    return [found[group_id] for group_id in sorted(found)]


async def own_groups(node: NodeContext) -> list[str]:
    """Return the ids of the groups that this node coordinates, ascending.

    Raises:
        RequestError, OSError: it does not tell.
    """
    return sorted(row.group_id for row in await _groups_of(node, node.node_id))


async def _groups_of(node: NodeContext, number: NodeId) -> list[ListedGroup]:
    answer = await node.kafka.ask(
        number, ApiKey.LIST_GROUPS, ListGroupsRequest(), lane="read", timeout_s=ATTEMPT_S
    )
    checked(answer.error_code)
    return list(answer.groups)


async def coordinator_of(node: NodeContext, group_id: str) -> NodeId:
    """Return who keeps the group. Raises RequestError."""
    (found,) = await _coordinators(node, [group_id])
    checked(found.error_code, found.error_message)
    return NodeId(found.node_id)


async def coordinators_of(node: NodeContext, group_ids: Sequence[str]) -> dict[str, NodeId]:
    """Return who keeps each group, for those that somebody keeps. Raises OSError."""
    found = await _coordinators(node, group_ids)
    return {row.key: NodeId(row.node_id) for row in found if row.error_code == ErrorCode.NONE}


async def _coordinators(node: NodeContext, group_ids: Sequence[str]) -> Sequence[Coordinator]:
    request = FindCoordinatorRequest(key_type=0, coordinator_keys=group_ids)
    answer: FindCoordinatorResponse = await node.kafka.ask(
        node.node_id, ApiKey.FIND_COORDINATOR, request, lane="admin", timeout_s=ASK_S
    )
    return answer.coordinators


async def standing(node: NodeContext, group_id: str) -> Standing:
    """Return a group. Raises RequestError, or ProblemError (404)."""
    deadline = asyncio.get_running_loop().time() + ASK_S
    while True:
        try:
            async with asyncio.timeout(ATTEMPT_S):
                return await _standing(node, group_id)
        except RequestError as error:
            if error.code not in AGAIN or asyncio.get_running_loop().time() > deadline:
                raise
        except OSError as error:
            if asyncio.get_running_loop().time() > deadline:
                reason = f"the coordinator does not answer: {told(error)}"
                raise RequestError(ErrorCode.COORDINATOR_NOT_AVAILABLE, reason) from error
        await asyncio.sleep(RETRY_S)


async def _standing(node: NodeContext, group_id: str) -> Standing:
    coordinator = await coordinator_of(node, group_id)
    found = (await standings_at(node, coordinator, [group_id]))[group_id]
    if isinstance(found, RequestError):
        raise found
    if found.is_gone:
        raise not_found(f"group {group_id!r}: it has no members and committed nothing")
    return found


async def detail(node: NodeContext, group_id: str) -> GroupDetail:
    """Return a group with everything. Raises RequestError, ProblemError (404)."""
    found = await standing(node, group_id)
    return (await details(node, {group_id: found}))[group_id]


def summary(found: GroupDetail) -> Group:
    """Return a group in a row."""
    return Group(
        group_id=found.group_id,
        state=found.state,
        protocol_type=found.protocol_type,
        protocol=found.protocol,
        coordinator=found.coordinator,
        members=len(found.members),
        lag_events=found.lag_events,
        lag_s=found.lag_s,
        topics=found.topics,
    )


async def commit(
    node: NodeContext, group_id: str, topic: Topic, offsets: Mapping[int, int]
) -> None:
    """Commit `offsets` for a group without members. Raises RequestError."""
    coordinator = await coordinator_of(node, group_id)
    rows = [
        OffsetCommitRequestPartition(partition_index=number, committed_offset=offset)
        for number, offset in sorted(offsets.items())
    ]
    request = OffsetCommitRequest(
        group_id=group_id,
        topics=[OffsetCommitRequestTopic(name=topic.name, partitions=rows)],
    )
    answer = await node.kafka.ask(
        coordinator, ApiKey.OFFSET_COMMIT, request, lane="admin", timeout_s=ASK_S
    )
    for row in answer.topics[0].partitions:
        checked(row.error_code)


async def delete(node: NodeContext, group_id: str) -> None:
    """Delete a group without members. Raises RequestError."""
    coordinator = await coordinator_of(node, group_id)
    request = DeleteGroupsRequest(groups_names=[group_id])
    answer = await node.kafka.ask(
        coordinator, ApiKey.DELETE_GROUPS, request, lane="admin", timeout_s=ASK_S
    )
    checked(answer.results[0].error_code)
