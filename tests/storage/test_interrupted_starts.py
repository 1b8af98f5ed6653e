"""Starts that are cut, by a kill or a power cut, leave nothing that the next one stumbles over."""

import pytest

from trimaran.errors import DiskFullError
from trimaran.ids import Term
from trimaran.storage.damage import DamageKind
from trimaran.storage.journal import JournalSettings, RoundContent
from trimaran.storage.recovery import StoreSettings, open_store

ROOMY = StoreSettings(
    journal=JournalSettings(file_bytes=1 << 20, total_bytes_max=8 << 20), segment_bytes=1000
)


def journal_path(generation):
    return f"journal/{generation:020d}.journal"


def every_cut(kit, files, settings):
    """Yield the disk as it is after each call of a start."""
    for fuse in range(300):
        cut = files.copy()
        cut.fuse = fuse
        try:
            open_store(cut, identity=kit.IDENTITY, settings=settings)
        except InterruptedError:
            cut.fuse = None
            yield cut
        else:
            return
    raise AssertionError("the start goes on for ever")


class Killed(BaseException):
    """The process ended here."""


def test_a_start_frees_what_killed_starts_were_making_before_it_needs_space(kit, files):
    driver = kit.Driver(files, ROOMY)
    driver.add()
    driver.append(kit.records(1), commit=1)
    driver.store.close()
    for generation in (3, 4, 5):
        files.contents[journal_path(generation) + ".new"] = bytearray(1 << 20)
    files.make_directory("staging/some/group")
    files.contents["staging/some/group/file"] = bytearray(1 << 20)
    before = len(files.log)

    store = open_store(files, identity=kit.IDENTITY, settings=ROOMY)

    freed = [path for operation, path in files.log[before:] if operation == "remove"]
    calls = files.log[before:]
    assert freed[:4] == [*(journal_path(number) + ".new" for number in (3, 4, 5)), "staging"]
    assert calls.index(("remove", "staging")) < calls.index(
        ("create", journal_path(store.journal.generation) + ".new")
    )
    assert store.groups[kit.GROUP].last_index == 1
    assert [path for path in files.contents if path.endswith(".new")] == []


def test_killed_starts_on_a_full_disk_leave_no_more_than_one_file(kit, files):
    driver = kit.Driver(files, ROOMY)
    driver.add()
    driver.store.close()
    for _ in range(3):
        files.failing = {("sync", ".journal.new"): Killed}
        with pytest.raises(Killed):
            open_store(files, identity=kit.IDENTITY, settings=ROOMY)
    assert len([path for path in files.contents if path.endswith(".new")]) == 1
    files.failing = {("allocate", "journal"): DiskFullError}
    with pytest.raises(DiskFullError):
        open_store(files, identity=kit.IDENTITY, settings=ROOMY)
    assert len([path for path in files.contents if path.endswith(".new")]) == 0


def test_a_round_in_the_page_cache_alone_is_synced_before_a_new_file_follows_it(kit, driver):
    driver.add()
    driver.append(*(kit.records(index) for index in range(1, 4)), commit=3)
    path, synced_end = journal_path(driver.journal.generation), driver.journal.position
    plain = driver.journal.plan_round(
        RoundContent(entries=[(kit.GROUP, Term(1), [kit.records(4)])])
    ).plain()
    plain.file.pwrite(plain.buffers, plain.position)

    for cut in every_cut(kit, driver.files, driver.settings):
        if path in cut.contents and ("sync", path) not in cut.log:
            lost = len(cut.contents[path]) - synced_end
            cut.contents[path][synced_end:] = bytes(lost)
        store = open_store(cut, identity=kit.IDENTITY, settings=driver.settings)
        assert store.damage == []
        assert store.groups[kit.GROUP].last_index in (3, 4)


def test_a_file_is_as_long_as_a_round_says_before_that_round_is_written(kit, driver):
    driver.add()
    path = journal_path(driver.journal.generation)
    content = driver.files.contents[path]
    size = len(content)
    before = len(driver.files.log)
    write = driver.journal.plan_round(
        RoundContent(entries=[(kit.GROUP, Term(0), [kit.records(1, size=20_000)])])
    )
    write.run()
    write.finish()

    calls = [operation for operation, _ in driver.files.log[before:]]
    assert len(content) > size
    assert calls == ["allocate", "sync", "write", "sync", "write", "sync"]


def test_damage_of_one_group_stays_its_own_wherever_the_start_is_cut(kit, driver):
    driver.add()
    driver.add(kit.OTHER)
    driver.append(*(kit.records(index, size=600) for index in range(1, 4)), commit=3)
    damaged = driver.journal.position - 700
    driver.append(kit.records(1), group=kit.OTHER, commit=1)
    path = journal_path(driver.journal.generation)
    driver.files.contents[path][damaged] ^= 1

    for cut in every_cut(kit, driver.files, driver.settings):
        groups = open_store(cut, identity=kit.IDENTITY, settings=driver.settings).groups
        assert groups[kit.GROUP].damage.kind is DamageKind.CORRUPT
        assert groups[kit.OTHER].damage is None
        assert path in cut.contents or path + ".damaged" in cut.contents


def test_a_file_that_is_aside_is_missing_unless_a_newer_one_than_the_range_is_there(kit, driver):
    driver.add()
    path = journal_path(driver.journal.generation)
    driver.files.contents[path + ".damaged"] = driver.files.contents.pop(path)
    groups = open_store(driver.files, identity=kit.IDENTITY, settings=driver.settings).groups
    assert groups[kit.GROUP].damage.kind is DamageKind.CORRUPT


@pytest.mark.parametrize(
    "name",
    [
        "10000000000000000003.journal",
        "20000000000000000003.journal",
        "80000000000000000003.journal.damaged",
        "40000000000000000002.journal.new",
    ],
)
def test_a_flipped_bit_in_a_journal_name_makes_it_none_of_ours(kit, driver, name):
    driver.add()
    driver.files.contents[f"journal/{name}"] = bytearray(512)
    store = driver.restart()
    assert store.damage == []
    assert store.journal.generation < 10
    assert f"journal/{name}" in driver.files.contents


@pytest.mark.parametrize("partition", ["4294967296", "99999999999999999999", "007"])
def test_a_directory_of_no_possible_group_is_none_even_beside_damage(kit, driver, partition):
    driver.add()
    driver.files.directories.add("groups/" + "ab" * 16 + "-" + partition)
    driver.files.contents["journal/range"][20] ^= 1
    assert list(driver.restart().groups) == [kit.GROUP]
