"""CreateTopics, DeleteTopics and CreatePartitions."""

import pytest

from trimaran.errors import ErrorCode, RequestError
from trimaran.ids import NodeId, TopicId
from trimaran.metadata import image
from trimaran.metadata.commands import CreatePartitions, CreateTopic, DeleteTopic
from trimaran.metadata.limits import TOPIC_PARTITIONS_MAX
from trimaran.metadata.rules import GROUPS_TOPIC
from trimaran.protocol.api import ApiKey
from trimaran.protocol.messages import (
    CreatableReplicaAssignment,
    CreatableTopic,
    CreatableTopicConfig,
    CreatePartitionsAssignment,
    CreatePartitionsRequest,
    CreatePartitionsTopic,
    CreatePartitionsTopicResult,
    CreateTopicsRequest,
    DeletableTopicResult,
    DeleteTopicsRequest,
    DeleteTopicState,
)
from trimaran.protocol.messages.common import ZERO_TOPIC_ID

pytestmark = pytest.mark.asyncio


async def create(client, *topics, version=7, **fields):
    request = CreateTopicsRequest(topics=topics, **fields)
    return (await client.ask_slowly(ApiKey.CREATE_TOPICS, version, request)).topics


async def delete(client, version=6, **fields):
    request = DeleteTopicsRequest(**fields)
    return (await client.ask_slowly(ApiKey.DELETE_TOPICS, version, request)).responses


async def grow(client, *topics, **fields):
    request = CreatePartitionsRequest(topics=topics, **fields)
    return (await client.ask_slowly(ApiKey.CREATE_PARTITIONS, 3, request)).results


async def test_a_topic_is_created_with_what_was_asked(broker, client):
    (result,) = await create(
        client, CreatableTopic(name="flights", num_partitions=6, replication_factor=2)
    )

    topic = broker.image.topic("flights")
    assert (result.error_code, result.topic_id) == (0, topic.topic_id)
    assert (result.num_partitions, result.replication_factor) == (6, 2)
    assert (len(topic.partitions), topic.replication_factor) == (6, 2)


async def test_counts_not_given_take_the_defaults(broker, client):
    broker.set(num_partitions=7)

    await create(client, CreatableTopic(name="flights"))

    topic = broker.image.topic("flights")
    assert (len(topic.partitions), topic.replication_factor) == (7, 3)


@pytest.mark.parametrize("asked", [{}, {"replication_factor": 4}])
async def test_creation_waits_for_the_nodes_that_have_not_registered_yet(
    broker, client, settle, registration, asked
):
    broker.set(nodes_count=4, default_replication_factor=4)
    request = CreateTopicsRequest(topics=[CreatableTopic(name="flights", **asked)])
    call = client.send(ApiKey.CREATE_TOPICS, 7, request)
    await settle()
    assert broker.commands == []

    broker.apply(registration(4))
    await settle(lambda: client.has_answered(call))

    (result,) = client.answer_of(call).topics
    assert (result.error_code, result.replication_factor) == (ErrorCode.NONE, 4)


async def test_creation_waits_for_nodes_no_longer_than_the_client_does(
    broker, client, clock, settle
):
    broker.set(nodes_count=4, default_replication_factor=4)
    topics = [CreatableTopic(name="flights"), CreatableTopic(name="trains", replication_factor=3)]
    request = CreateTopicsRequest(topics=topics, timeout_ms=2_000)
    call = client.send(ApiKey.CREATE_TOPICS, 7, request)
    await settle()

    clock.advance(1.9)
    await settle()
    assert not client.has_answered(call)
    clock.advance(0.2)
    await settle(lambda: client.has_answered(call))

    codes = [result.error_code for result in client.answer_of(call).topics]
    assert codes == [ErrorCode.INVALID_REPLICATION_FACTOR, ErrorCode.NONE]


@pytest.mark.parametrize(
    "asked",
    [{}, {"assignments": [CreatableReplicaAssignment(partition_index=0, broker_ids=[1, 2])]}],
)
async def test_a_node_that_knows_of_no_nodes_does_not_say_that_the_request_is_wrong(
    broker, client, clock, settle, asked
):
    """Its disk is new, and the metadata not there yet: clients take the refusal as final."""
    broker.image = image.Image()
    request = CreateTopicsRequest(
        topics=[CreatableTopic(name="flights", **asked)], timeout_ms=2_000
    )
    call = client.send(ApiKey.CREATE_TOPICS, 7, request)
    await settle()
    clock.advance(2.1)
    await settle(lambda: client.has_answered(call))

    (result,) = client.answer_of(call).topics
    assert result.error_code == ErrorCode.REQUEST_TIMED_OUT
    assert "has not caught up" in result.error_message


async def test_more_replicas_than_the_cluster_will_ever_have_are_refused_at_once(broker, client):
    (result,) = await create(client, CreatableTopic(name="flights", replication_factor=4))

    assert result.error_code == ErrorCode.INVALID_REPLICATION_FACTOR


async def test_more_partitions_than_a_topic_may_have_are_refused_before_they_are_tried(
    broker, client
):
    assignments = [
        CreatableReplicaAssignment(partition_index=number, broker_ids=[1])
        for number in range(TOPIC_PARTITIONS_MAX + 1)
    ]

    (result,) = await create(
        client, CreatableTopic(name="flights", assignments=assignments), validate_only=True
    )

    assert result.error_code == ErrorCode.INVALID_PARTITIONS


async def test_many_topics_in_one_request_leave_turns_to_others(broker, client, settle):
    names = [f"not a name {number}" for number in range(1_000)]
    request = CreateTopicsRequest(topics=[CreatableTopic(name=name) for name in names])
    call = client.send(ApiKey.CREATE_TOPICS, 7, request)

    await settle(turns=5)
    assert not client.has_answered(call)
    await settle(lambda: client.has_answered(call), turns=2_000)

    codes = {result.error_code for result in client.answer_of(call).topics}
    assert codes == {ErrorCode.INVALID_TOPIC_EXCEPTION}


async def test_preferred_leaders_are_spread_over_the_nodes(broker, client):
    await create(client, CreatableTopic(name="flights", num_partitions=6))

    preferred = sorted(replicas[0] for replicas in broker.image.topic("flights").partitions)
    assert preferred == [1, 1, 2, 2, 3, 3]


async def test_settings_are_stored_and_told(broker, client):
    config = CreatableTopicConfig(name="max.message.bytes", value="2000")

    (result,) = await create(client, CreatableTopic(name="flights", configs=[config]))

    assert broker.image.topic("flights").settings == {"max.message.bytes": "2000"}
    told = {row.name: (row.value, row.config_source) for row in result.configs}
    assert told["max.message.bytes"] == ("2000", 1)
    assert told["retention.ms"] == ("-1", 5)


@pytest.mark.parametrize(
    ("config", "word"),
    [
        (CreatableTopicConfig(name="validate", value="records"), "not there yet"),
        (CreatableTopicConfig(name="no.such.setting", value="1"), "unknown"),
        (CreatableTopicConfig(name="max.message.bytes", value="many"), "expected"),
        (CreatableTopicConfig(name="max.message.bytes", value=None), "expected"),
    ],
)
async def test_a_setting_that_cannot_be_is_refused_by_name(broker, client, config, word):
    (result,) = await create(client, CreatableTopic(name="flights", configs=[config]))

    assert result.error_code == ErrorCode.INVALID_CONFIG
    assert config.name in result.error_message
    assert word in result.error_message
    assert broker.commands == []


async def test_replicas_may_be_assigned(broker, client):
    assignments = [
        CreatableReplicaAssignment(partition_index=1, broker_ids=[2, 3]),
        CreatableReplicaAssignment(partition_index=0, broker_ids=[3, 1]),
    ]

    (result,) = await create(client, CreatableTopic(name="flights", assignments=assignments))

    assert result.error_code == ErrorCode.NONE
    assert broker.image.topic("flights").partitions == ((3, 1), (2, 3))


@pytest.mark.parametrize(
    ("rows", "code"),
    [
        ({0: [1, 9]}, ErrorCode.INVALID_REPLICA_ASSIGNMENT),
        ({0: [1, 1]}, ErrorCode.INVALID_REPLICA_ASSIGNMENT),
        ({0: []}, ErrorCode.INVALID_REPLICA_ASSIGNMENT),
        ({1: [1]}, ErrorCode.INVALID_REPLICA_ASSIGNMENT),
        ({0: [1], 1: [1, 2]}, ErrorCode.INVALID_REPLICA_ASSIGNMENT),
    ],
)
async def test_an_impossible_assignment_is_refused(broker, client, rows, code):
    assignments = [
        CreatableReplicaAssignment(partition_index=number, broker_ids=nodes)
        for number, nodes in rows.items()
    ]

    (result,) = await create(client, CreatableTopic(name="flights", assignments=assignments))

    assert result.error_code == code
    assert broker.image.topic("flights") is None


async def test_counts_beside_an_assignment_are_refused(client):
    assignments = [CreatableReplicaAssignment(partition_index=0, broker_ids=[1])]

    (result,) = await create(
        client, CreatableTopic(name="flights", num_partitions=1, assignments=assignments)
    )

    assert result.error_code == ErrorCode.INVALID_REQUEST


@pytest.mark.parametrize(
    ("topic", "code"),
    [
        (CreatableTopic(name="no spaces"), ErrorCode.INVALID_TOPIC_EXCEPTION),
        (CreatableTopic(name=""), ErrorCode.INVALID_TOPIC_EXCEPTION),
        (CreatableTopic(name="a_b"), ErrorCode.INVALID_TOPIC_EXCEPTION),
        (CreatableTopic(name="a.b"), ErrorCode.TOPIC_ALREADY_EXISTS),
        (CreatableTopic(name="x", num_partitions=0), ErrorCode.INVALID_PARTITIONS),
        (CreatableTopic(name="x", num_partitions=-2), ErrorCode.INVALID_PARTITIONS),
        (CreatableTopic(name="x", replication_factor=4), ErrorCode.INVALID_REPLICATION_FACTOR),
        (CreatableTopic(name="x", replication_factor=0), ErrorCode.INVALID_REPLICATION_FACTOR),
    ],
)
async def test_a_topic_that_cannot_be_is_refused(broker, client, topic, code):
    broker.add_topic("a.b")

    (result,) = await create(client, topic)

    assert result.error_code == code
    assert broker.commands == []


async def test_topics_fail_one_by_one(client):
    results = await create(
        client,
        CreatableTopic(name="good"),
        CreatableTopic(name="bad name"),
        CreatableTopic(name="twice"),
        CreatableTopic(name="twice"),
    )

    assert [(result.name, result.error_code) for result in results] == [
        ("good", ErrorCode.NONE),
        ("bad name", ErrorCode.INVALID_TOPIC_EXCEPTION),
        ("twice", ErrorCode.INVALID_REQUEST),
    ]


async def test_validate_only_changes_nothing(broker, client):
    (result,) = await create(client, CreatableTopic(name="flights"), validate_only=True)

    assert (result.error_code, result.num_partitions) == (ErrorCode.NONE, 4)
    assert broker.commands == []


async def test_validate_only_tells_what_creating_would(broker, client, monkeypatch):
    monkeypatch.setattr(image, "CLUSTER_PARTITIONS_MAX", 3)

    results = await create(
        client,
        CreatableTopic(name="flights", num_partitions=3),
        CreatableTopic(name="trains", num_partitions=4),
        CreatableTopic(name=GROUPS_TOPIC, num_partitions=1),
        CreatableTopic(name="__cluster_metadata"),
        validate_only=True,
    )

    assert [result.error_code for result in results] == [
        ErrorCode.NONE,
        ErrorCode.INVALID_PARTITIONS,
        ErrorCode.INVALID_TOPIC_EXCEPTION,
        ErrorCode.INVALID_REQUEST,
    ]


async def test_the_answer_waits_for_leaders(broker, client, settle):
    broker.elects = False
    request = CreateTopicsRequest(topics=[CreatableTopic(name="flights", num_partitions=1)])
    call = client.send(ApiKey.CREATE_TOPICS, 7, request)
    await settle(lambda: broker.image.topic("flights") is not None)
    assert not client.has_answered(call)

    broker.set_leader(broker.image.topic("flights").group(0), NodeId(2), 1)
    await settle(lambda: client.has_answered(call))

    assert client.answer_of(call).topics[0].error_code == ErrorCode.NONE


async def test_a_topic_whose_leaders_take_too_long_exists_all_the_same(
    broker, client, settle, clock
):
    broker.elects = False
    request = CreateTopicsRequest(topics=[CreatableTopic(name="flights")], timeout_ms=100)
    call = client.send(ApiKey.CREATE_TOPICS, 7, request)
    await settle(lambda: broker.image.topic("flights") is not None)
    await settle()

    clock.advance(0.2)
    await settle(lambda: client.has_answered(call))

    assert client.answer_of(call).topics[0].error_code == ErrorCode.NONE


async def test_what_the_state_machine_refuses_is_told(broker, client):
    async def refuse(command: CreateTopic):
        raise RequestError(ErrorCode.REQUEST_TIMED_OUT, "no leader")

    broker.on_execute = refuse

    (result,) = await create(client, CreatableTopic(name="flights"))

    assert result.error_code == ErrorCode.REQUEST_TIMED_OUT


async def test_a_topic_is_deleted_by_name(broker, client):
    topic = broker.add_topic("flights")

    results = await delete(client, version=5, topic_names=["flights", "unknown"])

    assert [result.error_code for result in results] == [
        ErrorCode.NONE,
        ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
    ]
    assert broker.commands == [DeleteTopic(topic_id=topic.topic_id)]
    assert broker.image.topic("flights") is None


async def test_a_topic_is_deleted_by_id(broker, client):
    topic = broker.add_topic("flights")

    results = await delete(client, topics=[DeleteTopicState(topic_id=topic.topic_id)])

    assert results == [DeletableTopicResult(name="flights", topic_id=topic.topic_id)]
    assert broker.image.topic("flights") is None


async def test_an_unknown_id_is_told(client):
    (result,) = await delete(client, topics=[DeleteTopicState(topic_id=TopicId(b"x" * 16))])

    assert (result.name, result.error_code) == (None, ErrorCode.UNKNOWN_TOPIC_ID)


async def test_name_and_id_together_are_refused(broker, client):
    topic = broker.add_topic("flights")

    results = await delete(
        client,
        topics=[DeleteTopicState(name="flights", topic_id=topic.topic_id), DeleteTopicState()],
    )

    assert [result.error_code for result in results] == [ErrorCode.INVALID_REQUEST] * 2


async def test_a_topic_named_twice_is_not_deleted(broker, client):
    flights, trains = broker.add_topic("flights"), broker.add_topic("trains")
    broker.add_topic("ships")
    by_id = DeleteTopicState(topic_id=trains.topic_id)

    results = await delete(
        client,
        topics=[
            *[DeleteTopicState(name="flights")] * 2,
            DeleteTopicState(name="ships"),
            *[by_id] * 2,
        ],
    )

    assert [(result.name, result.topic_id, result.error_code) for result in results] == [
        ("flights", ZERO_TOPIC_ID, ErrorCode.INVALID_REQUEST),
        ("ships", results[1].topic_id, ErrorCode.NONE),
        (None, trains.topic_id, ErrorCode.INVALID_REQUEST),
    ]
    assert [topic.name for topic in broker.image.topics] == ["flights", "trains"]
    assert flights.topic_id == broker.image.topic("flights").topic_id


async def test_a_topic_named_by_its_name_and_by_its_id_is_not_deleted(broker, client):
    topic = broker.add_topic("flights")

    results = await delete(
        client,
        topics=[DeleteTopicState(topic_id=topic.topic_id), DeleteTopicState(name="flights")],
    )

    assert [(result.name, result.topic_id, result.error_code) for result in results] == [
        ("flights", topic.topic_id, ErrorCode.INVALID_REQUEST)
    ]
    assert broker.image.topic("flights") is not None


async def test_partitions_are_added(broker, client):
    topic = broker.add_topic("flights", 2)

    results = await grow(client, CreatePartitionsTopic(name="flights", count=5))

    assert results == [CreatePartitionsTopicResult(name="flights")]
    assert len(broker.image.topic("flights").partitions) == 5
    (command,) = broker.commands
    assert isinstance(command, CreatePartitions)
    assert (command.topic_id, command.first_partition) == (topic.topic_id, 2)


async def test_new_partitions_may_be_assigned(broker, client):
    broker.add_topic("flights", 1)
    assignments = [CreatePartitionsAssignment(broker_ids=[3, 2, 1])]

    await grow(client, CreatePartitionsTopic(name="flights", count=2, assignments=assignments))

    assert broker.image.topic("flights").partitions[1] == (3, 2, 1)


@pytest.mark.parametrize(
    ("topic", "code"),
    [
        (CreatePartitionsTopic(name="flights", count=2), ErrorCode.INVALID_PARTITIONS),
        (CreatePartitionsTopic(name="flights", count=1), ErrorCode.INVALID_PARTITIONS),
        (CreatePartitionsTopic(name="flights", count=2**31 - 1), ErrorCode.INVALID_PARTITIONS),
        (CreatePartitionsTopic(name="unknown", count=3), ErrorCode.UNKNOWN_TOPIC_OR_PARTITION),
        (
            CreatePartitionsTopic(
                name="flights", count=4, assignments=[CreatePartitionsAssignment(broker_ids=[1])]
            ),
            ErrorCode.INVALID_REPLICA_ASSIGNMENT,
        ),
        (
            CreatePartitionsTopic(
                name="flights", count=3, assignments=[CreatePartitionsAssignment(broker_ids=[1])]
            ),
            ErrorCode.INVALID_REPLICA_ASSIGNMENT,
        ),
    ],
)
async def test_partitions_that_cannot_be_are_refused(broker, client, topic, code):
    broker.add_topic("flights", 2)

    (result,) = await grow(client, topic)

    assert result.error_code == code
    assert broker.commands == []


async def test_a_topic_that_is_to_grow_twice_does_not_grow(broker, client):
    broker.add_topic("flights", 2)
    broker.add_topic("trains", 2)

    results = await grow(
        client,
        CreatePartitionsTopic(name="flights", count=3),
        CreatePartitionsTopic(name="trains", count=3),
        CreatePartitionsTopic(name="flights", count=4),
    )

    assert [(result.name, result.error_code) for result in results] == [
        ("flights", ErrorCode.INVALID_REQUEST),
        ("trains", ErrorCode.NONE),
    ]
    assert len(broker.image.topic("flights").partitions) == 2


async def test_validating_new_partitions_tells_what_adding_would(
    broker, client, create_coordinators, monkeypatch
):
    broker.add_topic("flights", 2)
    create_coordinators()
    monkeypatch.setattr(image, "CLUSTER_PARTITIONS_MAX", 5)

    results = await grow(
        client,
        CreatePartitionsTopic(name="flights", count=3),
        CreatePartitionsTopic(name=GROUPS_TOPIC, count=60),
        validate_only=True,
    )
    (too_many,) = await grow(
        client, CreatePartitionsTopic(name="flights", count=4), validate_only=True
    )

    assert [result.error_code for result in results] == [
        ErrorCode.NONE,
        ErrorCode.INVALID_TOPIC_EXCEPTION,
    ]
    assert too_many.error_code == ErrorCode.INVALID_PARTITIONS


async def test_validating_new_partitions_changes_nothing(broker, client):
    broker.add_topic("flights", 2)

    (result,) = await grow(
        client, CreatePartitionsTopic(name="flights", count=3), validate_only=True
    )

    assert result.error_code == ErrorCode.NONE
    assert broker.commands == []
