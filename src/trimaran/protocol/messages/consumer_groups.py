"""ConsumerGroupHeartbeat and ConsumerGroupDescribe: groups of the new protocol (KIP-848).

Does not: know bytes.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from trimaran.ids import TopicId
from trimaran.protocol.messages.common import OPERATIONS_UNKNOWN


@dataclass(frozen=True, slots=True, kw_only=True)
class HeartbeatTopicPartitions:
    """Partitions of one topic."""

    topic_id: TopicId
    partitions: Sequence[int] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsumerGroupHeartbeatRequest:
    """Join, go on or leave; null: as in the heartbeat before."""

    group_id: str
    member_id: str
    member_epoch: int
    """0: join; -1: leave; -2: a static member leaves for a while."""
    instance_id: str | None = None
    rack_id: str | None = None
    rebalance_timeout_ms: int = -1
    subscribed_topic_names: Sequence[str] | None = None
    subscribed_topic_regex: str | None = None
    """Version 1 and up."""
    server_assignor: str | None = None
    topic_partitions: Sequence[HeartbeatTopicPartitions] | None = None
    """What the member has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HeartbeatAssignment:
    """What a member is to have now."""

    topic_partitions: Sequence[HeartbeatTopicPartitions] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsumerGroupHeartbeatResponse:
    """The answer to a ConsumerGroupHeartbeat."""

    throttle_time_ms: int = 0
    error_code: int = 0
    error_message: str | None = None
    member_id: str | None = None
    member_epoch: int = 0
    heartbeat_interval_ms: int = 0
    assignment: HeartbeatAssignment | None = None
    """Null: as before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsumerGroupDescribeRequest:
    """Ask what groups are like."""

    group_ids: Sequence[str]
    include_authorized_operations: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class DescribedTopicPartitions:
    """Partitions of one topic."""

    topic_id: TopicId
    topic_name: str
    partitions: Sequence[int] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class DescribedAssignment:
    """What a member has, or is to have in the end."""

    topic_partitions: Sequence[DescribedTopicPartitions] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class DescribedConsumer:
    """One member."""

    member_id: str
    instance_id: str | None = None
    rack_id: str | None = None
    member_epoch: int = 0
    client_id: str = ""
    client_host: str = ""
    subscribed_topic_names: Sequence[str] = ()
    subscribed_topic_regex: str | None = None
    assignment: DescribedAssignment = field(default_factory=DescribedAssignment)
    target_assignment: DescribedAssignment = field(default_factory=DescribedAssignment)
    member_type: int = -1
    """Version 1 and up. 0: speaks the classic protocol; 1: the new one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DescribedConsumerGroup:
    """One group."""

    error_code: int = 0
    error_message: str | None = None
    group_id: str
    group_state: str = ""
    group_epoch: int = 0
    assignment_epoch: int = 0
    assignor_name: str = ""
    members: Sequence[DescribedConsumer] = ()
    authorized_operations: int = OPERATIONS_UNKNOWN


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsumerGroupDescribeResponse:
    """The answer to a ConsumerGroupDescribe."""

    throttle_time_ms: int = 0
    groups: Sequence[DescribedConsumerGroup]
