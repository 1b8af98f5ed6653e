"""The metadata state machine: what each command does, what it refuses, its snapshot."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimaran.errors import CorruptionError, ErrorCode
from trimaran.ids import METADATA_GROUP, METADATA_TOPIC_ID, group_id
from trimaran.metadata.commands import (
    AllocateProducerIds,
    AlterNodeSettings,
    AlterTopicSettings,
    CommandId,
    CreatePartitions,
    CreateTopic,
    DeleteTopic,
    RegisterNode,
    decode_command,
    encode_command,
)
from trimaran.metadata.image import Image
from trimaran.metadata.limits import (
    APPLIED_COMMANDS_MAX,
    DELETED_TOPICS_MAX,
    NODES_MAX,
    PRODUCER_ID_MAX,
)
from trimaran.metadata.results import (
    NodeRegistered,
    NodeSettingsAltered,
    PartitionsCreated,
    ProducerIdsAllocated,
    Refused,
    Repeated,
    TopicCreated,
    TopicDeleted,
    TopicSettingsAltered,
)
from trimaran.metadata.topic_settings import effective_settings
from trimaran.metadata.topology import Node, Topic

A, B, C = bytes([1] * 16), bytes([2] * 16), bytes([3] * 16)


def register(node_id: int, **changes) -> RegisterNode:
    fields = {
        "node_id": node_id,
        "disk_id": bytes([node_id]) * 16,
        "host": "h",
        "kafka_port": 9_092,
        "http_port": 8_080,
        "peer_host": "p",
        "peer_port": 7_000 + node_id,
        "rack": None,
        "host_label": None,
        "boot_id": 1,
    }
    return RegisterNode(**{**fields, **changes})


def topic(name="events", topic_id=A, assignments=((1, 2, 3), (2, 3, 1)), **settings):
    return CreateTopic(
        name=name,
        topic_id=topic_id,
        assignments=assignments,
        settings={key.replace("_", "."): text for key, text in settings.items()},
    )


def after(*commands) -> Image:
    """An image of three nodes to which `commands` were applied, each with success."""
    image = Image()
    for command in (register(1), register(2), register(3), *commands):
        result = image.apply(command, image.applied_index + 1)
        assert not isinstance(result, Refused), result
    return image


def refusal(image: Image, command) -> ErrorCode:
    """The code with which `command` is refused; nothing but the index may have changed."""
    before = after_index(image.encode(), image.applied_index + 1)
    result = image.apply(command, image.applied_index + 1)
    assert isinstance(result, Refused), result
    assert result.message
    assert image.encode() == before
    return result.code


def after_index(snapshot: bytes, index: int) -> bytes:
    fields = msgspec.msgpack.decode(snapshot[1:])
    return snapshot[:1] + msgspec.msgpack.encode({**fields, "applied_index": index})


def test_node_registers_and_registers_anew():
    image = after(register(10))

    again = image.apply(register(2, boot_id=2, host="other"), 9)
    moved = image.apply(register(2, boot_id=3, disk_id=A), 10)
    later = image.apply(register(2, boot_id=4, disk_id=A), 11)

    assert isinstance(again, NodeRegistered)
    assert (again.previous.boot_id, again.node.boot_id, again.has_other_disk) == (1, 2, False)
    assert isinstance(moved, NodeRegistered)
    assert moved.has_other_disk
    assert moved.node.disk_id == again.node.disk_id
    assert later.has_other_disk
    assert image.node(2) == later.node
    assert image.node(4) is None
    assert [node.node_id for node in image.nodes] == [1, 2, 3, 10]


def test_first_registration_has_nothing_before_it():
    result = Image().apply(register(5, rack="r", host_label="m"), 1)

    assert result == NodeRegistered(
        node=Node(
            node_id=5,
            disk_id=bytes([5]) * 16,
            host="h",
            kafka_port=9_092,
            http_port=8_080,
            peer_host="p",
            peer_port=7_005,
            rack="r",
            host_label="m",
            boot_id=1,
        ),
        previous=None,
        disk_id=bytes([5]) * 16,
    )
    assert not result.has_other_disk


def test_there_is_room_for_so_many_nodes():
    image = after(*[register(number) for number in range(4, NODES_MAX + 1)])

    assert refusal(image, register(NODES_MAX + 1)) is ErrorCode.INVALID_REQUEST
    assert isinstance(image.apply(register(1), 99), NodeRegistered)


def test_topic_is_created_and_found_by_name_id_and_group():
    image = after()

    result = image.apply(topic(segment_bytes="2000000", max_message_bytes="10"), 7)

    expected = Topic(
        name="events",
        topic_id=A,
        partitions=((1, 2, 3), (2, 3, 1)),
        settings={"max.message.bytes": "10", "segment.bytes": "2000000"},
    )
    assert result == TopicCreated(topic=expected)
    assert image.topic("events") is image.topic_by_id(A) is result.topic
    assert image.partition_count == 2
    assert image.replicas(group_id(A, 1)) == (2, 3, 1)
    assert image.replicas(group_id(A, 2)) is None
    assert image.replicas(METADATA_GROUP) is None
    assert expected.group(1) == group_id(A, 1)
    assert expected.replication_factor == 3
    assert expected.effective_settings() == effective_settings(expected.settings)


def test_topics_come_in_order_of_their_names():
    image = after(topic("b"), topic("a", B), topic("C", C))

    assert [each.name for each in image.topics] == ["C", "a", "b"]
    assert image.topics is image.topics


@pytest.mark.parametrize(
    ("command", "code"),
    [
        (topic("events", B), ErrorCode.TOPIC_ALREADY_EXISTS),
        (topic("", B), ErrorCode.INVALID_TOPIC_EXCEPTION),
        (topic(".", B), ErrorCode.INVALID_TOPIC_EXCEPTION),
        (topic("..", B), ErrorCode.INVALID_TOPIC_EXCEPTION),
        (topic("a" * 250, B), ErrorCode.INVALID_TOPIC_EXCEPTION),
        (topic("a b", B), ErrorCode.INVALID_TOPIC_EXCEPTION),
        (topic("a\n", B), ErrorCode.INVALID_TOPIC_EXCEPTION),
        (topic("é", B), ErrorCode.INVALID_TOPIC_EXCEPTION),
        (topic("dotted_name", B), ErrorCode.INVALID_TOPIC_EXCEPTION),
        (topic("other", A), ErrorCode.INVALID_REQUEST),
        (topic("other", METADATA_TOPIC_ID), ErrorCode.INVALID_REQUEST),
        (topic("other", bytes(16)), ErrorCode.INVALID_REQUEST),
        (topic("other", B, ()), ErrorCode.INVALID_PARTITIONS),
        (topic("other", B, ((),)), ErrorCode.INVALID_REPLICA_ASSIGNMENT),
        (topic("other", B, ((1, 2), (1,))), ErrorCode.INVALID_REPLICA_ASSIGNMENT),
        (topic("other", B, ((1, 1),)), ErrorCode.INVALID_REPLICA_ASSIGNMENT),
        (topic("other", B, ((1, 4),)), ErrorCode.INVALID_REPLICA_ASSIGNMENT),
        (topic("other", B, (tuple(range(1, 9)),)), ErrorCode.INVALID_REPLICATION_FACTOR),
        (topic("other", B, ((1,),) * 2_001), ErrorCode.INVALID_PARTITIONS),
        (topic("other", B, no_such="1"), ErrorCode.INVALID_CONFIG),
        (topic("other", B, min_insync_replicas="3"), ErrorCode.INVALID_CONFIG),
    ],
)
def test_topic_that_cannot_be_is_refused_with_kafkas_code(command, code):
    image = after(topic(), topic("dotted.name", C))

    assert refusal(image, command) is code


def test_name_of_249_characters_is_legal():
    image = after(topic("a" * 249), topic("Z-._9", B))

    assert len(image.topics) == 2


def test_cluster_has_room_for_so_many_partitions():
    full = [topic(f"t{number}", bytes([9, number] * 8), ((1,),) * 2_000) for number in range(5)]
    image = after(*full)

    assert refusal(image, topic("one", B, ((1,),))) is ErrorCode.INVALID_PARTITIONS
    image.apply(DeleteTopic(topic_id=bytes([9, 0] * 8)), 50)
    assert isinstance(image.apply(topic("one", B, ((1,),)), 51), TopicCreated)


def test_topic_is_deleted_by_id_and_its_name_is_free():
    image = after(topic(), topic("other", B))

    result = image.apply(DeleteTopic(topic_id=A), 20)

    assert isinstance(result, TopicDeleted)
    assert result.topic.name == "events"
    assert image.topic("events") is image.topic_by_id(A) is None
    assert image.topics == (image.topic("other"),)
    assert image.partition_count == 2
    assert refusal(image, DeleteTopic(topic_id=A)) is ErrorCode.UNKNOWN_TOPIC_ID
    assert isinstance(image.apply(topic("events", C), 30), TopicCreated)


def test_topic_that_collides_with_a_name_is_found():
    image = after(topic("a.b"))

    assert image.colliding("a_b") == image.colliding("a.b") == "a.b"
    assert image.colliding("a-b") is None


def test_deleted_topic_is_known_as_such_and_its_id_never_comes_back():
    image = after(topic(), topic("other", B), DeleteTopic(topic_id=A))

    for each in (image, Image.decode(image.encode())):
        assert each.was_deleted(A)
        assert not each.was_deleted(B)
        assert not each.was_deleted(C)
    assert refusal(image, topic("events", A)) is ErrorCode.INVALID_REQUEST


def test_the_latest_deletions_are_remembered():
    image = after()
    topic_ids = [
        bytes([7]) + number.to_bytes(15, "big") for number in range(DELETED_TOPICS_MAX + 1)
    ]

    for number, topic_id in enumerate(topic_ids):
        image.apply(topic("t", topic_id), 100 + 2 * number)
        image.apply(DeleteTopic(topic_id=topic_id), 101 + 2 * number)

    assert [image.was_deleted(topic_id) for topic_id in topic_ids] == [False] + [True] * (
        DELETED_TOPICS_MAX
    )


def known(command, number, *, boot_id=1):
    return msgspec.structs.replace(command, id=CommandId(1, boot_id, number))


def test_command_that_comes_twice_is_applied_once():
    create = known(topic(), 1)
    image = after(create, DeleteTopic(topic_id=A))

    again = image.apply(create, 50)
    of_another_life = image.apply(known(topic("events", C), 1, boot_id=2), 51)

    assert again == Repeated(id=create.id)
    assert isinstance(of_another_life, TopicCreated)
    assert [each.topic_id for each in image.topics] == [C]


def test_command_that_was_refused_is_not_done_when_it_comes_again():
    image = after(topic())
    late = known(topic("events", B), 1)

    refused = image.apply(late, 50)
    image.apply(DeleteTopic(topic_id=A), 51)
    again = Image.decode(image.encode()).apply(late, 52)

    assert isinstance(refused, Refused)
    assert again == Repeated(id=late.id)


def test_the_latest_commands_are_remembered():
    image = after()
    command = AllocateProducerIds(node_id=1, count=1)
    for number in range(APPLIED_COMMANDS_MAX + 1):
        image.apply(known(command, number), 100 + number)
    index = image.applied_index

    last = image.apply(known(command, APPLIED_COMMANDS_MAX), index + 1)
    second = image.apply(known(command, 1), index + 2)
    first = image.apply(known(command, 0), index + 3)

    assert isinstance(last, Repeated)
    assert isinstance(second, Repeated)
    assert isinstance(first, ProducerIdsAllocated)


def test_partitions_are_added_behind_the_others():
    image = after(topic())

    result = image.apply(
        CreatePartitions(topic_id=A, first_partition=2, assignments=((3, 1, 2),)), 20
    )

    assert isinstance(result, PartitionsCreated)
    assert result.first_partition == 2
    assert result.topic.partitions == ((1, 2, 3), (2, 3, 1), (3, 1, 2))
    assert image.topic("events") is image.topic_by_id(A) is result.topic
    assert image.topics == (result.topic,)
    assert image.partition_count == 3


@pytest.mark.parametrize(
    ("command", "code"),
    [
        (CreatePartitions(topic_id=B, first_partition=2, assignments=((1, 2, 3),)), 100),
        (CreatePartitions(topic_id=A, first_partition=1, assignments=((1, 2, 3),)), 37),
        (CreatePartitions(topic_id=A, first_partition=2, assignments=()), 37),
        (CreatePartitions(topic_id=A, first_partition=2, assignments=((1, 2, 3),) * 1_999), 37),
        (CreatePartitions(topic_id=A, first_partition=2, assignments=((1, 2),)), 39),
    ],
)
def test_partitions_that_cannot_be_added_are_refused(command, code):
    assert refusal(after(topic()), command) is ErrorCode(code)


def test_topic_settings_are_set_and_unset():
    image = after(topic(max_message_bytes="10", segment_bytes="2000000"))
    before = image.topic("events")

    result = image.apply(
        AlterTopicSettings(
            topic_id=A, set={"flush.ms": "5"}, unset=("segment.bytes", "flush.messages")
        ),
        20,
    )

    assert isinstance(result, TopicSettingsAltered)
    assert result.previous is before
    assert result.topic.settings == {"flush.ms": "5", "max.message.bytes": "10"}
    assert list(result.topic.settings) == sorted(result.topic.settings)
    assert result.topic.partitions == before.partitions
    assert image.topics == (result.topic,)


@pytest.mark.parametrize(
    ("command", "code"),
    [
        (AlterTopicSettings(topic_id=B), ErrorCode.UNKNOWN_TOPIC_ID),
        (AlterTopicSettings(topic_id=A, set={"no": "1"}), ErrorCode.INVALID_CONFIG),
        (
            AlterTopicSettings(topic_id=A, set={"min.insync.replicas": "3"}),
            ErrorCode.INVALID_CONFIG,
        ),
        (
            AlterTopicSettings(topic_id=A, set={"flush.ms": "1"}, unset=("flush.ms",)),
            ErrorCode.INVALID_REQUEST,
        ),
    ],
)
def test_topic_settings_that_cannot_be_are_refused(command, code):
    assert refusal(after(topic()), command) is code


def test_settings_of_one_node_go_before_those_of_all():
    image = after(
        AlterNodeSettings(node_id=0, set={"num.partitions": "8"}),
        AlterNodeSettings(node_id=2, set={"num.partitions": "9"}),
    )

    result = image.apply(AlterNodeSettings(node_id=0, set={"num.partitions": "7"}), 20)

    assert result == NodeSettingsAltered(node_id=0, settings={"num.partitions": "7"})
    assert image.node_settings(1) == {"num.partitions": "7"}
    assert image.node_settings(2) == {"num.partitions": "9"}
    image.apply(AlterNodeSettings(node_id=2, unset=("num.partitions",)), 21)
    assert image.node_settings(2) == {"num.partitions": "7"}


def test_node_settings_that_cannot_be_are_refused():
    image = after()

    assert refusal(image, AlterNodeSettings(node_id=9)) is ErrorCode.INVALID_REQUEST
    assert (
        refusal(image, AlterNodeSettings(node_id=0, set={"num.partitions": "0"}))
        is ErrorCode.INVALID_CONFIG
    )


def test_settings_put_back_leave_no_trace_in_the_snapshot():
    image = after(AlterNodeSettings(node_id=2, set={"num.partitions": "9"}))
    image.apply(AlterNodeSettings(node_id=2, unset=("num.partitions",)), 20)

    assert image.encode() == after_index(after().encode(), 20)


def test_producer_ids_are_given_out_once():
    image = after()

    first = image.apply(AllocateProducerIds(node_id=1, count=1_000), 20)
    second = image.apply(AllocateProducerIds(node_id=3, count=10), 21)

    assert first == ProducerIdsAllocated(node_id=1, first=0, count=1_000)
    assert second == ProducerIdsAllocated(node_id=3, first=1_000, count=10)
    assert image.next_producer_id == 1_010
    assert refusal(image, AllocateProducerIds(node_id=9, count=1)) is ErrorCode.INVALID_REQUEST


def test_producer_ids_end_before_they_wrap():
    fields = msgspec.msgpack.decode(after().encode()[1:])
    fields["next_producer_id"] = PRODUCER_ID_MAX - 10
    image = Image.decode(b"\x02" + msgspec.msgpack.encode(fields))

    assert (
        refusal(image, AllocateProducerIds(node_id=1, count=11)) is ErrorCode.UNKNOWN_SERVER_ERROR
    )
    assert isinstance(
        image.apply(AllocateProducerIds(node_id=1, count=10), 90), ProducerIdsAllocated
    )


def test_entry_is_applied_once():
    image = after()

    with pytest.raises(AssertionError, match="apply of 3 after 3"):
        image.apply(register(1), 3)


def test_empty_image_is_a_fixed_snapshot():
    assert msgspec.msgpack.decode(Image().encode()[1:]) == {
        "applied_index": 0,
        "next_producer_id": 0,
        "nodes": [],
        "topics": [],
        "node_settings": [],
        "deleted_topics": [],
        "applied_commands": [],
    }
    assert Image().encode()[0] == 2


def test_snapshot_of_format_1_is_read_and_goes_on_as_format_2():
    written = full_image().encode()
    fields = msgspec.msgpack.decode(written[1:])
    del fields["deleted_topics"], fields["applied_commands"]
    old = b"\x01" + msgspec.msgpack.encode(fields)

    image = Image.decode(old)

    assert image.topics == full_image().topics
    assert Image.decode(image.encode()).encode() == image.encode()
    assert not image.was_deleted(C)
    with pytest.raises(CorruptionError):
        Image.decode(old + b"\0")
    with pytest.raises(CorruptionError):
        Image.decode(b"\x01" + written[1:])


def full_image() -> Image:
    return after(
        topic("b", B, max_message_bytes="10"),
        topic("a", A),
        AlterNodeSettings(node_id=3, set={"num.partitions": "9"}),
        AlterNodeSettings(node_id=0, set={"num.partitions": "8"}),
        AllocateProducerIds(node_id=1, count=5),
        register(3, rack="r"),
        topic("gone", C),
        known(DeleteTopic(topic_id=C), 4),
        known(register(2), 5),
    )


def test_snapshot_of_equal_states_is_equal_whatever_came_first():
    one = after(
        topic("a", A),
        topic("b", B),
        AlterNodeSettings(node_id=1, set={"num.partitions": "9"}),
        AlterNodeSettings(node_id=0, set={"num.partitions": "8"}),
    )
    other = after(
        AlterNodeSettings(node_id=0, set={"num.partitions": "8"}),
        topic("b", B),
        AlterNodeSettings(node_id=1, set={"num.partitions": "9"}),
        topic("a", A),
    )

    assert one.encode() == other.encode()
    assert one.digest() == other.digest()
    assert one.digest() != after().digest()


def test_every_cut_of_a_snapshot_is_corruption():
    snapshot = full_image().encode()

    for length in range(len(snapshot)):
        with pytest.raises(CorruptionError, match="metadata snapshot at byte"):
            Image.decode(snapshot[:length])


def damaged(**changes) -> bytes:
    fields = msgspec.msgpack.decode(full_image().encode()[1:])
    for name, change in changes.items():
        fields[name] = change(fields[name])
    return b"\x02" + msgspec.msgpack.encode(fields)


@pytest.mark.parametrize(
    "snapshot",
    [
        b"\x00" + Image().encode()[1:],
        b"\x03" + Image().encode()[1:],
        Image().encode() + b"\0",
        b"\x02" + b"\x91" * 200_000,
        damaged(topics=lambda topics: topics[::-1]),
        damaged(topics=lambda topics: [*topics, topics[0]]),
        damaged(topics=lambda topics: [topics[0], {**topics[1], "topic_id": A}]),
        damaged(topics=lambda topics: [{**topics[0], "name": "x.y"}, {**topics[1], "name": "x_y"}]),
        damaged(topics=lambda topics: [{**topics[0], "partitions": []}, topics[1]]),
        damaged(nodes=lambda nodes: nodes[::-1]),
        damaged(applied_index=lambda _: -1),
        damaged(topics=lambda _: "x"),
        damaged(node_settings=lambda pairs: pairs[::-1]),
        damaged(node_settings=lambda pairs: [pairs[0], *pairs]),
        damaged(deleted_topics=lambda topic_ids: topic_ids * 2),
        damaged(deleted_topics=lambda _: [b"short"]),
        damaged(deleted_topics=lambda _: [A]),
        damaged(deleted_topics=lambda _: [n.to_bytes(16, "big") for n in range(1, 1_026)]),
        damaged(applied_commands=lambda found: [found[0], *found]),
        damaged(applied_commands=lambda _: [[1, 1, n] for n in range(1_025)]),
    ],
)
def test_bytes_that_no_image_is_written_as_are_corruption(snapshot):
    with pytest.raises(CorruptionError):
        Image.decode(snapshot, source="image")


numbers = st.integers(1, 4)
ids = st.sampled_from([A, B, C])
partitions = st.lists(
    st.lists(numbers, min_size=1, max_size=3, unique=True).map(tuple), max_size=3
).map(tuple)
some_settings = st.dictionaries(
    st.sampled_from(["max.message.bytes", "flush.ms", "num.partitions", "nonsense"]),
    st.sampled_from(["1", "5", "-3"]),
    max_size=2,
)
commands = st.one_of(
    st.builds(register, numbers, boot_id=numbers),
    st.builds(
        CreateTopic,
        id=st.none() | st.builds(CommandId, node_id=numbers, boot_id=numbers, number=numbers),
        name=st.sampled_from(["a", "b", "a.b", "a_b", "."]),
        topic_id=ids,
        assignments=partitions,
        settings=some_settings,
    ),
    st.builds(DeleteTopic, topic_id=ids),
    st.builds(
        CreatePartitions,
        topic_id=ids,
        first_partition=st.integers(0, 4),
        assignments=partitions,
    ),
    st.builds(AlterTopicSettings, topic_id=ids, set=some_settings),
    st.builds(AlterNodeSettings, node_id=st.integers(0, 4), set=some_settings),
    st.builds(AllocateProducerIds, node_id=numbers, count=numbers),
)


@given(st.lists(commands, max_size=30), st.integers(0, 30))
def test_replicas_agree_and_a_snapshot_goes_on_where_it_was_taken(drawn, taken_at):
    image, replica = Image(), Image()

    for index, command in enumerate(drawn, start=1):
        if index == taken_at:
            replica = Image.decode(memoryview(replica.encode()))
        before = image.encode()
        result = image.apply(command, index)
        assert replica.apply(decode_command(encode_command(command)), index) == result
        if isinstance(result, Repeated) or (isinstance(result, Refused) and command.id is None):
            assert after_index(before, index) == image.encode()

    assert image.encode() == replica.encode()
    assert image.partition_count == sum(len(each.partitions) for each in image.topics)
    assert [image.topic(each.name) for each in image.topics] == list(replica.topics)
    assert [image.topic_by_id(each.topic_id) for each in image.topics] == list(image.topics)
