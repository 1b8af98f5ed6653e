"""Files from another node replace a group's own only when they are whole."""

import pytest

from trimaran.errors import CorruptionError, DiskFullError
from trimaran.ids import NodeId
from trimaran.storage.boundary import Boundary
from trimaran.storage.formatting import format_store
from trimaran.storage.segment import group_directory


def source_of(kit, driver):
    """Return a store with 12 flushed entries, its boundary and the names of its files."""
    driver.add()
    entries = [kit.records(index, size=150) for index in range(1, 13)]
    position = driver.flush(*entries)
    boundary = Boundary(group=kit.GROUP, position=position, voters=(NodeId(1),))
    directory = group_directory(kit.GROUP) + "/"
    names = [path.removeprefix(directory) for path in driver.files.contents if directory in path]
    return entries, boundary, names


def stage(kit, driver, source, names):
    driver.store.plan_staging(kit.GROUP, needed_bytes=0).run()
    for name in names:
        content = bytes(source.files.contents[f"{group_directory(kit.GROUP)}/{name}"])
        half = len(content) // 2
        for position, data in ((0, content[:half]), (half, content[half:])):
            driver.store.plan_stage(
                kit.GROUP,
                name,
                data,
                position=position,
                is_last=position > 0,
                reserve_bytes=0,
            ).run()


@pytest.fixture
def other(kit):
    files = kit.MemoryFiles()
    format_store(files, kit.IDENTITY)
    return kit.Driver(files)


def test_a_group_starts_over_with_the_files_of_another_store(kit, driver, other):
    entries, boundary, names = source_of(kit, other)
    driver.add()
    driver.flush(kit.records(1, size=150))
    stage(kit, driver, other, names)

    driver.store.plan_adopt(boundary).run()
    driver.round(boundaries=[boundary])
    keep = [name for name in names if name.endswith(".segment")]
    found = driver.store.groups[kit.GROUP]
    found.boundary, found.entries = boundary, []
    stored = driver.store.plan_load(boundary, keep).run()
    recovered = driver.store.installed(found, stored)

    assert recovered.log.last_position == boundary.position
    assert recovered.log.plan_read_index(1, 1).run() == entries[:1]
    assert not driver.files.list("staging")
    again = driver.restart().groups[kit.GROUP]
    assert (again.damage, again.boundary, again.log.last_index) == (None, boundary, 12)


def test_staged_files_that_fail_a_check_replace_nothing(kit, driver, other):
    _, boundary, names = source_of(kit, other)
    driver.add()
    before = {path: bytes(content) for path, content in driver.files.contents.items()}
    for name in names:
        content = other.files.contents[f"{group_directory(kit.GROUP)}/{name}"]
        content[len(content) // 2] ^= 4
        stage(kit, driver, other, names)
        content[len(content) // 2] ^= 4

        with pytest.raises(CorruptionError):
            driver.store.plan_adopt(boundary).run()

    kept = {path: bytes(content) for path, content in driver.files.contents.items()}
    assert {path: kept[path] for path in before} == before


def test_the_scrub_names_every_bad_entry_and_goes_on(kit, driver):
    driver.add()
    entries = [kit.records(index, size=150) for index in range(1, 7)]
    driver.flush(*entries)
    log = driver.log()
    segment = log.segments[0]
    driver.files.contents[segment.paths[0]][150 * 2 + 70] ^= 1
    driver.files.contents[segment.paths[2]][80 * 5 + 3] ^= 1

    bad, number = [], 0
    while number < segment.row_count:
        part = log.plan_scrub(segment, number, 400).run()
        number = part.next_number
        if part.bad_index is not None:
            bad.append(part.bad_index)
            assert part.reason

    assert bad == [3, 5]
    with pytest.raises(CorruptionError):
        log.plan_digest(segment).run()


def test_equal_segments_have_equal_digests(kit, driver, other):
    entries = [kit.records(index, size=150) for index in range(1, 7)]
    digests = []
    for store in (driver, other):
        store.add()
        store.flush(*entries)
        digests.append(store.log().plan_digest(store.log().segments[0]).run())

    assert digests[0] == digests[1]
    assert len(digests[0]) == 32


def test_staging_takes_nothing_of_the_reserve(kit, driver):
    driver.add()
    driver.files.free_bytes = lambda: 5_000
    with pytest.raises(DiskFullError):
        driver.store.plan_staging(kit.GROUP, needed_bytes=5_001).run()
    assert not driver.files.list("staging")

    driver.store.plan_staging(kit.GROUP, needed_bytes=5_000).run()
    for reserve_bytes in (4_901, 4_900):
        part = driver.store.plan_stage(
            kit.GROUP, "x", bytes(100), position=0, is_last=False, reserve_bytes=reserve_bytes
        )
        if reserve_bytes > 4_900:
            with pytest.raises(DiskFullError):
                part.run()
        else:
            part.run()
    assert sum(len(c) for path, c in driver.files.contents.items() if "staging" in path) == 100

    driver.store.plan_discard(kit.GROUP).run()
    driver.store.plan_discard(kit.GROUP).run()
    assert not driver.files.list("staging")
