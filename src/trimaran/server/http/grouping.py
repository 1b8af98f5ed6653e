"""Consumer groups: who they are, where they stand, how far behind, in events and in seconds.

Coordinators are asked through the Kafka client. Seconds of lag are the age of the first event that
was not consumed: its timestamp is read from the log, for a bounded number of partitions.
Does not: change offsets but by `commit`.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from trimaran.errors import ErrorCode, RequestError
from trimaran.ids import NodeId
from trimaran.metadata.topology import Topic
from trimaran.protocol.api import ApiKey
from trimaran.protocol.messages import (
    DeleteGroupsRequest,
    FindCoordinatorRequest,
    ListedGroup,
    ListGroupsRequest,
    OffsetCommitRequest,
    OffsetCommitRequestPartition,
    OffsetCommitRequestTopic,
    OffsetFetchRequest,
    OffsetFetchRequestGroup,
)
from trimaran.records.batch import parse_header
from trimaran.records.iteration import iterate_records
from trimaran.server.http.context import NodeContext, now_ms
from trimaran.server.http.describing import ASK_S, Described, describe
from trimaran.server.http.kafka.asking import EARLIEST, LATEST, fetch, gather, list_offset
from trimaran.server.http.kafka.client import RETRY_S, checked, told
from trimaran.server.http.models.groups import (
    Group,
    GroupDetail,
    GroupPartition,
)
from trimaran.server.http.problems import not_found

LAG_READS_MAX = 64
"""Partitions of a group whose lag in seconds is looked up: those with the most events behind."""
ATTEMPT_S = 1.5
"""For one node to answer; a coordinator that froze has a successor by then."""
LAG_BYTES = 4_096
_AGAIN = (
    ErrorCode.NOT_COORDINATOR,
    ErrorCode.COORDINATOR_NOT_AVAILABLE,
    ErrorCode.COORDINATOR_LOAD_IN_PROGRESS,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """A group as its coordinator describes it, and what it has committed."""

    described: Described
    coordinator: NodeId
    committed: Mapping[tuple[str, int], tuple[int, str | None]] = field(default_factory=dict)


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
    request = FindCoordinatorRequest(key_type=0, coordinator_keys=[group_id])
    answer = await node.kafka.ask(
        node.node_id, ApiKey.FIND_COORDINATOR, request, lane="admin", timeout_s=ASK_S
    )
    found = answer.coordinators[0]
    checked(found.error_code, found.error_message)
    return NodeId(found.node_id)


async def standing(node: NodeContext, group_id: str) -> Standing:
    """Return a group. Raises RequestError, or ProblemError (404)."""
    deadline = asyncio.get_running_loop().time() + ASK_S
    while True:
        try:
            async with asyncio.timeout(ATTEMPT_S):
                return await _standing(node, group_id)
        except RequestError as error:
            if error.code not in _AGAIN or asyncio.get_running_loop().time() > deadline:
                raise
        except OSError as error:
            if asyncio.get_running_loop().time() > deadline:
                reason = f"the coordinator does not answer: {told(error)}"
                raise RequestError(ErrorCode.COORDINATOR_NOT_AVAILABLE, reason) from error
        await asyncio.sleep(RETRY_S)


async def _standing(node: NodeContext, group_id: str) -> Standing:
    coordinator = await coordinator_of(node, group_id)
    described = await describe(node, coordinator, group_id)
    request = OffsetFetchRequest(groups=[OffsetFetchRequestGroup(group_id=group_id, topics=None)])
    offsets = await node.kafka.ask(
        coordinator, ApiKey.OFFSET_FETCH, request, lane="read", timeout_s=ASK_S
    )
    found = offsets.groups[0]
    checked(found.error_code)
    committed = {
        (topic.name, row.partition_index): (row.committed_offset, row.metadata)
        for topic in found.topics
        for row in topic.partitions
        if row.committed_offset >= 0
    }
    if described.is_dead and not committed:
        raise not_found(f"group {group_id!r}: it has no members and committed nothing")
    return Standing(described=described, coordinator=coordinator, committed=committed)


async def detail(node: NodeContext, group_id: str) -> GroupDetail:
    """Return a group with everything. Raises RequestError, ProblemError (404)."""
    found = await standing(node, group_id)
    owner = {
        (part.topic, number): member.member_id
        for member in found.described.members
        for part in member.assignment
        for number in part.partitions
    }
    places = sorted(set(found.committed) | set(owner))
    rows = await _rows(node, places, found, owner)
    return GroupDetail(
        group_id=group_id,
        state=found.described.state,
        protocol_type=found.described.protocol_type,
        protocol=found.described.protocol,
        coordinator=found.coordinator,
        lag_events=_sum(row.lag_events for row in rows),
        lag_s=max((row.lag_s for row in rows if row.lag_s is not None), default=None),
        topics=sorted({topic for topic, _ in places}),
        members=list(found.described.members),
        partitions=rows,
    )


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


async def _rows(
    node: NodeContext,
    places: Sequence[tuple[str, int]],
    found: Standing,
    owner: Mapping[tuple[str, int], str],
) -> list[GroupPartition]:
    ends = await gather([lambda at=place: _ends(node, *at) for place in places])
    late = [
        (place, found.committed[place][0], end - found.committed[place][0])
        for place, (start, end) in zip(places, ends, strict=True)
        if place in found.committed and end is not None and found.committed[place][0] < end
    ]
    late = sorted(late, key=lambda row: -row[2])[:LAG_READS_MAX]
    ages = await gather([lambda at=row: _age_s(node, at[0], at[1]) for row in late])
    age_of = {place: age for (place, _, _), age in zip(late, ages, strict=True)}
    rows = []
    for place, (start, end) in zip(places, ends, strict=True):
        committed, metadata = found.committed.get(place, (None, None))
        lag = None
        if committed is not None and end is not None:
            lag = max(0, end - max(committed, start or 0))
        rows.append(
            GroupPartition(
                topic=place[0],
                partition=place[1],
                committed=committed,
                log_start=start,
                high_watermark=end,
                lag_events=lag,
                lag_s=0.0 if lag == 0 else age_of.get(place),
                metadata=metadata or None,
                member_id=owner.get(place),
            )
        )
    return rows


async def _ends(node: NodeContext, name: str, number: int) -> tuple[int | None, int | None]:
    topic = node.image.topic(name)
    if topic is None or number >= len(topic.partitions):
        return None, None
    replica = node.replica(topic, number)
    if replica is not None and replica.is_leader:
        return replica.log_start, replica.high_watermark
    try:
        start = await list_offset(node.kafka, topic, number, EARLIEST, timeout_s=1.0)
        end = await list_offset(node.kafka, topic, number, LATEST, timeout_s=1.0)
    except RequestError:
        return None, None
    return start.offset, end.offset


async def _age_s(node: NodeContext, place: tuple[str, int], offset: int) -> float | None:
    """Return how old the event at `offset` (or the next one there is) is."""
    name, number = place
    topic = node.image.topic(name)
    assert topic is not None, "its end was just found"
    try:
        found = await fetch(node.kafka, topic, number, offset, bytes_max=LAG_BYTES, timeout_s=1.0)
        timestamp = _first_timestamp(found.batches, offset)
    except RequestError:
        return None
    return None if timestamp is None else max(0.0, (now_ms() - timestamp) / 1000)


def _first_timestamp(batches: Sequence[bytes | memoryview], offset: int) -> int | None:
    for batch in batches:
        header = parse_header(batch)
        if header.is_log_append_time:
            return header.max_timestamp
        for record in iterate_records(batch):
            if record.offset >= offset:
                return record.timestamp_ms
    return None


def _sum(values: Iterable[int | None]) -> int | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None


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
