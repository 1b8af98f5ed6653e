"""ListConfigResources (key 74): what has settings (KIP-1142).

Behavior:
  Topics (2) and nodes (4), ascending by name. Nothing of the other kinds that Kafka knows has
  settings here: loggers (8), client metrics (16), groups (32). A kind that nobody knows is
  UNSUPPORTED_VERSION, as in Kafka. The topic of coordinators is left out.
Version notes:
  0 and 1. 0 asks for client metrics alone. 1: kinds; none means all.
"""

from trimaran.broker.calls import Call
from trimaran.errors import ErrorCode, RequestError
from trimaran.protocol.messages import (
    ConfigResource,
    ListConfigResourcesRequest,
    ListConfigResourcesResponse,
)

_TOPIC, _NODE = 2, 4
_KINDS = (_TOPIC, _NODE, 8, 16, 32)


def handle(call: Call, request: ListConfigResourcesRequest) -> ListConfigResourcesResponse:
    """Return the names."""
    if call.version == 0:
        return ListConfigResourcesResponse()
    for kind in request.resource_types:
        if kind not in _KINDS:
            raise RequestError(
                ErrorCode.UNSUPPORTED_VERSION, f"resource type: expected {_KINDS}, found {kind}"
            )
    asked = request.resource_types or _KINDS
    image = call.broker.image
    names = {
        _TOPIC: [topic.name for topic in image.topics if not topic.is_internal],
        _NODE: [str(node.node_id) for node in image.nodes],
    }
    return ListConfigResourcesResponse(
        config_resources=[
            ConfigResource(resource_name=name, resource_type=kind)
            for kind, own in names.items()
            if kind in asked
            for name in own
        ]
    )


def refuse(
    request: ListConfigResourcesRequest, version: int, code: ErrorCode
) -> ListConfigResourcesResponse:
    """Return `code` for the request."""
    del request, version
    return ListConfigResourcesResponse(error_code=code)
