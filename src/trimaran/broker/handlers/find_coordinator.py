"""FindCoordinator (key 10): where to ask for a group's offsets.

Behavior:
  This node, for every group. There are no consumer groups yet, and OffsetFetch and OffsetCommit say
  so; but while a client is refused a coordinator, kafka-python fetches nothing even from partitions
  that it assigned and positioned itself, and closing a consumer takes kafka-python 30 s and
  librdkafka 46 s, because both keep on asking. For a transaction the answer is the one on which
  clients give up at once.
Version notes:
  0 to 4. 1: key type. 4: several keys (KIP-699).
"""

from trimaran.broker.calls import Call
from trimaran.errors import ErrorCode, RequestError
from trimaran.protocol.messages import (
    Coordinator,
    FindCoordinatorRequest,
    FindCoordinatorResponse,
)

_GROUP = 0
_TRANSACTION = 1


def handle(call: Call, request: FindCoordinatorRequest) -> FindCoordinatorResponse:
    """Return this node."""
    if request.key_type == _TRANSACTION:
        raise RequestError(
            ErrorCode.TRANSACTIONAL_ID_AUTHORIZATION_FAILED, "transactions are not there yet"
        )
    if request.key_type != _GROUP:
        raise RequestError(
            ErrorCode.INVALID_REQUEST,
            f"key type: expected {_GROUP} or {_TRANSACTION}, found {request.key_type}",
        )
    node = call.broker.image.node(call.broker.node_id)
    if node is None:
        raise RequestError(ErrorCode.COORDINATOR_NOT_AVAILABLE, "this node is not registered yet")
    return FindCoordinatorResponse(
        node_id=node.node_id,
        host=node.host,
        port=node.kafka_port,
        coordinators=[
            Coordinator(key=key, node_id=node.node_id, host=node.host, port=node.kafka_port)
            for key in request.coordinator_keys
        ],
    )


def refuse(
    request: FindCoordinatorRequest, version: int, code: ErrorCode
) -> FindCoordinatorResponse:
    """Return `code` for every key."""
    del version
    return FindCoordinatorResponse(
        error_code=code,
        coordinators=[Coordinator(key=key, error_code=code) for key in request.coordinator_keys],
    )
