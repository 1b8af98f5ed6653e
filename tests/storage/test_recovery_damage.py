import pytest

from trimaran.errors import CorruptionError
from trimaran.ids import (
    Index,
    NodeId,
    Offset,
    Term,
    group_name,
)
from trimaran.records.entry import HardState, LogPosition
from trimaran.storage.boundary import Boundary
from trimaran.storage.damage import DamageKind
from trimaran.storage.formatting import format_store
from trimaran.storage.group_list import read_group_list
from trimaran.storage.recovery import open_store
from trimaran.storage.segment import group_directory


def flushed(kit, driver, count=12, **fields):
    """Journal and flush entries 1 to `count`, bound them, and journal three more."""
    driver.add()
    entries = [kit.records(index, size=150, event_ids=b"i" * 16) for index in range(1, count + 4)]
    driver.append(*entries)
    position = driver.flush(*entries[:count])
    boundary = Boundary(group=kit.GROUP, position=position, voters=(NodeId(1),), **fields)
    driver.round(boundaries=[boundary], commits=[(kit.GROUP, Index(count + 1))])
    return entries, boundary


def damage_of(store, group):
    damage = store.groups[group].damage
    return None if damage is None else damage.kind


def segment_paths(driver):
    return sorted(path for path in driver.files.contents if path.startswith("groups/"))


def swapped(files, one, other):
    contents = files.contents
    contents[one], contents[other] = contents[other], contents[one]


def rewritten_boundary(kit, driver, **position):
    _, boundary = flushed(kit, driver)
    fields = {
        "index": boundary.position.index,
        "term": boundary.position.term,
        "next_offset": boundary.position.next_offset,
        "log_time_ms": boundary.position.log_time_ms,
    }
    driver.round(
        boundaries=[Boundary(group=kit.GROUP, position=LogPosition(**{**fields, **position}))]
    )
    return driver.restart()


def other_files(kit, changes):
    """Return the group's files of another node whose log differs."""
    files = kit.MemoryFiles()
    format_store(files, kit.IDENTITY)
    driver = kit.Driver(files)
    driver.add()
    entries = [kit.records(index, size=150, **changes(index)) for index in range(1, 13)]
    driver.flush(*entries)
    return files


def test_a_damaged_group_started_over_below_its_boundary_is_whole_again(kit, driver):
    entries, _ = flushed(kit, driver)
    driver.log().plan_reset(LogPosition()).run()
    driver.round(boundaries=[Boundary(group=kit.GROUP)], repaired=[kit.GROUP])
    driver.append(*entries[:3])
    found = driver.restart().groups[kit.GROUP]
    assert found.damage is None
    assert found.entries == entries[:3]


def test_every_cut_below_the_boundary_is_damage_and_nothing_else_changes(kit, driver):
    flushed(kit, driver, count=4)
    for path in segment_paths(driver):
        for size in range(len(driver.files.contents[path])):
            files = driver.files.copy()
            del files.contents[path][size:]
            before = {
                name: bytes(data) for name, data in files.contents.items() if "groups" in name
            }
            store = open_store(files, identity=kit.IDENTITY, settings=kit.SMALL)

            assert damage_of(store, kit.GROUP) is DamageKind.ROWS, (path, size)
            after = {name: bytes(data) for name, data in files.contents.items() if "groups" in name}
            assert after == before
            assert store.groups[kit.GROUP].entries, "the journal's part is still there"


def test_every_changed_byte_below_the_boundary_is_found_at_start_or_on_reading(kit, driver):
    """And never changes an answer, nor anything on the disk."""
    entries, _ = flushed(kit, driver, count=4)
    found_at_start = found_on_reading = 0
    for path in segment_paths(driver):
        for position in range(len(driver.files.contents[path])):
            files = driver.files.copy()
            files.contents[path][position] ^= 1 << position % 8
            before = {
                name: bytes(data) for name, data in files.contents.items() if "groups" in name
            }
            group = open_store(files, identity=kit.IDENTITY, settings=kit.SMALL).groups[kit.GROUP]

            if group.damage is not None:
                found_at_start += 1
            else:
                with pytest.raises(CorruptionError) as caught:
                    read_entries(group.log)
                assert caught.value.path == path, position
                found_on_reading += 1
            after = {name: bytes(data) for name, data in files.contents.items() if "groups" in name}
            assert after == before
    assert found_at_start > 0 < found_on_reading
    assert read_entries(driver.restart().groups[kit.GROUP].log) == entries[:4]


def read_entries(log):
    found = []
    while not found or found[-1].index < log.last_index:
        index = found[-1].index + 1 if found else log.first_index
        found += log.plan_read_index(Index(index), 400).run()
    return found


def test_every_file_below_the_boundary_must_be_there(kit, driver):
    flushed(kit, driver)
    paths = segment_paths(driver)
    assert len(paths) == 6
    for path in paths:
        files = driver.files.copy()
        files.remove(path)
        store = open_store(files, identity=kit.IDENTITY, settings=kit.SMALL)
        assert damage_of(store, kit.GROUP) is DamageKind.ROWS, path


def test_a_segment_without_event_ids_has_no_file_of_them(kit, driver):
    driver.add()
    position = driver.flush(*(kit.records(index) for index in range(1, 5)))
    driver.round(boundaries=[Boundary(group=kit.GROUP, position=position)])

    assert not any(path.endswith(".ids") for path in segment_paths(driver))
    assert damage_of(driver.restart(), kit.GROUP) is None


def test_segments_in_each_others_place_are_damage(kit, driver):
    flushed(kit, driver)
    stems = sorted({path.rpartition(".")[0] for path in segment_paths(driver)})
    for suffixes in ((".segment", ".rows", ".ids"), (".rows",)):
        files = driver.files.copy()
        for suffix in suffixes:
            swapped(files, stems[0] + suffix, stems[1] + suffix)
        store = open_store(files, identity=kit.IDENTITY, settings=kit.SMALL)
        assert damage_of(store, kit.GROUP) is DamageKind.ROWS


@pytest.mark.parametrize(
    "position", [{"next_offset": Offset(99)}, {"log_time_ms": 1}, {"index": Index(14)}]
)
def test_a_boundary_that_does_not_fit_its_segments_is_damage(kit, driver, position):
    assert damage_of(rewritten_boundary(kit, driver, **position), kit.GROUP) is DamageKind.ROWS


def test_segments_that_do_not_reach_down_to_the_log_start_are_damage(kit, driver):
    flushed(kit, driver)
    for path in segment_paths(driver)[:3]:
        driver.files.remove(path)
    store = driver.restart()
    assert "entries 1 to" in store.groups[kit.GROUP].damage.text
    assert store.groups[kit.GROUP].log.last_index == 0


def test_no_segments_at_all_below_the_boundary_is_damage(kit, driver):
    flushed(kit, driver)
    for path in segment_paths(driver):
        driver.files.remove(path)
    assert "no segment holds entry 1" in driver.restart().groups[kit.GROUP].damage.text


def test_a_state_file_must_be_the_one_that_the_boundary_names(kit, driver):
    driver.add()
    named = driver.log().plan_write_state("state-1", b"content").run()
    driver.round(boundaries=[Boundary(group=kit.GROUP, state_files=(named,))])
    driver.log().plan_write_state("state-2", b"never bound").run()
    store = driver.restart()
    assert store.damage == []
    assert store.groups[kit.GROUP].log.read_state(named) == b"content"
    directory = group_directory(kit.GROUP)
    assert driver.files.list(f"{directory}/state") == ["state-1"]

    driver.files.contents[f"{directory}/state/state-1"][0] ^= 1
    assert damage_of(driver.restart(), kit.GROUP) is DamageKind.BOUNDARY
    assert driver.files.exists(f"{directory}/state/state-1")


def test_a_group_without_directory_is_damaged(kit, driver):
    driver.add()
    driver.files.remove(group_directory(kit.GROUP))
    assert damage_of(driver.restart(), kit.GROUP) is DamageKind.MISSING_FILES


def test_a_group_that_is_not_on_the_list_is_damaged(kit, driver):
    before = bytes(driver.files.contents["groups.list"])
    driver.add()
    driver.files.contents["groups.list"][:] = before
    store = driver.restart()
    assert damage_of(store, kit.GROUP) is DamageKind.MISSING_FILES
    assert read_group_list(driver.files) == [kit.GROUP]


@pytest.mark.parametrize("change", ["flip", "remove"])
def test_a_damaged_list_damages_every_group_and_deletes_nothing(kit, driver, change):
    driver.add()
    lost = group_name(kit.OTHER)
    driver.files.make_directory(f"groups/{lost}")
    driver.files.make_directory("groups/not-a-group")
    driver.files.make_directory(f"groups/{'z' * 32}-0")
    if change == "flip":
        driver.files.contents["groups.list"][20] ^= 1
    else:
        driver.files.remove("groups.list")
    store = driver.restart()

    assert set(store.groups) == {kit.GROUP, kit.OTHER}
    assert all(found.damage is not None for found in store.groups.values())
    assert read_group_list(driver.files) == [kit.GROUP, kit.OTHER]
    assert driver.files.exists(f"groups/{lost}")


def test_a_group_whose_boundary_is_lost_is_damaged(kit, driver):
    driver.add()
    driver.round(hard_states=[(kit.OTHER, HardState(term=Term(3), vote=None))])
    store = driver.restart()
    assert store.groups[kit.OTHER].damage is not None
    assert store.groups[kit.OTHER].hard_state.term == 3


def test_a_listed_group_with_files_and_without_record_is_damaged(kit, driver):
    work = driver.store.plan_add_group(Boundary(group=kit.GROUP))
    work.run()
    driver.files.contents[f"{group_directory(kit.GROUP)}/something"] = bytearray()
    assert damage_of(driver.restart(), kit.GROUP) is DamageKind.BOUNDARY


def test_damage_is_remembered_wherever_the_start_was_interrupted(kit, driver):
    entries, _ = flushed(kit, driver)
    path = f"journal/{driver.journal.generation:020d}.journal"
    content = driver.files.contents[path]
    content[content.index(entries[13].payload[61:]) + 3] ^= 1
    damaged = bytes(content)
    for calls in range(200):
        files = driver.files.copy()
        files.fuse = calls
        try:
            open_store(files, identity=kit.IDENTITY, settings=kit.SMALL)
        except InterruptedError:
            files.fuse = None
            store = open_store(files, identity=kit.IDENTITY, settings=kit.SMALL)
            assert damage_of(store, kit.GROUP) is not None
            assert damaged in [bytes(data) for data in files.contents.values()]
        else:
            break
    assert calls > 30


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        (lambda index: {"offset": 2 * index - 2, "count": 2}, "starts at another offset"),
        (lambda index: {"term": 2}, "does not follow"),
    ],
)
def test_a_segment_of_another_log_is_damage(kit, driver, changes, text):
    flushed(kit, driver)
    other = other_files(kit, changes)
    mine = [path for path in segment_paths(driver) if "/00000000000000000007-" in path]
    theirs = [path for path in other.contents if "/00000000000000000007-" in path]
    assert len(theirs) == 2
    for path in mine:
        driver.files.remove(path)
    for path in theirs:
        driver.files.contents[path] = other.contents[path]
    store = driver.restart()
    assert text in store.groups[kit.GROUP].damage.text
    assert store.groups[kit.GROUP].log.last_index == (6 if "follow" in text else 0)
