from trimaran.ids import (
    Index,
    NodeId,
    Offset,
)
from trimaran.storage.boundary import Boundary
from trimaran.storage.segment import group_directory
from trimaran.storage.sidecar import decode_row, encode_row, payload_checksum, row_seed
from trimaran.storage.verify import DataDirectory, verify_store


def flushed(kit, driver, count=12, **fields):
    """Journal and flush entries 1 to `count`, bound them, and journal three more."""
    driver.add()
    entries = [kit.records(index, size=150, event_ids=b"i" * 16) for index in range(1, count + 4)]
    driver.append(*entries)
    position = driver.flush(*entries[:count])
    boundary = Boundary(group=kit.GROUP, position=position, voters=(NodeId(1),), **fields)
    driver.round(boundaries=[boundary], commits=[(kit.GROUP, Index(count + 1))])
    return entries, boundary


def segment_paths(driver):
    return sorted(path for path in driver.files.contents if path.startswith("groups/"))


def test_verify_notices_every_changed_byte_of_segments(kit, driver):
    flushed(kit, driver, count=4)
    assert verify_store(driver.files) == []
    for path in segment_paths(driver):
        for position in range(len(driver.files.contents[path])):
            driver.files.contents[path][position] ^= 8
            assert verify_store(driver.files), (path, position)
            driver.files.contents[path][position] ^= 8


def test_a_dump_has_every_entry_of_segments_and_journal(kit, driver):
    entries, boundary = flushed(kit, driver)
    driver.add(kit.OTHER)
    directory = DataDirectory(driver.files)
    assert directory.identity == kit.IDENTITY
    dumped = {group.group: group for group in directory.groups()}

    assert set(dumped) == {kit.GROUP, kit.OTHER}
    assert dumped[kit.GROUP].boundary == boundary
    assert dumped[kit.GROUP].commit_known == 13
    assert dumped[kit.GROUP].damage is None
    assert list(directory.entries(kit.GROUP)) == entries
    assert list(directory.entries(kit.OTHER)) == []
    path = segment_paths(driver)[0].rpartition(".")[0] + ".segment"
    driver.files.contents[path][160] ^= 1
    assert list(directory.entries(kit.GROUP)) == [entries[0], *entries[2:]]
    directory.close()


def test_verify_says_what_is_wrong_with_identity_list_and_groups(kit, driver):
    driver.add()
    assert verify_store(driver.files) == []

    files = driver.files.copy()
    files.remove("identity")
    assert "never formatted" in str(verify_store(files)[0])
    files = driver.files.copy()
    files.contents["identity"][15] ^= 1
    assert "identity" in str(verify_store(files)[0])
    files = driver.files.copy()
    files.contents["groups.list"][15] ^= 1
    assert "groups.list" in str(verify_store(files)[0])
    driver.store.plan_add_group(Boundary(group=kit.OTHER)).run()
    assert verify_store(driver.files) == [], "an added group that never began"
    driver.files.contents[f"{group_directory(kit.OTHER)}/x"] = bytearray()
    assert "has files and is not in the journal" in str(verify_store(driver.files)[0])
    work = driver.store
    work._list.remove([kit.GROUP, kit.OTHER])
    assert "not on the list" in str(verify_store(driver.files)[0])


def test_verify_notices_a_log_whose_entries_do_not_follow(kit, driver):
    driver.add()
    log = driver.log()
    entries = [kit.records(1, term=3), kit.records(2, term=3), kit.records(3, term=3)]
    entries[1].log_time_ms = 5
    driver.flush(*entries)
    driver.round(boundaries=[Boundary(group=kit.GROUP, position=log.synced_position)])
    found = verify_store(driver.files)
    assert ["log time" in str(finding) for finding in found] == [True]


def test_verify_reads_large_entries_a_few_at_a_time(kit, driver):
    driver.add()
    driver.log().segment_bytes = 64 << 20
    entries = [kit.control(index, payload=b"x" * (3 << 20)) for index in (1, 2, 3)]
    driver.flush(*entries)
    driver.round(boundaries=[Boundary(group=kit.GROUP, position=driver.log().synced_position)])
    assert verify_store(driver.files) == []
    driver.files.log.clear()
    assert list(DataDirectory(driver.files).entries(kit.GROUP)) == entries
    reads = [path for operation, path in driver.files.log if operation == "read"]
    assert sum(path.endswith(".segment") for path in reads) == 1 + 3, "the end first"


def test_verify_notices_rows_that_do_not_follow_each_other(kit, driver):
    """Rows that pass their own check and still are not a log: only a fault of ours makes them."""
    driver.add()
    entries = [kit.records(index, term=4) for index in (1, 2, 3, 4)]
    position = driver.flush(*entries)
    driver.round(boundaries=[Boundary(group=kit.GROUP, position=position)])
    path = driver.log().segments[0].paths[2]
    rows = driver.files.contents[path]
    seed = row_seed(kit.GROUP)

    def changed(number, **fields):
        files = driver.files.copy()
        at = 80 * (number + 1)
        row = decode_row(bytes(rows[at : at + 80]), seed, Index(number + 1))
        for name, value in fields.items():
            setattr(row, name, value)
        files.contents[path][at : at + 80] = encode_row(row, seed)
        return " ".join(str(finding) for finding in verify_store(files))

    assert "payload of entry 2 fails its check" in changed(1, position=50)
    assert "term descends at entry 3" in changed(2, term=3)
    assert "offset of entry 3 is not 2" in changed(
        2, offset=7, checksum=payload_checksum(kit.GROUP, Offset(7), entries[2].payload)
    )
