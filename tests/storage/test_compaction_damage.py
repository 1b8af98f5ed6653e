"""A compacted log meets crashes, full disks and rot: nothing is lost, and all of it is found."""

from dataclasses import replace
from random import Random

import pytest

from trimaran.errors import CorruptionError, DiskFullError
from trimaran.ids import Index
from trimaran.records.entry import Entry
from trimaran.sim.disk import Disk
from trimaran.sim.files import SimFiles
from trimaran.sim.trace import EventLog
from trimaran.storage.compacted_list import (
    compacted_file,
    decode_compacted,
    encode_compacted,
)
from trimaran.storage.formatting import format_store
from trimaran.storage.open_files import OpenFiles
from trimaran.storage.recovery import open_store
from trimaran.storage.segment import group_directory, read_rows
from trimaran.storage.verify import verify_store

KEYS_BYTES = 1 << 20


def test_damage_in_the_range_is_named_and_nothing_changes(ledger, driver):
    entries = ledger.written(8)
    ledger.filled(driver, entries)
    log = driver.log()
    before = log.segments
    driver.files.contents[before[1].paths[0]][70] ^= 1
    work = log.plan_compaction(
        ledger.wanted(log), keys_bytes_max=ledger.KEYS_BYTES, reserve_bytes=0
    )

    with pytest.raises(CorruptionError, match="fails its check"):
        ledger.run_through(work)
    work.plan_discard().run()

    assert log.segments == before
    assert not driver.files.exists(group_directory(log.group) + "/compacting")


def test_a_full_disk_leaves_the_log_as_it_was(ledger, driver):
    entries = ledger.written(9)
    ledger.filled(driver, entries)
    log = driver.log()
    work = log.plan_compaction(
        ledger.wanted(log, merged=9), keys_bytes_max=ledger.KEYS_BYTES, reserve_bytes=0
    )
    driver.files.room = 100
    with pytest.raises(DiskFullError):
        ledger.run_through(work)
    driver.files.room = None
    work.plan_discard().run()

    assert ledger.read_all(log) == ledger.events_of(entries)
    assert not driver.files.exists(group_directory(log.group) + "/compacting")


def test_a_compaction_that_is_given_up_leaves_no_file_open(ledger, driver, monkeypatch):
    ledger.filled(driver, ledger.written(9))
    log = driver.log()
    opened, really_open = [], driver.files.open

    def noted(path, *, create=False):
        opened.append(really_open(path, create=create))
        return opened[-1]

    monkeypatch.setattr(driver.files, "open", noted)
    for fault in ("create", "write"):
        for suffix in (".segment", ".rows"):
            driver.files.failing = {(fault, "-0000000001" + suffix): DiskFullError}
            work = log.plan_compaction(
                ledger.wanted(log, merged=9), keys_bytes_max=ledger.KEYS_BYTES, reserve_bytes=0
            )
            with pytest.raises(DiskFullError):
                ledger.run_through(work)
            work.plan_discard().run()
    assert opened
    assert [file.path for file in opened if not file.closed] == []


def test_a_crash_at_any_step_leaves_the_old_or_the_new_log(ledger, kit, driver):
    entries = ledger.written(10, count=40)
    boundary = ledger.filled(driver, entries)
    first = ledger.compact(driver, boundary, ledger.wanted(driver.log(), merged=2, end=20))
    old = ledger.read_all(driver.log())
    base = driver.files.copy()
    order = ledger.wanted(driver.log(), generation=2, merged=3, tombstones=20)
    new = ledger.expected(entries, order.end, 20)
    outcomes = []

    for fuse in range(10_000):
        driver.store.close()
        files = base.copy()
        driver.files = files
        driver.store = open_store(files, identity=kit.IDENTITY, settings=driver.settings)
        files.fuse = fuse
        try:
            ledger.compact(driver, first, order)
        except InterruptedError:
            pass
        else:
            break
        finally:
            files.fuse = None
        store = open_store(files, identity=kit.IDENTITY, settings=driver.settings)
        found = store.groups[kit.GROUP]
        assert (store.damage, found.damage) == ([], None)
        events = ledger.read_all(found.log)
        assert events in (old, new)
        outcomes.append(events == new)
        directory = group_directory(kit.GROUP)
        named = {path for segment in found.log.segments for path in segment.paths}
        left = {path for path in files.contents if path.startswith(directory + "/0")}
        assert left <= named, "what is replaced or unfinished is removed at start"
        assert not files.exists(directory + "/compacting")
        store.close()
        assert verify_store(files) == []

    assert outcomes == sorted(outcomes), "once the boundary is synced it is the new one"
    assert {False, True} == set(outcomes)
    assert len(outcomes) > 30


def test_entries_of_a_compacted_segment_are_repaired_where_their_row_stands(ledger, driver):
    entries = ledger.written(11)
    boundary = ledger.filled(driver, entries)
    log = driver.log()
    ledger.compact(driver, boundary, ledger.wanted(log, merged=4))
    segment = log.segments[-2]
    left = []
    index = segment.first_index
    while index <= segment.last.index:
        (entry, *_) = log.plan_read_index(index, 1).run()
        left.append(entry)
        index = Index(entry.index + 1)
    entry = next(one for one in left[1:] if len(one.payload) > 0)
    good = Entry(**{name: getattr(entry, name) for name in Entry.__slots__})
    good.payload = bytes(entry.payload)
    position = bytes(driver.files.contents[segment.paths[0]]).index(good.payload)
    driver.files.contents[segment.paths[0]][position + 65] ^= 8

    bad = []
    number = 0
    while number < segment.row_count:
        part = log.plan_scrub(segment, number, 100).run()
        number = part.next_number
        if part.bad_index is not None:
            bad.append(part.bad_index)
    assert bad == [good.index]
    raw = next(one for one in entries if one.index == good.index)
    if raw.payload != good.payload:
        with pytest.raises(CorruptionError):
            log.plan_repair([raw]).run()
    log.plan_repair([good]).run()

    assert log.plan_read_index(good.index, 1).run()[0] == good


@pytest.mark.parametrize(
    ("suffix", "change", "reason"),
    [
        (2, lambda content: content.__setitem__(60, content[60] ^ 1), "the header fails"),
        (2, lambda content: content.__delitem__(slice(-5, None)), "expected"),
        (0, lambda content: content.__delitem__(slice(-5, None)), "expected"),
        (2, lambda content: content.__setitem__(-20, content[-20] ^ 1), "fails its check"),
    ],
    ids=["header", "rows short", "payloads short", "last row"],
)
def test_damage_at_the_ends_of_a_compacted_segment_is_found_at_start(
    ledger, kit, driver, suffix, change, reason
):
    boundary = ledger.filled(driver, ledger.written(14))
    ledger.compact(driver, boundary, ledger.wanted(driver.log(), merged=3))
    segment = driver.log().segments[-2]
    change(driver.files.contents[segment.paths[suffix]])

    damage = driver.restart().groups[kit.GROUP].damage

    assert damage is not None
    assert reason in damage.text


def test_the_last_row_of_a_compacted_segment_is_the_one_listed(ledger, kit, driver):
    boundary = ledger.filled(driver, ledger.written(14))
    ledger.compact(driver, boundary, ledger.wanted(driver.log(), merged=3))
    first, second = driver.log().segments[:2]
    rows = driver.files.contents[second.paths[2]]
    rows[-80:] = driver.files.contents[first.paths[2]][-80:]

    damage = driver.restart().groups[kit.GROUP].damage

    assert damage is not None
    assert "the last row is another one" in damage.text


def test_bytes_behind_a_compacted_segment_are_cut_at_start(ledger, kit, driver):
    entries = ledger.written(15)
    boundary = ledger.filled(driver, entries)
    order = ledger.wanted(driver.log(), merged=3)
    ledger.compact(driver, boundary, order)
    segment = driver.log().segments[0]
    sizes = {path: len(driver.files.contents[path]) for path in segment.paths[::2]}
    for path in sizes:
        driver.files.contents[path] += b"x" * 100

    found = driver.restart().groups[kit.GROUP]

    assert found.damage is None
    assert {path: len(driver.files.contents[path]) for path in sizes} == sizes
    assert ledger.read_all(found.log) == ledger.expected(entries, order.end, 0)


@pytest.mark.parametrize(
    "content", [b"", b"\x02\x90", b"\x01\xc1", b"\x01\x91\x90"], ids=["none", "new", "bad", "short"]
)
def test_a_list_that_is_none_is_corruption(content):
    with pytest.raises(CorruptionError):
        decode_compacted(content, source="compacted-1")


def test_a_list_whose_segments_overlap_or_are_empty_is_corruption(ledger, driver):
    boundary = ledger.filled(driver, ledger.written(14))
    ledger.compact(driver, boundary, ledger.wanted(driver.log(), merged=2))
    one, other, *_ = driver.log().segments

    assert len(decode_compacted(encode_compacted([one, other]), source="c")) == 2
    for bad in ([other, one], [replace(one, kept_count=0)], [replace(one, last=one.base)]):
        with pytest.raises(CorruptionError):
            decode_compacted(encode_compacted(bad), source="c")


@pytest.mark.parametrize("number", [0, 2])
def test_the_scrub_finds_bad_rows_of_a_compacted_segment(ledger, driver, number):
    boundary = ledger.filled(driver, ledger.written(16))
    ledger.compact(driver, boundary, ledger.wanted(driver.log(), merged=100))
    log = driver.log()
    segment = log.segments[0]
    rows = driver.files.contents[segment.paths[2]]
    rows[80 * (1 + number) + 3] ^= 1

    part = log.plan_scrub(segment, number, 10).run()

    before = read_rows(OpenFiles(driver.files), segment, number - 1, 1)[0].index if number else 0
    assert part.bad_index == before + 1
    assert f"number {number}" in part.reason
    with pytest.raises(CorruptionError):
        log.plan_repair(
            [ledger.keyed(part.bad_index, segment.base.next_offset, [(b"a", b"1")])]
        ).run()


def test_verify_holds_records_against_their_digest(ledger, driver):
    boundary = ledger.filled(driver, ledger.written(17))
    after = ledger.compact(driver, boundary, ledger.wanted(driver.log(), merged=3))
    log = driver.log()
    listed = [replace(part, digest=bytes(32)) for part in log.segments]
    name, _, _ = compacted_file(after.state_files)
    file = log.plan_write_state(name + "-1", encode_compacted(listed)).run()
    driver.round(boundaries=[replace(after, state_files=(file,))])
    driver.store.close()

    findings = verify_store(driver.files)

    assert [finding.text for finding in findings] == [
        "the records are not those of generation 1"
    ] * (len(listed) - 1)


def test_a_compaction_takes_nothing_of_the_reserve(kit, ledger):
    """All keys differ, so that as much is written as was there; it does not fit."""
    disk = Disk("d", Random(1), EventLog(lambda: 0.0))
    files = SimFiles(disk, who="node")
    format_store(files, kit.IDENTITY)
    driver = kit.Driver(files, replace(kit.SMALL, segment_bytes=200_000))
    chance = Random(2)
    entries = [
        ledger.keyed(index, index - 1, [(b"key-%d" % index, chance.randbytes(1_000))])
        for index in range(1, 1_001)
    ]
    boundary = ledger.filled(driver, entries)
    log, reserve = driver.log(), 128 << 10
    wanted = ledger.wanted(log)
    disk.conditions.capacity = disk.used_bytes() + reserve + (300 << 10)
    before = disk.free_bytes()

    for _ in range(2):
        work = log.plan_compaction(wanted, keys_bytes_max=ledger.KEYS_BYTES, reserve_bytes=reserve)
        with pytest.raises(DiskFullError, match="bytes are free"):
            ledger.run_through(work)
        assert reserve <= disk.free_bytes() < before - (200 << 10)
        work.plan_discard().run()
        assert disk.free_bytes() == before

    disk.conditions.capacity = disk.used_bytes() + reserve - 1
    work = log.plan_compaction(wanted, keys_bytes_max=ledger.KEYS_BYTES, reserve_bytes=reserve)
    with pytest.raises(DiskFullError, match="bytes are free"):
        ledger.run_through(work)
    assert disk.free_bytes() == reserve - 1
    disk.conditions.capacity = None
    ledger.compact(driver, boundary, wanted)
    assert ledger.read_all(log) == ledger.events_of(entries)
