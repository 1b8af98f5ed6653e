"""Bytes that the disk cannot read are damage like bytes that fail a check, and as easily mended."""

import errno
import os
from random import Random

import pytest

from trimaran.errors import CorruptionError, StorageError
from trimaran.ids import Index
from trimaran.storage.boundary import Boundary
from trimaran.storage.damage import DamageKind
from trimaran.storage.files import PAGE_BYTES, UNREADABLE, RealFiles, read_around
from trimaran.storage.journal import JournalSettings
from trimaran.storage.recovery import StoreSettings

LARGE = StoreSettings(
    journal=JournalSettings(file_bytes=1 << 20), segment_bytes=40_000, open_files_max=8
)
IDS = b"i" * 16 * 20


@pytest.fixture
def lost(monkeypatch):
    """Positions of bytes that no read may touch, as a disk with a bad sector has them."""
    places = {}
    pread = os.pread

    def failing(descriptor, length, position):
        if any(position <= at < position + length for at in places):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return pread(descriptor, length, position)

    monkeypatch.setattr(os, "pread", failing)
    return places


@pytest.fixture
def written(tmp_path):
    """A file of three pages and a bit."""
    files = RealFiles(str(tmp_path))
    file = files.open("a", create=True)
    content = Random(1).randbytes(3 * PAGE_BYTES + 100)
    file.pwrite([content], 0)
    yield file, content
    file.close()


def test_a_page_that_the_disk_cannot_read_is_corruption_with_name_and_position(lost, written):
    file, content = written
    lost[2 * PAGE_BYTES + 700] = None

    with pytest.raises(CorruptionError, match="a at byte 8192: read failed: Input") as caught:
        file.pread(len(content), 10)
    assert (caught.value.path, caught.value.position) == ("a", 2 * PAGE_BYTES)
    with pytest.raises(CorruptionError) as caught:
        file.pread(900, 2 * PAGE_BYTES + 300)
    assert caught.value.position == 2 * PAGE_BYTES + 300, "the caller's first byte is lost, too"
    assert file.pread(100, 2 * PAGE_BYTES) == content[2 * PAGE_BYTES :][:100]


def test_a_read_that_fails_once_is_made_again(monkeypatch, written):
    file, content = written
    pread, failures = os.pread, [OSError(errno.EIO, "once")]

    def failing(*asked):
        if failures:
            raise failures.pop()
        return pread(*asked)

    monkeypatch.setattr(os, "pread", failing)
    assert file.pread(len(content) + 10, 0) == content


def test_other_failures_of_a_read_are_no_damage(monkeypatch, written):
    file, _ = written
    failures = [OSError(errno.ENXIO, "No such device"), OSError(errno.EIO, "once")]

    def failing(*_asked):
        raise failures.pop()

    monkeypatch.setattr(os, "pread", failing)
    with pytest.raises(StorageError, match="No such device") as caught:
        file.pread(10, 0)
    assert not isinstance(caught.value, CorruptionError)


def test_what_lies_around_lost_pages_can_be_read(lost, written):
    file, content = written
    lost[PAGE_BYTES + 5] = lost[3 * PAGE_BYTES + 1] = None

    found = read_around(file, len(content) + 100, 50)

    expected = bytearray(content)
    expected[PAGE_BYTES : 2 * PAGE_BYTES] = UNREADABLE * PAGE_BYTES
    expected[3 * PAGE_BYTES :] = UNREADABLE * 100
    assert found == expected[50:]


def flushed(kit, files, count=80):
    """Return a node with `count` entries in segments under a boundary, and the entries."""
    driver = kit.Driver(files, LARGE)
    driver.add()
    entries = [kit.records(i, size=700, event_ids=IDS) for i in range(1, count + 1)]
    driver.append(*entries)
    position = driver.flush(*entries)
    driver.round(boundaries=[Boundary(group=kit.GROUP, position=position)])
    return driver, entries


def scrubbed(log):
    """Return the entries that the scrub finds bad."""
    bad = []
    for segment in log.segments:
        number = 0
        while number < segment.row_count:
            part = log.plan_scrub(segment, number, 1 << 20).run()
            bad += [] if part.bad_index is None else [part.bad_index]
            number = part.next_number
    return bad


def mend(log, entries):
    """Put back what the scrub finds bad, one entry after the other, until nothing is."""
    count = 0
    while bad := scrubbed(log):
        log.plan_repair([entries[bad[0] - 1]]).run()
        count += 1
        assert count <= len(entries), "each entry is put back once"
    return count


@pytest.mark.parametrize("suffix", [".segment", ".rows", ".ids"])
@pytest.mark.parametrize("number", [0, -1])
def test_every_page_of_a_segment_is_found_lost_and_can_be_written_again(kit, files, suffix, number):
    driver, entries = flushed(kit, files)
    path = driver.log().segments[number].path + suffix
    content = bytes(files.contents[path])
    for page in range(-(-len(content) // PAGE_BYTES)):
        files.unreadable = {path: {page}}

        assert scrubbed(driver.log()), (path, page)
        assert mend(driver.log(), entries) > 0

        assert bytes(files.contents[path]) == content
        assert files.unreadable == {path: set()}


def test_only_entries_in_a_lost_page_are_bad(kit, files):
    driver, _ = flushed(kit, files)
    segment = driver.log().segments[0]
    files.unreadable = {segment.path + ".segment": {2}}

    low, high = 2 * PAGE_BYTES // 700 + 1, 3 * PAGE_BYTES // 700 + 1
    assert scrubbed(driver.log()) == list(range(low, high + 1))
    read = driver.log().plan_read_index(Index(1), 1 << 20).run()
    assert [entry.index for entry in read] == list(range(1, low))
    with pytest.raises(CorruptionError, match=f"entry {low} cannot be read"):
        driver.log().plan_read_index(Index(low), 1).run()


def test_bad_event_ids_spoil_no_entry_before_them(kit, files):
    driver, entries = flushed(kit, files)
    segment = driver.log().segments[0]
    files.contents[segment.path + ".ids"][len(IDS) * 6 + 3] ^= 1

    assert scrubbed(driver.log()) == [7]
    assert mend(driver.log(), entries) == 1


@pytest.mark.parametrize("suffix", [".segment", ".rows", ".ids"])
def test_a_node_starts_whatever_page_of_a_segment_is_lost(kit, files, suffix):
    driver, _ = flushed(kit, files)
    paths = [segment.path + suffix for segment in driver.log().segments]
    damaged = set()
    for path in paths:
        last = (len(files.contents[path]) - 1) // PAGE_BYTES
        for page in range(last + 1):
            copy = files.copy()
            copy.unreadable = {path: {page}}
            store = kit.Driver(copy, LARGE).store
            damage = store.groups[kit.GROUP].damage
            if damage is not None:
                assert damage.kind is DamageKind.ROWS
                damaged.add((path, page))
            elif path == paths[-1]:
                assert page < last, "the next entries are written behind it"
    assert (paths[-1], (len(files.contents[paths[-1]]) - 1) // PAGE_BYTES) in damaged


def test_lost_pages_of_the_journal_are_damage_and_never_a_torn_tail(kit, files):
    driver = kit.Driver(files, LARGE)
    driver.add()
    ends = []
    for index in range(1, 20):
        driver.append(kit.records(index, size=1500))
        ends.append(len(bytes(files.contents[journal_path(driver)]).rstrip(b"\0")))
    for page in range((ends[-1] - 1) // PAGE_BYTES + 1):
        copy = files.copy()
        copy.unreadable = {journal_path(driver): {page}}
        store = kit.Driver(copy, LARGE).store
        assert store.groups[kit.GROUP].damage is not None, page
        assert not any("torn" in note for note in store.notes)


def journal_path(driver):
    return f"journal/{driver.journal.generation:020d}.journal"
