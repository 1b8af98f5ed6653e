"""Shapes: cluster, nodes, health, leadership.

Does not: compute anything.
"""

from typing import Literal

import msgspec

from trimaran.server.http.models.base import (
    Answer,
    Body,
    NodeNumber,
    PageQuery,
    PartitionNumber,
    TopicName,
)

NodeState = Literal["up", "unreachable", "unregistered"]


class NodeFacts(Answer, frozen=True, kw_only=True):
    """What a node knows of itself."""

    node_id: int
    cluster_id: str
    version: str
    pid: int
    started_ms: int
    uptime_s: float
    state: Literal["ready", "starting"]
    rss_bytes: int
    cpu_percent: float | None
    python: str
    data_directory: str
    free_bytes: int
    journal_files: int
    journal_bytes: int
    unflushed_bytes: int
    connections: int | None
    groups: int
    led: int
    terms_max: int
    alive_nodes: list[int]
    is_cut_off: bool
    series: dict[str, float]
    dedup_topics: int
    at_ms: int
    served_by: int


class Node(Answer, frozen=True, kw_only=True):
    """A node of the cluster, as the node that answers sees it; `facts` are its own words."""

    node_id: int
    state: NodeState
    host: str | None
    kafka_port: int | None
    http_port: int | None
    peer_port: int | None
    rack: str | None
    host_label: str | None
    is_controller: bool
    leaders: int
    replicas: int
    facts: NodeFacts | None


class NodeAnswer(Node, frozen=True, kw_only=True):
    """One node."""

    served_by: int


class NodePage(Answer, frozen=True, kw_only=True):
    """A page of nodes."""

    items: list[Node]
    next: str | None
    total: int | None
    served_by: int


class NodeHealth(Answer, frozen=True, kw_only=True):
    """How one node is."""

    node_id: int
    state: NodeState
    ready: bool
    answered_ms: float | None
    reason: str | None


class HealthProblem(Answer, frozen=True, kw_only=True):
    """Something that somebody should look at."""

    severity: Literal["warning", "error"]
    what: str
    node_id: int | None
    topic: str | None
    partition: int | None
    advice: str


class ClusterHealth(Answer, frozen=True, kw_only=True):
    """How all nodes and partitions are."""

    status: Literal["ok", "degraded", "down"]
    problems: list[HealthProblem]
    nodes: list[NodeHealth]
    nodes_up: int
    nodes_total: int
    partitions_total: int
    partitions_without_leader: int
    partitions_under_replicated: int
    controller_id: int | None
    served_by: int


class Cluster(Answer, frozen=True, kw_only=True):
    """The cluster in a few numbers."""

    cluster_id: str
    version: str
    controller_id: int | None
    metadata_term: int
    nodes_total: int
    topics_total: int
    partitions_total: int
    groups_total: int | None
    local_control: bool
    served_by: int


class NodePartition(Answer, frozen=True, kw_only=True):
    """One replica on the node that answers."""

    topic: str
    partition: int
    group: str
    role: str
    term: int
    leader: int | None
    commit_index: int
    last_index: int
    synced_index: int
    log_start: int
    high_watermark: int
    log_end: int
    size_bytes: int
    producers: int
    match: dict[str, int]


class NodePartitionQuery(PageQuery, frozen=True, kw_only=True):
    """Which replicas."""

    topic: TopicName | None = None


class NodePartitionPage(Answer, frozen=True, kw_only=True):
    """A page of replicas."""

    items: list[NodePartition]
    next: str | None
    total: int | None
    served_by: int


class TransferBody(Body, frozen=True, kw_only=True):
    """Which partition is to be led by whom."""

    topic: TopicName
    partition: PartitionNumber
    to: NodeNumber | None = None


class Moved(Answer, frozen=True, kw_only=True):
    """A leadership that moved."""

    topic: str
    partition: int
    from_: int | None = msgspec.field(name="from")
    to: int
    term: int
    took_ms: float


class TransferAnswer(Moved, frozen=True, kw_only=True):
    """A leadership that moved."""

    served_by: int


class BalanceBody(Body, frozen=True, kw_only=True):
    """Which topic's leaderships go back to the preferred replicas; null: all."""

    topic: TopicName | None = None


class NotMoved(Answer, frozen=True, kw_only=True):
    """A leadership that stayed."""

    topic: str
    partition: int
    to: int
    reason: str


class BalanceAnswer(Answer, frozen=True, kw_only=True):
    """Leaderships that went back to the preferred replicas."""

    moved: list[Moved]
    failed: list[NotMoved]
    served_by: int
