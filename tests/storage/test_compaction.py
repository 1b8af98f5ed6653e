"""What compaction keeps, on every replica alike."""

from dataclasses import replace

import pytest

from trimaran.ids import Index, Offset
from trimaran.records.batch import Codec, parse_header
from trimaran.records.control import Compaction, LogStart, encode_log_start
from trimaran.records.entry import Entry, EntryKind
from trimaran.records.iteration import find_timestamp
from trimaran.storage.boundary import Boundary
from trimaran.storage.compacted_list import (
    compacted_file,
)
from trimaran.storage.compaction import KEY_BYTES, KEYS_MIN, RecordsDigest
from trimaran.storage.formatting import format_store
from trimaran.storage.log_reads import SegmentsMovedError
from trimaran.storage.open_files import OpenFiles
from trimaran.storage.segment import group_directory
from trimaran.storage.verify import verify_store

KEYS_BYTES = 1 << 20


@pytest.mark.parametrize("codec", [Codec.NONE, Codec.GZIP, Codec.ZSTD, Codec.LZ4, Codec.SNAPPY])
@pytest.mark.parametrize("merged", [1, 3, 100])
def test_the_last_event_of_each_key_stays_at_its_offset(ledger, kit, driver, codec, merged):
    entries = ledger.written(codec, codec=codec)
    boundary = ledger.filled(driver, entries)
    log = driver.log()
    order = ledger.wanted(log, merged=merged)
    before = (log.epochs, log.last_position)

    ledger.compact(driver, boundary, order)

    assert ledger.read_all(log) == ledger.expected(entries, order.end, 0)
    assert (log.epochs, log.last_position) == before
    assert log.generation == 1
    assert log.whole_from.index == order.end
    recovered = driver.restart().groups[kit.GROUP]
    assert recovered.damage is None
    assert recovered.log.epochs == before[0]
    assert ledger.read_all(recovered.log) == ledger.expected(entries, order.end, 0)
    driver.store.close()
    assert verify_store(driver.files) == []


def test_tombstones_go_once_they_may_and_the_last_event_never(ledger, driver):
    pairs = [(b"a", b"1"), (b"b", b"2"), (b"a", None), (None, b"no key"), (b"c", None)]
    entries = [ledger.keyed(1 + at, at, [pair]) for at, pair in enumerate(pairs)]
    entries += [ledger.keyed(index, index - 1, [(b"x%d" % index, b"v" * 900)]) for index in (6, 7)]
    boundary = ledger.filled(driver, entries)
    log = driver.log()
    assert log.segments[0].last.index == 5

    first = ledger.compact(driver, boundary, ledger.wanted(log, end=5))
    assert [event[0] for event in ledger.read_all(log)] == [1, 2, 4, 5, 6]

    ledger.compact(driver, first, ledger.wanted(log, generation=2, end=5, tombstones=4))
    assert [event[0] for event in ledger.read_all(log)] == [1, 4, 5, 6]

    assert (
        log.plan_compaction(
            ledger.wanted(log, generation=2, end=5), keys_bytes_max=1, reserve_bytes=0
        )
        is None
    )


def test_many_keys_are_looked_at_in_turn(ledger, driver):
    count = 3 * KEYS_MIN
    entries, offset = [], 0
    for index in range(1, 32):
        pairs = [(b"%d" % ((offset + at) % count), b"v") for at in range(200)]
        entries.append(ledger.keyed(index, offset, pairs))
        offset += len(pairs)
    boundary = ledger.filled(driver, entries)
    log = driver.log()
    order = ledger.wanted(log, merged=100)

    work = ledger.write(log, order, keys_bytes=KEYS_MIN * KEY_BYTES)
    assert work.read_count > 3
    work.plan_discard().run()
    ledger.compact(driver, boundary, order, keys_bytes=1)

    assert ledger.read_all(log) == ledger.expected(entries, order.end, 0)


@pytest.mark.parametrize("seed", range(6))
def test_a_replica_that_left_compactions_out_comes_to_the_same_records(ledger, kit, driver, seed):
    files = kit.MemoryFiles()
    format_store(files, kit.IDENTITY)
    late = kit.Driver(files)
    entries = ledger.written(seed, count=90)
    boundary, late_boundary = ledger.filled(driver, entries), ledger.filled(late, entries)
    log = driver.log()
    ends = [part.last.index for part in log.segments[:-1]]
    first = ledger.wanted(log, merged=2, end=ends[len(ends) // 3])
    boundary = ledger.compact(driver, boundary, first)
    second = ledger.wanted(log, generation=2, merged=2, end=ends[-3], tombstones=first.end)
    boundary = ledger.compact(driver, boundary, second)
    last = Compaction(
        generation=3, end=ends[-1], starts=(1, 31, 61), tombstones=second.end, passes=()
    )

    ledger.compact(driver, boundary, last)
    ledger.compact(late, late_boundary, last)

    assert (
        ledger.read_all(log)
        == ledger.read_all(late.log())
        == ledger.expected(entries, last.end, last.tombstones)
    )
    digests = [
        {part.first_index: part.digest for part in store.log().segments if part.generation}
        for store in (driver, late)
    ]
    for first_index in digests[0].keys() & digests[1].keys():
        assert digests[0][first_index] == digests[1][first_index]


def test_only_the_range_that_the_log_decided_on_is_compacted_however_much_is_here(ledger, driver):
    """Replicas have flushed unequally far: what is here beyond the range must not matter."""
    entries = ledger.written(4, count=90)
    boundary = ledger.filled(driver, entries)
    log = driver.log()
    order = ledger.wanted(log, merged=2, end=log.segments[len(log.segments) // 3].last.index)
    behind = [part for part in log.segments if part.last.index > order.end]
    assert len(behind) > 2

    ledger.compact(driver, boundary, order)

    assert ledger.read_all(log) == ledger.expected(entries, order.end, 0)
    assert [part for part in log.segments if part.last.index > order.end] == behind


def test_equal_records_give_equal_digests_whatever_packed_them(ledger, kit, driver):
    files = kit.MemoryFiles()
    format_store(files, kit.IDENTITY)
    other = kit.Driver(files)
    ends = []
    for store, codec in ((driver, Codec.NONE), (other, Codec.ZSTD)):
        entries = ledger.written(3, count=40, codec=codec)
        cut = LogStart(index=Index(1), offset=Offset(0), begins_segment=True)
        last = entries[-1]
        entries.append(
            Entry(
                index=Index(41),
                term=last.term,
                kind=EntryKind.LOG_START,
                offset=last.next_offset,
                offset_count=0,
                log_time_ms=last.log_time_ms,
                payload=encode_log_start(cut),
            )
        )
        first = store.add()
        store.log().segment_bytes = 1 << 20
        position = store.flush(*entries)
        boundary = Boundary(group=first.group, position=position, voters=first.voters)
        order = Compaction(generation=1, end=40, starts=(1,), tombstones=0, passes=())
        ledger.compact(store, boundary, order)
        ends.append(store.log().segments[0])

    assert ends[0].digest == ends[1].digest
    assert ends[0].size != ends[1].size


def test_the_digest_in_the_list_is_that_of_the_records(ledger, driver):
    entries = ledger.written(4)
    boundary = ledger.filled(driver, entries)
    log = driver.log()
    ledger.compact(driver, boundary, ledger.wanted(log, merged=2))
    opened = OpenFiles(driver.files)

    for segment in log.segments[:-1]:
        assert RecordsDigest(opened, segment).run() == segment.digest
        assert log.plan_digest(segment).run() == segment.digest


def test_a_search_by_time_is_not_led_astray_by_what_is_gone(ledger, driver):
    entries = ledger.written(5)
    boundary = ledger.filled(driver, entries)
    log = driver.log()
    order = ledger.wanted(log, merged=4)
    ledger.compact(driver, boundary, order)
    left = ledger.expected(entries, order.end, 0)

    for timestamp_ms in range(10_000, 10_700, 7):
        found = log.plan_find_time(timestamp_ms, find_timestamp).run()
        first = next((event for event in left if event[1] >= timestamp_ms), None)
        assert found == (first[:2] if first else None)


def test_batches_that_lose_nothing_keep_their_bytes_and_others_their_frame(ledger, driver):
    entries = [
        ledger.keyed(1, 0, [(b"a", b"1"), (b"b", b"2")]),
        ledger.keyed(2, 2, [(b"b", b"3"), (b"c", b"4")]),
        ledger.keyed(3, 4, [(b"c", b"v" * 900)]),
        ledger.keyed(4, 5, [(b"d", b"v" * 900)]),
    ]
    boundary = ledger.filled(driver, entries)
    log = driver.log()
    order = Compaction(generation=1, end=3, starts=(1,), tombstones=0, passes=())

    ledger.compact(driver, boundary, order)

    found = log.plan_read_offset(Offset(0), 10_000).run()
    headers = [parse_header(entry.payload) for entry in found]
    assert [header.record_count for header in headers] == [1, 1, 1]
    assert [header.last_offset for header in headers] == [1, 3, 4]
    assert [header.max_timestamp for header in headers] == [10_010, 10_020, 10_030]
    assert headers[0].producer_id == 7
    assert bytes(found[2].payload) == entries[2].payload


def test_a_batch_that_cannot_be_read_stays(ledger, driver):
    broken = ledger.keyed(1, 0, [(b"a", b"1")])
    broken.payload = broken.payload[:61] + b"\x7e" + broken.payload[62:]
    entries = [broken, ledger.keyed(2, 1, [(b"a", b"2")]), ledger.keyed(3, 2, [(b"b", b"v" * 950)])]
    entries.append(ledger.keyed(4, 3, [(b"c", b"v" * 950)]))
    boundary = ledger.filled(driver, entries)
    log = driver.log()

    ledger.compact(driver, boundary, ledger.wanted(log, merged=9))

    assert bytes(log.plan_read_offset(Offset(0), 1).run()[0].payload) == broken.payload


@pytest.mark.parametrize("at", [1, 2, 3, 4])
def test_what_the_log_start_passed_meanwhile_does_not_come_back(ledger, kit, driver, at):
    entries = ledger.written(6, count=80)
    boundary = ledger.filled(driver, entries)
    log = driver.log()
    order = ledger.wanted(log, merged=4)
    work = ledger.write(log, order)
    segment = log.segments[at]
    start = segment.base.next_offset
    log.set_log_start(segment.first_index, start)
    log.plan_drop_segments().run()
    boundary = replace(boundary, log_start_index=segment.first_index, log_start_offset=start)
    swap = log.plan_swap(work)
    swap.run()
    boundary = replace(boundary, state_files=(swap.state_file,))
    driver.round(boundaries=[boundary])
    log.swapped(swap).run()

    is_cut = at % 4 != 0
    left = [part.generation for part in log.segments[:-1]]
    assert (0 in left) == is_cut
    if is_cut:  # the part of a segment to be written that is still there is written now
        boundary = ledger.compact(driver, boundary, order)
        assert compacted_file(boundary.state_files)[0] == "compacted-1-0"
    assert {part.generation for part in log.segments[:-1]} == {1}
    assert log.plan_compaction(order, keys_bytes_max=1, reserve_bytes=0) is None
    kept = [event for event in ledger.expected(entries, order.end, 0) if event[0] >= start]
    assert ledger.read_all(log) == kept
    recovered = driver.restart().groups[kit.GROUP]
    assert recovered.damage is None
    assert ledger.read_all(recovered.log) == kept
    driver.store.close()
    assert verify_store(driver.files) == []


def test_reads_planned_before_the_swap_say_that_segments_moved(ledger, driver):
    entries = ledger.written(7)
    boundary = ledger.filled(driver, entries)
    log = driver.log()
    read = log.plan_read_offset(Offset(0), 100)
    ledger.compact(driver, boundary, ledger.wanted(log))

    with pytest.raises(SegmentsMovedError):
        read.run()


def test_an_installed_group_has_the_compacted_segments_of_its_source(ledger, kit, driver):
    files = kit.MemoryFiles()
    format_store(files, kit.IDENTITY)
    source = kit.Driver(files)
    entries = ledger.written(12)
    boundary = ledger.compact(
        source, ledger.filled(source, entries), ledger.wanted(source_log := source.log(), merged=3)
    )
    driver.add()
    driver.flush(*entries[:9])
    directory = group_directory(kit.GROUP) + "/"
    names = [path.removeprefix(directory) for path in files.contents if directory in path]
    driver.store.plan_staging(kit.GROUP, needed_bytes=0).run()
    for name in names:
        content = bytes(files.contents[directory + name])
        driver.store.plan_stage(
            kit.GROUP, name, content, position=0, is_last=True, reserve_bytes=0
        ).run()
    driver.store.plan_adopt(boundary).run()
    driver.round(boundaries=[boundary])
    found = driver.store.groups[kit.GROUP]
    found.boundary, found.entries = boundary, []
    keep = [name for name in names if name.endswith(".segment")]

    recovered = driver.store.installed(found, driver.store.plan_load(boundary, keep).run())

    assert ledger.read_all(recovered.log) == ledger.read_all(source_log)
    assert recovered.log.generation == 1
    digests = [[part.digest for part in log.segments] for log in (recovered.log, source_log)]
    assert digests[0] == digests[1]


def test_a_flush_keeps_the_list_of_compacted_segments(ledger, kit, driver):
    entries = ledger.written(13)
    boundary = ledger.compact(driver, ledger.filled(driver, entries), ledger.wanted(driver.log()))
    log = driver.log()
    flush = log.plan_flush([ledger.keyed(61, log.next_offset, [(b"z", b"1")], term=4)], {})
    flush.run()
    flush.finish()

    assert compacted_file(flush.state_files) == compacted_file(boundary.state_files)
    assert driver.store.groups[kit.GROUP].log is log


def test_a_range_that_is_not_all_here_or_done_waits(ledger, driver):
    entries = ledger.written(18)
    boundary = ledger.filled(driver, entries)
    log = driver.log()
    order = ledger.wanted(log)
    for end in (log.last_index, log.last_index + 7):
        beyond = Compaction(generation=1, end=end, starts=(1,), tombstones=0, passes=())
        assert log.plan_compaction(beyond, keys_bytes_max=1, reserve_bytes=0) is None
    work = ledger.write(log, order)
    assert work.written_size < work.size
    ledger.compact(driver, boundary, order)

    assert log.plan_swap(work) is None
    assert log.plan_compaction(order, keys_bytes_max=1, reserve_bytes=0) is None


def test_a_log_of_control_entries_only_keeps_where_terms_begin(ledger, kit, driver):
    entries = [
        kit.control(index, term=1 + index // 4, payload=b"c" * 300 if index % 4 else b"")
        for index in range(1, 15)
    ]
    boundary = ledger.filled(driver, entries)
    log = driver.log()
    before = log.epochs

    ledger.compact(driver, boundary, ledger.wanted(log, merged=2))

    assert driver.restart().groups[kit.GROUP].log.epochs == before
