"""OffsetForLeaderEpoch (key 23): where an epoch ended, so that a reader notices a truncation.

Behavior:
  Answers (largest epoch not above the asked one, first offset after it), (-1, -1) if it knows none.
  Answers at once on a new leader, before it has committed anything: the log says it all, and every
  error here costs librdkafka 500 ms.
Version notes:
  2 to 4. 3: the asking replica's id, not looked at.
"""

from trimaran.broker.calls import Call
from trimaran.broker.leadership import check_leadership, find_partition
from trimaran.broker.rows import in_turns
from trimaran.errors import ErrorCode, RequestError
from trimaran.protocol.messages import (
    EpochEndOffset,
    OffsetForLeaderEpochRequest,
    OffsetForLeaderEpochResponse,
    OffsetForLeaderPartition,
    OffsetForLeaderTopicResult,
)


async def handle(call: Call, request: OffsetForLeaderEpochRequest) -> OffsetForLeaderEpochResponse:
    """Return the end of each epoch asked for."""
    return OffsetForLeaderEpochResponse(
        topics=[
            OffsetForLeaderTopicResult(
                topic=topic.topic,
                partitions=[
                    _epoch_end(call, topic.topic, asked)
                    async for asked in in_turns(topic.partitions)
                ],
            )
            async for topic in in_turns(request.topics)
        ]
    )


def refuse(
    request: OffsetForLeaderEpochRequest, version: int, code: ErrorCode
) -> OffsetForLeaderEpochResponse:
    """Return `code` for every partition."""
    del version
    return OffsetForLeaderEpochResponse(
        topics=[
            OffsetForLeaderTopicResult(
                topic=topic.topic,
                partitions=[
                    EpochEndOffset(partition=asked.partition, error_code=code)
                    for asked in topic.partitions
                ],
            )
            for topic in request.topics
        ]
    )


def _epoch_end(call: Call, topic: str, asked: OffsetForLeaderPartition) -> EpochEndOffset:
    try:
        partition = find_partition(call.broker, topic, asked.partition)
        check_leadership(partition, asked.current_leader_epoch)
    except RequestError as error:
        call.note(error)
        return EpochEndOffset(partition=asked.partition, error_code=error.code)
    epoch, end = partition.epoch_end(asked.leader_epoch)
    return EpochEndOffset(partition=asked.partition, leader_epoch=epoch, end_offset=end)
