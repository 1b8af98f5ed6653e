"""Produce and InitProducerId. On the way of every event: plain slots.

Does not: know bytes; records stay a view on the received frame.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from trimaran.protocol.messages.common import LeaderIdAndEpoch, NodeEndpoint


@dataclass(slots=True)
class PartitionProduceData:
    """What is produced to one partition."""

    index: int
    records: memoryview | None
    """A writable view on the frame: exactly one RecordBatch v2 if the client is right."""


@dataclass(slots=True)
class TopicProduceData:
    """What is produced to one topic."""

    name: str
    partition_data: Sequence[PartitionProduceData]


@dataclass(slots=True)
class ProduceRequest:
    """Append batches."""

    transactional_id: str | None
    acks: int
    """-1 all, 1 leader, 0 no answer at all."""
    timeout_ms: int
    topic_data: Sequence[TopicProduceData]


@dataclass(slots=True)
class BatchIndexAndErrorMessage:
    """A record that made its batch fail."""

    batch_index: int
    batch_index_error_message: str | None = None


@dataclass(slots=True)
class PartitionProduceResponse:
    """What became of one partition's batch."""

    index: int
    error_code: int = 0
    base_offset: int = -1
    log_append_time_ms: int = -1
    log_start_offset: int = -1
    """Version 5 and up."""
    record_errors: Sequence[BatchIndexAndErrorMessage] = ()
    """Version 8 and up."""
    error_message: str | None = None
    """Version 8 and up."""
    current_leader: LeaderIdAndEpoch | None = None
    """Version 10 and up."""


@dataclass(slots=True)
class TopicProduceResponse:
    """What became of one topic's batches."""

    name: str
    partition_responses: Sequence[PartitionProduceResponse]


@dataclass(slots=True)
class ProduceResponse:
    """The answer to a Produce with acks other than 0."""

    responses: Sequence[TopicProduceResponse]
    throttle_time_ms: int = 0
    node_endpoints: Sequence[NodeEndpoint] = ()
    """Version 10 and up; the nodes that `current_leader` fields name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InitProducerIdRequest:
    """Ask for a producer id."""

    transactional_id: str | None = None
    transaction_timeout_ms: int = 0
    producer_id: int = -1
    """Version 3 and up: the id to bump the epoch of (KIP-360)."""
    producer_epoch: int = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class InitProducerIdResponse:
    """A producer id and its epoch."""

    throttle_time_ms: int = 0
    error_code: int = 0
    producer_id: int = -1
    producer_epoch: int = -1
