"""DescribeLogDirs (key 35): what the replicas on this node take on disk.

Behavior:
  One data directory; for each replica the bytes of its segments. What is only in the journal or in
  memory is not counted. A partition that this node does not hold is left out, as Kafka does.
Version notes:
  1 to 4. 2: flexible. 3: an error for the request. 4: free bytes (total unknown: -1).
"""

from trimaran.broker.calls import Call
from trimaran.errors import ErrorCode
from trimaran.metadata.topology import Topic
from trimaran.protocol.messages import (
    DescribeLogDirsPartition,
    DescribeLogDirsRequest,
    DescribeLogDirsResponse,
    DescribeLogDirsResult,
    DescribeLogDirsTopic,
)


def handle(call: Call, request: DescribeLogDirsRequest) -> DescribeLogDirsResponse:
    """Return the sizes of the replicas asked for."""
    image = call.broker.image
    if request.topics is None:
        asked = [(topic, range(len(topic.partitions))) for topic in image.topics]
        topics = [_topic(call, topic, list(numbers)) for topic, numbers in asked]
    else:
        named = {row.topic: row.partitions for row in request.topics}
        known = [(image.topic(name), numbers) for name, numbers in named.items()]
        topics = [
            _topic(call, topic, list(dict.fromkeys(numbers)))
            for topic, numbers in known
            if topic is not None
        ]
    return DescribeLogDirsResponse(
        results=[
            DescribeLogDirsResult(
                log_dir=call.broker.kafka.log_directory,
                topics=[topic for topic in topics if topic.partitions],
                usable_bytes=call.broker.free_bytes,
            )
        ]
    )


def refuse(
    request: DescribeLogDirsRequest, version: int, code: ErrorCode
) -> DescribeLogDirsResponse:
    """Return `code` for the request."""
    del request, version
    return DescribeLogDirsResponse(error_code=code)


def _topic(call: Call, topic: Topic, numbers: list[int]) -> DescribeLogDirsTopic:
    held = [(number, call.broker.partition(topic.name, number)) for number in numbers]
    return DescribeLogDirsTopic(
        name=topic.name,
        partitions=[
            DescribeLogDirsPartition(
                partition_index=number,
                partition_size=partition.size_bytes,
                offset_lag=max(0, partition.log_end - partition.high_watermark),
            )
            for number, partition in held
            if partition is not None
        ],
    )
