"""Segments that are deleted while they are read, or were: space is given back, nobody errs."""

import pytest

from trimaran.errors import StorageError
from trimaran.ids import Index, Offset
from trimaran.storage.install import ReadPart
from trimaran.storage.log_reads import SegmentsMovedError


@pytest.fixture
def log(kit, driver):
    """Segments of two entries each, all of them read."""
    driver.add()
    driver.flush(*(kit.records(index, size=400) for index in range(1, 9)))
    return driver.log()


def read(log):
    for segment in log.segments:
        log.plan_read_index(segment.first_index, 10).run()


def open_paths(log):
    return sorted(log._shared.reads._open)


def drop(log):
    log.set_log_start(Index(7), Offset(6))
    return log.plan_drop_segments()


def test_deleted_segments_are_closed_by_who_read_them_without_another_read(log):
    log._shared.reads._limit = 16
    read(log)
    gone = drop(log)
    doomed = {path for segment in gone.segments for path in segment.paths}
    assert doomed & set(open_paths(log))
    gone.run()
    gone.plan_let_go().run()

    assert not doomed & set(open_paths(log))
    assert open_paths(log), "what is left is still open"


def test_a_read_in_the_midst_of_the_deletion_does_not_keep_the_file(log, monkeypatch):
    files = log._shared.files
    gone = drop(log)
    late = [log._shared.reads.get(path, 0) for path in gone.segments[0].paths[::2]]
    assert late
    remove = files.remove

    def read_then_remove(path):
        log._shared.reads.get(path, 1)
        remove(path)

    monkeypatch.setattr(files, "remove", read_then_remove)
    gone.run()
    gone.plan_let_go().run()

    assert open_paths(log) == []


def test_a_digest_of_a_segment_that_was_deleted_meanwhile_says_so(log):
    digest = log.plan_digest(log.segments[0])
    drop(log).run()

    with pytest.raises(SegmentsMovedError):
        digest.run()


def test_a_digest_that_the_disk_refuses_is_no_deletion(log, driver):
    driver.files.failing[("open", ".rows")] = StorageError
    with pytest.raises(StorageError) as caught:
        log.plan_digest(log.segments[0]).run()
    assert not isinstance(caught.value, SegmentsMovedError)


def test_a_part_of_a_file_that_goes_before_it_is_opened_is_none(log, driver, monkeypatch):
    files = driver.files
    path = log.segments[0].paths[0]
    opened = files.open
    part = ReadPart(files, path, position=3, count=5)
    assert part.run() == bytes(files.contents[path][3:8])

    def gone_before(path):
        files.remove(path)
        return opened(path)

    monkeypatch.setattr(files, "open", gone_before)
    assert part.run() is None


def test_a_part_of_a_file_that_cannot_be_opened_is_an_error(log, driver):
    driver.files.failing[("open", ".segment")] = StorageError
    with pytest.raises(StorageError):
        ReadPart(driver.files, log.segments[0].paths[0], position=0, count=5).run()
