import pytest

from trimaran.broker.parking import HELD_BACK_S
from trimaran.broker.topic_parts import describe_topic
from trimaran.errors import ErrorCode, RequestError
from trimaran.ids import NodeId, TopicId
from trimaran.metadata.commands import AlterNodeSettings, CreateTopic
from trimaran.protocol.api import ApiKey
from trimaran.protocol.codec import encode_response
from trimaran.protocol.messages import (
    MetadataRequest,
    MetadataRequestTopic,
    MetadataResponsePartition,
    MetadataResponseTopic,
)


@pytest.fixture
def ask(client):
    """Return a function that sends a Metadata for topics (None: all)."""

    def send(*names, version=9, every=False, auto_create=False, ids=()):
        topics = [MetadataRequestTopic(name=name) for name in names]
        topics += [MetadataRequestTopic(topic_id=topic_id) for topic_id in ids]
        request = MetadataRequest(
            topics=None if every else topics, allow_auto_topic_creation=auto_create
        )
        return client.send(ApiKey.METADATA, version, request)

    return send


def topics(broker, client, call):
    """Return what an answer says about topics, encoded parts turned back."""
    by_part = {
        client.parts.part(topic, call.version): describe_topic(broker, topic)
        for topic in broker.image.topics
    }
    return [
        by_part[topic] if isinstance(topic, bytes) else topic
        for topic in client.answer_of(call).topics
    ]


def leaders(broker, client, call):
    return [
        (partition.leader_id, partition.error_code)
        for topic in topics(broker, client, call)
        for partition in topic.partitions
    ]


def test_a_topic_comes_with_its_partitions_and_leaders(broker, client, ask):
    topic = broker.add_topic("flights", 2)

    call = ask("flights")

    assert topics(broker, client, call) == [
        MetadataResponseTopic(
            name="flights",
            topic_id=topic.topic_id,
            partitions=[
                MetadataResponsePartition(
                    partition_index=number,
                    leader_id=1,
                    leader_epoch=1,
                    replica_nodes=(1, 2, 3),
                    isr_nodes=[1, 2, 3],
                    offline_replicas=[],
                )
                for number in range(2)
            ],
        )
    ]


def test_nodes_cluster_and_controller_are_named(client, ask):
    response = client.answer_of(ask())

    assert [(node.node_id, node.host, node.port) for node in response.brokers] == [
        (1, "host1", 9092),
        (2, "host2", 9093),
        (3, "host3", 9094),
    ]
    assert (response.cluster_id, response.controller_id) == ("QUJDREVGR0hJSktMTU5PUA", 1)


def test_a_dead_node_stays_in_the_list_and_out_of_sync(broker, client, ask):
    broker.add_topic("flights")
    broker.dead[2] = None
    broker.notify()

    call = ask("flights")

    assert len(client.answer_of(call).brokers) == 3
    (topic,) = topics(broker, client, call)
    assert list(topic.partitions[0].isr_nodes) == [1, 3]
    assert list(topic.partitions[0].offline_replicas) == [2]


def test_a_replica_that_is_behind_is_out_of_sync_but_not_offline(broker, client, ask):
    topic = broker.add_topic("flights")
    topics(broker, client, ask("flights"))

    broker.behind_rows[topic.group(0)] = (3,)
    broker.notify()

    (answer,) = topics(broker, client, ask("flights"))
    assert list(answer.partitions[0].isr_nodes) == [1, 2]
    assert list(answer.partitions[0].offline_replicas) == []


def test_null_means_all_topics_and_empty_means_none(broker, client, ask):
    for name in ("b", "a"):
        broker.add_topic(name)

    assert [topic.name for topic in topics(broker, client, ask(every=True))] == ["a", "b"]
    assert topics(broker, client, ask()) == []


def test_answers_are_made_anew_when_a_leader_changes(broker, client, ask):
    broker.add_topic("flights")
    assert leaders(broker, client, ask("flights")) == [(1, 0)]

    broker.partition("flights", 0).depose(leader=NodeId(3))

    assert leaders(broker, client, ask("flights")) == [(3, 0)]


def test_encoded_topics_are_kept_while_nothing_changes(broker, client, ask):
    broker.add_topic("flights")

    first = client.answer_of(ask("flights")).topics[0]
    second = client.answer_of(ask("flights")).topics[0]

    assert first is second


@pytest.mark.parametrize("version", range(13))
def test_every_version_can_be_encoded(broker, client, ask, version):
    broker.add_topic("flights")

    call = ask("flights", "unknown", "bad name", version=version)

    assert b"flights" in b"".join(encode_response(call.header, client.answer_of(call)))
    codes = [topic.error_code for topic in topics(broker, client, call)]
    assert codes == [0, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, ErrorCode.INVALID_TOPIC_EXCEPTION]


def test_a_topic_is_found_by_id_from_version_12_on(broker, client, ask):
    topic = broker.add_topic("flights")

    call = ask(ids=[topic.topic_id], version=12)

    assert [found.name for found in topics(broker, client, call)] == ["flights"]


def test_an_unknown_id_is_answered_without_a_name(broker, client, ask):
    topic_id = TopicId(b"x" * 16)

    call = ask(ids=[topic_id], version=12)

    assert topics(broker, client, call) == [
        MetadataResponseTopic(error_code=ErrorCode.UNKNOWN_TOPIC_ID, name=None, topic_id=topic_id)
    ]


def test_an_id_before_version_12_is_an_invalid_request(broker, client, ask):
    topic = broker.add_topic("flights")

    call = ask(ids=[topic.topic_id], version=10)

    assert [found.error_code for found in topics(broker, client, call)] == [
        ErrorCode.INVALID_REQUEST
    ]


def test_neither_name_nor_id_is_an_invalid_request(broker, client, ask):
    call = ask(None, version=12)

    assert topics(broker, client, call)[0].error_code == ErrorCode.INVALID_REQUEST


@pytest.mark.asyncio
async def test_an_unknown_topic_is_created_and_answered_with_leaders(broker, client, ask, settle):
    call = ask("new", auto_create=True)
    await settle(lambda: client.has_answered(call))

    (topic,) = topics(broker, client, call)
    assert (topic.name, len(topic.partitions), topic.error_code) == ("new", 4, 0)
    assert {partition.leader_id for partition in topic.partitions} == {1, 2, 3}
    assert len(broker.image.topic("new").partitions[0]) == 3


@pytest.mark.asyncio
async def test_a_created_topics_answer_waits_for_its_leaders(broker, client, ask, settle, clock):
    broker.elects = False
    call = ask("new", auto_create=True)
    await settle(lambda: broker.image.topic("new") is not None)
    assert not client.has_answered(call)

    topic = broker.image.topic("new")
    for number in range(4):
        broker.set_leader(topic.group(number), NodeId(2), 1)
    clock.turn()

    assert leaders(broker, client, call) == [(2, 0)] * 4


@pytest.mark.asyncio
async def test_leaders_that_do_not_come_are_not_waited_for_forever(
    broker, client, ask, settle, clock
):
    broker.elects = False
    call = ask("new", auto_create=True)
    await settle(lambda: broker.image.topic("new") is not None)

    clock.advance(broker.kafka.leader_wait_s + 0.01)

    assert leaders(broker, client, call) == [(-1, ErrorCode.LEADER_NOT_AVAILABLE)] * 4


def test_a_topic_asked_for_many_times_is_answered_once(broker, client, ask):
    topic = broker.add_topic("flights", 2)

    by_name = ask(*["flights", "none", "flights", "none"] * 100)
    by_id = ask(version=12, ids=[topic.topic_id] * 100)

    assert [found.name for found in topics(broker, client, by_name)] == ["flights", "none"]
    assert len(client.answer_of(by_id).topics) == 1


@pytest.mark.asyncio
async def test_creation_waits_until_as_many_nodes_as_it_needs_have_registered(
    broker, client, ask, settle, registration
):
    broker.set(nodes_count=4, default_replication_factor=4)
    call = ask("new", auto_create=True)
    await settle()
    assert broker.commands == []

    broker.apply(registration(4))
    await settle(lambda: client.has_answered(call))

    assert topics(broker, client, call)[0].error_code == ErrorCode.NONE
    assert broker.image.topic("new").replication_factor == 4


@pytest.mark.asyncio
async def test_while_nodes_are_missing_the_client_is_told_to_come_again(
    broker, client, ask, settle, clock
):
    broker.set(nodes_count=4, default_replication_factor=4)
    call = ask("one", "two", "no spaces", auto_create=True)
    await settle()

    clock.advance(broker.kafka.leader_wait_s + 0.01)
    await settle(lambda: client.has_answered(call))

    codes = [topic.error_code for topic in topics(broker, client, call)]
    assert codes[:2] == [ErrorCode.LEADER_NOT_AVAILABLE] * 2
    assert broker.commands == []


@pytest.mark.asyncio
async def test_a_topic_that_another_node_creates_meanwhile_is_answered(broker, client, ask, settle):
    async def be_late(command: CreateTopic):
        broker.apply(command)
        raise RequestError(ErrorCode.TOPIC_ALREADY_EXISTS, "exists")

    broker.on_execute = be_late
    call = ask("new", auto_create=True)
    await settle(lambda: client.has_answered(call))

    assert topics(broker, client, call)[0].error_code == ErrorCode.NONE


@pytest.mark.asyncio
async def test_without_a_metadata_leader_the_client_is_told_to_come_again(
    broker, client, ask, settle
):
    async def time_out(command: CreateTopic):
        raise RequestError(ErrorCode.REQUEST_TIMED_OUT, "no leader")

    broker.on_execute = time_out
    call = ask("one", "two", auto_create=True)
    await settle(lambda: client.has_answered(call))

    codes = [topic.error_code for topic in topics(broker, client, call)]
    assert codes == [ErrorCode.LEADER_NOT_AVAILABLE] * 2
    assert len(broker.commands) == 1


@pytest.mark.asyncio
async def test_an_illegal_name_is_not_created(broker, client, ask, settle):
    call = ask("no spaces", auto_create=True)
    await settle(lambda: client.has_answered(call))

    assert topics(broker, client, call)[0].error_code == ErrorCode.INVALID_TOPIC_EXCEPTION
    assert broker.commands == []


def test_a_client_may_forbid_creation(broker, client, ask):
    call = ask("new", auto_create=False)

    assert topics(broker, client, call)[0].error_code == ErrorCode.UNKNOWN_TOPIC_OR_PARTITION


def test_the_node_may_forbid_creation(broker, client, ask):
    broker.set(auto_create_topics=False)

    call = ask("new", auto_create=True)

    assert topics(broker, client, call)[0].error_code == ErrorCode.UNKNOWN_TOPIC_OR_PARTITION


def test_creation_can_be_forbidden_while_running(broker, client, ask):
    broker.apply(AlterNodeSettings(node_id=NodeId(0), set={"auto.create.topics.enable": "false"}))

    call = ask("new", auto_create=True)

    assert topics(broker, client, call)[0].error_code == ErrorCode.UNKNOWN_TOPIC_OR_PARTITION


def test_an_answer_waits_for_the_successor_of_a_leader_just_lost(broker, client, ask, clock):
    broker.add_topic("flights")
    broker.partition("flights", 0).depose(leader=None, lost_at=clock.now_s)
    call = ask("flights")
    clock.advance(0.25)
    assert not client.has_answered(call)

    broker.partition("flights", 0).depose(leader=NodeId(2))
    clock.turn()

    assert leaders(broker, client, call) == [(2, 0)]
    assert len(broker.watchers) == 1, "only the encoded topics follow changes"
    assert len(client.deadlines) == 0


def test_an_answer_waits_for_all_partitions_that_lost_their_leader(broker, client, ask, clock):
    topic = broker.add_topic("flights", 2)
    for number in (0, 1):
        broker.set_leader(topic.group(number), None, 2, lost_at=clock.now_s)
    call = ask(every=True)

    broker.set_leader(topic.group(1), NodeId(2), 3)
    clock.turn()
    assert not client.has_answered(call)
    broker.set_leader(topic.group(0), NodeId(3), 3)
    clock.turn()

    assert leaders(broker, client, call) == [(3, 0), (2, 0)]


def test_400_ms_after_the_loss_there_is_no_leader(broker, client, ask, clock):
    topic = broker.add_topic("flights")
    broker.set_leader(topic.group(0), None, 2, lost_at=clock.now_s)
    clock.advance(0.1)
    call = ask("flights")
    clock.advance(0.29)
    assert not client.has_answered(call)

    clock.advance(0.02)

    assert leaders(broker, client, call) == [(-1, ErrorCode.LEADER_NOT_AVAILABLE)]
    (found,) = topics(broker, client, call)
    assert found.partitions[0].leader_epoch == 2


def test_later_questions_about_a_lost_leader_do_not_wait(broker, client, ask, clock):
    topic = broker.add_topic("flights")
    broker.set_leader(topic.group(0), None, 2, lost_at=clock.now_s - 0.4)

    call = ask("flights")

    assert leaders(broker, client, call) == [(-1, ErrorCode.LEADER_NOT_AVAILABLE)]


def test_other_topics_do_not_wait_for_a_lost_leader(broker, client, ask, clock):
    broker.add_topic("healthy")
    lost = broker.add_topic("lost")
    broker.set_leader(lost.group(0), None, 2, lost_at=clock.now_s)

    call = ask("healthy")

    assert leaders(broker, client, call) == [(1, 0)]


def test_an_answer_ready_behind_a_parked_one_shortens_its_wait(broker, client, ask, clock):
    topic = broker.add_topic("flights")
    broker.set_leader(topic.group(0), None, 2, lost_at=clock.now_s)
    call = ask("flights")

    call.block()
    clock.advance(HELD_BACK_S * 0.9)
    assert not client.has_answered(call)
    clock.advance(HELD_BACK_S * 0.2)

    assert leaders(broker, client, call) == [(-1, ErrorCode.LEADER_NOT_AVAILABLE)]


def test_a_node_that_stops_answers_parked_calls_at_once(broker, client, ask, clock):
    topic = broker.add_topic("flights")
    broker.set_leader(topic.group(0), None, 2, lost_at=clock.now_s)
    call = ask("flights")

    call.interrupt()

    assert leaders(broker, client, call) == [(-1, ErrorCode.LEADER_NOT_AVAILABLE)]


def test_a_parked_call_whose_connection_is_gone_lets_go(broker, client, ask, clock):
    topic = broker.add_topic("flights")
    broker.set_leader(topic.group(0), None, 2, lost_at=clock.now_s)
    call = ask("flights")

    call.drop()
    clock.advance(1)

    assert client.finished == []
    assert len(client.deadlines) == 0
    assert len(broker.watchers) == 1


@pytest.mark.parametrize("names", [["flights"], ["flights", "unheard-of"]])
@pytest.mark.parametrize(("cut_off_s", "sent_away"), [(0.99, 0), (1.0, 1)])
@pytest.mark.asyncio
async def test_a_client_of_a_node_that_is_cut_off_is_told_what_there_is_and_sent_away(
    broker, client, ask, settle, names, cut_off_s, sent_away
):
    broker.add_topic("flights")
    broker.cut_off_s = cut_off_s

    call = ask(*names)
    await settle(lambda: client.has_answered(call))

    assert client.answer_of(call).topics
    assert len(client.sent_away) == sent_away
