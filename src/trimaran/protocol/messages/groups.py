"""FindCoordinator, OffsetCommit and OffsetFetch: where a consumer group stands.

Does not: know bytes.
"""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class FindCoordinatorRequest:
    """Ask who coordinates groups (`key_type` 0) or transactions (1)."""

    key: str = ""
    """Up to version 3."""
    key_type: int = 0
    """Version 1 and up."""
    coordinator_keys: Sequence[str] = ()
    """Version 4 (KIP-699)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Coordinator:
    """The coordinator of one key, version 4."""

    key: str
    node_id: int = -1
    host: str = ""
    port: int = -1
    error_code: int = 0
    error_message: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FindCoordinatorResponse:
    """The answer to a FindCoordinator: the flat fields up to version 3, `coordinators` in 4."""

    throttle_time_ms: int = 0
    error_code: int = 0
    error_message: str | None = None
    node_id: int = -1
    host: str = ""
    port: int = -1
    coordinators: Sequence[Coordinator] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class OffsetCommitRequestPartition:
    """Where a group stands in one partition."""

    partition_index: int
    committed_offset: int
    committed_leader_epoch: int = -1
    """Version 6 and up."""
    committed_metadata: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OffsetCommitRequestTopic:
    """Where a group stands in one topic."""

    name: str
    partitions: Sequence[OffsetCommitRequestPartition]


@dataclass(frozen=True, slots=True, kw_only=True)
class OffsetCommitRequest:
    """Remember where a group stands."""

    group_id: str
    generation_id_or_member_epoch: int = -1
    """-1 from a consumer that assigns its partitions itself."""
    member_id: str = ""
    group_instance_id: str | None = None
    """Version 7 and up."""
    retention_time_ms: int = -1
    """Up to version 4."""
    topics: Sequence[OffsetCommitRequestTopic]


@dataclass(frozen=True, slots=True, kw_only=True)
class OffsetCommitResponsePartition:
    """Whether one partition's offset was stored."""

    partition_index: int
    error_code: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class OffsetCommitResponseTopic:
    """Whether one topic's offsets were stored."""

    name: str
    partitions: Sequence[OffsetCommitResponsePartition]


@dataclass(frozen=True, slots=True, kw_only=True)
class OffsetCommitResponse:
    """The answer to an OffsetCommit."""

    throttle_time_ms: int = 0
    topics: Sequence[OffsetCommitResponseTopic]


@dataclass(frozen=True, slots=True, kw_only=True)
class OffsetFetchRequestTopic:
    """The partitions asked for of one topic, up to version 7."""

    name: str
    partition_indexes: Sequence[int]


@dataclass(frozen=True, slots=True, kw_only=True)
class OffsetFetchRequestTopics:
    """The partitions asked for of one topic, version 8 and up."""

    name: str
    partition_indexes: Sequence[int]


@dataclass(frozen=True, slots=True, kw_only=True)
class OffsetFetchRequestGroup:
    """A group asked for, version 8 and up; `topics` None is all it has committed."""

    group_id: str
    member_id: str | None = None
    """Version 9, as `member_epoch` (KIP-848)."""
    member_epoch: int = -1
    topics: Sequence[OffsetFetchRequestTopics] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class OffsetFetchRequest:
    """Ask where groups stand: one group up to version 7, `groups` from 8 on (KIP-709)."""

    group_id: str = ""
    topics: Sequence[OffsetFetchRequestTopic] | None = None
    """None, from version 2 on: all the group has committed."""
    groups: Sequence[OffsetFetchRequestGroup] = ()
    require_stable: bool = False
    """Version 7 and up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OffsetFetchResponsePartition:
    """Where a group stands in one partition, up to version 7; offset -1 if nowhere."""

    partition_index: int
    committed_offset: int = -1
    committed_leader_epoch: int = -1
    """Version 5 and up."""
    metadata: str | None = ""
    error_code: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class OffsetFetchResponseTopic:
    """Where a group stands in one topic, up to version 7."""

    name: str
    partitions: Sequence[OffsetFetchResponsePartition]


@dataclass(frozen=True, slots=True, kw_only=True)
class OffsetFetchResponsePartitions:
    """Where a group stands in one partition, version 8 and up; offset -1 if nowhere."""

    partition_index: int
    committed_offset: int = -1
    committed_leader_epoch: int = -1
    metadata: str | None = ""
    error_code: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class OffsetFetchResponseTopics:
    """Where a group stands in one topic, version 8 and up."""

    name: str
    partitions: Sequence[OffsetFetchResponsePartitions]


@dataclass(frozen=True, slots=True, kw_only=True)
class OffsetFetchResponseGroup:
    """Where one group stands, version 8 and up."""

    group_id: str
    topics: Sequence[OffsetFetchResponseTopics] = ()
    error_code: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class OffsetFetchResponse:
    """The answer to an OffsetFetch."""

    throttle_time_ms: int = 0
    topics: Sequence[OffsetFetchResponseTopic] = ()
    error_code: int = 0
    """Versions 2 to 7."""
    groups: Sequence[OffsetFetchResponseGroup] = ()
