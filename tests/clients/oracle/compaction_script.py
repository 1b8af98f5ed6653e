"""The conversation about compacted topics: what stays, what readers of it get. See `__main__`."""

import time

from tests.clients.oracle.limits_script import make, now_ms
from tests.clients.oracle.records_script import produce, produce_request

from trimaran.protocol.api import ApiKey
from trimaran.protocol.messages import (
    FetchPartition,
    FetchRequest,
    FetchTopic,
    ListOffsetsPartition,
    ListOffsetsRequest,
    ListOffsetsTopic,
)
from trimaran.records.batch import Codec, parse_header
from trimaran.records.building import build_batch
from trimaran.records.iteration import Record, iterate_records
from trimaran.server.http.kafka.asking import split_batches

NOBODY = bytes(16)
COMPACTED_S = 60.0
PAUSE_MS = 1_000
KEPT_BYTES = 40 << 20
BYTES_MAX = 1 << 20
EARLIEST, LATEST, HIGHEST = -2, -1, -3
DAY_MS = 86_400_000
SETTINGS = {"cleanup_policy": "compact", "segment_ms": "1", "min_cleanable_dirty_ratio": "0.01"}


def batch_of(*pairs, codec=Codec.NONE):
    """Return a batch of (key, value), later than all before: Kafka begins a segment with it."""
    begun_ms = now_ms()
    while now_ms() <= begun_ms + 1:
        pass
    records = [
        Record(offset=n, timestamp_ms=now_ms(), key=key, value=value, headers=())
        for n, (key, value) in enumerate(pairs)
    ]
    return build_batch(records, codec=codec)


def send(talk, topic, step, *pairs, **words):
    produce(talk, f"{topic}: {step}", batch_of(*pairs, **words), topic=topic)


def send_unnoted(talk, topic, *pairs):
    """Send one batch that no answer is compared of: how many there are is a matter of time."""
    request = produce_request(batch_of(*pairs), topic=topic)
    answer = talk.ask(ApiKey.PRODUCE, 9, request)
    assert answer.responses[0].partition_responses[0].error_code == 0


def fetch(talk, topic, offset, *, max_wait_ms=0, min_bytes=1):
    part = FetchPartition(partition=0, fetch_offset=offset, partition_max_bytes=BYTES_MAX)
    request = FetchRequest(
        topics=[FetchTopic(topic=topic, topic_id=NOBODY, partitions=[part])],
        max_wait_ms=max_wait_ms,
        min_bytes=min_bytes,
    )
    ((answer,),) = [one.partitions for one in talk.ask(ApiKey.FETCH, 12, request).responses]
    assert answer.error_code == 0
    return b"".join(bytes(one) for one in answer.records or ())


def records_in(data, start):
    """Return [offset, key, value] from `start` on in fetched bytes, and the offset behind them."""
    found, after = [], start
    for batch in split_batches(data):
        for record in iterate_records(batch):
            value = None if record.value is None else record.value.decode()
            found.append([record.offset, record.key.decode(), value])
        header = parse_header(batch)
        after = header.base_offset + header.last_offset_delta + 1
    return [row for row in found if row[0] >= start], after


def read(talk, topic, offset=0):
    """Return the records from `offset` on, and the offset behind them."""
    found = []
    while data := fetch(talk, topic, offset):
        rows, offset = records_in(data, offset)
        found += rows
    return found, offset


def wait_for(talk, topic, is_there, step=lambda: None):
    """Return what is read once it is as wanted; meanwhile do `step` now and then."""
    deadline = time.monotonic() + COMPACTED_S
    while True:
        rows, end = read(talk, topic)
        if is_there(rows):
            return rows
        assert time.monotonic() < deadline, rows
        step()
        fetch(talk, topic, end, max_wait_ms=PAUSE_MS, min_bytes=BYTES_MAX)
        crowd_out(talk)


def crowd_out(talk):
    """Write more than is kept in memory: Trimaran serves what is there, compacted or not."""
    for _ in range(KEPT_BYTES // BYTES_MAX + 1):
        send_unnoted(talk, "crowd", (None, bytes(BYTES_MAX - 1000)))


def is_compacted(rows):
    """Whether each key is there once."""
    return len({key for _, key, _ in rows}) == len(rows)


def newest(talk):
    """The last record of each key stays where it was; readers find it from anywhere."""
    topic = "compacting"
    make(talk, "crowd")
    make(talk, topic, delete_retention_ms=str(DAY_MS), **SETTINGS)
    send(talk, topic, "first", (b"a", b"1"), (b"b", b"1"), (b"c", b"1"))
    send(talk, topic, "some again", (b"a", b"2"), (b"d", b"1"), (b"a", b"3"))
    send(talk, topic, "a tombstone", (b"c", None), (b"b", b"2"))
    send(talk, topic, "packed", (b"a", b"4"), (b"e", b"1"), (b"a", b"5"), codec=Codec.GZIP)
    send(talk, topic, "all replaced", (b"f", b"1"), (b"f", b"2"))
    send(talk, topic, "by this one", (b"f", b"3"), (b"g", b"1"))
    send(talk, topic, "the segment that grows", (b"h", b"1"))
    talk.notes["compacted: what stays"] = wait_for(talk, topic, is_compacted)
    for offset in (0, 1, 3, 9, 12, 14):
        rows, end = read(talk, topic, offset)
        talk.notes[f"compacted: read from {offset}"] = {"records": rows, "end": end}
    for timestamp in (EARLIEST, LATEST, HIGHEST):
        ask_offset(talk, topic, timestamp)


def ask_offset(talk, topic, timestamp):
    part = ListOffsetsPartition(partition_index=0, timestamp=timestamp)
    request = ListOffsetsRequest(topics=[ListOffsetsTopic(name=topic, partitions=[part])])
    talk.step(f"compacted: offset at {timestamp}", ApiKey.LIST_OFFSETS, 7, request)


def tombstones(talk):
    """A tombstone goes once it was there for long enough, with the next compaction."""
    topic = "tombstones"
    make(talk, topic, delete_retention_ms="0", **SETTINGS)
    send(talk, topic, "first", (b"a", b"1"), (b"b", b"1"))
    send(talk, topic, "gone", (b"a", None), (b"c", b"1"))

    def go_on():
        send_unnoted(talk, topic, (b"z", b"more"))

    def without_z(rows):
        return [row for row in rows if row[1] != "z"]

    rows = wait_for(talk, topic, lambda rows: len(without_z(rows)) == 2, go_on)
    talk.notes["compacted: without tombstones"] = without_z(rows)


def both_policies(talk):
    """Where old events are deleted too, those that are not old yet are compacted all the same."""
    topic = "compacting-too"
    make(talk, topic, **(SETTINGS | {"cleanup_policy": "compact,delete"}))
    send(talk, topic, "first", (b"a", b"1"), (b"b", b"1"))
    send(talk, topic, "again", (b"a", b"2"), (b"b", b"2"))
    send(talk, topic, "the segment that grows", (b"c", b"1"))
    talk.notes["compacted: with deletion"] = wait_for(talk, topic, is_compacted)


SCRIPT = (newest, tombstones, both_policies)
