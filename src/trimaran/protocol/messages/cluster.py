"""ApiVersions, Metadata and DescribeCluster: what the cluster is and who leads.

Does not: know bytes.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from trimaran.ids import TopicId
from trimaran.protocol.messages.common import OPERATIONS_UNKNOWN, ZERO_TOPIC_ID


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiVersionsRequest:
    """A client's first request."""

    client_software_name: str = ""
    """Version 3 and up (KIP-511)."""
    client_software_version: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiVersion:
    """One row of the table in `protocol.api`."""

    api_key: int
    min_version: int
    max_version: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiVersionsResponse:
    """What this broker can do. No features: none is versioned here."""

    error_code: int = 0
    api_keys: Sequence[ApiVersion]
    throttle_time_ms: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class MetadataRequestTopic:
    """A topic asked for, by name or, from version 10 on, by id (then `name` is None)."""

    topic_id: TopicId = ZERO_TOPIC_ID
    name: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MetadataRequest:
    """Ask for brokers and leaders."""

    topics: Sequence[MetadataRequestTopic] | None
    """None: all topics (in version 0 an empty list says so); empty: brokers only."""
    allow_auto_topic_creation: bool = True
    """Version 4 and up."""
    include_cluster_authorized_operations: bool = False
    include_topic_authorized_operations: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class MetadataResponseBroker:
    """A node and its listener."""

    node_id: int
    host: str
    port: int
    rack: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MetadataResponsePartition:
    """A partition and who leads it."""

    error_code: int = 0
    partition_index: int
    leader_id: int
    """-1 if none."""
    leader_epoch: int = -1
    """Version 7 and up."""
    replica_nodes: Sequence[int] = ()
    isr_nodes: Sequence[int] = ()
    offline_replicas: Sequence[int] = ()
    """Version 5 and up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MetadataResponseTopic:
    """A topic; encoded once per layout and image by `codecs.metadata.encode_topic`."""

    error_code: int = 0
    name: str | None
    """None, from version 12 on, in the answer to an unknown id."""
    topic_id: TopicId = ZERO_TOPIC_ID
    is_internal: bool = False
    partitions: Sequence[MetadataResponsePartition] = ()
    topic_authorized_operations: int = OPERATIONS_UNKNOWN


@dataclass(frozen=True, slots=True, kw_only=True)
class MetadataResponse:
    """The answer to a Metadata."""

    throttle_time_ms: int = 0
    brokers: Sequence[MetadataResponseBroker]
    cluster_id: str | None = None
    controller_id: int = -1
    topics: Sequence[MetadataResponseTopic | bytes]
    """Bytes are a topic that was encoded for this version before."""
    cluster_authorized_operations: int = OPERATIONS_UNKNOWN


@dataclass(frozen=True, slots=True, kw_only=True)
class DescribeClusterRequest:
    """Ask for brokers and controller (KIP-700)."""

    include_cluster_authorized_operations: bool = False
    endpoint_type: int = 1
    """1 brokers, 2 controllers; version 1 and up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DescribeClusterBroker:
    """A node and its listener."""

    broker_id: int
    host: str
    port: int
    rack: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DescribeClusterResponse:
    """The answer to a DescribeCluster."""

    throttle_time_ms: int = 0
    error_code: int = 0
    error_message: str | None = None
    endpoint_type: int = 1
    cluster_id: str
    controller_id: int = -1
    brokers: Sequence[DescribeClusterBroker] = ()
    cluster_authorized_operations: int = OPERATIONS_UNKNOWN
