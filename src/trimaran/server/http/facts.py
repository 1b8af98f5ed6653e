"""What this node can say of itself and, by asking the others, of the cluster.

Does not: keep anything longer than a second.
"""

import asyncio
import os
import resource
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from urllib.parse import quote

import trimaran
from trimaran.broker.rows import LONG_ROWS_AT_ONCE, in_turns
from trimaran.ids import NodeId
from trimaran.metadata.topology import Topic
from trimaran.server.http.context import NodeContext, now_ms
from trimaran.server.http.fellows import ANSWER_S
from trimaran.server.http.models.cluster import (
    Node,
    NodeFacts,
    NodePartition,
    NodePartitionPage,
    NodeState,
)
from trimaran.server.http.paging import encode_cursor, number_key

PAGE_ROWS = 1_000
SILENT_S = 0.2
"""Longest wait for a node that no heartbeat comes from: frozen, dead or cut off."""


def own_facts(node: NodeContext) -> NodeFacts:
    """Return what this node knows of itself."""
    broker = node.broker
    statistics = broker.statistics()
    series = dict(node.observer.latest())
    connections = series.get("connections")
    led = sum(row.leader == node.node_id for row in statistics.groups)
    return NodeFacts(
        node_id=node.node_id,
        cluster_id=broker.cluster_id,
        version=trimaran.__version__,
        pid=os.getpid(),
        started_ms=node.started_ms,
        uptime_s=round(time.monotonic() - node.started_s, 3),
        state="ready" if node.controller_id is not None else "starting",
        rss_bytes=rss_bytes(),
        cpu_percent=series.get("cpu_percent"),
        python=".".join(str(part) for part in sys.version_info[:3]),
        data_directory=node.config.node.data_directory,
        free_bytes=broker.services.free_bytes,
        journal_files=statistics.journal_files,
        journal_bytes=statistics.journal_bytes,
        unflushed_bytes=statistics.unflushed_bytes,
        connections=None if connections is None else int(connections),
        groups=len(statistics.groups),
        led=led,
        terms_max=max((row.term for row in statistics.groups), default=0),
        alive_nodes=[int(number) for number in node.alive()],
        is_cut_off=node.control.is_cut_off,
        series=series,
        dedup_topics=sum(
            topic.effective_settings().event_dedup_enable
            for topic in node.image.topics
            if "event.dedup.enable" in topic.settings
        ),
        at_ms=now_ms(),
        served_by=node.node_id,
    )


def rss_bytes() -> int:
    """Return the memory this process holds now (its highest where /proc is not there)."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024


def known_nodes(node: NodeContext) -> list[NodeId]:
    """Return all nodes: those of the settings, and those that registered."""
    found = dict.fromkeys(peer.id for peer in node.config.cluster.nodes)
    found.update(dict.fromkeys(known.node_id for known in node.image.nodes))
    return sorted(found)


async def all_facts(node: NodeContext) -> dict[NodeId, tuple[NodeFacts | None, float | None]]:
    """Return what each node says of itself, and after how many ms; None for no answer."""

    async def one(number: NodeId) -> tuple[NodeFacts | None, float | None]:
        if number == node.node_id:
            return own_facts(node), 0.0
        begin = time.perf_counter()
        facts = await node.fellows.get(
            number, "/v1/node", NodeFacts, timeout_s=patience_s(node, number)
        )
        took_ms = round((time.perf_counter() - begin) * 1000, 3)
        return facts, None if facts is None else took_ms

    numbers = known_nodes(node)
    answers = await asyncio.gather(*(one(number) for number in numbers))
    return dict(zip(numbers, answers, strict=True))


def patience_s(node: NodeContext, number: NodeId) -> float:
    """Return how long to wait for a node: one that is not heard of may still answer here."""
    return ANSWER_S if number in node.alive() else SILENT_S


def state_of(node: NodeContext, number: NodeId, alive: Sequence[NodeId]) -> NodeState:
    """Return whether this node hears that one."""
    if node.image.node(number) is None:
        return "unregistered"
    return "up" if number in alive else "unreachable"


def node_row(
    node: NodeContext,
    number: NodeId,
    facts: NodeFacts | None,
    *,
    alive: Sequence[NodeId],
    leaders: Mapping[NodeId, int],
    replicas: Mapping[NodeId, int],
) -> Node:
    """Return a node as this one sees it."""
    known = node.image.node(number)
    peer = next((item for item in node.config.cluster.nodes if item.id == number), None)
    return Node(
        node_id=number,
        state=state_of(node, number, alive),
        host=None if known is None else known.host,
        kafka_port=None if known is None else known.kafka_port,
        http_port=None if known is None else known.http_port,
        peer_port=None if peer is None else peer.peer_port,
        rack=None if known is None else known.rack,
        host_label=None if known is None else known.host_label,
        is_controller=node.controller_id == number,
        leaders=leaders.get(number, 0),
        replicas=replicas.get(number, 0),
        facts=facts,
    )


async def counts(node: NodeContext) -> tuple[dict[NodeId, int], dict[NodeId, int]]:
    """Return how many partitions each node leads and holds."""
    leaders: dict[NodeId, int] = {}
    replicas: dict[NodeId, int] = {}
    hint = node.broker.services.leader_hint
    async for topic, number, members in in_turns(places(node), LONG_ROWS_AT_ONCE):
        for member in members:
            replicas[member] = replicas.get(member, 0) + 1
        leader = hint(topic.group(number))[0]
        if leader is not None:
            leaders[leader] = leaders.get(leader, 0) + 1
    return leaders, replicas


def places(node: NodeContext) -> Iterator[tuple[Topic, int, tuple[NodeId, ...]]]:
    """Yield every partition with its replicas."""
    for topic in node.image.topics:
        for number, members in enumerate(topic.partitions):
            yield topic, number, members


def own_partition(node: NodeContext, topic: Topic, number: int) -> NodePartition | None:
    """Return this node's replica of a partition, None if it has none."""
    group = topic.group(number)
    replica = node.broker.replica(group)
    if replica is None:
        return None
    partition = None if topic.is_internal else node.replica(topic, number)
    raft = replica.raft
    others = [member for member in raft.voters if member != node.node_id]
    return NodePartition(
        topic=topic.name,
        partition=number,
        group=group.hex(),
        role=raft.role.value,
        term=raft.term,
        leader=raft.leader,
        commit_index=raft.commit_index,
        last_index=raft.log.last_index,
        synced_index=raft.synced_index,
        log_start=0 if partition is None else partition.log_start,
        high_watermark=0 if partition is None else partition.high_watermark,
        log_end=0 if partition is None else partition.log_end,
        size_bytes=0 if partition is None else partition.size_bytes,
        producers=0 if partition is None else len(partition.known_producers),
        match={str(member): raft.follower_match(member) for member in others}
        if raft.is_leader
        else {},
    )


async def partitions_of(
    node: NodeContext, topic: Topic, wanted: Sequence[int] | None = None
) -> dict[NodeId, dict[int, NodePartition]]:
    """Return what every replica of a topic says of itself; nodes that do not answer are absent."""
    numbers = range(len(topic.partitions)) if wanted is None else wanted
    holders = sorted(
        {member for number in numbers for member in topic.partitions[number]} - {node.node_id}
    )
    first, last = min(numbers, default=0), max(numbers, default=0)
    answers = await asyncio.gather(
        *(_ask_partitions(node, member, topic, first, last) for member in holders)
    )
    found = {
        member: rows for member, rows in zip(holders, answers, strict=True) if rows is not None
    }
    own = [
        own_partition(node, topic, number) async for number in in_turns(numbers, LONG_ROWS_AT_ONCE)
    ]
    found[node.node_id] = {row.partition: row for row in own if row is not None}
    return found


async def _ask_partitions(
    node: NodeContext, member: NodeId, topic: Topic, first: int, last: int
) -> dict[int, NodePartition] | None:
    """Return what `member` says of partitions `first` to `last`; None if it does not answer."""
    path = f"/v1/node/partitions?topic={quote(topic.name)}"
    rows: dict[int, NodePartition] = {}
    for begin in range(first, last + 1, PAGE_ROWS):
        limit = min(PAGE_ROWS, last + 1 - begin)
        after = f"&after={encode_cursor(place_key(topic, begin - 1))}" if begin else ""
        page = await node.fellows.get(
            member,
            f"{path}&limit={limit}{after}",
            NodePartitionPage,
            timeout_s=patience_s(node, member),
        )
        if page is None:
            return None
        rows.update({row.partition: row for row in page.items})
    return rows


def place_key(topic: Topic, number: int) -> str:
    """Return the key by which pages of replicas are ordered."""
    return f"{topic.name}/{number_key(number)}"
