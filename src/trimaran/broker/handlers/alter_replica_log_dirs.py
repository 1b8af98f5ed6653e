"""AlterReplicaLogDirs (key 34): replicas of this node to other directories (KIP-113).

Behavior:
  A node has one directory: what lies there already may be asked to lie there. Another directory is
  LOG_DIR_NOT_FOUND; a replica that is not on this node is REPLICA_NOT_AVAILABLE.
Version notes:
  1 and 2. 2: flexible.
"""

from trimaran.broker.calls import Call
from trimaran.errors import ErrorCode
from trimaran.protocol.messages import (
    AlterReplicaLogDirPartitionResult,
    AlterReplicaLogDirsRequest,
    AlterReplicaLogDirsResponse,
    AlterReplicaLogDirTopicResult,
)


def handle(call: Call, request: AlterReplicaLogDirsRequest) -> AlterReplicaLogDirsResponse:
    """Say of each replica whether it lies where it is to lie."""
    results = []
    for directory in request.dirs:
        is_own = directory.path == call.broker.kafka.log_directory
        for topic in directory.topics:
            rows = [
                AlterReplicaLogDirPartitionResult(
                    partition_index=number,
                    error_code=_code(call, topic.name, number, is_own=is_own),
                )
                for number in dict.fromkeys(topic.partitions)
            ]
            results.append(AlterReplicaLogDirTopicResult(topic_name=topic.name, partitions=rows))
    return AlterReplicaLogDirsResponse(results=results)


def refuse(
    request: AlterReplicaLogDirsRequest, version: int, code: ErrorCode
) -> AlterReplicaLogDirsResponse:
    """Return `code` for every replica."""
    del version
    return AlterReplicaLogDirsResponse(
        results=[
            AlterReplicaLogDirTopicResult(
                topic_name=topic.name,
                partitions=[
                    AlterReplicaLogDirPartitionResult(partition_index=number, error_code=code)
                    for number in topic.partitions
                ],
            )
            for directory in request.dirs
            for topic in directory.topics
        ]
    )


def _code(call: Call, topic: str, number: int, *, is_own: bool) -> ErrorCode:
    if not is_own:
        return ErrorCode.LOG_DIR_NOT_FOUND
    if call.broker.partition(topic, number) is None:
        return ErrorCode.REPLICA_NOT_AVAILABLE
    return ErrorCode.NONE
