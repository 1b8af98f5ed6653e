"""A test's cluster ends with the process that made it: not with a child of it, and not halfway."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from trimaran.errors import ConfigError
from trimaran.testing import Cluster, breakable
from trimaran.testing.breakable import BreakableCluster
from trimaran.testing.relays import RelayLinks
from trimaran.testing.waiting import wait_until

SCRIPT_S = 60
FORKED = """
import os, sys
from trimaran.testing import Cluster
with Cluster(nodes=1) as cluster:
    child = os.fork()
    if child == 0:
        {ending}
    os.waitpid(child, 0)
    answer = cluster.metadata("none", node=1)
    print(cluster.is_running(1), answer is not None, cluster.data(1).is_dir(), flush=True)
print(cluster.directory.exists())
"""
ASKING = """
import os
from trimaran.testing import Cluster
from trimaran.testing.cluster import NotItsMakerError
def tell(call):
    try:
        print(call(), flush=True)
    except NotItsMakerError as error:
        print(error, flush=True)
with Cluster(nodes=1) as cluster:
    child = os.fork()
    if child == 0:
        tell(lambda: cluster.bootstrap_servers == cluster.address(1))
        tell(lambda: cluster.is_running(1))
        tell(lambda: cluster.kill(1))
        tell(lambda: cluster.start_all())
        os._exit(0)
    os.waitpid(child, 0)
    tell(lambda: cluster.is_running(1))
"""
RELAY = """
import os, signal
from trimaran.testing.relays import RelayLinks
links = RelayLinks([1])
child = os.fork()
if child == 0:
    os.close(1)
    os.close(2)
    signal.pause()
assert links.client_address(1, 1)[1] > 0
print(links._process.pid, child, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
INTERRUPTED = """
import os, signal
from trimaran.testing import Cluster
signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job ignores it
cluster = Cluster(nodes=1)
print(cluster.directory, flush=True)
cluster._local.stop_all = lambda: os.kill(os.getpid(), signal.SIGINT)
try:
    cluster.close()
except KeyboardInterrupt:
    del cluster._local.stop_all
    print(cluster.directory.is_dir(), flush=True)
"""


def lines_of(script):
    ended = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        timeout=SCRIPT_S,
        check=False,
    )
    print(ended.stderr)
    return ended.stdout.splitlines()


def is_gone(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


@pytest.mark.cluster
@pytest.mark.parametrize(
    "ending", ["sys.exit()", "raise ValueError", "cluster.close(); os._exit(0)"]
)
def test_a_forked_child_that_ends_leaves_the_cluster_to_who_made_it(ending):
    assert lines_of(FORKED.format(ending=ending)) == ["True True True", "False"]


@pytest.mark.cluster
def test_a_forked_child_has_addresses_and_is_told_that_the_nodes_are_not_its_own():
    addresses, *refused, running = lines_of(ASKING)

    assert (addresses, running) == ("True", "True")
    assert len(refused) == 3
    assert all("only the process that made this cluster" in line for line in refused)


def test_a_relay_ends_with_who_started_it_though_a_forked_child_lives_on():
    (line,) = lines_of(RELAY)
    relay, child = map(int, line.split())

    try:
        assert wait_until(lambda: is_gone(relay), "the relay ended", within_s=10)
    finally:
        os.kill(child, signal.SIGKILL)


@pytest.mark.cluster
def test_a_close_that_ctrl_c_ended_is_done_by_the_next(monkeypatch):
    cluster = Cluster(nodes=1)
    process = cluster._local.processes[1]
    monkeypatch.setattr(process, "stop", interrupted)

    with pytest.raises(KeyboardInterrupt):
        cluster.close()
    monkeypatch.undo()
    assert cluster.directory.is_dir()
    cluster.close()

    assert not cluster.directory.exists()
    assert process.exit_code is not None


def interrupted(*_):
    raise KeyboardInterrupt


@pytest.mark.cluster
def test_a_close_that_ctrl_c_ended_is_done_at_the_interpreters_exit():
    directory, was_there = lines_of(INTERRUPTED)

    assert was_there == "True"
    assert not Path(directory).exists()


def test_a_cluster_that_cannot_be_made_leaves_no_links_behind(monkeypatch):
    opened = []

    def noted(nodes):
        opened.append(RelayLinks(nodes))
        return opened[-1]

    monkeypatch.setattr(breakable, "build_library", no_compiler)
    with pytest.raises(FileNotFoundError):
        BreakableCluster(nodes=1, links=noted, power=True)
    monkeypatch.undo()
    with pytest.raises(ConfigError):
        BreakableCluster(nodes=1, links=noted, settings={"nothing": {"known": 1}})

    assert [links._process.returncode for links in opened] == [-signal.SIGKILL]


def no_compiler():
    raise FileNotFoundError("gcc")
