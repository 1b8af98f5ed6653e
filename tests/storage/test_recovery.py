import pytest

from trimaran.errors import DiskFullError, StorageError
from trimaran.ids import (
    METADATA_GROUP,
    ClusterId,
    DiskId,
    Index,
    NodeId,
    Offset,
    Term,
    TopicId,
    group_id,
    group_name,
)
from trimaran.records.entry import LogPosition
from trimaran.storage.boundary import Boundary
from trimaran.storage.damage import DamageKind
from trimaran.storage.formatting import format_store
from trimaran.storage.group_list import read_group_list
from trimaran.storage.identity import Identity
from trimaran.storage.journal import LiveGroup
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


def changes_group(operation, path):
    return operation in ("truncate", "remove") and path.startswith("groups/")


def test_an_unformatted_directory_is_refused(kit):
    with pytest.raises(StorageError, match="never formatted"):
        open_store(kit.MemoryFiles(), identity=kit.IDENTITY)


def test_a_directory_is_formatted_once(kit, files):
    with pytest.raises(StorageError, match="formatted already"):
        format_store(files, kit.IDENTITY)


@pytest.mark.parametrize("field", ["cluster_id", "node_id", "disk_id"])
def test_a_directory_of_another_cluster_node_or_disk_is_refused(kit, files, field):
    fields = {
        "cluster_id": kit.IDENTITY.cluster_id,
        "node_id": kit.IDENTITY.node_id,
        "disk_id": kit.IDENTITY.disk_id,
        field: {
            "cluster_id": ClusterId("x" * 22),
            "node_id": NodeId(9),
            "disk_id": DiskId(b"x" * 16),
        }[field],
    }
    with pytest.raises(StorageError, match="expected"):
        open_store(files, identity=Identity(**fields))


@pytest.mark.parametrize("joins", [False, True])
def test_formatting_that_was_interrupted_can_be_done_again(kit, joins):
    for calls in range(60):
        files = kit.MemoryFiles()
        files.fuse = calls
        try:
            format_store(files, kit.IDENTITY, joins=joins)
        except InterruptedError:
            files.fuse = None
            if not files.exists("identity"):
                format_store(files, kit.IDENTITY, joins=joins)
        else:
            break
        assert len(open_store(files, identity=kit.IDENTITY, settings=kit.SMALL).damage) == joins
    assert calls > 10


def test_a_disk_that_joins_has_no_vote_for_the_metadata_at_any_start(kit):
    files = kit.MemoryFiles()
    format_store(files, kit.IDENTITY, joins=True)

    for _ in range(3):
        store = open_store(files, identity=kit.IDENTITY, settings=kit.SMALL)
        (found,) = store.groups.values()
        assert (found.group, found.has_files) == (METADATA_GROUP, True)
        assert found.damage.kind is DamageKind.MISSING_FILES
        assert (found.entries, found.hard_state.vote) == ([], None)
        store.close()


def test_boundary_entries_and_commit_come_back(kit, driver):
    entries, boundary = flushed(kit, driver)
    found = driver.restart().groups[kit.GROUP]

    assert found.boundary == boundary
    assert found.entries == entries[12:]
    assert (found.commit_index, found.commit_known, found.last_index) == (13, 13, 15)
    assert found.damage is None
    assert found.log.last_position == boundary.position
    assert found.log.plan_read_index(Index(10), 1).run() == [entries[9]]


def test_a_commit_index_beyond_the_log_is_known_and_not_used(kit, driver):
    driver.add()
    driver.append(kit.records(1), commit=5)
    found = driver.restart().groups[kit.GROUP]
    assert (found.commit_index, found.commit_known) == (1, 5)


@pytest.mark.parametrize("count", [10, 12])
def test_what_lies_behind_the_boundary_is_cut_and_written_again(kit, driver, count):
    entries, _ = flushed(kit, driver, count)
    driver.flush(*entries[count:])
    whole = {path: bytes(data) for path, data in driver.files.contents.items() if "groups/" in path}
    log = driver.restart().groups[kit.GROUP].log

    assert log.last_index == count
    cut = {path: bytes(data) for path, data in driver.files.contents.items() if "groups/" in path}
    assert cut != whole
    assert all(whole[path].startswith(data) for path, data in cut.items())
    driver.flush(*entries[count:])
    again = {path: bytes(data) for path, data in driver.files.contents.items() if "groups/" in path}
    assert again == whole
    assert driver.restart().damage == []


def test_segments_below_the_log_start_may_be_there_or_not(kit, driver):
    _, boundary = flushed(kit, driver)
    later = Boundary(
        group=kit.GROUP,
        position=boundary.position,
        log_start_index=Index(9),
        log_start_offset=Offset(8),
    )
    driver.round(boundaries=[later])
    found = driver.restart().groups[kit.GROUP]
    assert found.damage is None
    assert found.log.start_offset == 8
    assert found.log.first_index <= 9
    assert found.log.base.index > 0
    assert driver.restart().damage == []


def test_a_log_start_at_the_end_keeps_the_last_segment(kit, driver):
    _, boundary = flushed(kit, driver)
    start = Boundary(
        group=kit.GROUP,
        position=boundary.position,
        log_start_index=Index(13),
        log_start_offset=Offset(12),
    )
    driver.round(boundaries=[start])
    found = driver.restart().groups[kit.GROUP]
    assert found.damage is None
    assert found.log.segment_count == 1


def test_an_install_is_complete_once_its_boundary_is_synced(kit, driver):
    flushed(kit, driver)
    position = LogPosition(index=Index(90), term=Term(4), next_offset=Offset(80), log_time_ms=9)
    drop = driver.log().plan_reset(position)
    driver.round(
        boundaries=[
            Boundary(
                group=kit.GROUP,
                position=position,
                log_start_index=Index(91),
                log_start_offset=Offset(80),
            )
        ]
    )
    driver.append(kit.records(91, term=4, offset=80), previous_term=4)
    found = driver.restart().groups[kit.GROUP]

    assert found.damage is None
    assert [entry.index for entry in found.entries] == [91]
    assert found.log.last_position == position
    assert found.log.segment_count == 0
    assert drop.segments
    driver.flush(kit.records(91, term=4, offset=80))
    driver.round(
        boundaries=[
            Boundary(
                group=kit.GROUP,
                position=driver.log().synced_position,
                log_start_index=Index(91),
                log_start_offset=Offset(80),
            )
        ]
    )
    assert driver.restart().damage == []


def test_an_install_whose_boundary_was_not_synced_never_happened(kit, driver):
    entries, boundary = flushed(kit, driver)
    driver.log().plan_reset(LogPosition(index=Index(90), term=Term(4)))
    found = driver.restart().groups[kit.GROUP]
    assert (found.boundary, found.entries, found.damage) == (boundary, entries[12:], None)


def test_a_group_whose_adding_was_interrupted_was_never_there(kit, driver):
    for calls in range(40):
        files = driver.files.copy()
        node = kit.Driver(files)
        files.fuse = calls
        try:
            node.store.plan_add_group(Boundary(group=kit.GROUP)).run()
        except InterruptedError:
            files.fuse = None
            store = node.restart()
            assert store.groups == {}
            assert store.damage == []
            assert read_group_list(files) == []
            node.add()
            assert damage_of(node.restart(), kit.GROUP) is None
        else:
            break
    assert calls > 3


def test_files_in_the_way_of_a_new_group_are_set_aside(kit, driver):
    directory = group_directory(kit.GROUP)
    for number in range(2):
        driver.files.make_directory(directory)
        driver.files.contents[f"{directory}/old"] = bytearray(b"keep me")
        driver.add(group_id(TopicId(b"t" * 16), number))
        driver.store.groups.pop(kit.GROUP, None)
        driver.add()
        assert driver.files.contents[f"{directory}.aside{number}/old"] == b"keep me"
    assert driver.files.list(directory) == []


def test_a_removed_group_leaves_nothing_wherever_the_removal_stopped(kit, driver):
    driver.add(kit.OTHER)
    driver.add()
    driver.append(kit.records(1))
    driver.flush(kit.records(1))
    driver.log().plan_read_index(Index(1), 1).run()
    for calls in range(60):
        files = driver.files.copy()
        node = kit.Driver(files)
        node.round(removed=[kit.GROUP])
        files.fuse = calls
        finished = True
        try:
            node.store.plan_remove_group(kit.GROUP).run()
        except InterruptedError:
            finished = False
            files.fuse = None
            store = node.restart()
            assert store.damage == []
        files.fuse = None
        assert set(node.store.groups) == {kit.OTHER}
        assert files.list("groups") == [group_name(kit.OTHER)]
        assert read_group_list(files) == [kit.OTHER]
        assert set(node.restart().groups) == {kit.OTHER}
        if finished:
            break
    assert calls > 5


def test_a_removed_group_can_come_back_as_a_new_one(kit, driver):
    driver.add()
    driver.append(kit.records(1))
    driver.round(removed=[kit.GROUP])
    driver.store.plan_remove_group(kit.GROUP).run()
    driver.add()
    driver.append(kit.records(1, term=7), previous_term=0)
    found = driver.restart().groups[kit.GROUP]
    assert found.entries == [kit.records(1, term=7)]
    assert found.damage is None

    driver.round(removed=[kit.GROUP])
    driver.store.plan_remove_group(kit.GROUP).run()
    work = driver.store.plan_add_group(Boundary(group=kit.GROUP))
    work.run()
    new = work.finish()[0]
    driver.rollover(LiveGroup(group=kit.GROUP, hard_state=new.hard_state, boundary=new.boundary))
    assert driver.restart().groups[kit.GROUP].entries == []


def test_the_same_is_found_wherever_the_start_was_interrupted(kit, driver):
    entries, boundary = flushed(kit, driver)
    driver.flush(*entries[12:14])
    driver.add(kit.OTHER)
    position = driver.journal.position
    driver.append(kit.records(16, size=900), previous_term=1)
    path = f"journal/{driver.journal.generation:020d}.journal"
    driver.files.contents[path][position + 512 : position + 1024] = bytes(512)
    driver.store.plan_add_group(Boundary(group=group_id(TopicId(b"t" * 16), 1))).run()

    for calls in range(200):
        files = driver.files.copy()
        files.fuse = calls
        try:
            open_store(files, identity=kit.IDENTITY, settings=kit.SMALL)
        except InterruptedError:
            files.fuse = None
            store = open_store(files, identity=kit.IDENTITY, settings=kit.SMALL)
            found = store.groups[kit.GROUP]
            assert store.damage == []
            assert set(store.groups) == {kit.GROUP, kit.OTHER}
            assert (found.boundary, found.entries) == (boundary, entries[12:])
            assert found.log.last_index == 12
        else:
            break
    assert calls > 30


def test_nothing_is_cut_at_start_before_what_allows_it_is_synced(kit, driver):
    """A boundary may be read from the page cache alone: after a power cut it never was."""
    entries, _ = flushed(kit, driver)
    driver.flush(*entries[12:14])
    for part in driver.log().segments[:-1]:
        driver.files.contents[f"{part.path}.left"] = bytearray(b"of an interrupted deletion")
    driver.files.log.clear()

    driver.restart()

    calls = driver.files.log
    changes = [at for at, (operation, path) in enumerate(calls) if changes_group(operation, path)]
    syncs = [at for at, call in enumerate(calls) if call[0] == "sync" and "journal" in call[1]]
    assert changes
    assert min(syncs) < min(changes)


def test_a_full_disk_at_start_changes_nothing(kit, driver):
    flushed(kit, driver)
    driver.files.failing["allocate", "journal"] = DiskFullError
    before = {path: bytes(data) for path, data in driver.files.contents.items()}
    with pytest.raises(DiskFullError):
        driver.restart()
    assert {path: bytes(data) for path, data in driver.files.contents.items()} == before
    driver.files.failing.clear()
    assert driver.restart().damage == []


def test_starting_reads_the_ends_of_segments_only(kit, driver):
    driver.add()
    driver.log().segment_bytes = 1 << 20
    entries = [kit.records(index, size=3000) for index in range(1, 101)]
    driver.flush(*entries)
    driver.round(boundaries=[Boundary(group=kit.GROUP, position=driver.log().synced_position)])
    driver.files.log.clear()
    driver.restart()
    reads = [path for operation, path in driver.files.log if operation == "read"]
    assert sum(path.endswith(".segment") for path in reads) == 1, "the page behind which it grows"
    assert sum(path.endswith(".rows") for path in reads) < 5


def test_a_removed_group_that_may_have_come_back_is_not_deleted(kit, driver):
    driver.add()
    driver.round(removed=[kit.GROUP])
    driver.store.plan_remove_group(kit.GROUP).run()
    driver.add()
    path = f"journal/{driver.journal.generation:020d}.journal"
    driver.files.contents[path][driver.journal.position - 512 + 20] ^= 1
    store = driver.restart()

    assert damage_of(store, kit.GROUP) is DamageKind.UNCERTAIN
    assert driver.files.exists(group_directory(kit.GROUP))
    assert read_group_list(driver.files) == [kit.GROUP]


def test_leftovers_of_an_interrupted_deletion_do_not_count(kit, driver):
    _, boundary = flushed(kit, driver)
    start = Boundary(
        group=kit.GROUP,
        position=boundary.position,
        log_start_index=Index(13),
        log_start_offset=Offset(12),
    )
    driver.round(boundaries=[start])
    for path in segment_paths(driver):
        if path.endswith(".rows"):
            driver.files.remove(path)
    found = driver.restart().groups[kit.GROUP]
    assert found.damage is None
    assert found.log.segment_count == 0
    assert segment_paths(driver) == []


def test_a_removal_goes_on_over_what_an_earlier_one_left(kit, driver):
    driver.add()
    removed = group_directory(kit.GROUP) + ".removed"
    driver.files.make_directory(removed)
    driver.files.contents[f"{removed}/old"] = bytearray(b"x")
    driver.round(removed=[kit.GROUP])
    driver.store.plan_remove_group(kit.GROUP).run()
    assert driver.files.list("groups") == []
