"""OffsetFetch (key 9): where groups stand.

Behavior:
  A read that a majority confirms: it sees every commit that was acknowledged before, whoever
  coordinated then. Offset -1 where a group has committed nothing, and for a group that is not
  known. A list of topics that is null asks for everything. A member of the new protocol that names
  itself must be in its epoch (STALE_MEMBER_EPOCH).
Version notes:
  1 to 9. 1 has an error in every partition only; 2: one for the answer, null lists; 5: leader
  epoch; 7: stable offsets (all are: there are no transactions); 8: several groups (KIP-709); 9:
  member id and epoch (KIP-848).
"""

from collections.abc import Sequence

from trimaran.broker.api import GroupCoordinator
from trimaran.broker.calls import Call
from trimaran.broker.coordinators import coordinator_of, wait_for_news
from trimaran.errors import ErrorCode, RequestError
from trimaran.groups.consumer_group import ConsumerGroup
from trimaran.protocol.messages import (
    OffsetFetchRequest,
    OffsetFetchRequestGroup,
    OffsetFetchRequestTopic,
    OffsetFetchRequestTopics,
    OffsetFetchResponse,
    OffsetFetchResponseGroup,
    OffsetFetchResponsePartition,
    OffsetFetchResponsePartitions,
    OffsetFetchResponseTopic,
    OffsetFetchResponseTopics,
)

_GROUPS_FROM = 8
_Asked = Sequence[OffsetFetchRequestTopic] | Sequence[OffsetFetchRequestTopics] | None


async def handle(call: Call, request: OffsetFetchRequest) -> OffsetFetchResponse:
    """Answer when the coordinator is confirmed as such."""
    if call.version >= _GROUPS_FROM:
        return OffsetFetchResponse(groups=[await _group(call, one) for one in request.groups])
    found = await _find(call, request.group_id, request.topics)
    return OffsetFetchResponse(
        topics=[
            OffsetFetchResponseTopic(
                name=topic.name,
                partitions=[
                    OffsetFetchResponsePartition(
                        partition_index=row.partition_index,
                        committed_offset=row.committed_offset,
                        committed_leader_epoch=row.committed_leader_epoch,
                        metadata=row.metadata,
                    )
                    for row in topic.partitions
                ],
            )
            for topic in found
        ]
    )


async def _group(call: Call, asked: OffsetFetchRequestGroup) -> OffsetFetchResponseGroup:
    try:
        await _judge(call, asked)
        topics = await _find(call, asked.group_id, asked.topics)
    except RequestError as error:
        call.note(error)
        return OffsetFetchResponseGroup(group_id=asked.group_id, error_code=error.code)
    return OffsetFetchResponseGroup(group_id=asked.group_id, topics=topics)


async def _judge(call: Call, asked: OffsetFetchRequestGroup) -> None:
    """Return if whoever asks may. Raises RequestError."""
    _, live = await coordinator_of(call.broker, asked.group_id)
    group = live.get(asked.group_id)
    if isinstance(group, ConsumerGroup):
        code = group.judge_fetch(asked.member_id, asked.member_epoch)
        if code is not ErrorCode.NONE:
            raise RequestError(code, f"{asked.member_id!r} in epoch {asked.member_epoch}")


async def _find(call: Call, group_id: str, asked: _Asked) -> list[OffsetFetchResponseTopics]:
    await wait_for_news(call.broker, [topic.name for topic in asked or ()])
    coordinator, _ = await coordinator_of(call.broker, group_id)
    await coordinator.confirm()
    if asked is None:
        return _everything(call, coordinator, group_id)
    return [
        OffsetFetchResponseTopics(
            name=topic.name,
            partitions=[
                _position(call, coordinator, group_id, topic.name, number)
                for number in topic.partition_indexes
            ],
        )
        for topic in asked
    ]


def _everything(
    call: Call, coordinator: GroupCoordinator, group_id: str
) -> list[OffsetFetchResponseTopics]:
    numbers: dict[str, list[int]] = {}
    for one in coordinator.table.positions(group_id):
        topic = call.broker.image.topic_by_id(one.committed.topic_id)
        if topic is not None:
            numbers.setdefault(topic.name, []).append(one.committed.partition)
    return [
        OffsetFetchResponseTopics(
            name=name,
            partitions=[
                _position(call, coordinator, group_id, name, number) for number in numbers[name]
            ],
        )
        for name in numbers
    ]


def _position(
    call: Call, coordinator: GroupCoordinator, group_id: str, name: str, number: int
) -> OffsetFetchResponsePartitions:
    topic = call.broker.image.topic(name)
    found = None
    if topic is not None:
        found = coordinator.table.position(group_id, (topic.topic_id, number))
    if found is None:
        return OffsetFetchResponsePartitions(partition_index=number)
    return OffsetFetchResponsePartitions(
        partition_index=number,
        committed_offset=found.offset,
        committed_leader_epoch=found.leader_epoch,
        metadata=found.metadata,
    )


def refuse(request: OffsetFetchRequest, version: int, code: ErrorCode) -> OffsetFetchResponse:
    """Return `code` for the request, for every group and for every partition named."""
    del version
    return OffsetFetchResponse(
        error_code=code,
        topics=[
            OffsetFetchResponseTopic(
                name=topic.name,
                partitions=[
                    OffsetFetchResponsePartition(partition_index=number, error_code=code)
                    for number in topic.partition_indexes
                ],
            )
            for topic in request.topics or ()
        ],
        groups=[
            OffsetFetchResponseGroup(group_id=group.group_id, error_code=code)
            for group in request.groups
        ],
    )
