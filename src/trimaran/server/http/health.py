"""How the cluster is, from what this node hears and what the others answer.

Does not: heal anything; each problem carries the advice what a person may do.
"""

from collections.abc import Mapping

from trimaran.broker.rows import LONG_ROWS_AT_ONCE, in_turns
from trimaran.ids import NodeId
from trimaran.server.http.context import NodeContext
from trimaran.server.http.facts import all_facts, places, state_of
from trimaran.server.http.models.cluster import (
    ClusterHealth,
    HealthProblem,
    NodeFacts,
    NodeHealth,
    NodeState,
)

NAMED_MAX = 20
"""Partitions that are named; the counts hold for all."""
Facts = Mapping[NodeId, tuple[NodeFacts | None, float | None]]


async def cluster_health(node: NodeContext) -> ClusterHealth:
    """Ask every node, and judge."""
    return await judge(node, await all_facts(node))


async def judge(node: NodeContext, facts: Facts) -> ClusterHealth:
    """Return the health as of these facts."""
    alive = node.alive()
    states = {number: seen_state(node, number, alive) for number in facts}
    up = sum(state == "up" for state in states.values())
    has_majority = up > len(facts) // 2
    nodes = [
        node_health(node, number, states[number], found, took_ms, has_majority=has_majority)
        for number, (found, took_ms) in facts.items()
    ]
    problems = [_node_problem(row) for row in nodes if row.state != "up" or not row.ready]
    leaderless, thin = 0, 0
    services = node.broker.services
    async for topic, number, members in in_turns(places(node), LONG_ROWS_AT_ONCE):
        if services.leader_hint(topic.group(number))[0] is None:
            leaderless += 1
            if leaderless <= NAMED_MAX:
                problems.append(
                    _problem(
                        "error",
                        "has no leader: it takes no events now",
                        "bring a majority of its replicas back",
                        topic=topic.name,
                        partition=number,
                    )
                )
        behind = services.behind(topic.group(number))
        thin += any(member not in alive or member in behind for member in members)
    if thin:
        problems.append(
            _problem(
                "warning",
                f"{thin} partitions have replicas that are down or behind",
                "start the nodes that are down; they catch up by themselves",
            )
        )
    controller = node.controller_id
    if not has_majority:
        problems.insert(
            0,
            _problem(
                "error",
                f"node {node.node_id} hears {up} of {len(nodes)} nodes: no majority",
                "start nodes, or mend the network between them",
            ),
        )
    is_down = controller is None or not has_majority
    return ClusterHealth(
        status="down" if is_down else "degraded" if problems else "ok",
        problems=problems,
        nodes=nodes,
        nodes_up=up,
        nodes_total=len(nodes),
        partitions_total=node.image.partition_count,
        partitions_without_leader=leaderless,
        partitions_under_replicated=thin,
        controller_id=controller,
        served_by=node.node_id,
    )


def seen_state(node: NodeContext, number: NodeId, alive: list[NodeId]) -> NodeState:
    """Return whether that node is heard by this one."""
    if node.broker.is_ready:
        return state_of(node, number, alive)
    # Who has registered, and where, is what this node waits to learn.
    return "up" if number in node.heard() else "unreachable"


def node_health(
    node: NodeContext,
    number: NodeId,
    state: NodeState,
    facts: NodeFacts | None,
    took_ms: float | None,
    *,
    has_majority: bool,
) -> NodeHealth:
    """Return how one node is."""
    reason = None
    if state == "unregistered":
        reason = "it never joined this cluster"
    elif state == "unreachable" and facts is not None:
        reason = (
            "it answers here, but other nodes do not hear it: cut off"
            if has_majority  # else it is rather this node that nobody hears
            else "it answers here, but is not heard: it or this node is cut off"
        )
    elif state == "unreachable":
        reason = "it is not heard of: dead, frozen or cut off"
    elif facts is None:
        is_informed = node.broker.is_ready
        reason = (
            "its HTTP port does not answer" if is_informed else "its HTTP port is not known yet"
        )
    return NodeHealth(
        node_id=number,
        state=state,
        ready=facts is not None and facts.state == "ready",
        answered_ms=took_ms,
        reason=reason,
    )


def _node_problem(row: NodeHealth) -> HealthProblem:
    severity = "warning" if row.state == "up" else "error"
    return _problem(
        severity,
        row.reason or "it is not ready",
        "start it, or look at its log",
        node_id=row.node_id,
    )


def _problem(
    severity: str,
    what: str,
    advice: str,
    *,
    node_id: int | None = None,
    topic: str | None = None,
    partition: int | None = None,
) -> HealthProblem:
    return HealthProblem(
        severity="error" if severity == "error" else "warning",
        what=what,
        node_id=node_id,
        topic=topic,
        partition=partition,
        advice=advice,
    )
