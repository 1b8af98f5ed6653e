"""ListPartitionReassignments (key 46): what is being moved (KIP-455).

Behavior:
  Nothing ever is: replicas do not move yet.
Version notes:
  0.
"""

from trimaran.broker.calls import Call
from trimaran.errors import ErrorCode
from trimaran.protocol.messages import (
    ListPartitionReassignmentsRequest,
    ListPartitionReassignmentsResponse,
)


def handle(
    call: Call, request: ListPartitionReassignmentsRequest
) -> ListPartitionReassignmentsResponse:
    """Return an empty list."""
    del call, request
    return ListPartitionReassignmentsResponse()


def refuse(
    request: ListPartitionReassignmentsRequest, version: int, code: ErrorCode
) -> ListPartitionReassignmentsResponse:
    """Return `code` for the request."""
    del request, version
    return ListPartitionReassignmentsResponse(error_code=code)
