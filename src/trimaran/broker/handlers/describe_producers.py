"""DescribeProducers (key 61): which idempotent producers a partition knows (KIP-664).

Behavior:
  The leader's view, its uncommitted tail included; times are log times. There are no transactions:
  no coordinator epoch and no open transaction.
Version notes:
  0.
"""

from trimaran.broker.calls import Call, told
from trimaran.broker.leadership import check_leadership, find_partition
from trimaran.errors import ErrorCode, RequestError
from trimaran.metadata.rules import check_topic_name
from trimaran.protocol.messages import (
    DescribeProducersPartition,
    DescribeProducersRequest,
    DescribeProducersResponse,
    DescribeProducersTopicResponse,
    ProducerState,
)


def handle(call: Call, request: DescribeProducersRequest) -> DescribeProducersResponse:
    """Return the producers of each partition."""
    return DescribeProducersResponse(
        topics=[
            DescribeProducersTopicResponse(
                name=topic.name,
                partitions=[
                    _partition(call, topic.name, number)
                    for number in dict.fromkeys(topic.partition_indexes)
                ],
            )
            for topic in request.topics
        ]
    )


def refuse(
    request: DescribeProducersRequest, version: int, code: ErrorCode
) -> DescribeProducersResponse:
    """Return `code` for every partition."""
    del version
    return DescribeProducersResponse(
        topics=[
            DescribeProducersTopicResponse(
                name=topic.name,
                partitions=[
                    DescribeProducersPartition(partition_index=number, error_code=code)
                    for number in topic.partition_indexes
                ],
            )
            for topic in request.topics
        ]
    )


def _partition(call: Call, topic: str, number: int) -> DescribeProducersPartition:
    try:
        check_topic_name(topic)
        partition = find_partition(call.broker, topic, number)
        check_leadership(partition, 0)
    except RequestError as error:
        call.note(error)
        return DescribeProducersPartition(
            partition_index=number, error_code=error.code, error_message=told(error)
        )
    return DescribeProducersPartition(
        partition_index=number,
        active_producers=[
            ProducerState(
                producer_id=known.producer_id,
                producer_epoch=known.epoch,
                last_sequence=known.last_sequence,
                last_timestamp=known.log_time_ms,
            )
            for known in partition.known_producers
        ],
    )
