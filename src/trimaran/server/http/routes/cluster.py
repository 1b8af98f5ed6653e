"""REST: health, the cluster, its nodes, leadership.

Does not: gather facts (`facts`, `health`).
"""

import asyncio
import time
from typing import Any

from trimaran import __version__
from trimaran.broker.rows import LONG_ROWS_AT_ONCE, in_turns
from trimaran.errors import RequestError
from trimaran.ids import METADATA_GROUP, GroupId, NodeId
from trimaran.server.http import facts
from trimaran.server.http.context import NodeContext
from trimaran.server.http.endpoint import Asked, Endpoint, Reply, get
from trimaran.server.http.grouping import all_groups
from trimaran.server.http.health import cluster_health
from trimaran.server.http.models.base import (
    LiveAnswer,
    NoBody,
    NoQuery,
    PageQuery,
    ReadyAnswer,
)
from trimaran.server.http.models.cluster import (
    BalanceAnswer,
    BalanceBody,
    Cluster,
    ClusterHealth,
    Moved,
    NodeAnswer,
    NodeFacts,
    NodePage,
    NodePartitionPage,
    NodePartitionQuery,
    NotMoved,
    TransferAnswer,
    TransferBody,
)
from trimaran.server.http.paging import number_key, page_of
from trimaran.server.http.problems import CONFLICT, ProblemError, not_found, unavailable

METADATA_TOPIC = "__metadata"
TRANSFER_S = 5.0
ASK_AGAIN_S = 0.5
BALANCED_MAX = 1_000


async def live(asked: Asked[NoQuery, NoBody]) -> LiveAnswer:
    """The loop runs, or this would not be answered."""
    return LiveAnswer(status="live", served_by=asked.node.node_id)


async def ready(asked: Asked[NoQuery, NoBody]) -> Reply:
    """Ready is who follows or is a leader of the metadata group."""
    node = asked.node
    is_ready = node.controller_id is not None
    reason = None if is_ready else "the metadata group has no leader that this node knows"
    answer = ReadyAnswer(
        status="ready" if is_ready else "not-ready", reason=reason, served_by=node.node_id
    )
    return Reply(body=answer, status=200 if is_ready else 503)


async def health(asked: Asked[NoQuery, NoBody]) -> ClusterHealth:
    """Ask every node."""
    return await cluster_health(asked.node)


async def cluster(asked: Asked[NoQuery, NoBody]) -> Cluster:
    """Count."""
    node = asked.node
    try:
        groups: int | None = len(await all_groups(node))
    except (RequestError, OSError):
        groups = None
    return Cluster(
        cluster_id=node.broker.cluster_id,
        version=__version__,
        controller_id=node.controller_id,
        metadata_term=node.broker.services.leader_hint(METADATA_GROUP)[1],
        nodes_total=len(facts.known_nodes(node)),
        topics_total=sum(not topic.is_internal for topic in node.image.topics),
        partitions_total=node.image.partition_count,
        groups_total=groups,
        local_control=node.control.is_available,
        served_by=node.node_id,
    )


async def nodes(asked: Asked[PageQuery, NoBody]) -> NodePage:
    """All nodes with what they say of themselves."""
    node = asked.node
    found = await facts.all_facts(node)
    leaders, replicas = await facts.counts(node)
    alive = node.alive()
    rows = [
        facts.node_row(node, number, row, alive=alive, leaders=leaders, replicas=replicas)
        for number, (row, _) in found.items()
    ]
    page = page_of(
        rows,
        key=lambda row: number_key(row.node_id),
        limit=asked.query.limit,
        after=asked.query.after,
    )
    return NodePage(
        items=list(page.items), next=page.next, total=page.total, served_by=node.node_id
    )


async def one_node(asked: Asked[NoQuery, NoBody]) -> NodeAnswer:
    """One node."""
    node, number = asked.node, NodeId(asked.path["node"])
    if number not in facts.known_nodes(node):
        raise not_found(f"node {number}: there are {_listed(facts.known_nodes(node))}")
    own = facts.own_facts(node) if number == node.node_id else None
    found = own or await node.fellows.get(number, "/v1/node", NodeFacts)
    leaders, replicas = await facts.counts(node)
    row = facts.node_row(
        node, number, found, alive=node.alive(), leaders=leaders, replicas=replicas
    )
    values = {name: getattr(row, name) for name in row.__struct_fields__}
    return NodeAnswer(**values, served_by=node.node_id)


async def own_node(asked: Asked[NoQuery, NoBody]) -> NodeFacts:
    """This node."""
    return facts.own_facts(asked.node)


async def own_partitions(asked: Asked[NodePartitionQuery, NoBody]) -> NodePartitionPage:
    """This node's replicas."""
    node, name = asked.node, asked.query.topic
    topics = node.image.topics if name is None else [node.topic(name)]
    places = [(topic, number) for topic in topics for number in range(len(topic.partitions))]
    page = page_of(
        places,
        key=lambda place: facts.place_key(*place),
        limit=asked.query.limit,
        after=asked.query.after,
    )
    rows = [
        facts.own_partition(node, *place) async for place in in_turns(page.items, LONG_ROWS_AT_ONCE)
    ]
    return NodePartitionPage(
        items=[row for row in rows if row is not None],
        next=page.next,
        total=page.total,
        served_by=node.node_id,
    )


async def transfer(asked: Asked[NoQuery, TransferBody]) -> TransferAnswer:
    """Hand a leadership to a node, and wait until it leads."""
    node, body = asked.node, asked.body
    if body.topic == METADATA_TOPIC:
        if body.partition != 0:
            raise not_found("the metadata group has only partition 0")
        group, members = METADATA_GROUP, tuple(facts.known_nodes(node))
    else:
        topic = node.topic(body.topic)
        number = node.partition_of(topic, body.partition)
        group, members = topic.group(number), topic.partitions[number]
    target = members[0] if body.to is None else NodeId(body.to)
    if target not in members:
        raise ProblemError(CONFLICT, f"node {target} holds no replica of it: {_listed(members)} do")
    moved = await move(node, body.topic, body.partition, group, target)
    values = {name: getattr(moved, name) for name in moved.__struct_fields__}
    return TransferAnswer(**values, served_by=node.node_id)


async def move(
    node: NodeContext, topic: str, partition: int, group: GroupId, target: NodeId
) -> Moved:
    """Return when `target` leads. Raises ProblemError (409, 503)."""
    services = node.broker.services
    begin = time.perf_counter()
    before, term = services.leader_hint(group)
    if target not in node.alive():
        raise ProblemError(CONFLICT, f"node {target} is not heard of")
    deadline = begin + TRANSFER_S
    while (left := deadline - time.perf_counter()) > 0:
        leader, term = services.leader_hint(group)
        if leader == target:
            took_ms = round((time.perf_counter() - begin) * 1000, 3)
            return Moved(
                topic=topic,
                partition=partition,
                from_=before,
                to=target,
                term=term,
                took_ms=took_ms,
            )
        services.hand_over(group, target)
        await services.wait_metadata(
            lambda: services.leader_hint(group)[0] == target, min(left, ASK_AGAIN_S)
        )
    raise unavailable(
        f"node {target} did not take over in {TRANSFER_S:g} s: it may be behind or damaged"
    )


async def balance(asked: Asked[NoQuery, BalanceBody]) -> BalanceAnswer:
    """Hand every partition to its preferred replica that another leads."""
    node, name = asked.node, asked.body.topic
    topics = node.image.topics if name is None else [node.topic(name)]
    hint = node.broker.services.leader_hint
    due = [
        (topic, number, members[0])
        for topic in topics
        for number, members in enumerate(topic.partitions)
        if hint(topic.group(number))[0] != members[0]
    ][:BALANCED_MAX]
    moved: list[Moved] = []
    failed: list[NotMoved] = []
    gate = asyncio.Semaphore(20)

    async def one(name: str, number: int, group: GroupId, target: NodeId) -> None:
        async with gate:
            try:
                moved.append(await move(node, name, number, group, target))
            except ProblemError as error:
                failed.append(
                    NotMoved(topic=name, partition=number, to=target, reason=error.detail)
                )

    await asyncio.gather(
        *(one(topic.name, number, topic.group(number), target) for topic, number, target in due)
    )
    moved.sort(key=lambda row: (row.topic, row.partition))
    failed.sort(key=lambda row: (row.topic, row.partition))
    return BalanceAnswer(moved=moved, failed=failed, served_by=node.node_id)


def _listed(numbers: "list[NodeId] | tuple[NodeId, ...]") -> str:
    return ", ".join(str(number) for number in numbers)


ENDPOINTS: tuple[Endpoint[Any, Any], ...] = (
    get("/health/live", "health", "Whether the process answers", live, LiveAnswer),
    get(
        "/health/ready",
        "health",
        "Whether the node takes part in the cluster",
        ready,
        ReadyAnswer,
        more_statuses=(503,),
    ),
    get("/v1/cluster/health", "health", "The state of all nodes", health, ClusterHealth),
    get("/v1/cluster", "cluster", "The cluster in a few numbers", cluster, Cluster),
    get("/v1/nodes", "nodes", "All nodes", nodes, NodePage, query=PageQuery),
    get("/v1/nodes/{node}", "nodes", "One node", one_node, NodeAnswer),
    get("/v1/node", "this node", "What this node knows of itself", own_node, NodeFacts),
    get(
        "/v1/node/partitions",
        "this node",
        "This node's replicas",
        own_partitions,
        NodePartitionPage,
        query=NodePartitionQuery,
    ),
    Endpoint(
        method="POST",
        path="/v1/leaders/transfer",
        tag="leadership",
        summary="Hand the leadership of a partition to a node",
        handle=transfer,
        answer=TransferAnswer,
        query=NoQuery,
        body=TransferBody,
    ),
    Endpoint(
        method="POST",
        path="/v1/leaders/balance",
        tag="leadership",
        summary="Hand partitions back to their preferred leaders",
        handle=balance,
        answer=BalanceAnswer,
        query=NoQuery,
        body=BalanceBody,
    ),
)
