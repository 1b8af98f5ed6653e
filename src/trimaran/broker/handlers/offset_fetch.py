"""OffsetFetch (key 9): where a group stands. Not yet.

Behavior:
  There are no consumer groups yet: the answer is GROUP_ID_NOT_FOUND, at once. "Nothing committed"
  would be true too, but it would let a consumer that relies on commits start over, or skip events,
  without a word. Consumers that were given their offsets never ask, or go on fetching.
Version notes:
  1 to 9. 1 has an error in every partition only; 2 one for the answer; 8: several groups (KIP-709),
  each with its error.
"""

from trimaran.broker.calls import Call
from trimaran.errors import ErrorCode
from trimaran.protocol.messages import (
    OffsetFetchRequest,
    OffsetFetchResponse,
    OffsetFetchResponseGroup,
    OffsetFetchResponsePartition,
    OffsetFetchResponseTopic,
)


def handle(call: Call, request: OffsetFetchRequest) -> OffsetFetchResponse:
    """Return that nothing is known."""
    return refuse(request, call.version, ErrorCode.GROUP_ID_NOT_FOUND)


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
