"""CreateTopics, DeleteTopics, CreatePartitions and DescribeConfigs.

Does not: know bytes.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from trimaran.ids import TopicId
from trimaran.protocol.messages.common import ZERO_TOPIC_ID


@dataclass(frozen=True, slots=True, kw_only=True)
class CreatableReplicaAssignment:
    """Where one partition is to live."""

    partition_index: int
    broker_ids: Sequence[int]


@dataclass(frozen=True, slots=True, kw_only=True)
class CreatableTopicConfig:
    """A setting of a topic to be created."""

    name: str
    value: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CreatableTopic:
    """A topic to be created; partitions and replication -1 are the broker's defaults (KIP-464)."""

    name: str
    num_partitions: int = -1
    replication_factor: int = -1
    assignments: Sequence[CreatableReplicaAssignment] = ()
    configs: Sequence[CreatableTopicConfig] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateTopicsRequest:
    """Create topics."""

    topics: Sequence[CreatableTopic]
    timeout_ms: int = 60_000
    validate_only: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class CreatableTopicConfigs:
    """A setting of a created topic (KIP-525)."""

    name: str
    value: str | None
    read_only: bool = False
    config_source: int = -1
    is_sensitive: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class CreatableTopicResult:
    """What became of one topic."""

    name: str
    topic_id: TopicId = ZERO_TOPIC_ID
    """Version 7."""
    error_code: int = 0
    error_message: str | None = None
    topic_config_error_code: int = 0
    """Version 5 and up, as the fields below."""
    num_partitions: int = -1
    replication_factor: int = -1
    configs: Sequence[CreatableTopicConfigs] | None = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateTopicsResponse:
    """The answer to a CreateTopics."""

    throttle_time_ms: int = 0
    topics: Sequence[CreatableTopicResult]


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteTopicState:
    """A topic to be deleted, by name or id, version 6."""

    name: str | None = None
    topic_id: TopicId = ZERO_TOPIC_ID


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteTopicsRequest:
    """Delete topics: `topic_names` up to version 5, `topics` in 6."""

    topics: Sequence[DeleteTopicState] = ()
    topic_names: Sequence[str] = ()
    timeout_ms: int = 60_000


@dataclass(frozen=True, slots=True, kw_only=True)
class DeletableTopicResult:
    """What became of one topic."""

    name: str | None
    topic_id: TopicId = ZERO_TOPIC_ID
    """Version 6."""
    error_code: int = 0
    error_message: str | None = None
    """Version 5 and up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteTopicsResponse:
    """The answer to a DeleteTopics."""

    throttle_time_ms: int = 0
    responses: Sequence[DeletableTopicResult]


@dataclass(frozen=True, slots=True, kw_only=True)
class CreatePartitionsAssignment:
    """Where one new partition is to live."""

    broker_ids: Sequence[int]


@dataclass(frozen=True, slots=True, kw_only=True)
class CreatePartitionsTopic:
    """A topic that is to have `count` partitions in all."""

    name: str
    count: int
    assignments: Sequence[CreatePartitionsAssignment] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CreatePartitionsRequest:
    """Add partitions to topics."""

    topics: Sequence[CreatePartitionsTopic]
    timeout_ms: int = 60_000
    validate_only: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class CreatePartitionsTopicResult:
    """What became of one topic."""

    name: str
    error_code: int = 0
    error_message: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CreatePartitionsResponse:
    """The answer to a CreatePartitions."""

    throttle_time_ms: int = 0
    results: Sequence[CreatePartitionsTopicResult]


@dataclass(frozen=True, slots=True, kw_only=True)
class DescribeConfigsResource:
    """A topic (`resource_type` 2) or broker (4) and the settings asked for, None: all."""

    resource_type: int
    resource_name: str
    configuration_keys: Sequence[str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DescribeConfigsRequest:
    """Ask for settings."""

    resources: Sequence[DescribeConfigsResource]
    include_synonyms: bool = False
    include_documentation: bool = False
    """Version 3 and up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DescribeConfigsSynonym:
    """Where else a setting's value may come from."""

    name: str
    value: str | None
    source: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DescribeConfigsResourceResult:
    """One setting."""

    name: str
    value: str | None
    read_only: bool = False
    config_source: int = -1
    is_sensitive: bool = False
    synonyms: Sequence[DescribeConfigsSynonym] = ()
    config_type: int = 0
    """Version 3 and up, as `documentation`."""
    documentation: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DescribeConfigsResult:
    """The settings of one resource."""

    error_code: int = 0
    error_message: str | None = None
    resource_type: int
    resource_name: str
    configs: Sequence[DescribeConfigsResourceResult] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class DescribeConfigsResponse:
    """The answer to a DescribeConfigs."""

    throttle_time_ms: int = 0
    results: Sequence[DescribeConfigsResult]
