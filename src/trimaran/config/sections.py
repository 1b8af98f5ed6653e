"""THE table of a node's settings: name with unit, default, bounds, meaning.

Invariants: frozen; numbers are numbers and texts texts (nothing is guessed from a text); unknown
fields are refused; a section checks what its own fields must be to each other, `NodeConfig` what
sections must be to each other. A check names the field first, one line for each problem.
Does not: read YAML or the environment (`loading` does).
"""

import re
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from trimaran.config.replication import ReplicationSection
from trimaran.config.section import GIB, KIB, MIB, Section
from trimaran.ids import ClusterId, NodeId

_ANY_ADDRESS = ("0.0.0.0", "::")
_ORIGIN = re.compile(r"https?://(\[[0-9A-Fa-f:.]+\]|[^\s/?#@:\[\]]+)(:[0-9]{1,5})?")
"""As a browser names the place that a page is from."""

_Port = Annotated[int, Field(ge=1, le=65_535)]
_PortOrAny = Annotated[int, Field(ge=0, le=65_535)]
_Host = Annotated[str, Field(min_length=1, max_length=255)]
_Label = Annotated[str, Field(min_length=1, max_length=255)]
_NodeNumber = Annotated[NodeId, Field(ge=1, le=2**31 - 1)]


class NodeSection(Section):
    """Who this node is and where it keeps its data."""

    id: _NodeNumber = Field(description="This node's number; one of cluster.nodes.")
    data_directory: str = Field(
        min_length=1,
        max_length=4_096,
        description="Where everything is stored; belongs to this node alone.",
    )
    host_label: _Label | None = Field(
        default=None,
        description="Nodes with the same label share a machine; replicas avoid that.",
    )
    rack: _Label | None = Field(
        default=None,
        description="Clients in this rack read from this node (KIP-392); not for placement.",
    )


class PeerAddress(Section):
    """One member of the cluster, as its peers reach it."""

    id: _NodeNumber = Field(description="The node's number.")
    host: _Host = Field(description="Name or address that the other nodes connect to.")
    peer_port: _Port = Field(description="Port for node-to-node connections.")


class ClusterSection(Section):
    """The cluster this node belongs to; the same on every node."""

    id: ClusterId | None = Field(
        default=None,
        pattern=r"^[A-Za-z0-9_-]{22}$",
        description="Checked against the data directory if given: 22 characters, as minted.",
    )
    nodes: tuple[PeerAddress, ...] = Field(
        strict=False,
        min_length=1,
        max_length=32,
        description="Every node of the cluster, this one included.",
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        problems = []
        ids = [str(node.id) for node in self.nodes]
        problems += [f"nodes: id {value} comes twice" for value in _repeated(ids)]
        addresses = [f"{node.host}:{node.peer_port}" for node in self.nodes]
        problems += [f"nodes: address {value} comes twice" for value in _repeated(addresses)]
        return self._checked(problems)


class KafkaSection(Section):
    """The listener for Kafka clients."""

    host: _Host = Field(default="127.0.0.1", description="Address to listen on.")
    port: _PortOrAny = Field(default=9_092, description="Port to listen on; 0 picks a free one.")
    advertised_host: _Host | None = Field(
        default=None, description="Host that clients are told to connect to; default: host."
    )
    advertised_port: _Port | None = Field(
        default=None, description="Port that clients are told to connect to; default: port."
    )
    socket_request_max_bytes: int = Field(
        default=100 * MIB,
        ge=64 * KIB,
        le=GIB,
        description="Longest request; a longer one closes its connection.",
    )
    connections_max: int = Field(
        default=10_000, ge=1, le=65_536, description="Open client connections; more are closed."
    )
    connections_max_per_address: int = Field(
        default=65_536,
        ge=1,
        le=65_536,
        description="Open connections from one address; more are closed.",
    )
    inflight_requests_max: int = Field(
        default=100,
        ge=1,
        le=4_096,
        description="Requests of a connection without an answer before its socket is not read.",
    )
    inflight_bytes_max: int = Field(
        default=32 * MIB,
        ge=64 * KIB,
        le=GIB,
        description="Bytes of those requests; one request may exceed it alone.",
    )
    node_inflight_bytes_max: int = Field(
        default=256 * MIB,
        ge=MIB,
        le=64 * GIB,
        description="Bytes of requests of all connections before no new request is read.",
    )
    write_buffer_bytes_max: int = Field(
        default=8 * MIB,
        ge=64 * KIB,
        le=GIB,
        description="Answers a client has not taken before its socket is not read.",
    )
    slow_client_ms: int = Field(
        default=30_000,
        ge=100,
        le=3_600_000,
        description="A client over that limit that takes nothing for so long is closed.",
    )
    request_receive_ms: int = Field(
        default=30_000,
        ge=100,
        le=3_600_000,
        description="A request must be complete this long after its first byte.",
    )
    idle_timeout_ms: int = Field(
        default=600_000,
        ge=1_000,
        le=86_400_000,
        description="A connection that sent nothing for so long is closed.",
    )
    leader_wait_ms: int = Field(
        default=10_000,
        ge=0,
        le=60_000,
        description="How long a request that creates a topic waits for its leaders.",
    )
    request_timeout_max_ms: int = Field(
        default=300_000,
        ge=1_000,
        le=3_600_000,
        description="No wait that a client asks for lasts longer.",
    )
    fetch_bytes_max: int = Field(
        default=55 * MIB,
        ge=64 * KIB,
        le=GIB,
        description="Most that one fetch returns, whatever it asks for; one batch always fits.",
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        problems = []
        if (self.advertised_host or self.host) in _ANY_ADDRESS:
            problems.append(
                "advertised_host: expected a host that clients can connect to,"
                f" found {self.advertised_host or self.host}"
            )
        return self._checked(problems)


class HttpSection(Section):
    """The listener for REST, metrics and the dashboard."""

    host: _Host = Field(default="127.0.0.1", description="Address to listen on.")
    port: _PortOrAny = Field(default=8_080, description="Port to listen on; 0 picks a free one.")
    enabled: bool = Field(
        default=True, description="Whether REST, metrics and the dashboard are served at all."
    )
    body_bytes_max: int = Field(
        default=8 * MIB,
        ge=64 * KIB,
        le=64 * MIB,
        description="Longest body of a request; a longer one is refused (413).",
    )
    connections_max: int = Field(
        default=1_000,
        ge=16,
        le=10_000,
        description="Open connections, and requests at a time; more are refused (503).",
    )
    streams_max: int = Field(
        default=256, ge=1, le=10_000, description="Open WebSockets; more are closed."
    )
    allowed_origins: tuple[str, ...] = Field(
        default=(),
        strict=False,
        min_length=0,
        max_length=32,
        description="Whose pages may write, besides the nodes': such as a proxy's, https://HOST.",
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        expected = "expected http://HOST[:PORT] or https://HOST[:PORT]"
        wrong = (origin for origin in self.allowed_origins if not _ORIGIN.fullmatch(origin))
        return self._checked([f"allowed_origins: {expected}, found {each!r}" for each in wrong])


class JournalSection(Section):
    """The node's write-ahead log."""

    file_bytes: int = Field(
        default=64 * MIB,
        ge=MIB,
        le=4 * GIB,
        description="Size of one journal file, allocated when it is created.",
    )
    bytes_max: int = Field(
        default=GIB,
        ge=4 * MIB,
        le=64 * GIB,
        description="Limit of all journal files; clients and leaders wait for segments at it.",
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        problems = []
        if self.bytes_max < 3 * self.file_bytes:
            problems.append(
                f"bytes_max: expected at least 3 times file_bytes, {self.file_bytes},"
                f" found {self.bytes_max}"
            )
        return self._checked(problems)


class StorageSection(Section):
    """Segments and what of the log stays in memory."""

    tail_bytes: int = Field(
        default=32 * MIB,
        ge=64 * KIB,
        le=16 * GIB,
        description="Recent entries of all partitions kept in memory for followers and readers.",
    )
    unflushed_bytes_max: int = Field(
        default=32 * MIB,
        ge=MIB,
        le=16 * GIB,
        description="Committed bytes not in segments before clients wait; leaders: at twice.",
    )
    flush_bytes: int = Field(
        default=16 * MIB,
        ge=64 * KIB,
        le=GIB,
        description="Committed bytes after which they are written to segments at once.",
    )
    flush_interval_ms: int = Field(
        default=1_000,
        ge=10,
        le=60_000,
        description="Longest time between two writes to segments.",
    )
    cached_bytes_max: int = Field(
        default=256 * MIB,
        ge=0,
        le=1_024 * GIB,
        description="What the system's cache keeps of written segments, for readers behind.",
    )
    retention_interval_ms: int = Field(
        default=5_000,
        ge=10,
        le=3_600_000,
        description="How often retention and segment age of led partitions are looked at.",
    )
    compaction_interval_ms: int = Field(
        default=15_000,
        ge=10,
        le=3_600_000,
        description="How often partitions of compacted topics are looked at.",
    )
    compaction_bytes_per_s: int = Field(
        default=16 * MIB,
        ge=64 * KIB,
        le=16 * GIB,
        description="How fast compaction reads and writes, both counted.",
    )
    compaction_keys_bytes: int = Field(
        default=64 * MIB,
        ge=MIB,
        le=64 * GIB,
        description="Memory for keys while compacting; with more a log is read more than once.",
    )
    open_files_max: int = Field(
        default=512, ge=16, le=65_536, description="Segment files held open; the oldest close."
    )
    free_space_reserve_bytes: int = Field(
        default=256 * MIB,
        ge=0,
        le=1_024 * GIB,
        description="Free space below which produce is refused; below half, leaders' events.",
    )
    scrub_bytes_per_s: int = Field(
        default=4 * MIB,
        ge=0,
        le=GIB,
        description="How fast finished segments are read to find damage; 0: not at all.",
    )
    scrub_interval_s: int = Field(
        default=86_400,
        ge=1,
        le=31_536_000,
        description="Time from the beginning of one such pass to the next.",
    )
    repair_bytes_per_s: int = Field(
        default=64 * MIB,
        ge=64 * KIB,
        le=16 * GIB,
        description="How fast a group's files are fetched from its leader after damage.",
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        problems = []
        if self.flush_bytes > self.unflushed_bytes_max:
            problems.append(
                f"flush_bytes: expected at most unflushed_bytes_max, {self.unflushed_bytes_max},"
                f" found {self.flush_bytes}"
            )
        return self._checked(problems)


class TopicSection(Section):
    """Defaults for topics that name nothing themselves."""

    auto_create_topics: bool = Field(
        default=True, description="Whether asking for an unknown topic creates it."
    )
    num_partitions: int = Field(
        default=4, ge=1, le=2_000, description="Partitions of a topic created without a number."
    )
    default_replication_factor: int | None = Field(
        default=None,
        ge=1,
        le=7,
        description="Replicas of a topic created without a number; default: 3 or all nodes.",
    )


class GroupSection(Section):
    """Consumer groups; the same on every node."""

    session_timeout_min_ms: int = Field(
        default=6_000,
        ge=100,
        le=3_600_000,
        description="Shortest session time-out that a member may ask for.",
    )
    session_timeout_max_ms: int = Field(
        default=1_800_000, ge=1_000, le=86_400_000, description="Longest."
    )
    initial_rebalance_delay_ms: int = Field(
        default=50,
        ge=0,
        le=60_000,
        description="How long an empty group waits for more members before its first assignment.",
    )
    members_max: int = Field(
        default=1_000, ge=1, le=10_000, description="Members of one group; more are refused."
    )
    consumer_heartbeat_interval_ms: int = Field(
        default=1_000,
        ge=100,
        le=60_000,
        description="How often members of the new protocol (KIP-848) give a sign of life.",
    )
    consumer_session_timeout_ms: int = Field(
        default=10_000,
        ge=500,
        le=3_600_000,
        description="How long a member of the new protocol may be silent.",
    )
    consumer_migration_policy: Literal["bidirectional", "upgrade", "downgrade", "disabled"] = Field(
        default="bidirectional",
        description="Which way groups with members may go between the protocols.",
    )
    coordinators: int = Field(
        default=8,
        ge=1,
        le=256,
        description="Raft groups that groups are spread over; fixed when the first group comes.",
    )
    offset_metadata_bytes_max: int = Field(
        default=4_096,
        ge=0,
        le=65_536,
        description="Longest text that a client may commit with an offset.",
    )
    offsets_retention_minutes: int = Field(
        default=10_080,
        ge=1,
        le=5_256_000,
        description="How long a group without members keeps its offsets.",
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        problems = []
        if self.session_timeout_max_ms < self.session_timeout_min_ms:
            problems.append(
                f"session_timeout_max_ms: expected at least session_timeout_min_ms,"
                f" {self.session_timeout_min_ms}, found {self.session_timeout_max_ms}"
            )
        if self.consumer_session_timeout_ms <= self.consumer_heartbeat_interval_ms:
            problems.append(
                f"consumer_session_timeout_ms: expected more than consumer_heartbeat_interval_ms,"
                f" {self.consumer_heartbeat_interval_ms}, found {self.consumer_session_timeout_ms}"
            )
        return self._checked(problems)


class LoggingSection(Section):
    """What the node says on standard error; options of the command line go before this."""

    level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="Least urgent lines that are written."
    )
    format: Literal["console", "json"] = Field(
        default="console", description="Lines for people, or one JSON object a line."
    )


class NodeConfig(Section):
    """All of a node's configuration. Immutable; made by `load_config` or keyword by keyword."""

    node: NodeSection = Field(description="Who this node is.")
    cluster: ClusterSection = Field(description="Who the others are.")
    kafka: KafkaSection = Field(default=KafkaSection(), description="Kafka clients.")
    http: HttpSection = Field(default=HttpSection(), description="REST and dashboard.")
    replication: ReplicationSection = Field(
        default=ReplicationSection(), description="Rounds and elections."
    )
    journal: JournalSection = Field(default=JournalSection(), description="Write-ahead log.")
    storage: StorageSection = Field(default=StorageSection(), description="Segments, memory.")
    topic: TopicSection = Field(default=TopicSection(), description="Defaults of topics.")
    group: GroupSection = Field(default=GroupSection(), description="Consumer groups.")
    logging: LoggingSection = Field(default=LoggingSection(), description="Log lines.")

    @model_validator(mode="after")
    def _check(self) -> Self:
        return self._checked(problems_between(self.node, self.cluster, self.topic))

    @property
    def member(self) -> PeerAddress:
        """This node's own line in cluster.nodes."""
        return next(node for node in self.cluster.nodes if node.id == self.node.id)

    @property
    def replication_factor(self) -> int:
        """Replicas of a topic created without a number: as configured, else min(3, nodes)."""
        return self.topic.default_replication_factor or min(3, len(self.cluster.nodes))


SECTIONS: dict[str, type[Section]] = {
    "node": NodeSection,
    "cluster": ClusterSection,
    "kafka": KafkaSection,
    "http": HttpSection,
    "replication": ReplicationSection,
    "journal": JournalSection,
    "storage": StorageSection,
    "topic": TopicSection,
    "group": GroupSection,
    "logging": LoggingSection,
}
"""The sections by name, in the order of the file."""


def problems_between(
    node: NodeSection, cluster: ClusterSection, topic: TopicSection | None
) -> list[str]:
    """Return what is wrong between sections that are each right; None: it is not."""
    problems = []
    ids = [member.id for member in cluster.nodes]
    if node.id not in ids:
        problems.append(f"node.id: expected one of cluster.nodes, {ids}, found {node.id}")
    replicas = 1 if topic is None else topic.default_replication_factor or 1
    if replicas > len(ids):
        problems.append(
            f"topic.default_replication_factor: expected at most {len(ids)}, all of cluster.nodes,"
            f" found {replicas}"
        )
    return problems


def _repeated(values: list[str]) -> list[str]:
    return [value for number, value in enumerate(values) if value in values[:number]]
