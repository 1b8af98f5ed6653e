"""Administration as each library offers it."""

import time
import uuid

import pytest

pytestmark = [pytest.mark.cluster, pytest.mark.clients]

EVERYWHERE_S = 2.0
"""For a change to be known to all nodes: libraries ask any of them, as they do with Kafka."""


def record(value):
    return {"key": "k", "value": value, "partition": 0}


@pytest.fixture
def fresh(client_name):
    return f"fresh-{client_name}-{uuid.uuid4().hex[:8]}"


@pytest.mark.feature("topics: create, describe, add partitions, delete")
def test_topics_come_grow_and_go(client, fresh, refused):
    client.ask("create_topic", topic=fresh, partitions=3)
    assert client.ask("partitions", topic=fresh) == 3
    with pytest.raises(refused) as again:
        client.ask("create_topic", topic=fresh, partitions=3)
    assert again.value.name == "TOPIC_ALREADY_EXISTS"

    client.ask("create_partitions", topic=fresh, total=5)
    assert client.ask("partitions", topic=fresh) == 5
    with pytest.raises(refused) as fewer:
        client.ask("create_partitions", topic=fresh, total=4)
    assert fewer.value.name == "INVALID_PARTITIONS"

    client.ask("delete_topic", topic=fresh)
    with pytest.raises(refused) as gone:
        client.ask("delete_topic", topic=fresh)
    assert gone.value.name == "UNKNOWN_TOPIC_OR_PARTITION"


@pytest.mark.feature("INVALID_TOPIC_EXCEPTION is understood")
def test_a_bad_topic_name_is_refused_by_name(client, refused):
    with pytest.raises(refused) as answer:
        client.ask("create_topic", topic="not/a/topic")

    assert answer.value.name == "INVALID_TOPIC_EXCEPTION"


@pytest.mark.feature("configs: describe, alter, refused by name")
def test_settings_are_changed_and_told(client, topic, refused):
    name = topic(max_message_bytes="500000")
    assert client.ask("config", topic=name, name="max.message.bytes") == "500000"

    client.ask("alter_config", topic=name, name="retention.ms", value="123456")
    deadline = time.monotonic() + EVERYWHERE_S
    while client.ask("config", topic=name, name="retention.ms") != "123456":
        assert time.monotonic() < deadline

    with pytest.raises(refused) as answer:
        client.ask("alter_config", topic=name, name="retention.ms", value="soon")
    assert answer.value.name == "INVALID_CONFIG"


@pytest.mark.feature("DeleteRecords")
def test_records_are_deleted(client, admin, topic, refused):
    name = topic()
    admin.ask("produce", topic=name, records=[record(str(n)) for n in range(10)])

    assert client.ask("delete_records", topic=name, partition=0, offset=4) == 4

    assert client.ask("offset", topic=name, partition=0, at="earliest") == 4
    (first,) = client.ask("consume", topic=name, partition=0, count=1)
    assert first["value"] == "4"
    with pytest.raises(refused) as answer:
        client.ask("delete_records", topic=name, partition=0, offset=11)
    assert answer.value.name == "OFFSET_OUT_OF_RANGE"


@pytest.fixture
def old_group(admin, topic):
    """A group without members that has committed 3 of one partition."""
    name, group = topic(), f"old-{uuid.uuid4().hex[:8]}"
    admin.ask("produce", topic=name, records=[record(str(n)) for n in range(3)])
    admin.ask("join", group=group, topics=[name])
    assert len(admin.ask("poll", count=3)) == 3
    admin.ask("commit")
    admin.ask("leave")
    return group, name


@pytest.mark.feature("groups: list, describe, committed offsets")
def test_groups_are_told(client, old_group):
    group, name = old_group

    assert group in client.ask("groups")
    assert client.ask("group", group=group) == {"state": "Empty", "members": 0}
    assert client.ask("committed", group=group, topic=name, partition=0) == 3


@pytest.mark.feature("groups: delete")
def test_groups_are_deleted(client, old_group, refused):
    group, _ = old_group

    client.ask("delete_group", group=group)

    with pytest.raises(refused) as gone:
        client.ask("delete_group", group=group)
    assert gone.value.name == "GROUP_ID_NOT_FOUND"


@pytest.mark.feature("groups: delete offsets")
def test_offsets_of_a_group_are_deleted(client, old_group):
    group, name = old_group

    client.ask("delete_offset", group=group, topic=name, partition=0)

    assert client.ask("committed", group=group, topic=name, partition=0) is None
