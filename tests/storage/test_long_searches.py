"""Searches by time among batches whose headers promise later events than they have."""

from functools import partial

import pytest

from trimaran.errors import ErrorCode, RequestError
from trimaran.ids import Index, Offset, Term
from trimaran.records.batch import HEADER, Codec, renew_crc
from trimaran.records.building import build_batch
from trimaran.records.entry import Entry, EntryKind
from trimaran.records.iteration import Record, find_timestamp
from trimaran.storage import log_reads
from trimaran.storage.formatting import format_store
from trimaran.storage.recovery import StoreSettings

PROMISED_AT = 8


def batch_entry(index, offset, *, times, promised=None, codec=Codec.NONE):
    """Return a batch of records with these timestamps, whose header may say another one."""
    batch = build_batch(
        [Record(b"x", timestamp_ms=at) for at in times], codec=codec, base_offset=offset
    )
    if promised is not None:
        fields = list(HEADER.unpack_from(batch))
        fields[PROMISED_AT] = promised
        HEADER.pack_into(batch, 0, *fields)
        renew_crc(batch)
    kind, term = EntryKind.RECORDS, Term(1)
    return Entry(Index(index), term, kind, Offset(offset), len(times), 1000, bytes(batch))


@pytest.fixture
def log_of(kit):
    """Return what makes a log of entries."""

    def make(*entries):
        files = kit.MemoryFiles()
        format_store(files, kit.IDENTITY)
        driver = kit.Driver(files, StoreSettings())
        driver.add()
        driver.flush(*entries)
        return driver.log()

    return make


@pytest.mark.parametrize("first", [0, 1])
def test_an_honest_event_behind_many_promises_is_found(log_of, first):
    entries = [batch_entry(at + 1, at, times=[1_000], promised=9_000) for at in range(300)]
    log = log_of(*entries, batch_entry(301, 300, times=[5_000]))
    search = partial(find_timestamp, start_offset=first)

    assert log.plan_find_time(4_000, search, first).run() == (300, 5_000)
    assert log.plan_find_time(None, search, first).run() == (300, 5_000)
    assert log.plan_find_time(6_000, search, first).run() is None


@pytest.mark.parametrize("codec", [Codec.NONE, Codec.ZSTD])
@pytest.mark.parametrize("wanted", [4_000, None])
def test_a_search_that_takes_too_long_never_says_that_there_is_nothing(
    log_of, monkeypatch, wanted, codec
):
    """A consumer would go on at the end, and skip what it asked for."""
    count = 100
    entries = [
        batch_entry(at + 1, at * count, times=[1_000] * count, promised=9_000 + at, codec=codec)
        for at in range(50)
    ]
    log = log_of(*entries, batch_entry(51, 50 * count, times=[5_000]))
    looked = []

    def search(batch, timestamp_ms, **counted):
        looked.append(batch)
        return find_timestamp(batch, timestamp_ms, **counted)

    assert log.plan_find_time(wanted, search).run() == (50 * count, 5_000)
    looked.clear()
    monkeypatch.setattr(log_reads, "SEARCH_NS_MAX", 10 * count * log_reads.RECORD_NS)

    with pytest.raises(RequestError) as raised:
        log.plan_find_time(wanted, search).run()

    assert raised.value.code is ErrorCode.OFFSET_NOT_AVAILABLE
    assert 5 <= len(looked) <= 11


def test_the_first_batch_is_looked_into_whatever_it_takes(log_of, monkeypatch):
    monkeypatch.setattr(log_reads, "SEARCH_NS_MAX", 0)
    log = log_of(batch_entry(1, 0, times=[1_000, 2_000, 3_000]))

    assert log.plan_find_time(2_500, find_timestamp).run() == (2, 3_000)
    assert log.plan_find_time(None, find_timestamp).run() == (2, 3_000)
