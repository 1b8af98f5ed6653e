"""The journal's lane: compiled or in Python, the same bytes, the same answers to failures."""

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import uvloop

from trimaran.broker.ports import Outcome
from trimaran.errors import DiskFullError, StorageError
from trimaran.server import native_lane
from trimaran.server.workers import RealWorkers
from trimaran.storage.files import PAGE_BYTES, PlainWrite, RealFiles

ROOT = Path(__file__).parents[2]
WAIT_S = 10.0


class Write:
    """A work that has a plain write; notes what came of it."""

    def __init__(self, file, buffers, position=0, *, then=None, is_plain=True, uncache_bytes=0):
        self.file = file
        self.is_plain = is_plain
        self.then = then
        self.outcomes = []
        self.runs = 0
        self.write = PlainWrite(
            file=file,
            position=position,
            buffers=buffers,
            uncache_from=position,
            uncache_bytes=uncache_bytes,
        )

    def plain(self):
        return self.write if self.is_plain else None

    def plain_ended(self, outcome, begun_s, ended_s):
        assert begun_s <= ended_s
        self.outcomes.append(outcome)

    def run(self):
        self.runs += 1
        if self.then is not None:
            raise self.then


@pytest.fixture
def files(tmp_path):
    found = RealFiles(str(tmp_path))
    found.make_directory(".")
    return found


@pytest.fixture(params=["compiled", "Python"])
def carry_out(request, monkeypatch):
    """Carry out works one after the other on real workers."""
    if request.param == "Python":
        monkeypatch.setattr(native_lane, "LANE", None)
    elif native_lane.LANE is None:
        pytest.skip("not compiled here")

    async def all_of(works):
        workers = RealWorkers(asyncio.get_running_loop())
        assert workers.is_native is (request.param == "compiled")
        try:
            for work in works:
                await asyncio.wait_for(workers.submit_write(work), WAIT_S)
        finally:
            workers.close()

    return lambda *works: uvloop.run(all_of(works))


def test_rounds_are_written_in_order_whatever_their_buffers_are(carry_out, files, tmp_path):
    file = files.open("journal", create=True)
    parts = [b"head", bytearray(b"-body-"), memoryview(b"--tail--")[2:], b""]
    many = [bytes([number % 251]) * 3 for number in range(3_000)]

    carry_out(Write(file, parts), Write(file, many, 16), Write(file, [b"end"], 9_016))

    assert (tmp_path / "journal").read_bytes() == b"head-body-tail--" + b"".join(many) + b"end"


def test_what_was_written_counts_as_synced_once_and_is_not_run(carry_out, files):
    work = Write(files.open("journal", create=True), [b"x"])

    carry_out(work)

    assert work.outcomes == [Outcome.SYNCED]
    assert work.runs == 0


def test_more_than_a_write_is_the_thread_s(carry_out, files):
    work = Write(files.open("journal", create=True), [b"x"], is_plain=False)

    carry_out(work)

    assert work.outcomes == []
    assert work.runs == 1


def test_a_write_that_failed_is_done_again_by_who_knows_why_it_may(carry_out, files):
    file = RealFiles(files.root, read_only=True)
    files.open("journal", create=True).close()
    work = Write(file.open("journal"), [b"x"], then=DiskFullError("no space"))

    with pytest.raises(DiskFullError, match="no space"):
        carry_out(work)

    assert work.outcomes == [Outcome.UNWRITTEN]
    assert work.runs == 1


def test_a_sync_that_failed_is_never_tried_again(carry_out, files):
    file = files.open("journal", create=True)
    descriptor = os.open("/dev/null", os.O_RDWR)
    os.dup2(descriptor, file.descriptor)  # takes every byte, cannot be synced
    os.close(descriptor)
    work = Write(file, [b"x"])

    with pytest.raises(StorageError, match="sync failed"):
        carry_out(work)

    assert work.outcomes == [Outcome.UNSYNCED]
    assert work.runs == 0


def test_a_full_device_is_a_write_that_failed(carry_out, files):
    file = files.open("journal", create=True)
    descriptor = os.open("/dev/full", os.O_RDWR)
    os.dup2(descriptor, file.descriptor)
    os.close(descriptor)
    work = Write(file, [b"x"])

    carry_out(work)

    assert work.outcomes == [Outcome.UNWRITTEN]
    assert work.runs == 1


def test_synced_bytes_leave_the_page_cache_from_the_page_on_that_they_begin_in(carry_out, files):
    file = files.open("journal", create=True)
    content = b"x" * (4 * PAGE_BYTES)
    last = Write(file, [b"end"], len(content))

    carry_out(Write(file, [content], uncache_bytes=len(content)), last)

    if not can_tell_what_is_cached(file):
        pytest.skip("this file system does not say what is cached")
    assert not is_cached(file, 0)
    assert is_cached(file, len(content))


def can_tell_what_is_cached(file):
    try:
        return is_cached(file, 0) in (True, False)
    except OSError:
        return False


def is_cached(file, position):
    try:
        os.preadv(file.descriptor, [bytearray(1)], position, os.RWF_NOWAIT)
    except BlockingIOError:
        return False
    return True


def compiled():
    if native_lane.LANE is None:
        pytest.skip("not compiled here")
    return native_lane.LANE()


def test_the_buffers_are_held_until_the_result_is_taken(files):
    lane = compiled()
    file = files.open("journal", create=True)
    buffer = bytearray(b"x" * 1_000)
    lane.submit(file.descriptor, 0, [buffer], 0, 0)

    with pytest.raises(BufferError):
        buffer.clear()
    while lane.take() is None:
        pass
    buffer.clear()

    assert lane.close(WAIT_S)


def test_a_lane_takes_one_write_at_a_time_and_none_when_closed(files):
    lane = compiled()
    file = files.open("journal", create=True)
    lane.submit(file.descriptor, 0, [b"x"], 0, 0)

    with pytest.raises(ValueError, match="one write at a time"):
        lane.submit(file.descriptor, 1, [b"y"], 0, 0)
    with pytest.raises(TypeError):
        compiled().submit(file.descriptor, 1, ["text"], 0, 0)
    with pytest.raises(ValueError, match="1 to 1024 buffers"):
        compiled().submit(file.descriptor, 1, [], 0, 0)

    assert lane.close(WAIT_S)
    assert lane.close(WAIT_S), "again changes nothing"
    with pytest.raises(ValueError, match="open lane"):
        lane.submit(file.descriptor, 1, [b"y"], 0, 0)


def test_closing_waits_for_the_write_under_way(files, tmp_path):
    lane = compiled()
    file = files.open("journal", create=True)
    lane.submit(file.descriptor, 0, [b"x" * (8 << 20)], 0, 0)

    assert lane.close(WAIT_S)

    assert (tmp_path / "journal").stat().st_size == 8 << 20


def test_a_signal_reaches_the_main_thread():
    lane = compiled()
    caught = threading.Event()
    before = signal.signal(signal.SIGUSR1, lambda *_: caught.set())
    try:
        os.kill(os.getpid(), signal.SIGUSR1)
        assert caught.wait(WAIT_S)
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert lane.close(WAIT_S)


def test_a_module_of_other_sources_is_not_used(monkeypatch):
    monkeypatch.setattr(native_lane, "INTERFACE", 999)

    assert native_lane.load() is None


def test_a_lane_that_nobody_closed_ends_with_the_process(files):
    code = "from trimaran.server import native_lane as n; lane = n.LANE and n.LANE(); print('here')"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert (done.returncode, done.stdout) == (0, "here\n"), done.stderr


def test_its_times_are_those_of_the_node_s_clock(files):
    lane = compiled()
    file = files.open("journal", create=True)
    before_s = time.perf_counter()
    lane.submit(file.descriptor, 0, [b"x"], 0, 0)
    while (taken := lane.take()) is None:
        pass
    assert lane.close(WAIT_S)

    outcome, error, begun_s, ended_s = taken
    assert (outcome, error) == (Outcome.SYNCED.value, 0)
    assert before_s <= begun_s <= ended_s <= time.perf_counter()
