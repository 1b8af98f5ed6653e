"""What was written goes from the system's cache once it is synced: oldest first, up to a budget."""

import errno
import os

import pytest

from trimaran.storage.files import RealFiles
from trimaran.storage.journal import UNCACHE_STEP_BYTES
from trimaran.storage.page_cache import PageCache
from trimaran.storage.recovery import StoreSettings


def test_the_oldest_bytes_go_when_the_budget_is_spent(files):
    cache = PageCache(files, 100)

    cache.synced("a", 0, 60)
    cache.synced("b", 0, 40)
    assert files.uncached == []
    cache.synced("a", 60, 70)
    assert files.uncached == [("a", 0, 60)]
    cache.synced("c", 0, 500)
    assert files.uncached == [("a", 0, 60), ("b", 0, 40), ("a", 60, 70), ("c", 0, 500)]


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
