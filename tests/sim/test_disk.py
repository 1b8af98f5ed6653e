from random import Random

import pytest

from trimaran.errors import CorruptionError, DiskFullError, StorageError
from trimaran.sim.disk import PAGE_BYTES, SECTOR_BYTES, Disk
from trimaran.sim.files import ProcessEnded, SimFiles
from trimaran.sim.trace import EventLog
from trimaran.storage.files import Files


def new_disk(seed=1):
    return Disk("disk", Random(seed), EventLog(lambda: 0.0))


@pytest.fixture
def disk():
    return new_disk()


@pytest.fixture
def files(disk):
    return SimFiles(disk, who="node")


def reopen(disk):
    return SimFiles(disk, who="node again")


def stored(files, path, data=b"x" * 2000):
    """Create a file that is durable, name included."""
    file = files.open(path, create=True)
    file.pwrite([data], 0)
    file.sync()
    files.sync_directory("")
    return file


def content(files, path):
    file = files.open(path)
    return file.pread(file.size(), 0)


def test_the_twin_fits_the_protocol(files):
    def takes(port: Files):
        return port.free_bytes()

    assert takes(files) > 0


def test_bytes_are_read_back_at_once_as_they_were_written(files):
    file = files.open("a", create=True)
    file.pwrite([b"hello ", bytearray(b"big "), memoryview(b"world")], 3)

    assert file.size() == 18
    assert file.pread(100, 0) == b"\0\0\0hello big world"
    assert file.pread(5, 9) == b"big w"
    assert file.pread(5, 18) == b""


def test_truncate_cuts_and_extends_with_zeros(files):
    file = stored(files, "a", b"x" * 1000)
    file.truncate(10)
    file.truncate(600)

    assert file.pread(1000, 0) == b"x" * 10 + bytes(590)
    file.sync()
    files.disk.cut_power()
    assert content(reopen(files.disk), "a") == b"x" * 10 + bytes(590)


def test_allocated_bytes_read_as_zeros_and_keep_what_is_there(files):
    file = stored(files, "a", b"abc")
    file.allocate(10_000)
    file.allocate(5)

    assert file.size() == 10_000
    assert file.pread(10_000, 0) == b"abc" + bytes(9997)


def test_open_wants_an_existing_file_and_create_a_new_one(files):
    files.open("a", create=True)
    with pytest.raises(StorageError, match="exists"):
        files.open("a", create=True)
    with pytest.raises(StorageError, match="No such"):
        files.open("b")
    with pytest.raises(StorageError, match="directory"):
        files.open("missing/b", create=True)


def test_directories_list_their_names_in_order(files):
    files.make_directory("d/e")
    for name in "zbm":
        files.open(f"d/{name}", create=True)

    assert files.list("d") == ["b", "e", "m", "z"]
    assert files.list(".") == ["d"]
    assert files.list("nothing") == []
    assert files.exists("d/e")
    assert not files.exists("d/q")
    files.remove("d")
    assert files.list("") == []


def test_rename_replaces_its_target(files):
    stored(files, "a", b"new")
    stored(files, "b", b"old")
    files.rename("a", "b")

    assert files.list("") == ["b"]
    assert content(files, "b") == b"new"


def test_an_open_file_outlives_its_name(files):
    file = stored(files, "a", b"data")
    files.remove("a")

    assert file.pread(4, 0) == b"data"


@pytest.mark.parametrize("seed", range(50))
def test_a_power_cut_never_loses_what_was_synced(seed):
    disk = new_disk(seed)
    files = SimFiles(disk, who="node")
    file = stored(files, "a", Random(seed).randbytes(5000))
    before = content(files, "a")
    file.pwrite([b"unsynced" * 200], 5000)
    disk.cut_power()

    assert content(reopen(disk), "a")[:4608] == before[:4608], "whole sectors below the write"


def test_a_killed_process_leaves_the_page_cache_and_a_later_power_cut_still_loses_it():
    outcomes = set()
    for seed in range(30):
        disk = new_disk(seed)
        file = stored(SimFiles(disk, who="node"), "a", b"old" * 400)
        file.pwrite([b"new" * 400], 0)
        assert content(reopen(disk), "a") == b"new" * 400
        disk.cut_power()
        outcomes.add(content(reopen(disk), "a"))

    assert b"old" * 400 in outcomes
    assert b"new" * 400 in outcomes
    assert len(outcomes) > 2, "some cuts tear the write"


def test_a_power_cut_decides_for_each_unsynced_sector_on_its_own():
    seen = set()
    for seed in range(60):
        disk = new_disk(seed)
        disk.conditions.torn_sectors = 0.0
        file = stored(SimFiles(disk, who="node"), "a", b"o" * SECTOR_BYTES * 3)
        file.pwrite([b"n" * SECTOR_BYTES * 3], 0)
        disk.cut_power()
        data = content(reopen(disk), "a")
        sectors = [data[at : at + SECTOR_BYTES] for at in range(0, len(data), SECTOR_BYTES)]
        assert all(sector in (b"o" * SECTOR_BYTES, b"n" * SECTOR_BYTES) for sector in sectors)
        seen.add("".join(chr(sector[0]) for sector in sectors))

    assert seen == {a + b + c for a in "on" for b in "on" for c in "on"}


def test_a_sector_can_tear_in_the_middle_where_the_disk_allows_it():
    torn = 0
    for seed in range(20):
        disk = new_disk(seed)
        disk.conditions.torn_sectors = 1.0
        file = stored(SimFiles(disk, who="node"), "a", b"o" * SECTOR_BYTES)
        file.pwrite([b"n" * SECTOR_BYTES], 0)
        disk.cut_power()
        torn += len(set(content(reopen(disk), "a"))) == 2

    assert torn == 20


def test_a_sector_written_twice_may_come_back_in_its_middle_version():
    seen = set()
    for seed in range(80):
        disk = new_disk(seed)
        file = stored(SimFiles(disk, who="node"), "a", b"0" * SECTOR_BYTES)
        file.pwrite([b"1" * SECTOR_BYTES], 0)
        file.pwrite([b"2" * SECTOR_BYTES], 0)
        disk.cut_power()
        seen.add(content(reopen(disk), "a")[:1])

    assert seen == {b"0", b"1", b"2"}


def test_an_unsynced_size_may_be_the_old_or_the_new_one():
    sizes = set()
    for seed in range(60):
        disk = new_disk(seed)
        file = stored(SimFiles(disk, who="node"), "a", b"x" * 1000)
        file.pwrite([b"y" * 1000], 1000)
        disk.cut_power()
        sizes.add(reopen(disk).open("a").size())

    assert {1000, 2000} < sizes
    assert all(1000 <= size <= 2000 for size in sizes)


def test_an_unsynced_truncation_may_be_undone_by_a_power_cut():
    sizes = set()
    for seed in range(40):
        disk = new_disk(seed)
        file = stored(SimFiles(disk, who="node"), "a", b"x" * 1000)
        file.truncate(100)
        disk.cut_power()
        sizes.add(reopen(disk).open("a").size())

    assert {100, 1000} <= sizes


@pytest.mark.parametrize(
    "change",
    [
        lambda files: files.open("new", create=True),
        lambda files: files.rename("a", "renamed"),
        lambda files: files.remove("a"),
        lambda files: files.make_directory("directory"),
    ],
)
def test_an_unsynced_directory_change_may_be_lost_and_a_synced_one_never(change):
    outcomes = set()
    for seed in range(40):
        disk = new_disk(seed)
        files = SimFiles(disk, who="node")
        stored(files, "a")
        before = files.list("")
        change(files)
        after = files.list("")
        disk.cut_power()
        outcomes.add(tuple(reopen(disk).list("")))
    assert outcomes == {tuple(before), tuple(after)}

    for seed in range(20):
        disk = new_disk(seed)
        files = SimFiles(disk, who="node")
        stored(files, "a")
        change(files)
        files.sync_directory("")
        disk.cut_power()
        assert reopen(disk).list("") == after


def test_syncing_a_file_does_not_make_its_name_durable():
    found = set()
    for seed in range(20):
        disk = new_disk(seed)
        file = SimFiles(disk, who="node").open("a", create=True)
        file.pwrite([b"data"], 0)
        file.sync()
        disk.cut_power()
        found.add(reopen(disk).exists("a"))

    assert found == {False, True}


def test_a_rename_of_unsynced_content_may_leave_an_empty_file():
    contents = set()
    for seed in range(60):
        disk = new_disk(seed)
        files = SimFiles(disk, who="node")
        stored(files, "a", b"old")
        files.open("a.tmp", create=True).pwrite([b"new"], 0)
        files.rename("a.tmp", "a")
        files.sync_directory("")
        disk.cut_power()
        contents.add(content(reopen(disk), "a"))

    assert b"new" in contents
    assert b"" in contents
    assert b"old" not in contents, "the name itself was synced"


@pytest.mark.parametrize("dropped", [False, True])
def test_a_failed_sync_drops_the_pages_and_the_next_sync_lies_about_them(disk, files, dropped):
    disk.conditions.dropped = float(dropped)
    file = stored(files, "a", b"old")
    file.pwrite([b"new"], 0)
    disk.fail_next("sync", "a")

    with pytest.raises(StorageError) as caught:
        file.sync()
    assert not isinstance(caught.value, DiskFullError)
    file.sync()
    assert content(files, "a") == (b"old" if dropped else b"new"), "file systems differ"
    assert disk.counts == {"failed sync": 1}
    disk.cut_power()
    assert content(reopen(disk), "a") == b"old"


def test_a_planned_fault_strikes_once_and_only_where_it_was_planned(disk, files):
    a, b = stored(files, "a"), stored(files, "b")
    disk.fail_next("read", "b")

    assert a.pread(1, 0) == b"x"
    with pytest.raises(StorageError):
        b.pread(1, 0)
    assert b.pread(1, 0) == b"x"


def test_a_full_disk_takes_a_part_of_the_write_and_works_again_once_there_is_room(disk, files):
    file = stored(files, "a", b"x" * 1000)
    disk.conditions.capacity = 1500

    with pytest.raises(DiskFullError):
        file.pwrite([b"y" * 1000], 1000)
    assert file.size() == 1500
    assert files.free_bytes() == 0
    with pytest.raises(DiskFullError):
        file.allocate(1501)
    file.pwrite([b"z" * 1000], 0)
    disk.conditions.capacity = 3000
    file.pwrite([b"y" * 1000], 1000)
    assert files.free_bytes() == 1000


def test_a_rotten_bit_is_read_and_survives_power_cuts(disk, files):
    stored(files, "a", bytes(1000))
    disk.file_node("a").flip_bit(700, 3)
    assert content(files, "a")[700] == 8
    disk.cut_power()

    assert content(reopen(disk), "a")[700] == 8
    assert disk.file_paths() == ["a"]


def test_a_page_that_cannot_be_read_is_sound_again_once_it_is_written_as_a_whole(disk, files):
    stored(files, "a", b"x" * 3 * PAGE_BYTES)
    file = files.open("a")
    disk.file_node("a").unreadable[1] = None

    with pytest.raises(CorruptionError) as caught:
        file.pread(2 * PAGE_BYTES, 100)
    assert (caught.value.path, caught.value.position) == ("a", PAGE_BYTES)
    assert file.pread(PAGE_BYTES - 100, 100) == b"x" * (PAGE_BYTES - 100)
    assert file.pread(100, 2 * PAGE_BYTES) == b"x" * 100
    with pytest.raises(StorageError, match="write failed"):
        file.pwrite([b"y" * 100], PAGE_BYTES)
    with pytest.raises(StorageError, match="truncate failed"):
        file.truncate(PAGE_BYTES + 100)
    with pytest.raises(CorruptionError):
        file.pread(1, PAGE_BYTES + 50)

    file.pwrite([b"y" * (PAGE_BYTES + 100)], PAGE_BYTES - 50)
    assert file.pread(PAGE_BYTES, PAGE_BYTES) == b"y" * PAGE_BYTES
    disk.file_node("a").unreadable[2] = None
    file.truncate(2 * PAGE_BYTES)
    file.truncate(3 * PAGE_BYTES)
    assert file.pread(PAGE_BYTES, 2 * PAGE_BYTES) == bytes(PAGE_BYTES)
    assert disk.counts["lost read"] == 2


def test_a_fuse_ends_the_process_between_its_disk_calls(disk, files):
    file = stored(files, "a", b"old" * 1000)
    files.fuse = 1
    file.pwrite([b"new" * 1000], 0)

    with pytest.raises(ProcessEnded):
        file.sync()
    with pytest.raises(ProcessEnded):
        files.remove("a")
    assert content(reopen(disk), "a") == b"new" * 1000


def test_a_process_that_ends_inside_a_write_has_written_a_part():
    parts = set()
    for seed in range(20):
        disk = new_disk(seed)
        files = SimFiles(disk, who="node")
        file = stored(files, "a", b"o" * 100_000)
        files.fuse = 0
        with pytest.raises(ProcessEnded):
            file.pwrite([b"n" * 90_000], 1000)
        written = content(reopen(disk), "a").count(b"n")
        assert (1000 + written) % PAGE_BYTES == 0 or written in (0, 90_000)
        parts.add(written)

    assert len(parts) > 10


def test_a_dead_process_s_files_refuse_every_call(files):
    file = stored(files, "a")
    files.detach()

    with pytest.raises(StorageError, match="dead"):
        file.pwrite([b"x"], 0)
    with pytest.raises(StorageError, match="dead"):
        files.list("")


def test_calls_that_would_block_the_loop_are_noted(files):
    stored(files, "a")
    assert files.blocked_calls == []
    files.blocking_allowed = False
    files.open("a").pread(1, 0)

    assert files.blocked_calls == ["open a", "read a"]


def test_operations_take_time_and_a_slow_disk_takes_more(disk, files):
    stored(files, "a")
    assert 0 < disk.take_spent_s() < 1
    assert disk.take_spent_s() == 0
    disk.conditions.slow_s = 5
    files.open("a").sync()

    assert disk.take_spent_s() > 5


@pytest.mark.parametrize("seed", range(40))
def test_a_synced_file_equals_a_model_after_any_history(seed):
    chance = Random(seed)
    disk = new_disk(seed)
    files = SimFiles(disk, who="node")
    file = stored(files, "a", b"")
    model = bytearray()
    for _ in range(60):
        match chance.randrange(4):
            case 0 | 1:
                position, data = chance.randrange(3000), chance.randbytes(chance.randrange(1500))
                if data:
                    model.extend(bytes(max(0, position - len(model))))
                    model[position : position + len(data)] = data
                file.pwrite([data], position)
            case 2:
                size = chance.randrange(4000)
                del model[size:]
                model.extend(bytes(size - len(model)))
                file.truncate(size)
            case _:
                file.sync()
        assert file.pread(10_000, 0) == model
    file.sync()
    disk.cut_power()

    assert content(reopen(disk), "a") == model
