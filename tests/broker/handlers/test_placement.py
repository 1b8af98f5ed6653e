"""Where replicas lie and what has settings: what Kafka's tools ask, with nothing that can move."""

import pytest

from trimaran.errors import ErrorCode
from trimaran.ids import METADATA_GROUP, NodeId, Term
from trimaran.protocol import messages as m
from trimaran.protocol.api import ApiKey


@pytest.fixture
def flights(broker):
    broker.add_topic("flights")
    return broker.image.topic("flights")


def reassign(client, name, number, replicas):
    topic = m.ReassignableTopic(
        name=name,
        partitions=[m.ReassignablePartition(partition_index=number, replicas=replicas)],
    )
    request = m.AlterPartitionReassignmentsRequest(topics=[topic])
    (answer,) = client.ask(ApiKey.ALTER_PARTITION_REASSIGNMENTS, 1, request).responses
    return answer.partitions[0]


def move(client, path, topic, number):
    directory = m.AlterReplicaLogDir(
        path=path, topics=[m.AlterReplicaLogDirTopic(name=topic, partitions=[number, number])]
    )
    request = m.AlterReplicaLogDirsRequest(dirs=[directory])
    (answer,) = client.ask(ApiKey.ALTER_REPLICA_LOG_DIRS, 2, request).results
    (row,) = answer.partitions
    return row.error_code


def kinds(client, *asked, version=1):
    request = m.ListConfigResourcesRequest(resource_types=asked)
    answer = client.ask(ApiKey.LIST_CONFIG_RESOURCES, version, request)
    return answer.error_code, [
        (row.resource_type, row.resource_name) for row in answer.config_resources
    ]


def test_a_partition_may_be_asked_to_stay_where_it_is(client, flights):
    present = list(flights.partitions[0])

    assert reassign(client, "flights", 0, present[::-1]).error_code == ErrorCode.NONE


def test_a_partition_cannot_be_asked_to_move(client, flights):
    answer = reassign(client, "flights", 0, [7, 8, 9])

    assert answer.error_code == ErrorCode.INVALID_REPLICA_ASSIGNMENT
    assert "do not move yet" in answer.error_message


def test_there_is_no_move_to_stop(client, flights):
    answer = reassign(client, "flights", 0, None)

    assert answer.error_code == ErrorCode.NO_REASSIGNMENT_IN_PROGRESS


@pytest.mark.parametrize(("name", "number"), [("nowhere", 0), ("flights", 99), ("flights", -1)])
def test_what_does_not_exist_cannot_be_reassigned(client, flights, name, number):
    answer = reassign(client, name, number, [1, 2, 3])

    assert answer.error_code == ErrorCode.UNKNOWN_TOPIC_OR_PARTITION


def test_nothing_is_being_moved(client, flights):
    request = m.ListPartitionReassignmentsRequest()

    assert client.ask(ApiKey.LIST_PARTITION_REASSIGNMENTS, 0, request).topics == ()


def test_a_replica_may_be_asked_to_lie_in_the_one_directory_only(broker, client, flights):
    own = broker.kafka.log_directory

    assert move(client, own, "flights", 0) == ErrorCode.NONE
    assert move(client, own, "flights", 99) == ErrorCode.REPLICA_NOT_AVAILABLE
    assert move(client, "/elsewhere", "flights", 0) == ErrorCode.LOG_DIR_NOT_FOUND


def quorum(client, name, number=0, version=2):
    return ask_quorum(client, name, number, version).topics[0].partitions[0]


def ask_quorum(client, name, number, version):
    topic = m.DescribeQuorumRequestTopic(
        topic_name=name, partitions=[m.DescribeQuorumRequestPartition(partition_index=number)]
    )
    request = m.DescribeQuorumRequest(topics=[topic])
    return client.ask(ApiKey.DESCRIBE_QUORUM, version, request)


@pytest.mark.parametrize("version", [0, 1, 2])
def test_the_quorum_is_the_metadata_group_as_this_node_knows_it(broker, client, version):
    broker.leaders[METADATA_GROUP] = (NodeId(2), Term(5))

    answer = quorum(client, "__cluster_metadata", version=version)

    assert (answer.leader_id, answer.leader_epoch) == (2, 5)
    assert answer.high_watermark == broker.image.applied_index + 1
    ends = {voter.replica_id: voter.log_end_offset for voter in answer.current_voters}
    assert ends == {1: answer.high_watermark, 2: -1, 3: -1}


def test_the_quorum_s_nodes_come_with_disks_and_addresses(client):
    answer = ask_quorum(client, "__cluster_metadata", 0, 2)

    voters = answer.topics[0].partitions[0].current_voters
    assert [bytes(one.replica_directory_id) for one in voters] == [
        b"\1" * 16,
        b"\2" * 16,
        b"\3" * 16,
    ]
    assert [(one.node_id, one.listeners[0].port) for one in answer.nodes] == [
        (1, 7001),
        (2, 7002),
        (3, 7003),
    ]


@pytest.mark.parametrize(("name", "number"), [("flights", 0), ("__cluster_metadata", 1)])
def test_only_the_cluster_s_own_log_has_a_quorum(client, flights, name, number):
    assert quorum(client, name, number).error_code == ErrorCode.UNKNOWN_TOPIC_OR_PARTITION


def test_topics_and_nodes_have_settings(client, flights):
    nodes = [(4, "1"), (4, "2"), (4, "3")]

    assert kinds(client) == (ErrorCode.NONE, [(2, "flights"), *nodes])
    assert kinds(client, 2) == (ErrorCode.NONE, [(2, "flights")])
    assert kinds(client, 4, 8) == (ErrorCode.NONE, nodes)
    assert kinds(client, 16) == (ErrorCode.NONE, [])
    assert kinds(client, version=0) == (ErrorCode.NONE, [])


def test_a_kind_that_nobody_knows_is_refused(client):
    assert kinds(client, 3) == (ErrorCode.UNSUPPORTED_VERSION, [])
