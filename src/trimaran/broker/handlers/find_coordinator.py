"""FindCoordinator (key 10): who coordinates a group. Nobody, yet.

Behavior:
  There are no consumer groups yet. COORDINATOR_NOT_AVAILABLE is the answer on which every client
  keeps on fetching partitions it assigned itself, and asks again at its own pace. For a transaction
  the answer is the one on which clients give up at once.
Version notes:
  0 to 4. 1: key type. 4: several keys (KIP-699).
"""

from trimaran.broker.calls import Call
from trimaran.errors import ErrorCode
from trimaran.protocol.messages import (
    Coordinator,
    FindCoordinatorRequest,
    FindCoordinatorResponse,
)

_GROUP = 0
_TRANSACTION = 1
_MESSAGES = {
    ErrorCode.COORDINATOR_NOT_AVAILABLE: "consumer groups are not there yet: assign partitions",
    ErrorCode.TRANSACTIONAL_ID_AUTHORIZATION_FAILED: "transactions are not there yet",
}


def handle(call: Call, request: FindCoordinatorRequest) -> FindCoordinatorResponse:
    """Return that there is none."""
    codes = {
        _GROUP: ErrorCode.COORDINATOR_NOT_AVAILABLE,
        _TRANSACTION: ErrorCode.TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
    }
    return refuse(request, call.version, codes.get(request.key_type, ErrorCode.INVALID_REQUEST))


def refuse(
    request: FindCoordinatorRequest, version: int, code: ErrorCode
) -> FindCoordinatorResponse:
    """Return `code` for every key."""
    del version
    message = _MESSAGES.get(code)
    return FindCoordinatorResponse(
        error_code=code,
        error_message=message,
        coordinators=[
            Coordinator(key=key, error_code=code, error_message=message)
            for key in request.coordinator_keys
        ],
    )
