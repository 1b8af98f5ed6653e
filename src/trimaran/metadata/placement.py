"""Who gets a new partition's replicas, and in which order replicas campaign. Pure.

Invariants: the same facts give the same answer; preferred leaders are spread so that no node has
two more than another that was equally free; a partition's replicas are on different machines as
long as there are enough; of those equally good, the node with fewer replicas, then a rotation.
Does not: move what exists, or look at `rack` (it is the user's).
"""

from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass

from trimaran.errors import ErrorCode, RequestError
from trimaran.ids import GroupId, NodeId, split_group_id
from trimaran.metadata.limits import REPLICAS_MAX, TOPIC_PARTITIONS_MAX
from trimaran.metadata.topology import Node, Topic


@dataclass(slots=True, kw_only=True)
class NodeLoad:
    """A node that can take replicas, and what it has."""

    node_id: NodeId
    machine: str
    """Nodes with the same one fall together."""
    is_live: bool = True
    """Whether it was reached lately; the others are taken last."""
    leader_count: int = 0
    """Partitions that prefer it as leader."""
    replica_count: int = 0


def node_loads(
    nodes: Iterable[Node], topics: Iterable[Topic], *, live: Container[NodeId]
) -> list[NodeLoad]:
    """Return what each of `nodes` has of `topics`; without a host label it is its own machine."""
    loads = {
        node.node_id: NodeLoad(
            node_id=node.node_id,
            machine=f"host {node.host_label}" if node.host_label else f"node {node.node_id}",
            is_live=node.node_id in live,
        )
        for node in nodes
    }
    for topic in topics:
        for replicas in topic.partitions:
            for rank, node_id in enumerate(replicas):
                load = loads.get(node_id)
                if load is not None:
                    load.replica_count += 1
                    load.leader_count += rank == 0
    return list(loads.values())


def place_partitions(
    loads: Sequence[NodeLoad], *, partition_count: int, replication_factor: int
) -> tuple[tuple[NodeId, ...], ...]:
    """Return the replicas of each new partition, the preferred leader first.

    Args:
        loads: the nodes to choose from; counted up as partitions are placed.
        partition_count: partitions to place, 1 to 2,000.
        replication_factor: replicas of each, 1 to 7 and no more than there are nodes. Nodes that
            are down count: they catch up when they return.

    Raises:
        RequestError: INVALID_PARTITIONS or INVALID_REPLICATION_FACTOR, with what is allowed.
    """
    if not 1 <= partition_count <= TOPIC_PARTITIONS_MAX:
        raise RequestError(
            ErrorCode.INVALID_PARTITIONS,
            f"expected 1 to {TOPIC_PARTITIONS_MAX} partitions, found {partition_count}",
        )
    replicas_max = min(REPLICAS_MAX, len(loads))
    if not 1 <= replication_factor <= replicas_max:
        raise RequestError(
            ErrorCode.INVALID_REPLICATION_FACTOR,
            f"expected 1 to {replicas_max} replicas with {len(loads)} nodes registered,"
            f" found {replication_factor}",
        )
    ring = sorted(loads, key=lambda load: load.node_id)
    return tuple(_place_one(ring, replication_factor) for _ in range(partition_count))


def election_order(
    group: GroupId, replicas: Sequence[NodeId], *, lost_leader: NodeId | None
) -> tuple[NodeId, ...]:
    """Return the replicas in the order in which they campaign; the first does at once.

    After the loss of a leader the others come in replica order, rotated by group, so that what it
    led is spread over them. Where nobody led yet the preferred leader comes first.
    """
    if lost_leader is None:
        return tuple(replicas)
    others = tuple(node for node in replicas if node != lost_leader)
    if not others:
        return ()
    topic_id, partition = split_group_id(group)
    shift = (int.from_bytes(topic_id[-4:], "big") + partition) % len(others)
    return others[shift:] + others[:shift]


def election_rank(
    group: GroupId, replicas: Sequence[NodeId], *, node: NodeId, lost_leader: NodeId | None
) -> int:
    """Return how many others should campaign before `node`; the last place if it is no replica."""
    order = election_order(group, replicas, lost_leader=lost_leader)
    return order.index(node) if node in order else len(order)


def _place_one(ring: Sequence[NodeLoad], replication_factor: int) -> tuple[NodeId, ...]:
    leader = min(ring, key=lambda load: (not load.is_live, load.leader_count, load.replica_count))
    leader.leader_count += 1
    chosen = [leader]
    start = ring.index(leader) + leader.leader_count
    rotated = [ring[(start + step) % len(ring)] for step in range(len(ring))]
    while len(chosen) < replication_factor:
        machines = [load.machine for load in chosen]
        chosen.append(
            min(
                (load for load in rotated if load not in chosen),
                key=lambda load: (
                    machines.count(load.machine),
                    not load.is_live,
                    load.replica_count,
                ),
            )
        )
    for load in chosen:
        load.replica_count += 1
    return tuple(load.node_id for load in chosen)
