"""DescribeTopicPartitions (key 75): topics page by page (KIP-966).

Behavior:
  Topics in the order of their names, all of them if none is named, partitions ascending; at most
  response.partition.limit partitions (2,000), then a cursor that says where the next page begins. A
  cursor may name a topic that is gone by now: the page begins behind it. Beside a list of topics it
  names one of them, else INVALID_REQUEST. Replicas are in sync while their node is alive; no
  replica that lacks events may lead, so there are no eligible ones beside.
Version notes:
  0.
"""

from collections.abc import Sequence

from trimaran.broker.calls import Call
from trimaran.broker.rows import check_rows
from trimaran.broker.topic_parts import describe_topic
from trimaran.errors import ErrorCode, RequestError
from trimaran.metadata.rules import check_topic_name
from trimaran.metadata.topology import Topic
from trimaran.protocol.messages import (
    DescribeTopicPartitionsRequest,
    DescribeTopicPartitionsResponse,
    DescribeTopicPartitionsResponsePartition,
    DescribeTopicPartitionsResponseTopic,
    MetadataResponsePartition,
    TopicPartitionsCursor,
)

_PARTITIONS_MAX = 2_000


def handle(call: Call, request: DescribeTopicPartitionsRequest) -> DescribeTopicPartitionsResponse:
    """Return one page."""
    check_rows(len(request.topics))
    left = min(max(request.response_partition_limit, 1), _PARTITIONS_MAX)
    cursor = request.cursor
    if cursor is not None and cursor.partition_index < 0:
        raise RequestError(ErrorCode.INVALID_REQUEST, f"cursor: partition {cursor.partition_index}")
    described = []
    for name in _names(call, request):
        topic = call.broker.image.topic(name)
        if topic is None:
            described.append(_unknown(name))
            continue
        first = cursor.partition_index if cursor is not None and cursor.topic_name == name else 0
        if left == 0:
            next_cursor = TopicPartitionsCursor(topic_name=name, partition_index=first)
            return DescribeTopicPartitionsResponse(topics=described, next_cursor=next_cursor)
        end = min(first + left, len(topic.partitions))
        described.append(_described(call, topic, first, end))
        left -= max(end - first, 0)
        if end < len(topic.partitions):
            next_cursor = TopicPartitionsCursor(topic_name=name, partition_index=end)
            return DescribeTopicPartitionsResponse(topics=described, next_cursor=next_cursor)
    return DescribeTopicPartitionsResponse(topics=described)


def refuse(
    request: DescribeTopicPartitionsRequest, version: int, code: ErrorCode
) -> DescribeTopicPartitionsResponse:
    """Return `code` for every topic."""
    del version
    return DescribeTopicPartitionsResponse(
        topics=[
            DescribeTopicPartitionsResponseTopic(error_code=code, name=topic.name)
            for topic in request.topics
        ]
    )


def _names(call: Call, request: DescribeTopicPartitionsRequest) -> Sequence[str]:
    start = request.cursor.topic_name if request.cursor is not None else ""
    if request.topics:
        names = sorted(dict.fromkeys(topic.name for topic in request.topics))
        if request.cursor is not None and start not in names:
            raise RequestError(
                ErrorCode.INVALID_REQUEST, f"cursor: topic {start[:249]!r} is not in the request"
            )
    else:
        names = [topic.name for topic in call.broker.image.topics]
    return [name for name in names if name >= start]


def _unknown(name: str) -> DescribeTopicPartitionsResponseTopic:
    code = ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
    try:
        check_topic_name(name)
    except RequestError as error:
        code = error.code
    return DescribeTopicPartitionsResponseTopic(error_code=code, name=name)


def _described(
    call: Call, topic: Topic, first: int, end: int
) -> DescribeTopicPartitionsResponseTopic:
    whole = describe_topic(call.broker, topic)
    return DescribeTopicPartitionsResponseTopic(
        name=topic.name,
        topic_id=topic.topic_id,
        is_internal=whole.is_internal,
        partitions=[_partition(row) for row in whole.partitions[first:end]],
    )


def _partition(row: MetadataResponsePartition) -> DescribeTopicPartitionsResponsePartition:
    return DescribeTopicPartitionsResponsePartition(
        error_code=row.error_code,
        partition_index=row.partition_index,
        leader_id=row.leader_id,
        leader_epoch=row.leader_epoch,
        replica_nodes=row.replica_nodes,
        isr_nodes=row.isr_nodes,
        eligible_leader_replicas=(),
        last_known_elr=(),
        offline_replicas=row.offline_replicas,
    )
