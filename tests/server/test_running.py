"""What a running node leaves in its data directory: a lock that is never stale, and its state."""

import os
import signal
import subprocess
import sys

import pytest

from trimaran.server.running import (
    DirectoryInUseError,
    DirectoryLock,
    RunningNode,
    read_running,
    running_pid,
    write_running,
)

HOLD = (
    "import pathlib, sys, time\n"
    "from trimaran.server.running import DirectoryLock\n"
    "lock = DirectoryLock(pathlib.Path(sys.argv[1]))\n"
    "print('held', flush=True)\n"
    "sys.stdin.read()\n"
)


@pytest.fixture
def holder(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


def test_a_directory_in_use_is_refused_and_its_process_named(tmp_path, holder):
    with pytest.raises(DirectoryInUseError, match=f"in use by process {holder.pid}"):
        DirectoryLock(tmp_path)


def test_a_killed_process_leaves_no_lock_behind(tmp_path, holder):
    assert running_pid(tmp_path) == holder.pid
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    assert running_pid(tmp_path) is None
    lock = DirectoryLock(tmp_path)
    assert running_pid(tmp_path) == os.getpid()
    lock.release()
    assert running_pid(tmp_path) is None


def test_nobody_runs_where_nothing_is(tmp_path):
    assert running_pid(tmp_path) is None
    assert read_running(tmp_path) is None


def test_the_state_counts_only_while_its_process_holds_the_lock(tmp_path):
    state = RunningNode(pid=os.getpid(), node_id=2, state="ready", kafka_port=1, peer_port=2)
    write_running(tmp_path, state)
    assert read_running(tmp_path) is None
    lock = DirectoryLock(tmp_path)
    assert read_running(tmp_path) == state
    write_running(tmp_path, RunningNode(pid=1, node_id=2, state="ready"))
    assert read_running(tmp_path) is None
    lock.release()


def test_a_torn_state_file_is_no_state(tmp_path):
    lock = DirectoryLock(tmp_path)
    (tmp_path / "running.json").write_text('{"pid": ')
    assert read_running(tmp_path) is None
    lock.release()
