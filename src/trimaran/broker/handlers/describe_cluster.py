"""DescribeCluster (key 60): the nodes and the cluster's id (KIP-700).

Behavior:
  All registered nodes, the dead ones too, as in Metadata. Any node may be asked for anything, so
  the controller is this node. There are no controller endpoints: MISMATCHED_ENDPOINT_TYPE.
Version notes:
  0 and 1. 1: endpoint types (KIP-919); only brokers (1) are served.
"""

from trimaran.broker.calls import Call
from trimaran.errors import ErrorCode, RequestError
from trimaran.protocol.messages import (
    DescribeClusterBroker,
    DescribeClusterRequest,
    DescribeClusterResponse,
)

_BROKERS, _CONTROLLERS = 1, 2


def handle(call: Call, request: DescribeClusterRequest) -> DescribeClusterResponse:
    """Return every registered node."""
    if request.endpoint_type != _BROKERS:
        is_known = request.endpoint_type == _CONTROLLERS
        raise RequestError(
            ErrorCode.MISMATCHED_ENDPOINT_TYPE if is_known else ErrorCode.UNSUPPORTED_ENDPOINT_TYPE,
            f"endpoint type: expected {_BROKERS} (brokers), found {request.endpoint_type}",
        )
    broker = call.broker
    return DescribeClusterResponse(
        cluster_id=broker.cluster_id,
        controller_id=broker.node_id,
        brokers=[
            DescribeClusterBroker(
                broker_id=node.node_id, host=node.host, port=node.kafka_port, rack=node.rack
            )
            for node in broker.image.nodes
        ],
    )


def refuse(
    request: DescribeClusterRequest, version: int, code: ErrorCode
) -> DescribeClusterResponse:
    """Return `code` for the request."""
    del request, version
    return DescribeClusterResponse(error_code=code, cluster_id="")
