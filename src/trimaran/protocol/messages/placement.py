"""Where replicas lie and what there is to be configured, as Kafka's tools ask for it.

AlterReplicaLogDirs, AlterPartitionReassignments, ListPartitionReassignments, DescribeQuorum and
ListConfigResources. Does not: know bytes.
"""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class AlterReplicaLogDirTopic:
    """Partitions of a topic to be moved."""

    name: str
    partitions: Sequence[int] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class AlterReplicaLogDir:
    """What is to lie in one directory."""

    path: str
    topics: Sequence[AlterReplicaLogDirTopic]


@dataclass(frozen=True, slots=True, kw_only=True)
class AlterReplicaLogDirsRequest:
    """Move replicas of this node to other directories (KIP-113)."""

    dirs: Sequence[AlterReplicaLogDir]


@dataclass(frozen=True, slots=True, kw_only=True)
class AlterReplicaLogDirPartitionResult:
    """What became of one replica."""

    partition_index: int
    error_code: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class AlterReplicaLogDirTopicResult:
    """What became of a topic's replicas."""

    topic_name: str
    partitions: Sequence[AlterReplicaLogDirPartitionResult]


@dataclass(frozen=True, slots=True, kw_only=True)
class AlterReplicaLogDirsResponse:
    """The answer to an AlterReplicaLogDirs."""

    throttle_time_ms: int = 0
    results: Sequence[AlterReplicaLogDirTopicResult]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReassignablePartition:
    """The nodes that are to hold a partition; None: stop moving it."""

    partition_index: int
    replicas: Sequence[int] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReassignableTopic:
    """Partitions of a topic."""

    name: str
    partitions: Sequence[ReassignablePartition]


@dataclass(frozen=True, slots=True, kw_only=True)
class AlterPartitionReassignmentsRequest:
    """Move partitions to other nodes (KIP-455)."""

    timeout_ms: int = 60_000
    allow_replication_factor_change: bool = True
    """Version 1 and up."""
    topics: Sequence[ReassignableTopic]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReassignablePartitionResponse:
    """What became of one partition."""

    partition_index: int
    error_code: int = 0
    error_message: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReassignableTopicResponse:
    """What became of a topic's partitions."""

    name: str
    partitions: Sequence[ReassignablePartitionResponse]


@dataclass(frozen=True, slots=True, kw_only=True)
class AlterPartitionReassignmentsResponse:
    """The answer to an AlterPartitionReassignments."""

    throttle_time_ms: int = 0
    allow_replication_factor_change: bool = True
    """Version 1 and up."""
    error_code: int = 0
    error_message: str | None = None
    responses: Sequence[ReassignableTopicResponse] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ListPartitionReassignmentsTopics:
    """Partitions of a topic."""

    name: str
    partition_indexes: Sequence[int] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ListPartitionReassignmentsRequest:
    """Ask what is being moved (KIP-455)."""

    timeout_ms: int = 60_000
    topics: Sequence[ListPartitionReassignmentsTopics] | None = None
    """None: all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OngoingPartitionReassignment:
    """A partition that is being moved."""

    partition_index: int
    replicas: Sequence[int] = ()
    adding_replicas: Sequence[int] = ()
    removing_replicas: Sequence[int] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class OngoingTopicReassignment:
    """A topic's partitions that are being moved."""

    name: str
    partitions: Sequence[OngoingPartitionReassignment]


@dataclass(frozen=True, slots=True, kw_only=True)
class ListPartitionReassignmentsResponse:
    """The answer to a ListPartitionReassignments."""

    throttle_time_ms: int = 0
    error_code: int = 0
    error_message: str | None = None
    topics: Sequence[OngoingTopicReassignment] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class DescribeQuorumRequestPartition:
    """A partition of the cluster's own log; there is one, 0."""

    partition_index: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DescribeQuorumRequestTopic:
    """The cluster's own log, by the name that Kafka gives it."""

    topic_name: str
    partitions: Sequence[DescribeQuorumRequestPartition]


@dataclass(frozen=True, slots=True, kw_only=True)
class DescribeQuorumRequest:
    """Ask who decides about the cluster (KIP-595)."""

    topics: Sequence[DescribeQuorumRequestTopic]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaState:
    """One voter, and the first offset that it has not; -1: not known here."""

    replica_id: int
    replica_directory_id: bytes = bytes(16)
    """Version 2 and up."""
    log_end_offset: int
    last_fetch_timestamp: int = -1
    """Version 1 and up."""
    last_caught_up_timestamp: int = -1
    """Version 1 and up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DescribeQuorumPartition:
    """The state of the cluster's own log."""

    partition_index: int
    error_code: int = 0
    error_message: str | None = None
    """Version 2 and up."""
    leader_id: int = -1
    leader_epoch: int = -1
    high_watermark: int = -1
    current_voters: Sequence[ReplicaState] = ()
    observers: Sequence[ReplicaState] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class DescribeQuorumTopic:
    """The cluster's own log, or a name that is none."""

    topic_name: str
    partitions: Sequence[DescribeQuorumPartition]


@dataclass(frozen=True, slots=True, kw_only=True)
class QuorumListener:
    """Where the others of the quorum reach a node."""

    name: str
    host: str
    port: int


@dataclass(frozen=True, slots=True, kw_only=True)
class QuorumNode:
    """A node of the quorum."""

    node_id: int
    listeners: Sequence[QuorumListener]


@dataclass(frozen=True, slots=True, kw_only=True)
class DescribeQuorumResponse:
    """The answer to a DescribeQuorum."""

    error_code: int = 0
    error_message: str | None = None
    """Version 2 and up."""
    topics: Sequence[DescribeQuorumTopic] = ()
    nodes: Sequence[QuorumNode] = ()
    """Version 2 and up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ListConfigResourcesRequest:
    """Ask what has settings, by kinds; none means all (KIP-1142)."""

    resource_types: Sequence[int] = ()
    """Version 1 and up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigResource:
    """Something that has settings."""

    resource_name: str
    resource_type: int = 16
    """Version 1 and up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ListConfigResourcesResponse:
    """The answer to a ListConfigResources."""

    throttle_time_ms: int = 0
    error_code: int = 0
    config_resources: Sequence[ConfigResource] = ()
