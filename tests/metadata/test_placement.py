"""Placement spreads, and election orders are spread with it."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimaran.errors import ErrorCode, RequestError
from trimaran.ids import METADATA_GROUP, group_id
from trimaran.metadata.placement import (
    NodeLoad,
    election_order,
    election_rank,
    node_loads,
    place_partitions,
)
from trimaran.metadata.topology import Node, Topic


def loads(*machines: str) -> list[NodeLoad]:
    return [NodeLoad(node_id=number + 1, machine=name) for number, name in enumerate(machines)]


def node(node_id: int, host_label: str | None = None) -> Node:
    return Node(
        node_id=node_id,
        disk_id=bytes(16),
        host="h",
        kafka_port=1,
        http_port=2,
        peer_host="h",
        peer_port=3,
        rack=None,
        host_label=host_label,
        boot_id=0,
    )


def test_three_nodes_lead_in_turn_and_follow_in_turn():
    placed = place_partitions(loads("a", "b", "c"), partition_count=6, replication_factor=3)

    assert [replicas[0] for replicas in placed] == [1, 2, 3, 1, 2, 3]
    assert Counter(replicas[1] for replicas in placed) == {1: 2, 2: 2, 3: 2}


@given(
    st.lists(st.sampled_from("abcdef"), min_size=1, max_size=8),
    st.integers(1, 40),
    st.integers(1, 7),
)
def test_placement_is_balanced_on_different_machines_and_repeatable(machines, partitions, factor):
    factor = min(factor, len(machines))
    nodes = loads(*machines)

    placed = place_partitions(nodes, partition_count=partitions, replication_factor=factor)

    again = place_partitions(
        loads(*machines), partition_count=partitions, replication_factor=factor
    )
    leaders = [load.leader_count for load in nodes]
    assert placed == again
    assert max(leaders) - min(leaders) <= 1
    assert sum(load.replica_count for load in nodes) == partitions * factor
    for replicas in placed:
        assert len(set(replicas)) == factor
        used = Counter(machines[node_id - 1] for node_id in replicas)
        assert len(used) == min(factor, len(set(machines)))


@given(st.integers(3, 8), st.integers(1, 60))
def test_replicas_are_balanced_where_machines_allow(node_count, partitions):
    nodes = loads(*[str(number) for number in range(node_count)])

    place_partitions(nodes, partition_count=partitions, replication_factor=3)

    replicas = [load.replica_count for load in nodes]
    assert max(replicas) - min(replicas) <= 2


def test_what_nodes_have_already_is_counted():
    topic = Topic(name="t", topic_id=bytes(15) + b"\2", partitions=((1, 2), (1, 9)), settings={})
    nodes = node_loads([node(1), node(2), node(3, "m")], [topic], live=[1, 3])

    assert nodes == [
        NodeLoad(node_id=1, machine="node 1", leader_count=2, replica_count=2),
        NodeLoad(node_id=2, machine="node 2", is_live=False, replica_count=1),
        NodeLoad(node_id=3, machine="host m"),
    ]
    placed = place_partitions(nodes, partition_count=3, replication_factor=1)
    assert placed == ((3,), (3,), (1,))


def test_node_that_is_down_follows_but_does_not_lead():
    nodes = loads("a", "b", "c")
    nodes[0].is_live = False

    placed = place_partitions(nodes, partition_count=4, replication_factor=3)

    assert [replicas[0] for replicas in placed] == [2, 3, 2, 3]
    assert all(1 in replicas for replicas in placed)


@pytest.mark.parametrize(
    ("partitions", "factor", "code"),
    [
        (0, 1, ErrorCode.INVALID_PARTITIONS),
        (-1, 1, ErrorCode.INVALID_PARTITIONS),
        (2_001, 1, ErrorCode.INVALID_PARTITIONS),
        (1, 0, ErrorCode.INVALID_REPLICATION_FACTOR),
        (1, 4, ErrorCode.INVALID_REPLICATION_FACTOR),
    ],
)
def test_impossible_numbers_are_refused(partitions, factor, code):
    with pytest.raises(RequestError) as raised:
        place_partitions(
            loads("a", "b", "c"), partition_count=partitions, replication_factor=factor
        )

    assert raised.value.code is code


def test_more_replicas_than_allowed_are_refused_however_many_nodes_there_are():
    with pytest.raises(RequestError, match="expected 1 to 7 replicas with 8 nodes"):
        place_partitions(loads(*"abcdefgh"), partition_count=1, replication_factor=8)


def test_preferred_leader_campaigns_first_where_nobody_led():
    assert election_order(METADATA_GROUP, (3, 1, 2), lost_leader=None) == (3, 1, 2)


def test_successors_of_a_lost_leader_are_rotated_by_group():
    topic_id = bytes(15) + b"\2"

    orders = [
        election_order(group_id(topic_id, number), (1, 2, 3), lost_leader=1) for number in range(4)
    ]

    assert orders == [(2, 3), (3, 2), (2, 3), (3, 2)]
    assert election_order(METADATA_GROUP, (1,), lost_leader=1) == ()


def test_rank_is_the_place_in_the_order():
    group = group_id(bytes(15) + b"\2", 1)

    ranks = [
        election_rank(group, (1, 2, 3), node=node_id, lost_leader=1) for node_id in (1, 2, 3, 4)
    ]

    assert ranks == [2, 1, 0, 2]


@given(st.binary(min_size=16, max_size=16), st.integers(0, 1_000))
def test_all_but_the_lost_leader_have_ranks_of_their_own(topic_id, number):
    replicas = (4, 2, 7, 1, 3)

    order = election_order(group_id(topic_id, number), replicas, lost_leader=7)

    assert sorted(order) == [1, 2, 3, 4]
