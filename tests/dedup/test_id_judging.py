"""What a batch becomes, without a partition around it (`tests/broker/test_deduplication.py`)."""

import struct

from trimaran.dedup.event_ids import hash_id, pack_ids
from trimaran.dedup.id_judging import DUPLICATES_NAMED, judge_batch
from trimaran.dedup.id_window import EventIdWindow
from trimaran.records.batch import parse_header, renew_crc
from trimaran.records.building import build_batch
from trimaran.records.iteration import Record

BASE_TIMESTAMP_POSITION = 27


def window_of(names):
    window = EventIdWindow()
    window.change(index=1, log_time_ms=1, next_offset=0, window_ms=10, ids_max=1000)
    hashes = b"".join(hash_id(name) for name in names)
    window.fold(index=2, log_time_ms=1, offset=0, packed=pack_ids(hashes, range(len(names))))
    return window


def judged(batch, names):
    batch = bytes(batch)
    header = parse_header(batch)
    return judge_batch(batch, header, window_of(names), header=b"event-id", log_time_ms=2)


def events(names, timestamp_ms=1):
    return [
        Record(b"v", headers=((b"event-id", name),), timestamp_ms=timestamp_ms) for name in names
    ]


def test_a_timestamp_beyond_64_bits_in_a_stripped_batch_is_stored_as_the_highest():
    batch = build_batch([*events([b"a"]), *events([b"b"], 2**63 - 1)])
    struct.pack_into(">q", batch, BASE_TIMESTAMP_POSITION, 2**62)
    renew_crc(batch)

    store = judged(batch, [b"a"])

    assert parse_header(store.batch).max_timestamp == 2**63 - 1


def test_of_many_duplicates_the_last_ones_of_stored_events_are_named():
    names = [b"%d" % number for number in range(12)]

    store = judged(build_batch(events([b"new", *names, b"new"])), names)

    named = list(store.duplicates)
    assert named == [(hash_id(b"%d" % at), at) for at in range(12 - DUPLICATES_NAMED, 12)]
    assert store.removed_count == 13
