"""The record with the highest timestamp is found by rows, not by reading the log."""

from functools import partial

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trimaran.errors import CorruptionError, ErrorCode, RequestError
from trimaran.ids import Index, Offset
from trimaran.storage.formatting import format_store
from trimaran.storage.log_reads import ENTRY_NS, SegmentsMovedError
from trimaran.storage.segment import SEGMENT_SUFFIX


def in_header(batch, timestamp_ms, start_offset=0, *, effort=None):
    """Where a batch's only record is, the offset told by its timestamp's last digits."""
    at = int.from_bytes(batch[35:43], "big")
    return None if at % 1_000 < start_offset else (at % 1_000, at)


def append(log, *entries):
    write = log.plan_append(entries)
    write.run()
    write.finish()


def written(kit, driver, times, *, segment_bytes=1_000):
    """Return a log of batches with these timestamps, in thousands."""
    driver.add()
    log = driver.log()
    log.segment_bytes = segment_bytes
    append(
        log,
        kit.control(1),
        *[
            kit.records(offset + 2, offset=offset, timestamp_ms=1_000 * at + offset)
            for offset, at in enumerate(times)
        ],
    )
    return log


def latest(log, start=0, latest_in=None):
    search = latest_in or partial(in_header, start_offset=start)
    return log.plan_find_time(None, search, Offset(start)).run()


def first_since(log, timestamp_ms, start=0, reads=None):
    """Return the first record not older, looked for as ListOffsets does."""

    def search(batch, wanted, **_):
        if reads is not None:
            reads.append(wanted)
        found = in_header(batch, wanted)
        return found if found[1] >= wanted else None

    return log.plan_find_time(timestamp_ms, search, Offset(start)).run()


def payload_reads(files):
    return [
        path
        for operation, path in files.log
        if operation == "read" and path.endswith(SEGMENT_SUFFIX)
    ]


def test_one_batch_is_read_however_long_the_log_is(kit, files, driver):
    log = written(kit, driver, [*range(60), 500, *range(60)])
    assert len(log.segments) > 10
    files.log.clear()

    assert latest(log) == (60, 500_060)
    assert len(payload_reads(files)) == 1


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.integers(0, 9), min_size=1, max_size=40), st.integers(0, 39))
def test_the_highest_timestamp_from_the_log_start_on_is_found(kit, times, start):
    files = kit.MemoryFiles()
    format_store(files, kit.IDENTITY)
    driver = kit.Driver(files)
    log = written(kit, driver, times, segment_bytes=1_500)
    start = min(start, len(times) - 1)
    counted = [(offset, 1_000 * at + offset) for offset, at in enumerate(times)][start:]

    assert latest(log, start) == max(counted, key=lambda pair: pair[1])


def test_a_time_is_found_behind_later_events_that_were_deleted(kit, driver):
    log = written(kit, driver, [900, *range(200)], segment_bytes=1 << 20)

    assert first_since(log, 150_000, start=1) == (151, 150_151)
    assert first_since(log, 300_000, start=1) is None


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.integers(0, 9), min_size=1, max_size=40), st.integers(0, 39), st.integers(0, 10_000)
)
def test_the_first_event_not_older_is_found(kit, times, start, timestamp_ms):
    files = kit.MemoryFiles()
    format_store(files, kit.IDENTITY)
    log = written(kit, kit.Driver(files), times, segment_bytes=1_500)
    start = min(start, len(times) - 1)
    counted = [(offset, 1_000 * at + offset) for offset, at in enumerate(times)][start:]

    wanted = next((pair for pair in counted if pair[1] >= timestamp_ms), None)
    assert first_since(log, timestamp_ms, start) == wanted


def test_nothing_is_found_where_nothing_has_a_timestamp(kit, driver):
    driver.add()
    log = driver.log()
    append(log, kit.control(1), kit.records(2, offset=0, timestamp_ms=-1))

    assert latest(log) is None


def test_a_batch_that_promises_more_than_it_has_is_not_believed(kit, driver):
    log = written(kit, driver, [5, 90, 7, 6, 8])

    def honest(batch, timestamp_ms, **_):
        found = in_header(batch, timestamp_ms)
        if found[1] >= 90_000:
            raise RequestError(ErrorCode.CORRUPT_MESSAGE, "no records inside")
        return found

    assert latest(log, latest_in=honest) == (4, 8_004)
    assert latest(log, latest_in=lambda *_, **__: None) is None


def test_so_much_is_read_through_and_no_more(kit, files, driver, monkeypatch):
    monkeypatch.setattr("trimaran.storage.log_reads.SEARCH_NS_MAX", 3 * (ENTRY_NS + 100))
    monkeypatch.setattr("trimaran.storage.log_reads.PIECE_BYTES", 100)
    log = written(kit, driver, [90, *range(1, 20)], segment_bytes=1 << 20)
    for search in (latest, lambda log, start: first_since(log, 30_000, start)):
        files.log.clear()

        with pytest.raises(RequestError) as raised:
            search(log, 1)

        assert raised.value.code is ErrorCode.OFFSET_NOT_AVAILABLE
        assert 3 <= len(payload_reads(files)) <= 4


def test_damage_and_deletion_are_told_apart(kit, files, driver):
    log = written(kit, driver, range(30, 0, -1))
    search, first = log.plan_find_time(None, in_header), log.segments[0].paths[0]
    files.contents[first][0] ^= 1
    with pytest.raises(CorruptionError):
        search.run()

    log.set_log_start(Index(31), log.next_offset)
    log.plan_drop_segments().run()
    with pytest.raises(SegmentsMovedError):
        search.run()
