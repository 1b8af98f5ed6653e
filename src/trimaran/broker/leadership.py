"""Which partition a request means, whether this node may answer for it, and who else would.

A partition that exists but has no replica here is not unknown: its client has old metadata, so it
gets NOT_LEADER_OR_FOLLOWER and, where the version carries it, the leader's name (KIP-951).
Does not: wait, or know any request.
"""

from trimaran.broker.api import Broker, Partition
from trimaran.errors import ErrorCode, RequestError
from trimaran.ids import GroupId, NodeId, TopicId, group_id
from trimaran.metadata.topology import Topic
from trimaran.protocol.messages import LeaderIdAndEpoch, NodeEndpoint


def find_partition(broker: Broker, topic: str, number: int) -> Partition:
    """Return this node's replica of a partition.

    Raises:
        RequestError: UNKNOWN_TOPIC_OR_PARTITION; NOT_LEADER_OR_FOLLOWER if others hold it.
    """
    partition = broker.partition(topic, number)
    if partition is not None:
        return partition
    row = broker.image.topic(topic)
    if row is None or not 0 <= number < len(row.partitions):
        raise RequestError(
            ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, f"no partition {number} of topic {topic!r}"
        )
    _check_events(row)
    raise _no_replica(topic, number)


def find_partition_by_id(broker: Broker, topic_id: TopicId, number: int) -> Partition:
    """Return this node's replica of a partition named by topic id.

    Raises:
        RequestError: UNKNOWN_TOPIC_ID, UNKNOWN_TOPIC_OR_PARTITION; NOT_LEADER_OR_FOLLOWER if
            others hold it.
    """
    partition = broker.partition_by_id(topic_id, number)
    if partition is not None:
        return partition
    row = broker.image.topic_by_id(topic_id)
    if row is None:
        raise RequestError(ErrorCode.UNKNOWN_TOPIC_ID, f"no topic with id {topic_id.hex()}")
    if not 0 <= number < len(row.partitions):
        raise RequestError(
            ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, f"no partition {number} of topic {row.name!r}"
        )
    _check_events(row)
    raise _no_replica(row.name, number)


def _check_events(topic: Topic) -> None:
    """Return if the topic has events. Raises RequestError."""
    if topic.is_internal:
        raise RequestError(
            ErrorCode.INVALID_TOPIC_EXCEPTION, f"topic {topic.name!r} is no log of events"
        )


def check_leadership(partition: Partition, client_epoch: int) -> None:
    """Check that this node leads `partition` in the epoch that the client knows.

    `client_epoch` 0 or below means that the client named none (terms start at 1; librdkafka sends
    0). An epoch above ours comes first: the client knows more than this node. A former leader then
    answers NOT_LEADER_OR_FOLLOWER rather than FENCED_LEADER_EPOCH, because every client looks for
    the new leader at once on the former and franz-go takes hints from it only.

    Raises:
        RequestError: UNKNOWN_LEADER_EPOCH, NOT_LEADER_OR_FOLLOWER, FENCED_LEADER_EPOCH (KIP-320).
    """
    epoch = partition.leader_epoch
    if client_epoch > epoch:
        raise RequestError(
            ErrorCode.UNKNOWN_LEADER_EPOCH,
            f"leader epoch of {partition.topic}-{partition.number}: asked {client_epoch}, "
            f"here {epoch}",
        )
    if not partition.is_leader:
        raise RequestError(
            ErrorCode.NOT_LEADER_OR_FOLLOWER,
            f"this node does not lead {partition.topic}-{partition.number}",
        )
    if 0 < client_epoch < epoch:
        raise RequestError(
            ErrorCode.FENCED_LEADER_EPOCH,
            f"leader epoch of {partition.topic}-{partition.number}: asked {client_epoch}, "
            f"here {epoch}",
        )


def group_of(broker: Broker, topic: str, number: int) -> GroupId | None:
    """Return the Raft group of a partition; None if there is no such topic."""
    row = broker.image.topic(topic)
    return None if row is None else group_id(row.topic_id, number)


class LeaderHints:
    """Who leads instead, for the partitions of one answer, and where to reach them (KIP-951).

    Clients take a hint only if the node is in the same answer's endpoints, so both are made here.
    """

    __slots__ = ("_broker", "_named")

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._named: dict[NodeId, None] = {}

    def leader_of(self, group: GroupId | None) -> LeaderIdAndEpoch | None:
        """Return who leads `group`; None if nobody is known to, or this node itself."""
        if group is None:
            return None
        leader, term = self._broker.leader_hint(group)
        if leader is None or leader == self._broker.node_id:
            return None
        if self._broker.image.node(leader) is None:
            return None
        self._named[leader] = None
        return LeaderIdAndEpoch(leader_id=leader, leader_epoch=term)

    def endpoints(self) -> list[NodeEndpoint]:
        """Return where to reach every leader that was named."""
        nodes = [self._broker.image.node(leader) for leader in self._named]
        return [
            NodeEndpoint(node_id=node.node_id, host=node.host, port=node.kafka_port, rack=node.rack)
            for node in nodes
            if node is not None
        ]


def recently_leaderless(broker: Broker, partition: Partition, now_s: float) -> bool:
    """Whether `partition` has no leader, and lost it less than the parking time ago."""
    leader, _ = broker.leader_hint(partition.group)
    if leader is not None or partition.is_leader:
        return False
    lost_at_s = broker.leader_lost_at(partition.group)
    return lost_at_s is not None and now_s < lost_at_s + broker.kafka.metadata_park_s


def _no_replica(topic: str, number: int) -> RequestError:
    return RequestError(
        ErrorCode.NOT_LEADER_OR_FOLLOWER, f"no replica of {topic}-{number} on this node"
    )
