"""A request of any API can be refused in any version of it."""

import pytest

from trimaran.broker.dispatch import ROUTES
from trimaran.errors import ErrorCode
from trimaran.ids import TopicId
from trimaran.protocol import messages as m
from trimaran.protocol.api import APIS, ApiKey

TOPIC_ID = TopicId(bytes(16))
REQUESTS = {
    ApiKey.CONSUMER_GROUP_HEARTBEAT: m.ConsumerGroupHeartbeatRequest(
        group_id="g", member_id="a", member_epoch=0
    ),
    ApiKey.CONSUMER_GROUP_DESCRIBE: m.ConsumerGroupDescribeRequest(group_ids=["g"]),
    ApiKey.PRODUCE: m.ProduceRequest(
        None, -1, 1, [m.TopicProduceData("t", [m.PartitionProduceData(0, None)])]
    ),
    ApiKey.FETCH: m.FetchRequest(0, 0, [m.FetchTopic("t", TOPIC_ID, [m.FetchPartition(0, 0, 1)])]),
    ApiKey.LIST_OFFSETS: m.ListOffsetsRequest(
        topics=[
            m.ListOffsetsTopic(
                name="t",
                partitions=[m.ListOffsetsPartition(partition_index=0, timestamp=-1)],
            )
        ]
    ),
    ApiKey.METADATA: m.MetadataRequest(topics=[m.MetadataRequestTopic(name="t")]),
    ApiKey.OFFSET_COMMIT: m.OffsetCommitRequest(
        group_id="g",
        topics=[
            m.OffsetCommitRequestTopic(
                name="t",
                partitions=[m.OffsetCommitRequestPartition(partition_index=0, committed_offset=0)],
            )
        ],
    ),
    ApiKey.OFFSET_FETCH: m.OffsetFetchRequest(
        topics=[m.OffsetFetchRequestTopic(name="t", partition_indexes=[0])],
        groups=[m.OffsetFetchRequestGroup(group_id="g", topics=None)],
    ),
    ApiKey.FIND_COORDINATOR: m.FindCoordinatorRequest(coordinator_keys=["g"]),
    ApiKey.JOIN_GROUP: m.JoinGroupRequest(
        group_id="g",
        session_timeout_ms=10_000,
        member_id="",
        protocol_type="consumer",
        protocols=[m.JoinGroupRequestProtocol(name="range", metadata=b"")],
    ),
    ApiKey.HEARTBEAT: m.HeartbeatRequest(group_id="g", generation_id=1, member_id="m"),
    ApiKey.LEAVE_GROUP: m.LeaveGroupRequest(
        group_id="g", members=[m.MemberIdentity(member_id="m")]
    ),
    ApiKey.SYNC_GROUP: m.SyncGroupRequest(
        group_id="g",
        generation_id=1,
        member_id="m",
        assignments=[m.SyncGroupRequestAssignment(member_id="m", assignment=b"")],
    ),
    ApiKey.DESCRIBE_GROUPS: m.DescribeGroupsRequest(groups=["g"]),
    ApiKey.LIST_GROUPS: m.ListGroupsRequest(states_filter=["Stable"], types_filter=["classic"]),
    ApiKey.DELETE_GROUPS: m.DeleteGroupsRequest(groups_names=["g"]),
    ApiKey.OFFSET_DELETE: m.OffsetDeleteRequest(
        group_id="g",
        topics=[
            m.OffsetDeleteRequestTopic(
                name="t", partitions=[m.OffsetDeleteRequestPartition(partition_index=0)]
            )
        ],
    ),
    ApiKey.API_VERSIONS: m.ApiVersionsRequest(),
    ApiKey.CREATE_TOPICS: m.CreateTopicsRequest(topics=[m.CreatableTopic(name="t")]),
    ApiKey.DELETE_TOPICS: m.DeleteTopicsRequest(topics=[m.DeleteTopicState(name="t")]),
    ApiKey.INIT_PRODUCER_ID: m.InitProducerIdRequest(),
    ApiKey.OFFSET_FOR_LEADER_EPOCH: m.OffsetForLeaderEpochRequest(
        topics=[
            m.OffsetForLeaderTopic(
                topic="t",
                partitions=[m.OffsetForLeaderPartition(partition=0, leader_epoch=1)],
            )
        ]
    ),
    ApiKey.DESCRIBE_CONFIGS: m.DescribeConfigsRequest(
        resources=[m.DescribeConfigsResource(resource_type=2, resource_name="t")]
    ),
    ApiKey.CREATE_PARTITIONS: m.CreatePartitionsRequest(
        topics=[m.CreatePartitionsTopic(name="t", count=2)]
    ),
    ApiKey.DESCRIBE_CLUSTER: m.DescribeClusterRequest(),
    ApiKey.DELETE_RECORDS: m.DeleteRecordsRequest(
        topics=[
            m.DeleteRecordsTopic(
                name="t", partitions=[m.DeleteRecordsPartition(partition_index=0, offset=1)]
            )
        ]
    ),
    ApiKey.ALTER_CONFIGS: m.AlterConfigsRequest(
        resources=[m.AlterConfigsResource(resource_type=2, resource_name="t")]
    ),
    ApiKey.INCREMENTAL_ALTER_CONFIGS: m.IncrementalAlterConfigsRequest(
        resources=[m.IncrementalAlterConfigsResource(resource_type=2, resource_name="t")]
    ),
    ApiKey.DESCRIBE_LOG_DIRS: m.DescribeLogDirsRequest(
        topics=[m.DescribableLogDirTopic(topic="t", partitions=[0])]
    ),
    ApiKey.ELECT_LEADERS: m.ElectLeadersRequest(
        topic_partitions=[m.ElectLeadersTopic(topic="t", partitions=[0])]
    ),
    ApiKey.DESCRIBE_PRODUCERS: m.DescribeProducersRequest(
        topics=[m.DescribeProducersTopic(name="t", partition_indexes=[0])]
    ),
    ApiKey.DESCRIBE_TOPIC_PARTITIONS: m.DescribeTopicPartitionsRequest(
        topics=[m.DescribedTopicName(name="t")]
    ),
    ApiKey.ALTER_REPLICA_LOG_DIRS: m.AlterReplicaLogDirsRequest(
        dirs=[
            m.AlterReplicaLogDir(
                path="/d", topics=[m.AlterReplicaLogDirTopic(name="t", partitions=[0])]
            )
        ]
    ),
    ApiKey.ALTER_PARTITION_REASSIGNMENTS: m.AlterPartitionReassignmentsRequest(
        topics=[
            m.ReassignableTopic(name="t", partitions=[m.ReassignablePartition(partition_index=0)])
        ]
    ),
    ApiKey.LIST_PARTITION_REASSIGNMENTS: m.ListPartitionReassignmentsRequest(),
    ApiKey.DESCRIBE_QUORUM: m.DescribeQuorumRequest(
        topics=[
            m.DescribeQuorumRequestTopic(
                topic_name="__cluster_metadata",
                partitions=[m.DescribeQuorumRequestPartition(partition_index=0)],
            )
        ]
    ),
    ApiKey.LIST_CONFIG_RESOURCES: m.ListConfigResourcesRequest(),
}
"""One request of every API, with something in every list."""


@pytest.mark.parametrize("key", list(ROUTES))
def test_every_refusal_can_be_encoded_in_every_version(broker, client, key):
    for version in range(APIS[key].lowest, APIS[key].max_version + 1):
        call = client.send(ApiKey.API_VERSIONS, 0, m.ApiVersionsRequest())
        call.header.api_key, call.header.api_version = key, version
        response = ROUTES[key].refuse(REQUESTS[key], version, ErrorCode.INVALID_REQUEST)

        assert client.dispatcher.encode(call, response) != (), version
    assert client.closed == []
