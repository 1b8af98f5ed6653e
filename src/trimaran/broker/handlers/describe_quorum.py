"""DescribeQuorum (key 55): who decides about the cluster (KIP-595).

Behavior:
  Kafka's `__cluster_metadata` is the metadata group: its leader and term as this node knows them,
  its voters, which are all registered nodes, and as high watermark what this node has applied. How
  far the other voters are is not known here (-1). Any node answers. Other names are
  UNKNOWN_TOPIC_OR_PARTITION.
Version notes:
  0 to 2. 1: times of the voters, which are not told. 2: the voters' disks and addresses (KIP-853).
"""

from trimaran.broker.calls import Call
from trimaran.errors import ErrorCode
from trimaran.ids import METADATA_GROUP
from trimaran.metadata.rules import METADATA_TOPIC
from trimaran.protocol.messages import (
    DescribeQuorumPartition,
    DescribeQuorumRequest,
    DescribeQuorumResponse,
    DescribeQuorumTopic,
    QuorumListener,
    QuorumNode,
    ReplicaState,
)

LISTENER = "CONTROLLER"
"""What tools call the address at which nodes talk to each other."""


def handle(call: Call, request: DescribeQuorumRequest) -> DescribeQuorumResponse:
    """Describe the metadata group wherever it is asked for."""
    return DescribeQuorumResponse(
        topics=[
            DescribeQuorumTopic(
                topic_name=topic.topic_name,
                partitions=[
                    _partition(call, topic.topic_name, asked.partition_index)
                    for asked in topic.partitions
                ],
            )
            for topic in request.topics
        ],
        nodes=[
            QuorumNode(
                node_id=node.node_id,
                listeners=[QuorumListener(name=LISTENER, host=node.peer_host, port=node.peer_port)],
            )
            for node in call.broker.image.nodes
        ],
    )


def refuse(request: DescribeQuorumRequest, version: int, code: ErrorCode) -> DescribeQuorumResponse:
    """Return `code` for the request."""
    del request, version
    return DescribeQuorumResponse(error_code=code)


def _partition(call: Call, name: str, number: int) -> DescribeQuorumPartition:
    if (name, number) != (METADATA_TOPIC, 0):
        return DescribeQuorumPartition(
            partition_index=number, error_code=ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
        )
    broker = call.broker
    leader, term = broker.leader_hint(METADATA_GROUP)
    end = broker.image.applied_index + 1
    return DescribeQuorumPartition(
        partition_index=number,
        leader_id=-1 if leader is None else leader,
        leader_epoch=term,
        high_watermark=end,
        current_voters=[
            ReplicaState(
                replica_id=node.node_id,
                replica_directory_id=node.disk_id,
                log_end_offset=end if node.node_id == broker.node_id else -1,
            )
            for node in broker.image.nodes
        ],
    )
