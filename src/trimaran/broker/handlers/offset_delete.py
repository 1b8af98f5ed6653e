"""OffsetDelete (key 47): a group's position in some partitions is forgotten (KIP-496).

Behavior:
  GROUP_ID_NOT_FOUND without such a group. While it has members, topics that they are subscribed to
  keep their offsets (GROUP_SUBSCRIBED_TO_TOPIC); members of another protocol type than `consumer`
  keep all (NON_EMPTY_GROUP). A partition without a position counts as forgotten; one that the topic
  does not have is UNKNOWN_TOPIC_OR_PARTITION.
Version notes:
  0.
"""

from collections.abc import Sequence

from trimaran.broker.calls import Call
from trimaran.broker.coordinators import coordinator_of
from trimaran.errors import ErrorCode, RequestError
from trimaran.groups.commands import DeleteOffsets
from trimaran.ids import TopicId
from trimaran.protocol.messages import (
    OffsetDeleteRequest,
    OffsetDeleteRequestTopic,
    OffsetDeleteResponse,
    OffsetDeleteResponsePartition,
    OffsetDeleteResponseTopic,
)


async def handle(call: Call, request: OffsetDeleteRequest) -> OffsetDeleteResponse:
    """Answer when the deletion is committed."""
    coordinator, live = await coordinator_of(call.broker, request.group_id)
    group = live.get(request.group_id)
    if group is None:
        raise RequestError(ErrorCode.GROUP_ID_NOT_FOUND, f"no group {request.group_id!r}")
    subscribed = group.subscribed_topics()
    if subscribed is None:
        raise RequestError(
            ErrorCode.NON_EMPTY_GROUP, f"what members of {request.group_id!r} read is unknown"
        )
    keys: dict[tuple[TopicId, int], None] = {}
    answers = []
    for asked in request.topics:
        topic = call.broker.image.topic(asked.name)
        code = ErrorCode.NONE
        count = 0 if topic is None else len(topic.partitions)
        if topic is not None and asked.name in subscribed:
            code = ErrorCode.GROUP_SUBSCRIBED_TO_TOPIC
        elif topic is not None:
            numbers = [one.partition_index for one in asked.partitions]
            keys |= dict.fromkeys((topic.topic_id, one) for one in numbers if 0 <= one < count)
        answers.append(_topic(asked, code, partition_count=count))
    known = [key for key in keys if coordinator.table.position(request.group_id, key) is not None]
    if known:
        await coordinator.execute(DeleteOffsets(request.group_id, tuple(known)))
    return OffsetDeleteResponse(topics=answers)


def _topic(
    asked: OffsetDeleteRequestTopic, code: ErrorCode, *, partition_count: int
) -> OffsetDeleteResponseTopic:
    unknown = ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
    rows: Sequence[OffsetDeleteResponsePartition] = [
        OffsetDeleteResponsePartition(
            partition_index=one.partition_index,
            error_code=code if 0 <= one.partition_index < partition_count else unknown,
        )
        for one in asked.partitions
    ]
    return OffsetDeleteResponseTopic(name=asked.name, partitions=rows)


def refuse(request: OffsetDeleteRequest, version: int, code: ErrorCode) -> OffsetDeleteResponse:
    """Return `code` for the request."""
    del request, version
    return OffsetDeleteResponse(error_code=code)
