"""Topics as Metadata answers carry them, encoded once and kept until something changes.

At a failover every client asks for everything, at the moment when the loop has least time: a
hundred topics take milliseconds to encode anew and microseconds to copy.

Invariant: what is kept was made after the last change of image, leaders, live nodes or who is in
sync.
Does not: decide which topics an answer holds.
"""

from trimaran.broker.api import Broker
from trimaran.errors import ErrorCode
from trimaran.ids import NodeId, TopicId
from trimaran.metadata.topology import Topic
from trimaran.protocol.codecs.metadata import encode_topic, layout
from trimaran.protocol.messages import MetadataResponsePartition, MetadataResponseTopic

NO_LEADER = -1


class TopicParts:
    """The encoded topics of one node, by layout and topic id."""

    __slots__ = ("_broker", "_handle", "_kept")

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._kept: dict[int, dict[TopicId, bytes]] = {}
        self._handle = broker.watch_leaders(self._kept.clear)

    def part(self, topic: Topic, version: int) -> bytes:
        """Return `topic` as an answer of `version` has it."""
        parts = self._kept.setdefault(layout(version), {})
        part = parts.get(topic.topic_id)
        if part is None:
            part = encode_topic(describe_topic(self._broker, topic), version)
            parts[topic.topic_id] = part
        return part

    def close(self) -> None:
        """Stop following changes."""
        self._broker.unwatch_leaders(self._handle)
        self._kept.clear()


def describe_topic(broker: Broker, topic: Topic) -> MetadataResponseTopic:
    """Return `topic` with its leaders and replicas as far as this node knows."""
    live = {node.node_id: None for node in broker.live_nodes()}
    return MetadataResponseTopic(
        name=topic.name,
        topic_id=topic.topic_id,
        is_internal=topic.is_internal,
        partitions=[
            _describe_partition(broker, topic, number, live)
            for number in range(len(topic.partitions))
        ],
    )


def _describe_partition(
    broker: Broker, topic: Topic, number: int, live: dict[NodeId, None]
) -> MetadataResponsePartition:
    leader, term = broker.leader_hint(topic.group(number))
    replicas = topic.partitions[number]
    behind = broker.behind(topic.group(number))
    alive = [node for node in replicas if node in live or node == leader]
    return MetadataResponsePartition(
        error_code=ErrorCode.NONE if leader is not None else ErrorCode.LEADER_NOT_AVAILABLE,
        partition_index=number,
        leader_id=NO_LEADER if leader is None else leader,
        leader_epoch=term,
        replica_nodes=replicas,
        isr_nodes=[node for node in alive if node not in behind],
        offline_replicas=[node for node in replicas if node not in alive],
    )
