"""What operators ask of topics, partitions and nodes that exist.

AlterConfigs, IncrementalAlterConfigs, DeleteRecords, ElectLeaders, DescribeLogDirs,
DescribeTopicPartitions and DescribeProducers. Does not: know bytes.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from trimaran.ids import TopicId
from trimaran.protocol.messages.common import OPERATIONS_UNKNOWN, ZERO_TOPIC_ID


@dataclass(frozen=True, slots=True, kw_only=True)
class AlterableConfig:
    """A setting and its new value."""

    name: str
    value: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AlterConfigsResource:
    """All settings of a topic (`resource_type` 2) or broker (4); others go to their defaults."""

    resource_type: int
    resource_name: str
    configs: Sequence[AlterableConfig] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class AlterConfigsRequest:
    """Replace settings."""

    resources: Sequence[AlterConfigsResource]
    validate_only: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class AlterConfigsResourceResponse:
    """What became of one resource."""

    error_code: int = 0
    error_message: str | None = None
    resource_type: int
    resource_name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AlterConfigsResponse:
    """The answer to an AlterConfigs."""

    throttle_time_ms: int = 0
    responses: Sequence[AlterConfigsResourceResponse]


@dataclass(frozen=True, slots=True, kw_only=True)
class IncrementalAlterableConfig:
    """One change (KIP-339): operation 0 set, 1 delete, 2 append, 3 subtract."""

    name: str
    config_operation: int = 0
    value: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class IncrementalAlterConfigsResource:
    """Changes to a topic (`resource_type` 2) or broker (4)."""

    resource_type: int
    resource_name: str
    configs: Sequence[IncrementalAlterableConfig] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class IncrementalAlterConfigsRequest:
    """Change settings."""

    resources: Sequence[IncrementalAlterConfigsResource]
    validate_only: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class IncrementalAlterConfigsResponse:
    """The answer to an IncrementalAlterConfigs."""

    throttle_time_ms: int = 0
    responses: Sequence[AlterConfigsResourceResponse]


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteRecordsPartition:
    """Below which offset a partition is to be given up; -1 is the high watermark."""

    partition_index: int
    offset: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteRecordsTopic:
    """The partitions of one topic."""

    name: str
    partitions: Sequence[DeleteRecordsPartition]


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteRecordsRequest:
    """Move log starts."""

    topics: Sequence[DeleteRecordsTopic]
    timeout_ms: int = 60_000


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteRecordsPartitionResult:
    """Where the partition begins now; -1 with an error."""

    partition_index: int
    low_watermark: int = -1
    error_code: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteRecordsTopicResult:
    """The log starts of one topic's partitions."""

    name: str
    partitions: Sequence[DeleteRecordsPartitionResult]


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteRecordsResponse:
    """The answer to a DeleteRecords."""

    throttle_time_ms: int = 0
    topics: Sequence[DeleteRecordsTopicResult]


@dataclass(frozen=True, slots=True, kw_only=True)
class ElectLeadersTopic:
    """Partitions of one topic."""

    topic: str
    partitions: Sequence[int] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ElectLeadersRequest:
    """Have the preferred replica (type 0) lead, or any live one (1); None: every partition."""

    election_type: int = 0
    """Version 1 and up."""
    topic_partitions: Sequence[ElectLeadersTopic] | None = None
    timeout_ms: int = 60_000


@dataclass(frozen=True, slots=True, kw_only=True)
class ElectLeadersPartitionResult:
    """What became of one partition's election."""

    partition_id: int
    error_code: int = 0
    error_message: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ElectLeadersTopicResult:
    """What became of one topic's elections."""

    topic: str
    partition_result: Sequence[ElectLeadersPartitionResult]


@dataclass(frozen=True, slots=True, kw_only=True)
class ElectLeadersResponse:
    """The answer to an ElectLeaders."""

    throttle_time_ms: int = 0
    error_code: int = 0
    """Version 1 and up."""
    replica_election_results: Sequence[ElectLeadersTopicResult] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class DescribableLogDirTopic:
    """Partitions of one topic."""

    topic: str
    partitions: Sequence[int] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class DescribeLogDirsRequest:
    """Ask how much this node stores; None: of every partition."""

    topics: Sequence[DescribableLogDirTopic] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DescribeLogDirsPartition:
    """What one replica takes."""

    partition_index: int
    partition_size: int
    """Bytes."""
    offset_lag: int = 0
    is_future_key: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class DescribeLogDirsTopic:
    """The replicas of one topic."""

    name: str
    partitions: Sequence[DescribeLogDirsPartition]


@dataclass(frozen=True, slots=True, kw_only=True)
class DescribeLogDirsResult:
    """A data directory."""

    error_code: int = 0
    log_dir: str
    topics: Sequence[DescribeLogDirsTopic] = ()
    total_bytes: int = -1
    """Version 4 and up, as `usable_bytes`; -1 unknown."""
    usable_bytes: int = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class DescribeLogDirsResponse:
    """The answer to a DescribeLogDirs."""

    throttle_time_ms: int = 0
    error_code: int = 0
    """Version 3 and up."""
    results: Sequence[DescribeLogDirsResult] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicPartitionsCursor:
    """Where the next answer begins (KIP-966)."""

    topic_name: str
    partition_index: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DescribedTopicName:
    """A topic asked for."""

    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DescribeTopicPartitionsRequest:
    """Ask for topics, a page at a time; none named: all of them."""

    topics: Sequence[DescribedTopicName] = ()
    response_partition_limit: int = 2_000
    cursor: TopicPartitionsCursor | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DescribeTopicPartitionsResponsePartition:
    """One partition."""

    error_code: int = 0
    partition_index: int
    leader_id: int = -1
    leader_epoch: int = -1
    replica_nodes: Sequence[int] = ()
    isr_nodes: Sequence[int] = ()
    eligible_leader_replicas: Sequence[int] | None = None
    last_known_elr: Sequence[int] | None = None
    offline_replicas: Sequence[int] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class DescribeTopicPartitionsResponseTopic:
    """One topic, or the part of it that fits."""

    error_code: int = 0
    name: str | None
    topic_id: TopicId = ZERO_TOPIC_ID
    is_internal: bool = False
    partitions: Sequence[DescribeTopicPartitionsResponsePartition] = ()
    topic_authorized_operations: int = OPERATIONS_UNKNOWN


@dataclass(frozen=True, slots=True, kw_only=True)
class DescribeTopicPartitionsResponse:
    """The answer to a DescribeTopicPartitions."""

    throttle_time_ms: int = 0
    topics: Sequence[DescribeTopicPartitionsResponseTopic] = ()
    next_cursor: TopicPartitionsCursor | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DescribeProducersTopic:
    """Partitions of one topic."""

    name: str
    partition_indexes: Sequence[int] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class DescribeProducersRequest:
    """Ask which idempotent producers partitions know (KIP-664)."""

    topics: Sequence[DescribeProducersTopic]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProducerState:
    """One producer."""

    producer_id: int
    producer_epoch: int
    last_sequence: int = -1
    last_timestamp: int = -1
    coordinator_epoch: int = -1
    current_txn_start_offset: int = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class DescribeProducersPartition:
    """The producers of one partition."""

    partition_index: int
    error_code: int = 0
    error_message: str | None = None
    active_producers: Sequence[ProducerState] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class DescribeProducersTopicResponse:
    """The producers of one topic's partitions."""

    name: str
    partitions: Sequence[DescribeProducersPartition]


@dataclass(frozen=True, slots=True, kw_only=True)
class DescribeProducersResponse:
    """The answer to a DescribeProducers."""

    throttle_time_ms: int = 0
    topics: Sequence[DescribeProducersTopicResponse]
