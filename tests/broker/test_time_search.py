"""Searches by time: what is stored and what is in memory, and what is told of a bad disk."""

import asyncio
from types import SimpleNamespace

import pytest

from trimaran.broker.ports import Lane
from trimaran.broker.time_search import TimeSearch
from trimaran.errors import CorruptionError, ErrorCode, RequestError, StorageError
from trimaran.ids import Index, Offset, Term
from trimaran.raft.log import RaftLog
from trimaran.records.batch import renew_crc
from trimaran.records.building import build_batch
from trimaran.records.entry import Entry, EntryKind, LogPosition
from trimaran.records.iteration import Record
from trimaran.storage import log_reads
from trimaran.storage.log_reads import SegmentsMovedError

pytestmark = pytest.mark.asyncio


def entry(index, *times):
    """Return an entry of a batch whose records have these timestamps; each has one offset."""
    batch = build_batch([Record(b"", timestamp_ms=at) for at in times], base_offset=index * 10)
    return Entry(
        index=Index(index),
        term=Term(1),
        kind=EntryKind.RECORDS,
        offset=Offset(index * 10),
        offset_count=10,
        log_time_ms=1,
        payload=bytes(batch),
    )


def claiming(honest, timestamp_ms):
    """Return `honest` with a header that promises a record of `timestamp_ms`."""
    batch = bytearray(honest.payload)
    batch[35:43] = timestamp_ms.to_bytes(8, "big")
    renew_crc(batch)
    return holding(honest, batch)


def holding(before, batch):
    """Return an entry like `before` with another batch."""
    fields = {name: getattr(before, name) for name in before.__slots__}
    return Entry(**fields | {"payload": bytes(batch)})


class Work:
    def __init__(self, outcome):
        self.outcome = outcome

    def run(self):
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return self.outcome


class Bench:
    """A partition whose stored part, up to entry 2, is one prepared outcome for each look."""

    def __init__(self, *stored, entries=(), applied=9):
        self.stored = list(stored)
        self.damage = []
        before = LogPosition(index=Index(2), term=Term(1), next_offset=Offset(30))
        self.log = RaftLog(before, entries)
        self.storage = SimpleNamespace(
            last_index=2,
            plan_find_time=lambda *_: Work(self.stored.pop(0)),
        )
        self.within = SimpleNamespace(log_start=Offset(0), applied=Index(applied))
        self.search = TimeSearch(
            self.within,
            log=self.log,
            storage=self.storage,
            workers=self,
            damage_found=self.damage.append,
        )

    def submit(self, lane, work):
        done = asyncio.get_running_loop().create_future()
        try:
            done.set_result(work.run())
        except (RequestError, StorageError) as error:
            done.set_exception(error)
        return done


@pytest.mark.parametrize(
    ("stored", "latest"),
    [(None, (41, 300)), ((5, 299), (41, 300)), ((5, 300), (5, 300)), ((5, 900), (5, 900))],
)
async def test_the_highest_timestamp_is_looked_for_in_memory_too(stored, latest):
    bench = Bench(stored, entries=[entry(3, 200, 7), entry(4, 30, 300, 300)], applied=4)

    assert await bench.search.latest() == latest


async def test_what_is_not_committed_does_not_count():
    bench = Bench(None, None, entries=[entry(3, 200), entry(4, 300)], applied=3)

    assert await bench.search.latest() == (30, 200)
    assert await bench.search.first_since(250) is None


async def test_what_is_below_the_log_start_does_not_count():
    bench = Bench(None, None, entries=[entry(3, 900), entry(4, 300, 200)], applied=4)
    bench.within.log_start = Offset(41)

    assert await bench.search.latest() == (41, 200)


async def test_records_that_cannot_be_read_are_passed_over():
    good, bad = entry(3, 200), entry(4, 300)
    broken = bytearray(bad.payload)
    broken[61] ^= 0x40
    entries = [good, holding(bad, broken), entry(5, 250)]
    bench = Bench(None, None, None, entries=entries, applied=5)

    assert await bench.search.latest() == (50, 250)
    assert await bench.search.first_since(150) == (30, 200)
    assert await bench.search.first_since(220) == (50, 250)


async def test_batches_in_memory_are_opened_in_the_thread_of_reads():
    bench = Bench(None, entries=[entry(3, 200)], applied=3)
    submit = bench.submit
    held = []

    def hold_the_second(lane, work):
        if lane is Lane.READS and isinstance(work, Work):
            return submit(lane, work)
        held.append((lane, work, asyncio.get_running_loop().create_future()))
        return held[-1][2]

    bench.submit = bench.search._workers.submit = hold_the_second
    asked = asyncio.ensure_future(bench.search.first_since(150))
    for _ in range(5):
        await asyncio.sleep(0)

    assert not asked.done()
    [(lane, work, future)] = held
    future.set_result(work.run())
    assert lane is Lane.READS
    assert await asked == (30, 200)


async def test_a_search_that_headers_lead_on_for_too_long_ends_without_an_answer(monkeypatch):
    """ "None" would send a consumer to the log's end, past the record it asked for."""
    older = [entry(3 + number, 100) for number in range(100)]
    last = entry(103, 900)
    entries = [*(claiming(one, 900) for one in older), last]

    bench = Bench(None, None, entries=entries, applied=103)
    assert await bench.search.first_since(500) == (last.offset, 900)

    monkeypatch.setattr(log_reads, "SEARCH_NS_MAX", 100 * log_reads.ENTRY_NS)
    with pytest.raises(RequestError) as refused:
        await bench.search.first_since(500)
    assert refused.value.code is ErrorCode.OFFSET_NOT_AVAILABLE


async def test_what_left_memory_during_a_search_is_searched_again():
    bench = Bench((5, 100), (25, 700), entries=[entry(3, 200), entry(4, 300)], applied=4)
    first = bench.submit

    def flush_meanwhile(lane, work):
        bench.submit = bench.search._workers.submit = first
        bench.log.release(Index(4))
        bench.storage.last_index = 4
        return first(lane, work)

    bench.submit = flush_meanwhile

    assert await bench.search.latest() == (25, 700)
    assert bench.stored == []


@pytest.mark.parametrize(
    ("error", "code", "is_damage"),
    [
        (CorruptionError("0.rows", 80, "checksum"), ErrorCode.KAFKA_STORAGE_ERROR, True),
        (StorageError("0.rows: read failed"), ErrorCode.KAFKA_STORAGE_ERROR, False),
        (SegmentsMovedError("0: deleted"), ErrorCode.OFFSET_NOT_AVAILABLE, False),
    ],
)
@pytest.mark.parametrize("by_time", [True, False])
async def test_damage_is_told_to_the_client_and_reported_for_repair(
    error, code, is_damage, by_time
):
    bench = Bench(error)
    asked = bench.search.first_since(1) if by_time else bench.search.latest()

    with pytest.raises(RequestError) as raised:
        await asked

    assert raised.value.code is code
    assert bench.damage == ([error] if is_damage else [])
