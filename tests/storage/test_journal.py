import pytest

from trimaran.errors import DiskFullError, StorageError
from trimaran.ids import Index, Offset, Term
from trimaran.records.entry import HardState, LogPosition
from trimaran.storage.boundary import Boundary
from trimaran.storage.journal import (
    PLAIN_RECORDS_MAX,
    JournalSettings,
    LiveGroup,
    RoundContent,
)

STATE = HardState(term=Term(1), vote=None)


def at(group, index, term=1):
    position = LogPosition(index=Index(index), term=Term(term), next_offset=Offset(index))
    return Boundary(group=group, position=position)


def live(group, index=0, entries=()):
    return LiveGroup(group=group, hard_state=STATE, boundary=at(group, index), entries=entries)


def test_a_round_is_written_then_synced_and_counts_only_when_finished(driver, kit):
    driver.add()
    position, rounds = driver.journal.position, driver.journal.rounds
    driver.files.log.clear()
    write = driver.journal.plan_round(
        RoundContent(entries=[(kit.GROUP, Term(0), [kit.records(1)])])
    )
    write.run()
    assert [operation for operation, _ in driver.files.log] == ["write", "sync"]
    assert driver.journal.position == position
    write.finish()

    assert driver.journal.position == position + 512
    assert driver.journal.rounds == rounds + 1
    assert driver.journal.bytes_written > 0


def test_one_round_at_a_time(driver):
    driver.journal.plan_round(RoundContent())
    with pytest.raises(AssertionError, match="one round at a time"):
        driver.journal.plan_round(RoundContent())


def test_a_round_is_written_once(driver):
    write = driver.journal.plan_round(RoundContent())
    write.run()
    with pytest.raises(AssertionError, match="once"):
        write.run()


def test_a_round_of_many_records_is_not_encoded_on_the_loop(driver, kit):
    driver.add()
    entries = [kit.records(number) for number in range(1, PLAIN_RECORDS_MAX + 2)]
    write = driver.journal.plan_round(RoundContent(entries=[(kit.GROUP, Term(0), entries)]))

    assert write.plain() is None

    write.run()
    write.finish()


def test_after_a_failed_sync_nothing_is_written_any_more(driver, kit):
    driver.add()
    driver.files.failing["sync", "journal"] = StorageError
    write = driver.journal.plan_round(RoundContent())
    with pytest.raises(StorageError, match="sync failed"):
        write.run()
    with pytest.raises(AssertionError):
        write.abandon()
    driver.files.failing.clear()

    with pytest.raises(StorageError, match="failed before"):
        driver.journal.plan_round(RoundContent())
    with pytest.raises(StorageError, match="failed before"):
        driver.journal.plan_rollover([live(kit.GROUP)])


@pytest.mark.parametrize("room", [0, 100, 512, 1000])
def test_a_full_disk_takes_back_the_round_and_the_journal_goes_on(driver, kit, room):
    driver.add()
    driver.append(kit.records(1))
    position = driver.journal.position
    driver.files.room = room
    write = driver.journal.plan_round(
        RoundContent(entries=[(kit.GROUP, Term(1), [kit.records(2, size=3000)])])
    )

    # The blanking write needs no space of its own: the file is allocated.
    original = driver.files.open(f"journal/{driver.journal.generation:020d}.journal")
    file = driver.journal._file
    real_write = file.pwrite

    def writes(buffers, at_position):
        try:
            real_write(buffers, at_position)
        finally:
            driver.files.room = None

    file.pwrite = writes
    with pytest.raises(DiskFullError):
        write.run()
    write.abandon()

    assert driver.journal.position == position
    assert original.pread(4096, position) == bytes(4096)
    file.pwrite = real_write
    driver.append(kit.records(2))
    assert driver.restart().groups[kit.GROUP].entries == [kit.records(1), kit.records(2)]
    assert driver.store.damage == []


def test_a_round_that_cannot_even_be_blanked_ends_the_journal(driver, kit):
    driver.add()
    driver.files.room = 0
    write = driver.journal.plan_round(RoundContent())
    with pytest.raises(StorageError, match="this followed") as caught:
        write.run()
    assert not isinstance(caught.value, DiskFullError)
    with pytest.raises(StorageError):
        driver.journal.plan_round(RoundContent())


def test_only_the_head_of_a_failed_round_must_be_blanked(driver, kit):
    driver.add()
    position = driver.journal.position
    file = driver.journal._file
    real_write = file.pwrite
    rooms = iter([700, 512, 100])

    def writes(buffers, at_position):
        driver.files.room = next(rooms)
        real_write(buffers, at_position)

    file.pwrite = writes
    write = driver.journal.plan_round(
        RoundContent(entries=[(kit.GROUP, Term(0), [kit.records(1, size=3000)])])
    )
    with pytest.raises(DiskFullError):
        write.run()
    write.abandon()
    driver.files.room = None

    assert file.pread(512, position) == bytes(512)
    assert driver.restart().damage == []


def test_a_round_longer_than_the_room_makes_the_file_longer(driver, kit):
    driver.add()
    big = kit.records(1, size=40_000)
    generation = driver.journal.generation
    driver.append(big)

    assert driver.journal.generation == generation
    assert driver.journal.bytes > 40_000
    assert driver.journal.needs_rollover
    driver.append(kit.records(2))
    assert driver.restart().groups[kit.GROUP].entries == [big, kit.records(2)]
    assert driver.store.damage == []


def test_a_full_disk_while_growing_leaves_the_journal_usable(driver, kit):
    driver.add()
    driver.files.failing["allocate", "journal"] = DiskFullError
    content = RoundContent(entries=[(kit.GROUP, Term(0), [kit.records(1, size=40_000)])])
    write = driver.journal.plan_round(content)
    position = driver.journal.position
    with pytest.raises(DiskFullError):
        write.run()
    write.abandon()
    assert driver.journal.position == position

    driver.files.failing.clear()
    file = driver.journal._file
    real_write = file.pwrite
    rooms = iter([None, 1000, None, None])

    def writes(buffers, at_position):
        driver.files.room = next(rooms)
        real_write(buffers, at_position)

    file.pwrite = writes
    write = driver.journal.plan_round(content)
    with pytest.raises(DiskFullError):
        write.run()
    write.abandon()
    file.pwrite = real_write

    assert driver.journal.position == position + 512, "the announced growth stands"
    driver.append(kit.records(1))
    assert driver.restart().groups[kit.GROUP].entries == [kit.records(1)]
    assert driver.store.damage == []


def test_a_new_file_gets_its_name_when_it_is_synced(driver, kit):
    driver.add()
    driver.files.log.clear()
    driver.rollover(live(kit.GROUP))

    name = f"journal/{driver.journal.generation:020d}.journal"
    assert [row for row in driver.files.log if row[0] != "write"] == [
        ("create", name + ".new"),
        ("allocate", name + ".new"),
        ("sync", name + ".new"),
        ("rename", name + ".new"),
        ("sync_directory", "journal"),
    ]


def test_a_new_file_holds_every_group(driver, kit):
    driver.add()
    driver.add(kit.OTHER)
    with pytest.raises(AssertionError, match="every group"):
        driver.journal.plan_rollover([live(kit.GROUP)])


def test_a_full_disk_stops_a_rollover_and_the_old_file_goes_on(driver, kit):
    driver.add()
    driver.files.failing["allocate", "journal"] = DiskFullError
    write = driver.journal.plan_rollover([live(kit.GROUP)])
    with pytest.raises(DiskFullError):
        write.run()
    write.abandon()
    driver.files.failing.clear()

    assert [name for name in driver.files.list("journal") if name.endswith(".new")] == []
    driver.append(kit.records(1))
    driver.rollover(live(kit.GROUP, entries=[kit.records(1)]))
    assert driver.journal.file_count == 2


def test_a_rollover_whose_name_is_in_doubt_ends_the_journal(driver, kit):
    driver.add()
    driver.files.failing["rename", "journal"] = DiskFullError
    write = driver.journal.plan_rollover([live(kit.GROUP)])
    with pytest.raises(StorageError, match="in doubt"):
        write.run()
    with pytest.raises(StorageError):
        driver.journal.plan_round(RoundContent())


def test_an_unfinished_file_in_the_way_is_replaced(driver, kit):
    driver.add()
    name = f"journal/{driver.journal.generation + 1:020d}.journal.new"
    driver.files.contents[name] = bytearray(b"left over")
    driver.rollover(live(kit.GROUP))
    assert driver.journal.file_count == 2


def test_a_file_is_kept_for_entries_above_the_boundary_that_were_not_copied(driver, kit):
    driver.add()
    driver.append(*[kit.records(index) for index in range(1, 6)])
    driver.rollover(live(kit.GROUP, entries=[kit.records(4), kit.records(5)]))
    assert driver.journal.release().generations == []

    position = driver.flush(kit.records(1), kit.records(2))
    driver.round(boundaries=[Boundary(group=kit.GROUP, position=position)])
    assert driver.journal.release().generations == []
    position = driver.flush(kit.records(3))
    driver.round(boundaries=[Boundary(group=kit.GROUP, position=position)])
    release = driver.journal.release()

    assert len(release.generations) == 1
    release.run()
    assert driver.journal.file_count == 1
    recovered = driver.restart().groups[kit.GROUP]
    assert recovered.entries == [kit.records(4), kit.records(5)]
    assert recovered.damage is None


def test_a_file_is_not_kept_for_entries_that_were_replaced_or_removed(driver, kit):
    driver.add()
    driver.add(kit.OTHER)
    driver.append(*[kit.records(index) for index in range(1, 6)])
    driver.append(kit.records(1), group=kit.OTHER)
    driver.rollover(live(kit.GROUP), live(kit.OTHER))
    driver.append(kit.records(1, term=2), previous_term=0)
    assert driver.journal.release().generations == []
    driver.round(removed=[kit.OTHER])

    release = driver.journal.release()
    assert len(release.generations) == 1
    release.run()
    release.run()
    assert driver.journal.file_count == 1


def test_release_never_takes_the_newest_file(driver, kit):
    driver.add()
    assert driver.journal.release().generations == []
    driver.round(entries=[(kit.GROUP, Term(0), [])])
    assert driver.journal.file_count == 1


def test_the_limit_of_all_files_is_a_fact_for_the_caller(driver, kit):
    driver.add()
    assert not driver.journal.is_full()
    driver.append(kit.records(1))
    for _ in range(3):
        driver.rollover(live(kit.GROUP))
    assert driver.journal.is_full()
    driver.round(boundaries=[at(kit.GROUP, 1)])
    assert not driver.journal.is_full()


def test_entries_that_a_new_file_copies_keep_no_old_one(driver, kit):
    driver.add()
    driver.append(kit.records(1))
    for _ in range(3):
        driver.rollover(live(kit.GROUP))

    assert driver.journal.is_full([live(kit.GROUP)])
    assert not driver.journal.is_full([live(kit.GROUP, entries=[kit.records(1)])])


def test_one_file_that_must_stay_is_followed_by_another_however_long_it_is(driver, kit):
    driver.add()
    driver.append(kit.records(1, size=driver.settings.journal.total_bytes_max))
    assert driver.journal.bytes > driver.settings.journal.total_bytes_max

    assert not driver.journal.is_full()
    driver.rollover(live(kit.GROUP))
    assert driver.journal.is_full()


def test_a_file_needs_a_successor_while_there_is_still_room_for_a_round():
    settings = JournalSettings()
    assert settings.round_bytes < settings.file_bytes // 4
