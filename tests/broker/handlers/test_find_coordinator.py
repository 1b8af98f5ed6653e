"""FindCoordinator, and the internal topic behind it."""

import pytest

from trimaran.errors import ErrorCode
from trimaran.groups.location import location
from trimaran.ids import GROUPS_TOPIC_ID
from trimaran.metadata.image import Image
from trimaran.metadata.rules import GROUPS_TOPIC
from trimaran.protocol import messages as m
from trimaran.protocol.api import ApiKey


@pytest.mark.asyncio
@pytest.mark.parametrize("version", range(7))
async def test_the_leader_of_the_groups_coordinator_is_named(ask, broker, coordinator, version):
    group = broker.image.topic_by_id(GROUPS_TOPIC_ID).group(location("g", 2))
    broker.set_leader(group, 2, 5)

    answer = await ask(
        ApiKey.FIND_COORDINATOR, m.FindCoordinatorRequest(key="g", coordinator_keys=["g"]), version
    )

    found = answer.coordinators[0] if version >= 4 else answer
    assert found.error_code == ErrorCode.NONE
    assert (found.node_id, found.host, found.port) == (2, "host2", 9093)


@pytest.mark.asyncio
async def test_the_first_question_makes_the_coordinators(ask, broker):
    answer = await ask(ApiKey.FIND_COORDINATOR, m.FindCoordinatorRequest(key="g"), 3)

    topic = broker.image.topic_by_id(GROUPS_TOPIC_ID)
    assert answer.error_code == ErrorCode.NONE
    assert (topic.name, len(topic.partitions), topic.replication_factor) == (GROUPS_TOPIC, 8, 3)


@pytest.mark.asyncio
async def test_nobody_is_named_while_nodes_are_missing(client, broker, clock, settle):
    broker.image = Image()
    call = client.send(ApiKey.FIND_COORDINATOR, 3, m.FindCoordinatorRequest(key="g"))
    await settle()
    clock.advance(10.1)
    await settle(lambda: client.has_answered(call))

    assert client.answer_of(call).error_code == ErrorCode.COORDINATOR_NOT_AVAILABLE


@pytest.mark.asyncio
async def test_a_lost_leader_is_waited_for_a_moment(client, broker, clock, coordinator, settle):
    group = broker.image.topic_by_id(GROUPS_TOPIC_ID).group(location("g", 2))
    broker.set_leader(group, None, 5, lost_at=clock.now_s)
    early = client.send(ApiKey.FIND_COORDINATOR, 3, m.FindCoordinatorRequest(key="g"))
    await settle()
    assert not client.has_answered(early)
    broker.set_leader(group, 3, 6)
    await settle(lambda: client.has_answered(early))
    broker.set_leader(group, None, 7, lost_at=clock.now_s)
    late = client.send(ApiKey.FIND_COORDINATOR, 3, m.FindCoordinatorRequest(key="g"))
    await settle()
    clock.advance(0.5)
    await settle(lambda: client.has_answered(late))

    assert client.answer_of(early).node_id == 3
    assert client.answer_of(late).error_code == ErrorCode.COORDINATOR_NOT_AVAILABLE


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("key_type", "key", "code"),
    [
        (1, "t", ErrorCode.TRANSACTIONAL_ID_AUTHORIZATION_FAILED),
        (2, "s", ErrorCode.INVALID_REQUEST),
        (0, "", ErrorCode.INVALID_GROUP_ID),
        (0, "g" * 513, ErrorCode.INVALID_GROUP_ID),
    ],
)
async def test_other_coordinators_are_refused(ask, key_type, key, code):
    request = m.FindCoordinatorRequest(key=key, key_type=key_type)

    assert (await ask(ApiKey.FIND_COORDINATOR, request, 3)).error_code == code


def test_the_topic_of_coordinators_is_told_only_by_name(client, broker, coordinator, flights):
    everything = client.ask(ApiKey.METADATA, 12, m.MetadataRequest(topics=None))
    asked = m.MetadataRequest(topics=[m.MetadataRequestTopic(name=GROUPS_TOPIC)])
    by_name = client.ask(ApiKey.METADATA, 12, asked)

    assert len(everything.topics) == 1
    assert len(by_name.topics) == 1


@pytest.mark.asyncio
async def test_the_topic_of_coordinators_is_nobodys_to_change(ask, broker, coordinator):
    deletion = m.DeleteTopicsRequest(topics=[m.DeleteTopicState(name=GROUPS_TOPIC)])
    growth = m.CreatePartitionsRequest(topics=[m.CreatePartitionsTopic(name=GROUPS_TOPIC, count=9)])

    deleted = await ask(ApiKey.DELETE_TOPICS, deletion)
    grown = await ask(ApiKey.CREATE_PARTITIONS, growth)

    assert deleted.responses[0].error_code == ErrorCode.INVALID_TOPIC_EXCEPTION
    assert grown.results[0].error_code == ErrorCode.INVALID_TOPIC_EXCEPTION


@pytest.mark.asyncio
async def test_nobody_makes_a_topic_under_the_name_of_the_coordinators(ask):
    request = m.CreateTopicsRequest(topics=[m.CreatableTopic(name=GROUPS_TOPIC)])

    answer = await ask(ApiKey.CREATE_TOPICS, request)

    assert answer.topics[0].error_code == ErrorCode.INVALID_TOPIC_EXCEPTION
