"""A node as a child process, with a stand-in that speaks only the descriptors' language."""

import os
import signal
import subprocess
import sys
import time

import pytest

from trimaran.server.process import NodeProcess, NodeStartError

STAND_IN = (
    "import json, os, select, sys\n"
    "fds = dict(zip(sys.argv[1::2], map(int, sys.argv[2::2])))\n"
    "print('started', file=sys.stderr, flush=True)\n"
    "line = {'pid': os.getpid(), 'node_id': 7, 'state': 'ready'}\n"
    "os.write(fds['--ready-fd'], json.dumps(line).encode() + b'\\n')\n"
    "select.select([fds['--owner-fd']], [], [])\n"
)
FAILING = "import sys; print('the disk is on fire', file=sys.stderr); sys.exit(1)"
SILENT = "import sys; sys.stdin.read(); import signal; signal.pause()"
OWNER = (
    "import pathlib, sys\n"
    "from trimaran.server.process import NodeProcess\n"
    "path = pathlib.Path(sys.argv[2])\n"
    "node = NodeProcess([sys.executable, '-c', sys.argv[1]], log_path=path, owned=True)\n"
    "node.wait_ready(20)\n"
    "import os, signal\n"
    "child = os.fork() if sys.argv[3] == 'forks' else -1\n"
    "if child == 0:\n"
    "    os.close(1), os.close(2), signal.pause()\n"
    "print(node.pid, child, flush=True)\n"
    "os.kill(os.getpid(), 9)\n"
)


@pytest.fixture
def start(tmp_path):
    started = []

    def start_one(program, *, owned=True):
        process = NodeProcess(
            [sys.executable, "-c", program], log_path=tmp_path / "log", owned=owned
        )
        started.append(process)
        return process

    yield start_one
    for process in started:
        process.kill()


def gone(pid, within_s=10.0):
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        os.sched_yield()
    return False


def test_readiness_arrives_through_the_pipe(start):
    process = start(STAND_IN)
    assert process.wait_ready(20).node_id == 7
    assert process.poll_ready()
    assert process.exit_code is None


def test_a_node_is_set_by_its_file_and_not_by_the_environment_of_who_starts_it(
    start, monkeypatch, tmp_path
):
    monkeypatch.setenv("TRIMARAN_KAFKA_PORT", "1")
    monkeypatch.setenv("TRIMARAN_NODE_ID", "9")
    monkeypatch.setenv("TRIMARAN_LOGGING_LEVEL", "debug")
    monkeypatch.setenv("KAFKA_PORT", "2")

    with pytest.raises(NodeStartError):
        start(
            "import os; print(sorted(n for n in os.environ if 'KAFKA' in n or 'TRIM' in n))",
            owned=False,
        ).wait_ready(20)

    assert (tmp_path / "log").read_text() == "['KAFKA_PORT', 'TRIMARAN_LOGGING_LEVEL']\n"


def test_a_child_that_ends_instead_is_reported_with_its_last_words(start):
    with pytest.raises(NodeStartError, match=r"ended with code 1(.|\n)*the disk is on fire"):
        start(FAILING).wait_ready(20)


def test_waiting_for_readiness_has_a_bound(start):
    with pytest.raises(NodeStartError, match=r"not ready after 0\.1 s"):
        start(SILENT).wait_ready(0.1)


def test_killed_stopped_and_paused_children_end(start):
    killed = start(STAND_IN)
    killed.wait_ready(20)
    killed.kill()
    assert killed.exit_code == -signal.SIGKILL
    stopped = start(STAND_IN)
    stopped.wait_ready(20)
    assert stopped.stop() == -signal.SIGTERM
    paused = start(STAND_IN)
    paused.wait_ready(20)
    paused.pause()
    assert paused.stop(0.2) == -signal.SIGKILL


@pytest.mark.parametrize("owner", ["is alone", "forks"])
def test_an_owned_child_ends_with_its_owner_even_a_killed_one_that_has_other_children(
    tmp_path, owner
):
    ended = subprocess.run(
        [sys.executable, "-c", OWNER, STAND_IN, str(tmp_path / "log"), owner],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    node, other_child = map(int, ended.stdout.split())

    try:
        assert gone(node)
    finally:
        if other_child > 0:
            os.kill(other_child, signal.SIGKILL)


def test_a_start_that_is_interrupted_when_the_child_runs_already_leaves_no_node(
    tmp_path, monkeypatch
):
    started = []

    class Interrupted(subprocess.Popen):
        def __init__(self, *words, **options):
            super().__init__(*words, **options)
            started.append(self)
            raise KeyboardInterrupt

    monkeypatch.setattr(subprocess, "Popen", Interrupted)

    with pytest.raises(KeyboardInterrupt):
        NodeProcess([sys.executable, "-c", STAND_IN], log_path=tmp_path / "log", owned=True)

    assert started[0].wait(20) is not None
