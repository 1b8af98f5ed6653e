"""The conversation about events: Produce, Fetch, ListOffsets, DeleteRecords. See `__main__`."""

import struct
import time

from trimaran.protocol.api import ApiKey
from trimaran.protocol.messages import (
    CreatableTopic,
    CreatableTopicConfig,
    CreateTopicsRequest,
    DeleteRecordsPartition,
    DeleteRecordsRequest,
    DeleteRecordsTopic,
    DescribeProducersRequest,
    DescribeProducersTopic,
    FetchPartition,
    FetchRequest,
    FetchTopic,
    InitProducerIdRequest,
    ListOffsetsPartition,
    ListOffsetsRequest,
    ListOffsetsTopic,
    OffsetForLeaderEpochRequest,
    OffsetForLeaderPartition,
    OffsetForLeaderTopic,
    PartitionProduceData,
    ProduceRequest,
    TopicProduceData,
)
from trimaran.records.batch import Codec, renew_crc
from trimaran.records.building import build_batch
from trimaran.records.iteration import Record

AN_ID = bytes(range(16))
DAY_MS = 86_400_000
READY_S = 30.0
API_VERSIONS_99 = struct.pack(">hhihb", 18, 99, 7, -1, 0) + b"\x02x\x02y\0"
UNKNOWN_API = struct.pack(">hhih", 999, 0, 8, -1)
PRODUCE_99 = struct.pack(">hhih", 0, 99, 9, -1)
CUT_SHORT = struct.pack(">hhih", 3, 12, 10, -1) + b"\0\x7f"


def records(count=1, *, timestamp_ms=None, key=b"k"):
    now_ms = int(time.time() * 1000) if timestamp_ms is None else timestamp_ms  # noqa: TID251
    return [
        Record(offset=n, timestamp_ms=now_ms, key=key, value=b"value %d" % n, headers=())
        for n in range(count)
    ]


def make_topic(talk, name, **settings):
    configs = [
        CreatableTopicConfig(name=key.replace("_", "."), value=value)
        for key, value in settings.items()
    ]
    topic = CreatableTopic(name=name, num_partitions=2, replication_factor=1, configs=configs)
    talk.ask(ApiKey.CREATE_TOPICS, 7, CreateTopicsRequest(topics=[topic], timeout_ms=10_000))


def produce_request(batch, *, topic="events", partition=0, acks=-1, more=()):
    data = [PartitionProduceData(index=partition, records=bytes(batch)), *more]
    return ProduceRequest(
        transactional_id=None,
        acks=acks,
        timeout_ms=10_000,
        topic_data=[TopicProduceData(name=topic, partition_data=data)],
    )


def produce(talk, name, batch, *, version=9, **words):
    request = produce_request(batch, **words)
    return talk.step(f"produce: {name}", ApiKey.PRODUCE, version, request)


def changed(batch, position, value):
    """Return a batch with some bytes changed and a right checksum."""
    fresh = bytearray(batch)
    fresh[position : position + len(value)] = value
    renew_crc(fresh)
    return fresh


def producing(talk):
    make_topic(talk, "events")
    make_topic(talk, "compacted", cleanup_policy="compact")
    make_topic(talk, "log-time", message_timestamp_type="LogAppendTime")
    make_topic(talk, "small", max_message_bytes="500")
    make_topic(talk, "packed", compression_type="gzip")
    make_topic(talk, "apart")
    make_topic(talk, "apart-too")
    good = build_batch(records(3))
    for codec in Codec:
        produce(talk, f"codec {codec.name}", build_batch(records(3), codec=codec))
    produce(talk, "acks 1", good, acks=1)
    produce(talk, "acks 2", good, acks=2)
    produce(talk, "acks -2", good, acks=-2)
    produce(talk, "unknown topic", good, topic="nowhere-at-all")
    produce(talk, "bad topic name", good, topic="a/b")
    produce(talk, "unknown partition", good, partition=7)
    produce(talk, "partition -1", good, partition=-1)
    produce(talk, "wrong checksum", bytes(good[:-1]) + b"\xff")
    produce(talk, "cut short", good[:-5])
    produce(talk, "no bytes", b"")
    produce(talk, "null records", build_batch(records(1))[:61])
    produce(talk, "magic 1", changed(good, 16, b"\x01"))
    produce(talk, "magic 9", changed(good, 16, b"\x09"))
    produce(talk, "count that is wrong", changed(good, 57, struct.pack(">i", 5)))
    produce(talk, "count 0", changed(good, 57, struct.pack(">i", 0)))
    produce(talk, "last delta that is wrong", changed(good, 23, struct.pack(">i", 9)))
    produce(talk, "control batch", build_batch(records(1), attributes=0x20))
    produce(talk, "transactional batch", build_batch(records(1), attributes=0x10))
    produce(talk, "codec 7", changed(good, 21, struct.pack(">h", 7)))
    produce(talk, "two batches", bytes(good) * 2)
    produce(talk, "a base offset of 55", changed(good, 0, struct.pack(">q", 55)), topic="apart")
    produce(talk, "too large", build_batch(records(40)), topic="small")
    produce(talk, "just below the limit", build_batch(records(10)), topic="small")
    produce(talk, "log append time", good, topic="log-time")
    produce(talk, "recompressed", good, topic="packed")
    produce(talk, "a key for compaction", good, topic="compacted")
    keyless = build_batch(records(2, key=None))
    produce(talk, "no key for compaction", keyless, topic="compacted")
    future_ms = int(time.time() * 1000) + 3 * DAY_MS  # noqa: TID251
    produce(
        talk, "three days ahead", build_batch(records(1, timestamp_ms=future_ms)), topic="apart"
    )
    produce(talk, "timestamp -1", build_batch(records(1, timestamp_ms=-1)))
    produce(talk, "timestamp -5", build_batch(records(1, timestamp_ms=-5)))
    twice = [PartitionProduceData(index=0, records=bytes(good))]
    produce(talk, "a partition twice", good, topic="apart-too", more=twice)
    produce(talk, "zstd with version 5", build_batch(records(1), codec=Codec.ZSTD), version=5)


def sequences(talk):
    deadline = time.monotonic() + READY_S
    while talk.ask(ApiKey.INIT_PRODUCER_ID, 4, InitProducerIdRequest()).error_code:
        assert time.monotonic() < deadline
    answer = talk.step("producer id: new", ApiKey.INIT_PRODUCER_ID, 4, InitProducerIdRequest())
    pid, epoch = answer.producer_id, answer.producer_epoch
    request = InitProducerIdRequest(producer_id=pid, producer_epoch=epoch)
    talk.step("producer id: bumped", ApiKey.INIT_PRODUCER_ID, 4, request)
    request = InitProducerIdRequest(producer_id=pid, producer_epoch=-1)
    talk.step("producer id: half of one", ApiKey.INIT_PRODUCER_ID, 4, request)
    request = InitProducerIdRequest(transactional_id="", transaction_timeout_ms=1_000)
    talk.step("producer id: empty transactional id", ApiKey.INIT_PRODUCER_ID, 4, request)

    def send(name, sequence, count=1, epoch=epoch, pid=pid, partition=1):
        batch = build_batch(
            records(count), producer_id=pid, producer_epoch=epoch, base_sequence=sequence
        )
        produce(talk, f"sequence {name}", batch, partition=partition)

    send("0 to 4", 0, 5)
    send("5", 5)
    send("5 again", 5)
    send("0 to 4 again", 0, 5)
    send("0 to 3, part of one", 0, 4)
    send("7, a gap", 7)
    for sequence in range(6, 12):
        send(f"{sequence}", sequence)
    send("5, long ago", 5)
    send("0 of the next epoch", 0, epoch=epoch + 1)
    send("12 of the old epoch", 12, epoch=epoch)
    send("9 of a new epoch", 9, epoch=epoch + 2)
    send("-1", -1, epoch=epoch + 1)
    send("of an epoch of -1", 0, epoch=-1)
    send("3 of an unknown producer, elsewhere", 3, pid=pid + 500, partition=0)
    asked = [DescribeProducersTopic(name="events", partition_indexes=[0, 1, 9])]
    asked += [DescribeProducersTopic(name="missing", partition_indexes=[0])]
    request = DescribeProducersRequest(topics=asked)
    talk.step("describe producers", ApiKey.DESCRIBE_PRODUCERS, 0, request)


def offsets(talk):
    def delete(name, offset, topic="events", partition=0):
        part = DeleteRecordsPartition(partition_index=partition, offset=offset)
        topics = [DeleteRecordsTopic(name=topic, partitions=[part])]
        request = DeleteRecordsRequest(topics=topics, timeout_ms=10_000)
        talk.step(f"delete records: {name}", ApiKey.DELETE_RECORDS, 2, request)

    delete("before 4", 4)
    delete("before 2, which is gone", 2)
    delete("past the end", 1_000_000)
    delete("-5", -5)
    delete("unknown topic", 0, topic="missing")
    delete("unknown partition", 0, partition=9)
    delete("of a compacted topic", 1, topic="compacted")

    def offset(name, timestamp, version=7, topic="events", partition=0, epoch=-1):
        part = ListOffsetsPartition(
            partition_index=partition, timestamp=timestamp, current_leader_epoch=epoch
        )
        request = ListOffsetsRequest(topics=[ListOffsetsTopic(name=topic, partitions=[part])])
        talk.step(f"list offsets: {name}", ApiKey.LIST_OFFSETS, version, request)

    offset("latest", -1)
    offset("earliest", -2)
    offset("largest timestamp", -3)
    offset("earliest local", -4, version=8)
    offset("latest tiered", -5, version=9)
    offset("earliest to be uploaded", -6, version=11)
    offset("latest, of the other", -1, partition=1)
    offset("timestamp 0", 0)
    offset("a timestamp to come", int(time.time() * 1000) + 30 * DAY_MS)  # noqa: TID251
    offset("timestamp -9", -9)
    offset("unknown topic", -1, topic="missing")
    offset("unknown partition", -1, partition=9)
    offset("an epoch to come", -1, epoch=1_000_000)

    def ended(name, epoch, topic="events", current=-1):
        part = OffsetForLeaderPartition(
            partition=0, leader_epoch=epoch, current_leader_epoch=current
        )
        topics = [OffsetForLeaderTopic(topic=topic, partitions=[part])]
        request = OffsetForLeaderEpochRequest(topics=topics)
        talk.step(f"end of epoch: {name}", ApiKey.OFFSET_FOR_LEADER_EPOCH, 4, request)

    ended("to come", 1_000_000)
    ended("-1", -1)
    ended("unknown topic", 0, topic="missing")
    ended("known in a later epoch", 0, current=1_000_000)


def fetching(talk):
    def fetch(name, offset, version=12, topic="events", partition=0, epoch=-1, bytes_max=100_000,
              topic_id=bytes(16), **fields):  # fmt: skip
        part = FetchPartition(
            partition=partition,
            fetch_offset=offset,
            partition_max_bytes=bytes_max,
            current_leader_epoch=epoch,
        )
        topics = [FetchTopic(topic=topic, topic_id=topic_id, partitions=[part])]
        more = {"max_wait_ms": 0, "min_bytes": 0} | fields
        request = FetchRequest(topics=topics, **more)
        talk.step(f"fetch: {name}", ApiKey.FETCH, version, request)

    fetch("from 4", 4)
    fetch("from the middle of a batch", 5)
    fetch("one byte at most", 4, bytes_max=1)
    fetch("no bytes at most", 4, bytes_max=0)
    fetch("version 4", 4, version=4)
    fetch("below the start", 0)
    fetch("past the end", 1_000_000)
    fetch("-1", -1)
    fetch("unknown topic", 0, topic="missing")
    fetch("bad topic name", 0, topic="a/b")
    fetch("unknown partition", 0, partition=9)
    fetch("unknown id", 0, version=13, topic_id=AN_ID)
    fetch("an epoch to come", 4, epoch=1_000_000)
    fetch("committed only", 4, isolation_level=1)
    fetch("isolation level 9", 4, isolation_level=9)
    fetch("an unknown session", 4, session_id=12345, session_epoch=3)
    fetch("session 0, epoch 5", 4, session_id=0, session_epoch=5)
    fetch("an unknown session to be closed", 4, session_id=12345, session_epoch=-1)
    fetch("a wait of -1", 4, max_wait_ms=-1)


def frames(talk):
    def api_versions(answer):
        correlation_id, code = struct.unpack_from(">ih", answer)
        return {"correlation_id": correlation_id, "error_code": code}

    def anything(answer):
        return {"answer": f"{len(answer)} bytes"}

    talk.raw("frame: ApiVersions 99", API_VERSIONS_99, api_versions)
    talk.raw("frame: unknown api", UNKNOWN_API, anything)
    talk.raw("frame: Produce 99", PRODUCE_99, anything)
    talk.raw("frame: Metadata cut short", CUT_SHORT, anything)


def framed(talk):
    """Put the sizes before the frames."""
    exchange = talk.exchange
    talk.exchange = lambda frame: exchange(struct.pack(">i", len(frame)) + frame)
    try:
        frames(talk)
    finally:
        talk.exchange = exchange


SCRIPT = (producing, sequences, offsets, fetching, framed)
