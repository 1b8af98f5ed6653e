from dataclasses import replace

import pytest
from crc32c import crc32c

from trimaran.errors import CorruptionError, DiskFullError, ErrorCode, RequestError, StorageError
from trimaran.ids import Index, Offset, Term
from trimaran.records.control import (
    LogStart,
    StoredSettings,
    encode_log_start,
    encode_settings,
)
from trimaran.records.entry import EntryKind, LogPosition
from trimaran.storage.boundary import Boundary
from trimaran.storage.epochs import LeaderEpochs
from trimaran.storage.formatting import format_store
from trimaran.storage.log_reads import SegmentsMovedError
from trimaran.storage.open_files import OpenFiles
from trimaran.storage.segment import parse_segment_name
from trimaran.storage.sidecar import (
    decode_row,
    decode_rows_head,
    encode_row,
    encode_rows_head,
    make_row,
    row_seed,
)


@pytest.fixture
def log(driver):
    driver.add()
    return driver.log()


def append(log, *entries):
    write = log.plan_append(entries)
    write.run()
    write.finish()


def mixed(kit, count=30):
    """A log of batches of three events with a control entry before every fifth."""
    entries = []
    offset = 0
    for index in range(1, count + 1):
        if index % 5 == 1:
            entries.append(kit.control(index, term=1 + index // 10, offset=offset))
        else:
            entry = kit.records(
                index,
                term=1 + index // 10,
                offset=offset,
                count=3,
                size=150,
                timestamp_ms=10_000 + 10 * index,
                event_ids=b"i" * 16 * (index % 3),
            )
            entries.append(entry)
            offset += 3
    return entries


def read_all(log, bytes_max=400):
    found = []
    index = log.first_index
    while index <= log.last_index:
        entries = log.plan_read_index(index, bytes_max).run()
        assert entries
        found += entries
        index = found[-1].index + 1
    return found


def test_what_is_appended_is_read_back_by_index(kit, log):
    entries = mixed(kit)
    append(log, *entries[:7])
    append(log, *entries[7:])

    assert read_all(log) == entries
    assert log.last_index == 30
    assert log.next_offset == entries[-1].next_offset
    assert log.segment_count > 3
    assert log.size == sum(len(entry.payload) for entry in entries)


def test_a_read_names_the_entry_before(kit, log):
    entries = mixed(kit)
    append(log, *entries)
    for index in range(1, 31):
        read = log.plan_read_index(Index(index), 1)
        assert read.run() == [entries[index - 1]]
        before = entries[index - 2] if index > 1 else None
        expected = (
            LogPosition()
            if before is None
            else LogPosition(
                index=before.index,
                term=before.term,
                next_offset=before.next_offset,
                log_time_ms=before.log_time_ms,
            )
        )
        assert read.previous == expected


def test_an_offset_leads_to_the_batch_that_holds_it(kit, log):
    entries = mixed(kit)
    batches = [entry for entry in entries if entry.offset_count]
    append(log, *entries)
    for offset in range(log.next_offset):
        found = log.plan_read_offset(Offset(offset), 1).run()
        assert found == [batches[offset // 3]]
        found = log.plan_read_offset(Offset(offset), 10_000).run()
        start = offset // 3
        assert found == batches[start : start + len(found)]
    assert log.plan_read_offset(log.next_offset, 10).run() == []


def test_a_log_of_control_entries_alone_holds_no_batch(kit, log):
    append(log, *[kit.control(index, payload=b"c" * 200) for index in range(1, 20)])
    assert log.plan_read_offset(Offset(0), 10_000).run() == []
    assert log.segment_count > 1


def test_segments_are_cut_where_the_log_says_however_it_is_appended(kit, files, driver):
    entries = mixed(kit)
    driver.add()
    append(driver.log(), *entries)
    other = kit.Driver(files_of(kit))
    other.add()
    for entry in entries:
        append(other.log(), entry)

    mine = {path: data for path, data in files.contents.items() if path.startswith("groups/")}
    theirs = {
        path: data for path, data in other.files.contents.items() if path.startswith("groups/")
    }
    assert mine == theirs
    assert len(mine) > 9


def files_of(kit):
    made = kit.MemoryFiles()
    format_store(made, kit.IDENTITY)
    return made


def test_the_size_of_segments_can_change_between_entries(kit, log):
    append(log, *[kit.records(index, size=300) for index in (1, 2, 3)])
    log.segment_bytes = 400
    append(log, *[kit.records(index, size=300) for index in (4, 5)])
    log.segment_bytes = 100_000
    append(log, *[kit.records(index, size=300) for index in (6, 7, 8)])
    assert [segment.last.index for segment in log.segments] == [3, 4, 8]


def test_settings_and_log_starts_cut_where_they_stand(kit, log):
    settings = encode_settings(StoredSettings(segment_bytes=400))
    cut = encode_log_start(LogStart(index=Index(1), offset=Offset(0), begins_segment=True))
    log.segment_bytes = 1 << 20
    append(
        log,
        kit.records(1, size=300),
        kit.records(2, size=300),
        replace(kit.control(3, offset=2, payload=settings), kind=EntryKind.SETTINGS),
        kit.records(4, size=300, offset=2),
        kit.records(5, size=300, offset=3),
        replace(kit.control(6, offset=4, payload=cut), kind=EntryKind.LOG_START),
        replace(kit.control(7, offset=4, payload=cut), kind=EntryKind.LOG_START),
    )
    assert [segment.last.index for segment in log.segments] == [3, 4, 5, 6, 7]
    assert log.segment_bytes == 400


def find(log, timestamp_ms, search=None):
    def header_only(batch, wanted, **_):
        at = int.from_bytes(batch[35:43], "big")
        return None if at < wanted else ((at - 10_000) // 10, at)

    return log.plan_find_time(timestamp_ms, search or header_only).run()


def test_a_timestamp_leads_to_the_first_batch_that_is_not_older(kit, log):
    entries = [
        kit.records(index, size=200, timestamp_ms=10_000 + 10 * (index - 1))
        for index in range(1, 20)
    ]
    append(log, *entries)
    assert find(log, 0) == (0, 10_000)
    assert find(log, 10_055) == (6, 10_060)
    assert find(log, 10_180) == (18, 10_180)
    assert find(log, 10_181) is None
    log.set_log_start(Index(11), Offset(10))
    assert find(log, 0) == (10, 10_100)


def test_timestamps_need_not_ascend(kit, log):
    times = [50, 20, 70, 60, 10, 90, 30]
    entries = [
        kit.records(index, timestamp_ms=10_000 + at) for index, at in enumerate(times, start=1)
    ]
    append(log, *entries)
    assert find(log, 10_055) == (7, 10_070)
    assert find(log, 10_080) == (9, 10_090)


def test_a_batch_that_is_not_what_its_header_says_is_passed_over(kit, log):
    append(
        log,
        *[kit.records(index, timestamp_ms=10_000 + index) for index in (1, 2, 3)],
        kit.control(4, offset=3),
    )

    def refuse(batch, wanted, **_):
        raise RequestError(ErrorCode.CORRUPT_MESSAGE, "no records inside")

    assert find(log, 0, refuse) is None
    assert find(log, 10_003, lambda *_, **__: None) is None
    log.set_log_start(Index(2), Offset(1))
    assert find(log, 0, lambda *_, **__: (0, 5)) is None


def test_terms_end_where_the_next_one_starts(kit, driver, log):
    entries = mixed(kit)
    append(log, *entries)
    starts = log.epochs
    assert starts == ((1, 0), (2, 21), (3, 45), (4, 69))
    assert log.leader_epoch_end(Term(0)) is None
    assert log.leader_epoch_end(Term(2)) == (2, 45)
    assert log.leader_epoch_end(Term(9)) == (4, log.next_offset)

    driver.flush(kit.records(31, term=4, offset=log.next_offset))
    driver.round(boundaries=[Boundary(group=kit.GROUP, position=log.synced_position)])
    assert driver.restart().groups[kit.GROUP].log.epochs == starts


def test_terms_below_the_log_start_are_forgotten(kit, log):
    append(log, *mixed(kit))
    log.set_log_start(Index(25), Offset(60))
    log.plan_drop_segments().run()
    assert log.epochs[0][0] == 3
    epochs = LeaderEpochs()
    epochs.drop_before(Offset(5))
    assert epochs.starts == ()


def test_segments_below_the_log_start_are_deleted_but_the_last_one_stays(kit, driver, log):
    append(log, *mixed(kit))
    read = log.plan_read_index(Index(1), 10)
    late = log.plan_read_offset(Offset(0), 10)
    search = log.plan_find_time(0, lambda *_, **__: None)
    log.set_log_start(Index(31), log.next_offset)
    log.plan_drop_segments().run()

    assert log.segment_count == 1
    assert log.first_index == log.base.index + 1 == log.segments[0].first_index
    for gone in (read, late, search):
        with pytest.raises(SegmentsMovedError):
            gone.run()
    with pytest.raises(AssertionError, match="below the log start"):
        log.plan_read_offset(Offset(0), 10)
    assert log.plan_drop_segments().segments == ()


def test_segments_without_event_ids_are_deleted_too(kit, driver, log):
    append(log, *[kit.records(index, size=400) for index in range(1, 6)])
    log.set_log_start(Index(5), Offset(4))
    log.plan_drop_segments().run()
    assert log.first_index == 5


def test_a_row_or_header_that_is_not_ours_is_none(kit):
    entry = kit.records(3)
    row = make_row(kit.GROUP, entry, position=0, ids_position=0, max_timestamp_ms=-1)
    seed = row_seed(kit.GROUP)
    encoded = encode_row(row, seed)
    assert decode_row(encoded, seed, Index(3)) == row
    assert decode_row(encoded[:79], seed, Index(3)) is None
    assert decode_row(encoded, row_seed(kit.OTHER), Index(3)) is None
    assert decode_row(encoded, seed, Index(4)) is None
    unknown = bytearray(encoded)
    unknown[72] = 99
    unknown[76:] = crc32c(bytes(unknown[:76]), seed).to_bytes(4, "big")
    assert decode_row(bytes(unknown), seed, Index(3)) is None

    head = encode_rows_head(kit.GROUP, LogPosition())
    assert decode_rows_head(head, kit.GROUP) == LogPosition()
    assert decode_rows_head(head, kit.OTHER) is None
    assert decode_rows_head(head[:50], kit.GROUP) is None


def test_a_full_disk_appends_nothing_and_the_same_can_be_appended_later(kit, driver, log):
    entries = mixed(kit)
    append(log, *entries[:3])
    for room in (0, 200, 700, 1500, 2500):
        driver.files.room = room
        write = log.plan_append(entries[3:])
        with pytest.raises(DiskFullError):
            write.run()
        write.abandon()
        assert log.last_index == 3
    driver.files.room = None
    append(log, *entries[3:])
    assert read_all(log) == entries


def test_payloads_and_ids_are_synced_before_rows_and_the_directory_at_last(kit, driver, log):
    append(log, kit.records(1, event_ids=b"i" * 16))
    sync = log.plan_sync()
    driver.files.log.clear()
    sync.run()
    assert log.synced_position.index == 0
    sync.finish()

    suffixes = [(operation, path.rpartition(".")[2]) for operation, path in driver.files.log]
    assert suffixes[:3] == [("sync", "segment"), ("sync", "ids"), ("sync", "rows")]
    assert driver.files.log[3][0] == "sync_directory"
    assert log.synced_position.index == 1
    driver.files.log.clear()
    log.plan_sync().run()
    assert driver.files.log == []


def test_files_closed_for_want_of_room_are_synced_first(kit, driver):
    groups = [kit.GROUP, kit.OTHER]
    logs = []
    for group in groups:
        driver.add(group)
        logs.append(driver.log(group))
    for log in logs:
        append(log, kit.records(1, event_ids=b"i" * 16))
    synced = {path for operation, path in driver.files.log if operation == "sync"}
    assert any(path.endswith(".segment") for path in synced)
    assert len(driver.store._shared.writes) <= 4


def test_every_changed_byte_of_a_segment_is_noticed_on_reading(kit, driver, log):
    entries = mixed(kit, 8)
    append(log, *entries)
    paths = [path for path in driver.files.contents if path.startswith("groups/")]
    assert {path.rpartition(".")[2] for path in paths} == {"segment", "rows", "ids"}
    for path in paths:
        content = driver.files.contents[path]
        for position in range(80 if path.endswith("rows") else 0, len(content)):
            content[position] ^= 4
            with pytest.raises(CorruptionError) as caught:
                read_all(log, 1)
            assert caught.value.path == path
            content[position] ^= 4
    assert read_all(log) == entries


def test_what_is_before_a_damaged_entry_is_still_read(kit, driver, log):
    append(log, *[kit.records(index) for index in range(1, 6)])
    path = log.segments[0].paths[0]
    driver.files.contents[path][250] ^= 1
    assert [entry.index for entry in log.plan_read_index(Index(1), 1000).run()] == [1, 2]
    assert len(log.plan_read_offset(Offset(0), 1000).run()) == 2
    with pytest.raises(CorruptionError, match="entry 3"):
        log.plan_read_index(Index(3), 1000).run()

    rows = log.segments[0].paths[2]
    driver.files.contents[rows][80 * 2 + 5] ^= 1
    assert [entry.index for entry in log.plan_read_index(Index(1), 1000).run()] == [1]


def test_a_file_of_another_partition_in_the_place_of_ours_is_noticed(kit, driver, log):
    driver.add(kit.OTHER)
    other = driver.log(kit.OTHER)
    append(log, kit.records(1, size=200))
    append(other, kit.records(1, size=200))
    for mine, theirs in zip(log.segments[0].paths, other.segments[0].paths, strict=True):
        if mine.endswith("ids"):
            continue
        kept = bytes(driver.files.contents[mine])
        driver.files.contents[mine][:] = driver.files.contents[theirs]
        if mine.endswith("rows"):
            with pytest.raises(CorruptionError):
                log.plan_read_index(Index(1), 10).run()
        driver.files.contents[mine][:] = kept


def test_a_disk_that_cannot_be_read_is_not_a_segment_that_moved(kit, driver, log):
    append(log, kit.records(1))
    driver.files.failing["read", "segment"] = StorageError
    for read in (
        log.plan_read_index(Index(1), 10),
        log.plan_read_offset(Offset(0), 10),
        log.plan_find_time(0, lambda *_, **__: None),
    ):
        with pytest.raises(StorageError, match="read failed"):
            read.run()


def test_a_lost_file_of_event_ids_is_damage_and_not_begun_anew(kit, driver, log):
    """Ids of later entries would stand where the rows say that the lost ones do."""
    driver.flush(kit.records(1, event_ids=b"i" * 32), kit.records(2, event_ids=b"j" * 32))
    driver.round(boundaries=[Boundary(group=kit.GROUP, position=log.synced_position)])
    path = log.segments[0].paths[1]
    driver.files.remove(path)
    found = driver.restart().groups[kit.GROUP]

    assert found.damage is not None
    assert f"{path} at byte 0: the file is missing" in found.damage.text
    assert found.log.last_index == 0, "nothing is appended behind it"


def test_a_reset_log_starts_behind_the_given_entry(kit, driver, log):
    append(log, *mixed(kit, 10))
    position = LogPosition(index=Index(50), term=Term(3), next_offset=Offset(99), log_time_ms=5)
    old = [path for path in driver.files.contents if path.startswith("groups/")]
    drop = log.plan_reset(position)
    append(log, kit.records(51, term=3, offset=99))
    drop.run()

    assert (log.first_index, log.last_index, log.start_offset) == (51, 51, 99)
    assert not any(driver.files.exists(path) for path in old)
    assert len(log.plan_read_offset(Offset(99), 10).run()) == 1


def test_a_log_reset_to_an_earlier_entry_is_not_written_before_its_files_are_gone(kit, log):
    append(log, *mixed(kit, 10))
    drop = log.plan_reset(LogPosition())
    with pytest.raises(AssertionError):
        log.plan_append([kit.records(1)])
    drop.run()
    append(log, kit.records(1))
    assert read_all(log) == [kit.records(1)]


def test_state_files_are_named_by_the_boundary_and_checked(kit, driver, log):
    first = log.plan_write_state("producers-1", b"state one").run()
    second = log.plan_write_state("producers-2", b"state two").run()
    assert log.read_state(second) == b"state two"
    log.plan_drop_states([second[0]]).run()

    with pytest.raises(CorruptionError, match="missing"):
        log.read_state(first)
    with pytest.raises(CorruptionError, match="not the one"):
        log.read_state((second[0], second[1], 1))


def test_entries_must_follow(kit, log):
    with pytest.raises(AssertionError, match="without a gap"):
        log.plan_append([kit.records(2)])
    log.plan_append([kit.records(1)])
    with pytest.raises(AssertionError, match="one append"):
        log.plan_append([kit.records(1)])


@pytest.mark.parametrize(
    "name",
    ["x.segment", "1-2.segment", "0" * 20 + ".segment", "0" * 20 + "-" + "0" * 20 + ".rows"],
)
def test_only_our_own_names_are_segments(name):
    assert parse_segment_name(name) is None
    assert parse_segment_name("0" * 19 + "7-" + "0" * 19 + "5.segment") == (7, 5, 0)
    compacted = "0" * 19 + "7-" + "0" * 19 + "5-" + "0" * 9 + "3"
    assert parse_segment_name(compacted + ".segment") == (7, 5, 3)
    assert parse_segment_name(compacted[:-1] + "0.segment") is None


def test_an_open_file_is_found_again_and_another_of_the_same_name_is_not(kit):
    files = kit.MemoryFiles()
    opened = OpenFiles(files, limit=2)
    first = opened.write("a", 1, create=True)
    assert opened.get("a", 1) is first
    second = opened.get("a", 2)
    assert second is not first
    opened.write("a", 3, create=True).pwrite([b"new"], 0)
    opened.retire("a")
    opened.get("a", 3)
    assert len(opened) == 1
    opened.close()
    assert len(opened) == 0


def repair(log, *entries):
    work = log.plan_repair(entries)
    work.run()


def test_entries_from_a_peer_make_a_damaged_segment_what_it_was(kit, driver, log):
    entries = mixed(kit)
    append(log, *entries)
    whole = {path: bytes(data) for path, data in driver.files.contents.items()}
    for path in [path for path in whole if path.startswith("groups/")]:
        content = driver.files.contents[path]
        for position in range(80 if path.endswith("rows") else 0, len(content), 37):
            content[position] ^= 1
        repair(log, *entries)
        assert bytes(content) == whole[path]
    assert read_all(log) == entries
    assert log.plan_repair([entries[3]]).run() is None


def test_a_repair_is_synced(kit, driver, log):
    entry = kit.records(1)
    driver.flush(entry)
    driver.files.contents[log.segments[0].paths[0]][70] ^= 1
    driver.files.log.clear()
    repair(log, entry)
    assert [path.rpartition(".")[2] for operation, path in driver.files.log if operation == "sync"]


def test_a_repair_with_another_entry_is_refused(kit, driver, log):
    append(log, kit.records(1), kit.records(2), kit.records(3))
    other = kit.records(2)
    other.payload = kit.batch(77)
    with pytest.raises(CorruptionError, match="another entry 2"):
        repair(log, other)
    driver.files.contents[log.segments[0].paths[2]][80 * 2 + 9] ^= 1
    longer = kit.records(2, size=150)
    with pytest.raises(CorruptionError, match="does not fit"):
        repair(log, longer)


def test_a_repair_needs_a_row_before_that_stands(kit, driver, log):
    entries = [kit.records(index) for index in (1, 2, 3)]
    append(log, *entries)
    rows = driver.files.contents[log.segments[0].paths[2]]
    rows[80 + 9] ^= 1
    rows[80 * 2 + 9] ^= 1
    with pytest.raises(CorruptionError, match="row of entry 1"):
        repair(log, entries[1])
    repair(log, *entries[:2])
    assert read_all(log) == entries
