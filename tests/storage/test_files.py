import errno
import os

import pytest

from trimaran.errors import DiskFullError, StorageError
from trimaran.storage.files import RealFiles


@pytest.fixture
def real(tmp_path):
    return RealFiles(str(tmp_path / "data"))


def created(real, path="a", data=b"hello"):
    real.make_directory(".")
    file = real.open(path, create=True)
    file.pwrite([data], 0)
    return file


def test_buffers_are_written_one_behind_the_other_at_the_position(real):
    file = created(real)
    file.pwrite([b"big ", bytearray(b"wide "), memoryview(b"world")], 5)

    assert file.pread(100, 0) == b"hellobig wide world"
    assert file.pread(3, 5) == b"big"
    assert file.pread(10, 19) == b""
    assert file.size() == 19
    file.sync()
    file.close()
    file.close()


def test_more_buffers_than_one_call_takes_are_all_written(real):
    file = created(real, data=b"")
    file.pwrite([bytes((number % 256,)) for number in range(3000)], 7)

    assert file.pread(4000, 7) == bytes(number % 256 for number in range(3000))
    file.close()


def test_short_writes_and_short_reads_are_continued(real, monkeypatch):
    file = created(real, data=b"")
    whole_pread = os.pread

    def short_pwritev(descriptor, buffers, position):
        return os.pwrite(descriptor, b"".join(buffers)[:3], position)

    monkeypatch.setattr(os, "pwritev", short_pwritev)
    monkeypatch.setattr(os, "pread", lambda fd, size, at: whole_pread(fd, min(size, 2), at))
    file.pwrite([b"abc", b"defg"], 0)

    assert file.pread(7, 0) == b"abcdefg"
    assert file.pread(9, 0) == b"abcdefg"
    file.close()


def test_a_write_that_takes_nothing_is_a_full_disk(real, monkeypatch):
    file = created(real, data=b"")
    monkeypatch.setattr(os, "pwritev", lambda *_: 0)
    monkeypatch.setattr(os, "pwrite", lambda *_: 0)

    with pytest.raises(DiskFullError, match="a: write failed"):
        file.pwrite([b"abc"], 0)
    file.close()


def test_no_space_is_a_full_disk_from_a_write_and_never_from_a_sync(real, monkeypatch):
    file = created(real)

    def no_space(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    for name in ("pwritev", "fdatasync", "posix_fallocate", "ftruncate"):
        monkeypatch.setattr(os, name, no_space)

    with pytest.raises(DiskFullError):
        file.pwrite([b"x"], 0)
    with pytest.raises(DiskFullError):
        file.allocate(10)
    with pytest.raises(DiskFullError):
        file.truncate(10)
    with pytest.raises(StorageError) as caught:
        file.sync()
    assert not isinstance(caught.value, DiskFullError)
    file.close()


def test_other_failures_name_the_file(real, monkeypatch):
    file = created(real)

    def broken(*_):
        raise OSError(errno.ENXIO, "No such device")

    monkeypatch.setattr(os, "pread", broken)
    with pytest.raises(StorageError, match=r"data/a: read failed: No such device"):
        file.pread(1, 0)
    file.close()


def test_allocated_and_extended_bytes_read_as_zeros(real):
    file = created(real, data=b"abc")
    file.allocate(10)
    assert file.pread(20, 0) == b"abc" + bytes(7)
    file.truncate(2)
    file.truncate(4)
    assert file.pread(20, 0) == b"ab\0\0"
    file.close()


def test_create_demands_a_new_file_and_open_an_existing_one(real):
    created(real).close()

    with pytest.raises(StorageError, match="create failed"):
        real.open("a", create=True)
    with pytest.raises(StorageError, match="open failed"):
        real.open("b")


def test_directories_are_made_listed_renamed_and_removed(real):
    real.make_directory("x/y")
    real.make_directory("x/y")
    created(real, "x/y/b").close()
    created(real, "x/y/a").close()
    real.rename("x/y/b", "x/y/c")
    real.sync_directory("x/y")

    assert real.list("x/y") == ["a", "c"]
    assert real.list("nowhere") == []
    assert real.exists("x/y/c")
    real.remove("x/y/c")
    assert not real.exists("x/y/c")
    real.remove("x")
    assert real.list(".") == []
    with pytest.raises(StorageError, match="remove failed"):
        real.remove("x")
    with pytest.raises(StorageError, match="sync failed"):
        real.sync_directory("x")
    assert real.free_bytes() > 0


def test_read_only_files_cannot_be_written(real):
    created(real).close()
    looking = RealFiles(real.root, read_only=True).open("a")

    assert looking.pread(5, 0) == b"hello"
    with pytest.raises(StorageError, match="write failed"):
        looking.pwrite([b"x"], 0)
    looking.close()


def test_a_directory_is_locked_by_one_at_a_time(real):
    second = RealFiles(real.root)
    real.lock()
    with pytest.raises(StorageError, match="another node"):
        second.lock()

    real.unlock()
    real.unlock()
    second.lock()
    second.unlock()


def test_a_directory_can_be_made_only_in_one_that_is_there(real):
    real.make_directory("x")
    for _ in range(2):
        real.make_directory("x/y", parents=False)

    with pytest.raises(StorageError):
        real.make_directory("gone/y", parents=False)

    assert real.list(".") == ["x"]
    assert real.list("x") == ["y"]
