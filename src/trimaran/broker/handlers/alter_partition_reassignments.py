"""AlterPartitionReassignments (key 45): partitions to other nodes (KIP-455).

Behavior:
  Replicas do not move yet. The nodes that hold a partition already may be asked to hold it; others
  are INVALID_REPLICA_ASSIGNMENT. Nothing moves, so there is nothing to stop:
  NO_REASSIGNMENT_IN_PROGRESS.
Version notes:
  0 and 1. 1: whether the number of replicas may change.
"""

from trimaran.broker.calls import Call, told
from trimaran.errors import ErrorCode, RequestError
from trimaran.protocol.messages import (
    AlterPartitionReassignmentsRequest,
    AlterPartitionReassignmentsResponse,
    ReassignablePartition,
    ReassignablePartitionResponse,
    ReassignableTopicResponse,
)


def handle(
    call: Call, request: AlterPartitionReassignmentsRequest
) -> AlterPartitionReassignmentsResponse:
    """Say of each partition whether its replicas are where they are to be."""
    responses = []
    for topic in request.topics:
        rows = []
        for asked in topic.partitions:
            try:
                _check(call, topic.name, asked)
            except RequestError as error:
                call.note(error)
                rows.append(
                    ReassignablePartitionResponse(
                        partition_index=asked.partition_index,
                        error_code=error.code,
                        error_message=told(error),
                    )
                )
            else:
                rows.append(ReassignablePartitionResponse(partition_index=asked.partition_index))
        responses.append(ReassignableTopicResponse(name=topic.name, partitions=rows))
    return AlterPartitionReassignmentsResponse(
        allow_replication_factor_change=request.allow_replication_factor_change,
        responses=responses,
    )


def refuse(
    request: AlterPartitionReassignmentsRequest, version: int, code: ErrorCode
) -> AlterPartitionReassignmentsResponse:
    """Return `code` for the request."""
    del request, version
    return AlterPartitionReassignmentsResponse(error_code=code)


def _check(call: Call, name: str, asked: ReassignablePartition) -> None:
    topic = call.broker.image.topic(name)
    if topic is None or not 0 <= asked.partition_index < len(topic.partitions):
        raise RequestError(
            ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
            f"no partition {asked.partition_index} of topic {name[:249]!r}",
        )
    if asked.replicas is None:
        raise RequestError(ErrorCode.NO_REASSIGNMENT_IN_PROGRESS, "nothing is being moved")
    present = topic.partitions[asked.partition_index]
    if sorted(asked.replicas) != sorted(present):
        raise RequestError(
            ErrorCode.INVALID_REPLICA_ASSIGNMENT,
            f"replicas do not move yet: expected {sorted(present)}, as they are",
        )
