"""The conversation about what topics limit, and about topics made again. See `__main__`."""

import time

from tests.clients.oracle.administration_script import delete_records, identity, wait_led
from tests.clients.oracle.records_script import produce, records

from trimaran.protocol.api import ApiKey
from trimaran.protocol.messages import (
    CreatableTopic,
    CreatableTopicConfig,
    CreateTopicsRequest,
    DeleteTopicsRequest,
    DeleteTopicState,
    FetchPartition,
    FetchRequest,
    FetchTopic,
    InitProducerIdRequest,
)
from trimaran.records.batch import Codec
from trimaran.records.building import build_batch

NOBODY = bytes(16)
READY_S = 30.0
HOUR_MS = 3_600_000


def make(talk, name, **settings):
    """Create a topic of one partition, again if it was just deleted, and wait for its leader."""
    configs = [
        CreatableTopicConfig(name=key.replace("_", "."), value=value)
        for key, value in settings.items()
    ]
    topic = CreatableTopic(name=name, num_partitions=1, replication_factor=1, configs=configs)
    request = CreateTopicsRequest(topics=[topic], timeout_ms=10_000)
    deadline = time.monotonic() + READY_S
    while talk.ask(ApiKey.CREATE_TOPICS, 7, request).topics[0].error_code:
        assert time.monotonic() < deadline
    wait_led(talk, name)


def remove(talk, name):
    request = DeleteTopicsRequest(topics=[DeleteTopicState(name=name)], timeout_ms=10_000)
    assert talk.ask(ApiKey.DELETE_TOPICS, 6, request).responses[0].error_code == 0


def now_ms():
    return int(time.time() * 1000)  # noqa: TID251


def sizes(talk):
    batch = build_batch(records(10))
    make(talk, "just-enough", max_message_bytes=str(len(batch)))
    produce(talk, "of the highest size", batch, topic="just-enough")
    make(talk, "one-too-few", max_message_bytes=str(len(batch) - 1))
    produce(talk, "one byte too large", batch, topic="one-too-few")
    produce(talk, "two batches, each small enough", bytes(batch) * 2, topic="just-enough")
    packed = build_batch(records(40), codec=Codec.GZIP)
    plain = build_batch(records(40))
    limit = str((len(packed) + len(plain)) // 2)
    make(talk, "to-be-packed", max_message_bytes=limit, compression_type="gzip")
    produce(talk, "too large until it is packed", plain, topic="to-be-packed")
    make(talk, "to-be-unpacked", max_message_bytes=limit, compression_type="uncompressed")
    produce(talk, "too large once it is unpacked", packed, topic="to-be-unpacked")


def times(talk):
    make(talk, "not-old", message_timestamp_before_max_ms=str(HOUR_MS))
    make(talk, "not-ahead", message_timestamp_after_max_ms=str(HOUR_MS))
    stamped = {"message_timestamp_type": "LogAppendTime"}
    make(talk, "stamped", message_timestamp_before_max_ms="1", **stamped)
    old = build_batch(records(2, timestamp_ms=now_ms() - 2 * HOUR_MS))
    ahead = build_batch(records(2, timestamp_ms=now_ms() + 2 * HOUR_MS))
    for topic in ("not-old", "not-ahead", "stamped"):
        produce(talk, f"{topic}: an old batch", old, topic=topic)
        produce(talk, f"{topic}: a batch of now", build_batch(records(2)), topic=topic)
    produce(talk, "not-ahead: a batch to come", ahead, topic="not-ahead")
    produce(talk, "stamped: a batch to come", ahead, topic="stamped")


def keys(talk):
    make(talk, "keyed", cleanup_policy="compact,delete")
    for codec in (Codec.NONE, Codec.LZ4):
        batch = build_batch(records(1, key=None), codec=codec)
        produce(talk, f"no key, {codec.name}", batch, topic="keyed")
    produce(talk, "an empty key", build_batch(records(1, key=b"")), topic="keyed")


def sequences(talk):
    """What is known of a producer whose events were deleted, and on a topic made again."""
    for name in ("in-sequence", "out-of-sequence"):
        make(talk, name)
    one = talk.ask(ApiKey.INIT_PRODUCER_ID, 4, InitProducerIdRequest()).producer_id
    other = talk.ask(ApiKey.INIT_PRODUCER_ID, 4, InitProducerIdRequest()).producer_id

    def send(step, sequence, pid=one, topic="in-sequence"):
        batch = build_batch(records(2), producer_id=pid, producer_epoch=0, base_sequence=sequence)
        produce(talk, f"{topic}: {step}", batch, topic=topic)

    send("0", 0)
    send("2", 2)
    delete_records(talk, "all of a producer", -1, topic="in-sequence")
    send("2 again, after it was deleted", 2)
    send("4, after all was deleted", 4)
    send("8, a gap, after all was deleted", 8)
    send("7 of another producer, where there were events", 7, pid=other)
    remove(talk, "in-sequence")
    make(talk, "in-sequence")
    send("0 on a topic made again", 0)
    send("2 on an empty partition", 2, pid=other, topic="out-of-sequence")


def made_again(talk):
    """Readers of a topic that was deleted and made again, by its name and by its id."""
    name = "made-again"
    make(talk, name)
    produce(talk, "before it was deleted", build_batch(records(3)), topic=name)
    first = identity(talk, name)
    known = {12: 0, 13: 0}

    def fetch(step, version, offset=None, an_id=first):
        parts = []
        if offset is not None:
            parts = [FetchPartition(partition=0, fetch_offset=offset, partition_max_bytes=9_999)]
        by_id = version >= 13
        topic = FetchTopic(
            topic="" if by_id else name, topic_id=an_id if by_id else NOBODY, partitions=parts
        )
        request = FetchRequest(
            topics=[topic] if parts else [],
            session_id=known[version],
            session_epoch=epochs[version],
            max_wait_ms=0,
            min_bytes=0,
        )
        answer = talk.step(f"made again: {step}, version {version}", ApiKey.FETCH, version, request)
        known[version] = answer.session_id
        epochs[version] += 1

    epochs = {12: 0, 13: 0}
    for version in known:
        fetch("opened", version, 3)
        fetch("no news", version)
    remove(talk, name)
    make(talk, name)
    for version in known:
        fetch("another topic of the name", version)
        fetch("told again", version)
    fetch("by its new id as well", 13, 0, identity(talk, name))
    produce(talk, "after it was made again", build_batch(records(1)), topic=name)
    fetch("news of the new one", 12, 0)
    fetch("news of the new one", 13)


SCRIPT = (sizes, times, keys, sequences, made_again)
