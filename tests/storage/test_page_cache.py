"""What was written goes from the system's cache once it is synced: oldest first, up to a budget."""

import errno
import os

import pytest

from trimaran.storage.files import PAGE_BYTES, RealFiles
from trimaran.storage.journal import UNCACHE_STEP_BYTES
from trimaran.storage.page_cache import PageCache
from trimaran.storage.recovery import StoreSettings


def test_the_oldest_bytes_go_when_the_budget_is_spent(files):
    cache = PageCache(files, 10 * PAGE_BYTES)

    cache.synced("a", 0, 6 * PAGE_BYTES)
    cache.synced("b", 0, 4 * PAGE_BYTES)
    assert files.uncached == []
    cache.synced("c", 0, 1)
    assert files.uncached == [("a", 0, 6 * PAGE_BYTES)]
    cache.synced("a", 6 * PAGE_BYTES, 7 * PAGE_BYTES)
    cache.synced("d", 0, 50 * PAGE_BYTES)
    assert files.uncached[1:] == [
        ("b", 0, 4 * PAGE_BYTES),
        ("c", 0, 1),
        ("a", 6 * PAGE_BYTES, 7 * PAGE_BYTES),
        ("d", 0, 50 * PAGE_BYTES),
    ]
    assert len(cache) == 0


def test_small_appends_hold_no_more_than_their_pages(files):
    """A tuple for each of them would take more memory than it leaves cached."""
    budget, size, paths = 100 * PAGE_BYTES, 170, [f"log-{number}" for number in range(7)]
    cache = PageCache(files, budget)

    for start in range(0, 700 * PAGE_BYTES, size):
        for path in paths:
            cache.synced(path, start, start + size)
        assert len(cache) <= budget // PAGE_BYTES
    for path in paths:
        ranges = [(start, end) for name, start, end in files.uncached if name == path]
        assert [start for start, _ in ranges] == [0, *(end for _, end in ranges[:-1])]
        assert ranges[-1][1] >= 700 * PAGE_BYTES - budget


def test_small_appends_to_many_files_count_as_the_pages_that_they_take(files):
    cache = PageCache(files, 10 * PAGE_BYTES)

    for number in range(100):
        cache.synced(str(number), PAGE_BYTES - 1, PAGE_BYTES + 1)

    assert len(cache) == 5
    assert [path for path, _, _ in files.uncached] == [str(number) for number in range(95)]


def test_an_append_without_bytes_holds_nothing(files):
    for budget in (0, 10 * PAGE_BYTES):
        cache = PageCache(files, budget)
        for position in range(100):
            cache.synced("a", position, position)
        assert len(cache) == 0
    assert files.uncached == []


def test_a_running_journal_leaves_less_than_a_step_in_the_cache(files, kit):
    driver = kit.Driver(files, StoreSettings())
    driver.add()
    index, written = 1, 0
    while written < 3 * UNCACHE_STEP_BYTES:
        before = driver.journal.position
        driver.append(kit.records(index, size=100_000))
        index += 1
        written += driver.journal.position - before
        assert driver.journal.position - driver.journal.cached_from < UNCACHE_STEP_BYTES

    ranges = [(start, end) for _, start, end in files.uncached]
    assert [start for start, _ in ranges] == [0, *(end for _, end in ranges[:-1])]
    assert ranges[-1][1] <= driver.journal.position


def is_cached(path):
    """Whether the first byte can be read without asking the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.preadv(descriptor, [bytearray(1)], 0, os.RWF_NOWAIT)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno != errno.EOPNOTSUPP:
            raise
        pytest.skip("this file system does not tell what is cached")
    finally:
        os.close(descriptor)
    return True


def test_synced_bytes_really_leave_the_cache_and_are_still_there(tmp_path):
    real = RealFiles(str(tmp_path))
    file = real.open("a", create=True)
    file.pwrite([b"x" * 100_000], 0)
    file.sync()
    if not is_cached(tmp_path / "a"):
        pytest.skip("this file system keeps nothing in the cache")

    real.uncache("a", 0, 100_000)

    assert not is_cached(tmp_path / "a")
    assert file.pread(200_000, 0) == b"x" * 100_000
    file.close()


def test_a_file_that_is_gone_is_no_failure(tmp_path):
    real = RealFiles(str(tmp_path))
    real.uncache("gone", 0, 1)
    assert not real.exists("gone")
