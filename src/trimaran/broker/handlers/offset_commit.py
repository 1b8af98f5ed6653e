"""OffsetCommit (key 8): remember where a group stands. Not yet.

Behavior:
  There are no consumer groups yet: every partition gets GROUP_ID_NOT_FOUND at once, nothing is
  stored. On this error clients fail the commit and neither try again nor stop fetching; errors
  that speak of the coordinator make them wait for another one, up to 46 s when they close.
Version notes:
  2 to 9. The topic id of 10 (KIP-848) is not advertised.
"""

from trimaran.broker.calls import Call
from trimaran.errors import ErrorCode
from trimaran.protocol.messages import (
    OffsetCommitRequest,
    OffsetCommitResponse,
    OffsetCommitResponsePartition,
    OffsetCommitResponseTopic,
)


def handle(call: Call, request: OffsetCommitRequest) -> OffsetCommitResponse:
    """Return that nothing was stored."""
    return refuse(request, call.version, ErrorCode.GROUP_ID_NOT_FOUND)


def refuse(request: OffsetCommitRequest, version: int, code: ErrorCode) -> OffsetCommitResponse:
    """Return `code` for every partition."""
    del version
    return OffsetCommitResponse(
        topics=[
            OffsetCommitResponseTopic(
                name=topic.name,
                partitions=[
                    OffsetCommitResponsePartition(
                        partition_index=partition.partition_index, error_code=code
                    )
                    for partition in topic.partitions
                ],
            )
            for topic in request.topics
        ]
    )
