"""Fetch, ListOffsets and OffsetForLeaderEpoch: reading a partition and finding the place.

Fetch is on the way of every event: plain slots.
Does not: know bytes; records are the payloads of the log's entries, not copied.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from trimaran.ids import TopicId
from trimaran.protocol.messages.common import ZERO_TOPIC_ID, LeaderIdAndEpoch, NodeEndpoint
from trimaran.records.entry import Payload

FETCH_BYTES_MAX = 2**31 - 1


@dataclass(slots=True)
class FetchPartition:
    """From where and how much is asked of one partition."""

    partition: int
    fetch_offset: int
    partition_max_bytes: int
    current_leader_epoch: int = -1
    """Version 9 and up; -1 skips the check (KIP-320)."""
    last_fetched_epoch: int = -1
    """Version 12 and up."""
    log_start_offset: int = -1
    """Version 5 and up; followers of Kafka only."""


@dataclass(slots=True)
class FetchTopic:
    """The partitions asked for of one topic; up to version 12 by name, later by id (KIP-516)."""

    topic: str = ""
    topic_id: TopicId = ZERO_TOPIC_ID
    partitions: Sequence[FetchPartition] = ()


@dataclass(slots=True)
class ForgottenTopic:
    """Partitions that leave a fetch session (KIP-227), version 7 and up."""

    topic: str = ""
    topic_id: TopicId = ZERO_TOPIC_ID
    partitions: Sequence[int] = ()


@dataclass(slots=True)
class FetchRequest:
    """Read batches. What only a replica of Kafka would send is not kept."""

    max_wait_ms: int
    min_bytes: int
    topics: Sequence[FetchTopic]
    max_bytes: int = FETCH_BYTES_MAX
    isolation_level: int = 0
    """0 read uncommitted, 1 read committed."""
    session_id: int = 0
    """Version 7 and up, as `session_epoch`."""
    session_epoch: int = -1
    forgotten_topics_data: Sequence[ForgottenTopic] = ()
    rack_id: str = ""
    """Version 11 and up."""


@dataclass(slots=True)
class AbortedTransaction:
    """An aborted transaction among the records of an answer."""

    producer_id: int
    first_offset: int


@dataclass(slots=True)
class PartitionData:
    """The batches of one partition, whole and in order."""

    partition_index: int
    error_code: int = 0
    high_watermark: int = -1
    last_stable_offset: int = -1
    log_start_offset: int = -1
    """Version 5 and up."""
    current_leader: LeaderIdAndEpoch | None = None
    """Version 12 and up (KIP-951)."""
    aborted_transactions: Sequence[AbortedTransaction] | None = None
    preferred_read_replica: int = -1
    """Version 11 and up."""
    records: Sequence[Payload] = ()
    """Batches, concatenated on the wire. Nothing is sent as length 0, never as null."""


@dataclass(slots=True)
class FetchableTopicResponse:
    """The answer for one topic; named as the request named it."""

    topic: str = ""
    topic_id: TopicId = ZERO_TOPIC_ID
    partitions: Sequence[PartitionData] = ()


@dataclass(slots=True)
class FetchResponse:
    """The answer to a Fetch."""

    responses: Sequence[FetchableTopicResponse] = ()
    throttle_time_ms: int = 0
    error_code: int = 0
    """Version 7 and up."""
    session_id: int = 0
    node_endpoints: Sequence[NodeEndpoint] = ()
    """Version 16 and up (KIP-951)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ListOffsetsPartition:
    """Which offset is asked for."""

    partition_index: int
    current_leader_epoch: int = -1
    """Version 4 and up."""
    timestamp: int
    """ms; or -1 latest, -2 earliest, -3 of the largest timestamp (KIP-734), -4 earliest local."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ListOffsetsTopic:
    """The partitions asked for of one topic."""

    name: str
    partitions: Sequence[ListOffsetsPartition]


@dataclass(frozen=True, slots=True, kw_only=True)
class ListOffsetsRequest:
    """Ask for offsets by time."""

    replica_id: int = -1
    isolation_level: int = 0
    """Version 2 and up."""
    topics: Sequence[ListOffsetsTopic]
    timeout_ms: int = 0
    """Version 10 and up; for reads from a second tier, which there is not here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ListOffsetsPartitionResponse:
    """An offset and the timestamp found there; both -1 if there is none."""

    partition_index: int
    error_code: int = 0
    timestamp: int = -1
    offset: int = -1
    leader_epoch: int = -1
    """Version 4 and up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ListOffsetsTopicResponse:
    """The offsets of one topic's partitions."""

    name: str
    partitions: Sequence[ListOffsetsPartitionResponse]


@dataclass(frozen=True, slots=True, kw_only=True)
class ListOffsetsResponse:
    """The answer to a ListOffsets."""

    throttle_time_ms: int = 0
    topics: Sequence[ListOffsetsTopicResponse]


@dataclass(frozen=True, slots=True, kw_only=True)
class OffsetForLeaderPartition:
    """Which epoch's end is asked for (KIP-320)."""

    partition: int
    current_leader_epoch: int = -1
    leader_epoch: int


@dataclass(frozen=True, slots=True, kw_only=True)
class OffsetForLeaderTopic:
    """The partitions asked for of one topic."""

    topic: str
    partitions: Sequence[OffsetForLeaderPartition]


@dataclass(frozen=True, slots=True, kw_only=True)
class OffsetForLeaderEpochRequest:
    """Ask where an epoch ended."""

    replica_id: int = -2
    """Version 3 and up; -2 is a consumer that did not say, -1 a consumer."""
    topics: Sequence[OffsetForLeaderTopic]


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochEndOffset:
    """The largest epoch not above the one asked for, and where it ends; both -1 if unknown."""

    error_code: int = 0
    partition: int
    leader_epoch: int = -1
    end_offset: int = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class OffsetForLeaderTopicResult:
    """The epoch ends of one topic's partitions."""

    topic: str
    partitions: Sequence[EpochEndOffset]


@dataclass(frozen=True, slots=True, kw_only=True)
class OffsetForLeaderEpochResponse:
    """The answer to an OffsetForLeaderEpoch."""

    throttle_time_ms: int = 0
    topics: Sequence[OffsetForLeaderTopicResult]
