"""Administration through real clients: confluent-kafka's and kafka-python's, on real processes."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
from confluent_kafka import (
    Consumer,
    ElectionType,
    KafkaError,
    KafkaException,
    Producer,
    TopicCollection,
    TopicPartition,
)
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewTopic,
    OffsetSpec,
    ResourceType,
)

pytestmark = [pytest.mark.cluster, pytest.mark.clients]

WAIT_S = 30.0
LOOK_S = 0.05


@pytest.fixture
def admin(cluster):
    return AdminClient({"bootstrap.servers": cluster.bootstrap_servers})


def eventually(look, wanted, client=None):
    """Return what `look` says once `wanted` holds for it; waits in a poll of `client`."""
    deadline = time.monotonic() + WAIT_S
    while True:
        found = look()
        if wanted(found):
            return found
        assert time.monotonic() < deadline, found
        if client is not None:
            client.poll(LOOK_S)


def created(admin, name, *, partitions=1, **settings):
    config = {key.replace("_", "."): value for key, value in settings.items()}
    topic = NewTopic(name, num_partitions=partitions, replication_factor=3, config=config)
    admin.create_topics([topic], operation_timeout=WAIT_S)[name].result(WAIT_S)
    return name


def altered(admin, kind, name, *changes):
    entries = [
        ConfigEntry(key, value, incremental_operation=operation)
        for key, value, operation in changes
    ]
    resource = ConfigResource(kind, name, incremental_configs=entries)
    admin.incremental_alter_configs([resource])[resource].result(WAIT_S)


def settings_of(admin, kind, name):
    resource = ConfigResource(kind, name)
    found = admin.describe_configs([resource])[resource].result(WAIT_S)
    return {key: entry.value for key, entry in found.items()}


def produced(cluster, topic, count, *, size=1_000, codec="none"):
    producer = Producer(
        {
            "bootstrap.servers": cluster.bootstrap_servers,
            "enable.idempotence": True,
            "compression.type": codec,
            "linger.ms": 5,
        }
    )
    failed = []
    for number in range(count):
        producer.produce(
            topic,
            str(number).encode() + b" " * size,
            partition=0,
            on_delivery=lambda error, _: failed.append(error) if error else None,
        )
    assert producer.flush(WAIT_S) == 0
    assert failed == []


def earliest(admin, topic):
    place = TopicPartition(topic, 0)
    return admin.list_offsets({place: OffsetSpec.earliest()})[place].result(WAIT_S).offset


def segment_files(cluster):
    return {
        node: sorted(
            (path.parent.name, path.name, path.stat().st_size)
            for path in Path(cluster.data(node)).rglob("*.segment")
        )
        for node in cluster.nodes
    }


def first_read(cluster, topic, offset):
    """Return (offset, value) of the first event read from `offset` on, or the error's code."""
    consumer = Consumer(
        {
            "bootstrap.servers": cluster.bootstrap_servers,
            "group.id": "nobody",
            "auto.offset.reset": "error",
        }
    )
    consumer.assign([TopicPartition(topic, 0, offset)])
    try:
        message = eventually(lambda: consumer.poll(1.0), lambda found: found is not None)
        if message.error():
            return message.error().code()
        return message.offset(), message.value().split()[0], message.timestamp()[0]
    finally:
        consumer.close()


def test_deleted_records_are_gone_on_every_node_and_stay_so(cluster, admin):
    topic = created(admin, "deletions")
    produced(cluster, topic, 50)
    place = TopicPartition(topic, 0, 20)

    (done,) = admin.delete_records([place]).values()

    assert done.result(WAIT_S).low_watermark == 20
    assert earliest(admin, topic) == 20
    assert first_read(cluster, topic, 20)[:2] == (20, b"20")
    assert first_read(cluster, topic, 5) == KafkaError._AUTO_OFFSET_RESET
    victim = cluster.leader(topic, 0)
    cluster.kill(victim)
    cluster.leader(topic, 0, other_than=victim)
    fresh = AdminClient({"bootstrap.servers": cluster.bootstrap_servers})
    assert earliest(fresh, topic) == 20
    cluster.start(victim)
    with pytest.raises(KafkaException) as refused:
        fresh.delete_records([TopicPartition(topic, 0, 51)])[place].result(WAIT_S)
    assert refused.value.args[0].code() == KafkaError.OFFSET_OUT_OF_RANGE


def test_retention_gives_the_space_back_on_every_node(cluster, admin):
    topic = created(admin, "kept-briefly", segment_bytes="1048576", retention_bytes="2000000")
    before = {directory for files in segment_files(cluster).values() for directory, *_ in files}
    produced(cluster, topic, 8_000)

    start = eventually(lambda: earliest(admin, topic), lambda found: found > 4_000, admin)

    assert first_read(cluster, topic, start)[:2] == (start, str(start).encode())

    def fresh():
        found = segment_files(cluster)
        return [[file for file in found[node] if file[0] not in before] for node in cluster.nodes]

    def are_equal_and_few(found):
        sizes = [sum(size for _, _, size in files) for files in found]
        return found[0] == found[1] == found[2] and 0 < max(sizes) < 4_000_000

    assert eventually(fresh, are_equal_and_few, admin)
    altered(admin, ResourceType.TOPIC, topic, ("retention.ms", "1", AlterConfigOpType.SET))
    gone = eventually(lambda: earliest(admin, topic), lambda found: found == 8_000, admin)
    assert gone == 8_000
    produced(cluster, topic, 1)
    assert first_read(cluster, topic, 8_000)[0] == 8_000


def test_an_idempotent_producer_goes_on_in_a_topic_made_again(cluster, admin):
    topic = created(admin, "made-again")
    producer = Producer(
        {"bootstrap.servers": cluster.bootstrap_servers, "enable.idempotence": True}
    )
    offsets = []

    def send():
        producer.produce(
            topic, b"x", partition=0, on_delivery=lambda error, it: offsets.append(it.offset())
        )
        assert producer.flush(WAIT_S) == 0

    for _ in range(3):
        send()
    admin.delete_topics([topic], operation_timeout=WAIT_S)[topic].result(WAIT_S)
    created(admin, topic)
    for _ in range(3):
        send()

    assert offsets == [0, 1, 2] * 2


def test_settings_are_set_appended_to_and_put_back(cluster, admin):
    topic = created(admin, "settings")

    altered(
        admin,
        ResourceType.TOPIC,
        topic,
        ("max.message.bytes", "2000", AlterConfigOpType.SET),
        ("retention.ms", "86400000", AlterConfigOpType.SET),
    )

    assert settings_of(admin, ResourceType.TOPIC, topic)["max.message.bytes"] == "2000"
    altered(admin, ResourceType.TOPIC, topic, ("max.message.bytes", None, AlterConfigOpType.DELETE))
    told = settings_of(admin, ResourceType.TOPIC, topic)
    assert (told["max.message.bytes"], told["retention.ms"]) == ("1048588", "86400000")
    for change in [("no.such", "1"), ("retention.ms", "soon"), ("min.insync.replicas", "3")]:
        with pytest.raises(KafkaException) as refused:
            altered(admin, ResourceType.TOPIC, topic, (*change, AlterConfigOpType.SET))
        assert refused.value.args[0].code() == KafkaError.INVALID_CONFIG


def test_a_nodes_settings_change_while_it_runs(cluster, admin):
    node = str(cluster.nodes[0])

    altered(admin, ResourceType.BROKER, node, ("num.partitions", "7", AlterConfigOpType.SET))

    assert settings_of(admin, ResourceType.BROKER, node)["num.partitions"] == "7"
    altered(admin, ResourceType.BROKER, node, ("num.partitions", None, AlterConfigOpType.DELETE))


def test_batches_are_compressed_again_and_stamped_as_the_topic_says(cluster, admin):
    topic = created(admin, "rewritten", compression_type="zstd")
    produced(cluster, topic, 100, codec="gzip")
    produced(cluster, topic, 100)
    assert first_read(cluster, topic, 150)[:2] == (150, b"50")

    altered(
        admin,
        ResourceType.TOPIC,
        topic,
        ("message.timestamp.type", "LogAppendTime", AlterConfigOpType.SET),
    )
    produced(cluster, topic, 1)
    assert first_read(cluster, topic, 199)[2] == 1
    assert first_read(cluster, topic, 200)[2] == 2


def test_topics_leaders_and_offsets_are_told(cluster, admin):
    topic = created(admin, "described", partitions=3)
    produced(cluster, topic, 10)

    described = admin.describe_topics(TopicCollection([topic]))[topic].result(WAIT_S)
    place = TopicPartition(topic, 0)
    latest = admin.list_offsets({place: OffsetSpec.latest()})[place].result(WAIT_S)
    highest = admin.list_offsets({place: OffsetSpec.max_timestamp()})[place].result(WAIT_S)
    elected = admin.elect_leaders(ElectionType.PREFERRED, [place]).result(WAIT_S)

    assert [len(partition.replicas) for partition in described.partitions] == [3, 3, 3]
    assert latest.offset == 10
    assert 0 <= highest.offset < 10
    assert elected[place].code() == KafkaError.ELECTION_NOT_NEEDED


def test_a_leadership_goes_home_when_it_is_asked_for(cluster, admin):
    topic = created(admin, "homeward")
    home = cluster.leader(topic, 0)
    cluster.kill(home)
    away = cluster.leader(topic, 0, other_than=home)
    cluster.start(home)
    place = TopicPartition(topic, 0)
    fresh = AdminClient({"bootstrap.servers": cluster.bootstrap_servers})

    def outcome():
        return fresh.elect_leaders(ElectionType.PREFERRED, [place]).result(WAIT_S)[place]

    eventually(outcome, lambda error: error is None, fresh)
    assert away != home
    assert cluster.leader(topic, 0) == home


def test_kafka_python_administers_as_well(cluster):
    told = administered(cluster.bootstrap_servers, "by-kafka-python")

    assert told["max.message.bytes"] == "500000"
    assert told["low_watermark"] == 0
    assert told["log_dirs"] == len(cluster.nodes)
    assert "InvalidConfigurationError" in told["refused"]


def administered(bootstrap, topic):
    script = str(Path(__file__).with_name("kafka_python_client.py"))
    words = [sys.executable, script, "administer", bootstrap, topic]
    done = subprocess.run(words, capture_output=True, text=True, timeout=2 * WAIT_S, check=True)
    return json.loads(done.stdout)
