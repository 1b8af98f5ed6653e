import pytest
from crc32c import crc32c
from hypothesis import given
from hypothesis import strategies as st

from trimaran.errors import CorruptionError, StorageError
from trimaran.ids import ClusterId, DiskId, GroupId, NodeId
from trimaran.storage.frames import decode_frame, encode_frame, read_whole, replace_whole
from trimaran.storage.group_list import (
    GROUP_LIST_MAGIC,
    GroupList,
    decode_group_list,
    encode_group_list,
    read_group_list,
)
from trimaran.storage.identity import (
    IDENTITY_BODY,
    IDENTITY_MAGIC,
    Identity,
    check_identity,
    decode_identity,
    encode_identity,
    read_identity,
    write_identity,
)
from trimaran.storage.journal_files import (
    RANGE_BODY,
    RANGE_MAGIC,
    RANGE_PATH,
    list_journal,
    read_range,
    write_range,
)

ME = Identity(cluster_id=ClusterId("c" * 22), node_id=NodeId(7), disk_id=DiskId(b"d" * 16))


@given(st.binary(max_size=300))
def test_a_frame_gives_its_body_back(body):
    assert decode_frame("f", b"TEST", encode_frame(b"TEST", body)) == body


def test_no_changed_or_missing_byte_of_a_frame_goes_unnoticed():
    content = encode_frame(b"TEST", b"some body")
    for position in range(len(content)):
        with pytest.raises(CorruptionError):
            decode_frame("f", b"TEST", content[:position])
        for bit in range(8):
            changed = bytearray(content)
            changed[position] ^= 1 << bit
            with pytest.raises(CorruptionError):
                decode_frame("f", b"TEST", bytes(changed))
    with pytest.raises(CorruptionError, match="magic"):
        decode_frame("f", b"ELSE", content)


def test_a_frame_of_another_version_is_refused():
    content = bytearray(encode_frame(b"TEST", b""))
    content[5] = 2
    fixed = encode_frame(b"TEST", b"")
    assert decode_frame("f", b"TEST", fixed) == b""

    content[-4:] = crc32c(bytes(content[:-4])).to_bytes(4, "big")
    with pytest.raises(CorruptionError, match="version 2"):
        decode_frame("f", b"TEST", bytes(content))


def test_a_file_is_replaced_whole_even_over_a_leftover(kit):
    files = kit.MemoryFiles()
    replace_whole(files, "a", b"one")
    files.contents["a.new"] = bytearray(b"half writ")
    replace_whole(files, "a", b"two")

    assert read_whole(files, "a") == b"two"
    assert files.list(".") == [] or "a.new" not in files.contents


def test_a_file_is_synced_before_its_name_and_its_name_at_last(kit):
    files = kit.MemoryFiles()
    files.make_directory("d")
    replace_whole(files, "d/a", b"one")

    assert files.log == [
        ("make_directory", "d"),
        ("create", "d/a.new"),
        ("write", "d/a.new"),
        ("sync", "d/a.new"),
        ("rename", "d/a.new"),
        ("sync_directory", "d"),
    ]


def test_an_identity_is_written_once_and_read_back(kit):
    files = kit.MemoryFiles()
    with pytest.raises(StorageError, match="never formatted"):
        read_identity(files)
    write_identity(files, ME)

    assert read_identity(files) == ME
    check_identity(files, ME)
    with pytest.raises(StorageError, match="formatted already"):
        write_identity(files, ME)
    other = Identity(cluster_id=ME.cluster_id, node_id=NodeId(8), disk_id=ME.disk_id)
    with pytest.raises(StorageError, match="expected"):
        check_identity(files, other)


def test_an_identity_of_a_newer_format_is_refused():
    newer = Identity(
        cluster_id=ME.cluster_id, node_id=ME.node_id, disk_id=ME.disk_id, format_version=2
    )
    with pytest.raises(StorageError, match="format version 2"):
        decode_identity(encode_identity(newer))


@pytest.mark.parametrize(
    "body",
    [
        b"short",
        IDENTITY_BODY.pack(1, 7, b"d" * 16, 5) + b"abc",
        IDENTITY_BODY.pack(1, 7, b"d" * 16, 2) + b"\xff\xff",
    ],
)
def test_an_identity_body_that_does_not_add_up_is_refused(body):
    with pytest.raises(CorruptionError):
        decode_identity(encode_frame(IDENTITY_MAGIC, body))


def test_the_list_of_groups_grows_and_shrinks_durably(kit):
    files = kit.MemoryFiles()
    groups = GroupList(files, ())
    groups.add([kit.OTHER, kit.GROUP])
    assert read_group_list(files) == sorted([kit.GROUP, kit.OTHER])

    groups.remove([kit.GROUP])
    assert read_group_list(files) == [kit.OTHER]
    written = len(files.log)
    groups.remove([kit.GROUP])
    assert len(files.log) == written, "nothing changed, nothing is written"


def test_a_list_of_groups_that_does_not_add_up_is_damaged(kit):
    with pytest.raises(CorruptionError, match="whole group ids"):
        decode_group_list(encode_frame(GROUP_LIST_MAGIC, b"x" * 21))
    with pytest.raises(CorruptionError, match="missing"):
        read_group_list(kit.MemoryFiles())
    assert decode_group_list(encode_group_list([GroupId(b"g" * 20)])) == [b"g" * 20]


def test_the_range_of_journal_files_is_kept(kit):
    files = kit.MemoryFiles()
    files.make_directory("journal")
    with pytest.raises(CorruptionError, match="missing"):
        read_range(files)
    write_range(files, 3, 5)
    assert read_range(files) == (3, 5)


@pytest.mark.parametrize("body", [b"x", RANGE_BODY.pack(0, 3), RANGE_BODY.pack(4, 3)])
def test_a_range_that_is_none_is_damaged(kit, body):
    files = kit.MemoryFiles()
    files.make_directory("journal")
    replace_whole(files, RANGE_PATH, encode_frame(RANGE_MAGIC, body))
    with pytest.raises(CorruptionError):
        read_range(files)


def test_journal_files_are_told_from_what_lies_beside_them(kit):
    files = kit.MemoryFiles()
    for name in (
        "00000000000000000003.journal",
        "00000000000000000012.journal",
        "00000000000000000013.journal.new",
        "00000000000000000001.journal.damaged",
        "range",
        "range.new",
        "7.journal",
    ):
        files.contents[f"journal/{name}"] = bytearray()
    found = list_journal(files)

    assert found.generations == (3, 12)
    assert found.newest_seen == 13
    assert found.unfinished == ("journal/00000000000000000013.journal.new",)
