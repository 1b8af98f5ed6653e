"""What the Kafka handlers see of the broker: small views that its classes satisfy.

Handlers, dispatch and client sessions are written against these protocols only, so their tests run
on a small fake. `broker.node.Broker` and `broker.partition.Partition` fit them; everything here is
called on the event loop, and every callback is called on the event loop.
Does not: hold behaviour or state.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol, Self, TypeAlias

from trimaran.broker.counters import PartitionCounters
from trimaran.broker.fetch_sessions import FetchSessions
from trimaran.broker.live_groups import LiveGroups
from trimaran.config import NodeConfig
from trimaran.dedup.producers import KnownProducer
from trimaran.errors import ErrorCode, RequestError
from trimaran.groups.commands import Command as GroupCommand
from trimaran.groups.limits import COORDINATORS_DEFAULT
from trimaran.groups.messages import GroupSettings, MigrationPolicy
from trimaran.groups.table import GroupTable
from trimaran.ids import ClusterId, GroupId, NodeId, Offset, Term, TopicId
from trimaran.metadata.commands import Command
from trimaran.metadata.image import Image
from trimaran.metadata.results import Result
from trimaran.metadata.topic_settings import TopicSettings
from trimaran.records.entry import Payload

WatchHandle: TypeAlias = object
"""What `watch` gave out and `unwatch` takes back; opaque."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KafkaSettings:
    """The settings of the Kafka side. Kafka's names where Kafka has them; see `config`."""

    auto_create_topics: bool = True
    """This and the two below: what holds unless `image.node_settings` says otherwise."""
    num_partitions: int = 4
    default_replication_factor: int = 3
    nodes_count: int = 3
    """Nodes of the cluster, registered or not."""
    request_bytes_max: int = 100 * 1024 * 1024
    """socket.request.max.bytes"""
    connections_max: int = 10_000
    connections_max_per_address: int = 65_536
    """max.connections.per.ip"""
    inflight_requests_max: int = 100
    """Requests of one connection without an answer yet; beyond it the socket is not read."""
    inflight_bytes_max: int = 32 * 1024 * 1024
    """Bytes of those requests; one request may exceed it alone."""
    node_inflight_bytes_max: int = 256 * 1024 * 1024
    """Bytes of requests of all connections; beyond it no further request is read."""
    write_buffer_bytes_max: int = 8 * 1024 * 1024
    """Answers the client has not taken; beyond it the socket is not read."""
    slow_client_s: float = 30.0
    """A client over that limit that takes nothing for so long is closed."""
    request_receive_s: float = 30.0
    """A request must be complete this long after its first byte."""
    idle_timeout_s: float = 600.0
    """connections.max.idle.ms"""
    metadata_park_s: float = 0.4
    """How long Metadata waits for the successor of a leader that was just lost (D7)."""
    leader_wait_s: float = 10.0
    """How long an auto-creating Metadata waits for the new topic's leaders."""
    fetch_bytes_max: int = 55 * 1024 * 1024
    """fetch.max.bytes: the most one Fetch answers with, whatever it asks for."""
    request_timeout_s_max: float = 300.0
    """No wait that a client asks for lasts longer."""
    group: GroupSettings = field(default_factory=GroupSettings)
    coordinators_count: int = COORDINATORS_DEFAULT
    """Coordinators of consumer groups, when they are made."""
    offset_metadata_bytes_max: int = 4_096
    """offset.metadata.max.bytes"""
    offsets_retention_s: float = 604_800.0
    """offsets.retention.minutes"""
    log_directory: str = "data"
    """What DescribeLogDirs calls the node's data directory."""

    @classmethod
    def from_config(cls, config: NodeConfig) -> Self:
        """Return what a node's configuration says; times there are in ms."""
        kafka = config.kafka
        return cls(
            auto_create_topics=config.topic.auto_create_topics,
            num_partitions=config.topic.num_partitions,
            default_replication_factor=config.replication_factor,
            nodes_count=len(config.cluster.nodes),
            request_bytes_max=kafka.socket_request_max_bytes,
            connections_max=kafka.connections_max,
            connections_max_per_address=kafka.connections_max_per_address,
            inflight_requests_max=kafka.inflight_requests_max,
            inflight_bytes_max=kafka.inflight_bytes_max,
            node_inflight_bytes_max=kafka.node_inflight_bytes_max,
            write_buffer_bytes_max=kafka.write_buffer_bytes_max,
            slow_client_s=kafka.slow_client_ms / 1000,
            request_receive_s=kafka.request_receive_ms / 1000,
            idle_timeout_s=kafka.idle_timeout_ms / 1000,
            metadata_park_s=config.replication.metadata_park_ms / 1000,
            leader_wait_s=kafka.leader_wait_ms / 1000,
            fetch_bytes_max=kafka.fetch_bytes_max,
            request_timeout_s_max=kafka.request_timeout_max_ms / 1000,
            group=GroupSettings(
                session_timeout_min_ms=config.group.session_timeout_min_ms,
                session_timeout_max_ms=config.group.session_timeout_max_ms,
                initial_rebalance_delay_ms=config.group.initial_rebalance_delay_ms,
                members_max=config.group.members_max,
                heartbeat_interval_ms=config.group.consumer_heartbeat_interval_ms,
                consumer_session_timeout_ms=config.group.consumer_session_timeout_ms,
                migration=MigrationPolicy(config.group.consumer_migration_policy),
            ),
            coordinators_count=config.group.coordinators,
            offset_metadata_bytes_max=config.group.offset_metadata_bytes_max,
            offsets_retention_s=config.group.offsets_retention_minutes * 60.0,
            log_directory=config.node.data_directory,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeEndpoint:
    """Where Kafka clients reach a node."""

    node_id: NodeId
    host: str
    port: int
    rack: str | None = None


class Pending(Protocol):
    """A batch that was appended and waits for what its acks asked for."""

    @property
    def base_offset(self) -> Offset:
        """Offset of the first event (of the original, for a duplicate)."""

    @property
    def log_append_time_ms(self) -> int:
        """-1 unless the topic stamps LogAppendTime."""

    @property
    def done(self) -> bool:
        """Whether `error` is final. With acks=0 once appended; with acks=1 after the own sync."""

    @property
    def error(self) -> ErrorCode | None:
        """None: stored as asked. NOT_LEADER_OR_FOLLOWER: outcome unknown, without a `refusal`."""

    @property
    def refusal(self) -> RequestError | None:
        """Why nothing was appended, where that was seen only when it was done; `error` is its code.

        A batch that is opened in a thread before it is appended is refused so.
        """

    def on_done(self, callback: Callable[[], None]) -> None:
        """Call `callback` once, later, when `done` turns true. Only asked while not done.

        The callback never raises; it is not withdrawn when the request timed out before.
        """


class Partition(Protocol):
    """A replica of one partition on this node."""

    @property
    def topic(self) -> str:
        """Name of the topic."""

    @property
    def topic_id(self) -> TopicId:
        """Id of the topic; a re-created topic has another."""

    @property
    def number(self) -> int:
        """Partition number, from 0."""

    @property
    def group(self) -> GroupId:
        """The Raft group, for `Broker.leader_hint`."""

    @property
    def replicas(self) -> tuple[NodeId, ...]:
        """The nodes that hold the partition, preferred leader first."""

    @property
    def is_leader(self) -> bool:
        """Whether this node leads the partition (and has not lost its majority: see D6)."""

    @property
    def leader(self) -> NodeId | None:
        """Who leads, as far as this replica knows."""

    @property
    def leader_epoch(self) -> int:
        """The Raft term."""

    @property
    def high_watermark(self) -> Offset:
        """First offset not known committed; readers see what lies below."""

    @property
    def log_start(self) -> Offset:
        """First offset that can be read."""

    @property
    def log_end(self) -> Offset:
        """First unwritten offset, uncommitted tail included."""

    @property
    def leader_ready(self) -> bool:
        """A leader that has committed an entry of its own term (true high watermark)."""

    def append(self, batch: memoryview, *, acks: int) -> Pending:
        """Check, stamp and propose one RecordBatch v2.

        The view stays valid as long as somebody holds it (the frame's buffer is never reused).

        Raises:
            RequestError: NOT_LEADER_OR_FOLLOWER, CORRUPT_MESSAGE, INVALID_RECORD,
                MESSAGE_TOO_LARGE, OUT_OF_ORDER_SEQUENCE_NUMBER, INVALID_PRODUCER_EPOCH,
                NOT_ENOUGH_REPLICAS, UNSUPPORTED_FOR_MESSAGE_FORMAT.
        """

    def read(
        self, offset: Offset, bytes_max: int
    ) -> "Sequence[Payload] | asyncio.Future[Sequence[Payload]]":
        """Return committed batches from the one that contains `offset`; at least one whole batch.

        Empty at the high watermark and up to the log end. A future when segments must be read.

        Raises:
            RequestError: OFFSET_OUT_OF_RANGE below log start or above log end.
        """

    def watch(self, callback: Callable[[], None]) -> WatchHandle:
        """Call `callback` whenever high watermark, log start or leadership changed.

        Called while the handle lives, maybe often; the callback may call `unwatch`.
        """

    def unwatch(self, handle: WatchHandle) -> None:
        """Stop. Unknown handles are ignored."""

    def read_index(self) -> "asyncio.Future[Offset]":
        """Return the linearizable high watermark; RequestError NOT_LEADER_OR_FOLLOWER if lost."""

    def offset_for_time(self, timestamp_ms: int) -> "Awaitable[tuple[Offset, int] | None]":
        """Return (offset, timestamp) of the first committed record at or after `timestamp_ms`."""

    def offset_of_max_time(self) -> "Awaitable[tuple[Offset, int] | None]":
        """Return (offset, timestamp) of the record with the highest timestamp (KIP-734)."""

    def delete_records(self, offset: int) -> Pending:
        """Give up all events below `offset`, -1: all that are committed.

        Done when every later reader is told so; `log_start` is the outcome.

        Raises:
            RequestError: OFFSET_OUT_OF_RANGE, NOT_LEADER_OR_FOLLOWER, NOT_ENOUGH_REPLICAS.
        """

    @property
    def settings(self) -> TopicSettings:
        """The topic's settings, as this node knows them."""

    @property
    def size_bytes(self) -> int:
        """Bytes of batches in segments."""

    @property
    def counts(self) -> PartitionCounters:
        """What went through it on this node."""

    @property
    def known_producers(self) -> Sequence[KnownProducer]:
        """The idempotent producers that the partition knows."""

    def epoch_end(self, leader_epoch: int) -> tuple[int, Offset]:
        """Return (largest epoch <= asked, first offset after it), (-1, -1) if unknown."""


class GroupCoordinator(Protocol):
    """A replica of one coordinator of consumer groups on this node."""

    @property
    def table(self) -> GroupTable:
        """What is committed, as far as this node knows."""

    @property
    def is_leader(self) -> bool:
        """Whether this node coordinates its groups."""

    async def ready(self) -> LiveGroups:
        """Return the living groups, once all that earlier leaders committed is known.

        Raises:
            RequestError: NOT_COORDINATOR.
        """

    async def execute(self, command: GroupCommand) -> None:
        """Have `command` committed and applied.

        Raises:
            RequestError: NOT_COORDINATOR (outcome unknown), COORDINATOR_NOT_AVAILABLE.
        """

    async def confirm(self) -> None:
        """Return when `table` holds all that was committed anywhere before this was called.

        Raises:
            RequestError: NOT_COORDINATOR.
        """


class Broker(Protocol):
    """The node, as a handler of one request needs it."""

    @property
    def node_id(self) -> NodeId:
        """This node."""

    @property
    def cluster_id(self) -> ClusterId:
        """The cluster."""

    @property
    def kafka(self) -> KafkaSettings:
        """The settings of the Kafka side."""

    @property
    def image(self) -> Image:
        """What the cluster agreed on, as far as this node has applied it."""

    def live_nodes(self) -> Sequence[NodeEndpoint]:
        """Return the registered nodes that answer, this one included."""

    def partition(self, topic: str, number: int) -> Partition | None:
        """Return this node's replica, None if it holds none."""

    def partition_by_id(self, topic_id: TopicId, number: int) -> Partition | None:
        """Return this node's replica, None if it holds none."""

    def coordinator(self, number: int) -> GroupCoordinator | None:
        """Return this node's replica of a coordinator, None if it holds none."""

    def coordinators(self) -> Sequence[GroupCoordinator]:
        """Return all replicas of coordinators on this node."""

    def leader_hint(self, group: GroupId) -> tuple[NodeId | None, Term]:
        """Return who leads `group` and in which term, from announcements; terms never go back."""

    def behind(self, group: GroupId) -> Sequence[NodeId]:
        """Return the replicas of `group` that are not in sync, as far as its leader has said."""

    @property
    def fetch_sessions(self) -> FetchSessions:
        """What readers of many partitions asked for last."""

    @property
    def free_bytes(self) -> int:
        """Bytes left on the disk, -1 unknown."""

    def hand_over(self, group: GroupId, target: NodeId) -> bool:
        """Have `group` handed to `target`, here or by its leader; False if that cannot be asked."""

    def leader_lost_at(self, group: GroupId) -> float | None:
        """Return when (loop time) `group` lost its leader; None while it has one or never had.

        A leader counts as lost when its control connection broke, it fell silent, it stepped down
        or it lost its majority: exactly when `leader_hint` turned to (None, term).
        """

    def confirm_alive(self, nodes: Sequence[NodeId], done: Callable[[], None]) -> None:
        """Call `done` once each of `nodes` gave a new sign of life or is known to be gone.

        At once if there is nobody to ask; within 50 ms in any case, maybe before this returns.
        """

    def cut_off_for_s(self) -> float:
        """Return how long this node has not heard of as many others as make a majority with it."""

    def watch_leaders(self, callback: Callable[[], None]) -> WatchHandle:
        """Call `callback` whenever a leader hint or the metadata image changed."""

    def unwatch_leaders(self, handle: WatchHandle) -> None:
        """Stop. Unknown handles are ignored."""

    def new_topic_id(self) -> TopicId:
        """Return 16 random bytes (`ports.chance`)."""

    async def execute(self, command: Command) -> Result:
        """Have a metadata command committed, wherever the leader is, and applied to `image` here.

        Returns what applying it returned; `Refused` may also come as a RequestError.

        Raises:
            RequestError: REQUEST_TIMED_OUT, outcome unknown.
        """

    async def next_producer_id(self) -> int:
        """Return a producer id that nobody in the cluster got before."""

    def wait_metadata(
        self, predicate: Callable[[], bool], timeout_s: float
    ) -> "asyncio.Future[bool]":
        """Result True once `predicate()` holds, tried at once and at each image or leader change.

        False after `timeout_s` seconds (0: False at once if it does not hold).
        """

    def fail(self, error: BaseException) -> None:
        """End the process: an invariant of ours is broken. May be called more than once."""
