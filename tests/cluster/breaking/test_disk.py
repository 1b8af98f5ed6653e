"""Disks that are full, wiped, or changed while their node was down: the cluster goes on."""

import contextlib
import errno
import os
import re

import pytest

from trimaran.testing.breakable import BreakableCluster
from trimaran.testing.waiting import wait_until

pytestmark = [pytest.mark.cluster, pytest.mark.clients, pytest.mark.needs("gcc")]

WAIT_S = 60.0
SMALL_MB = 24
SMALL = {
    "storage": {"free_space_reserve_bytes": 1 << 20},
    "journal": {"file_bytes": 2 << 20, "bytes_max": 8 << 20},
}


@pytest.fixture(scope="module")
def small_disk():
    """A cluster whose first node has little room."""
    with BreakableCluster(nodes=3, settings=SMALL, disk_megabytes={1: SMALL_MB}) as cluster:
        yield cluster


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")
@pytest.mark.parametrize("role", ["leader", "follower"])
def test_a_full_disk_stops_no_other_node_and_service_returns_with_space(
    small_disk, crowd_of, new_topic, verdict, role
):
    cluster = small_disk
    topic = new_topic(cluster.bootstrap_servers)
    crowd = crowd_of(cluster, topic, "confluent", "aiokafka")
    crowd.wait_for_more(100)
    if role == "follower":
        cluster.restart(1)
    filler = cluster.data(1) / "filler"
    fill(filler)
    crowd.wait_for_more(500)
    assert cluster.is_running(1), cluster.log(1)[-2_000:]
    filler.unlink()
    crowd.wait_for_more(200)
    # It counts again: with another node dead there is a majority only with it.
    wait_until_caught_up(cluster, topic)
    cluster.kill(2)
    crowd.wait_for_more(100)
    cluster.start(2)
    crowd.finish()
    verdict(cluster).check(topic, crowd)


def fill(path):
    """Leave no byte on the file system of `path`."""
    with path.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        for size in (1 << 20, 4096, 1):
            with contextlib.suppress(OSError):
                while True:
                    file.write(bytes(size))


def wait_until_caught_up(cluster, topic):
    def has_leaders():
        answer = cluster.metadata(topic, node=1)
        return answer and all(p.leader >= 0 for p in answer.partitions.values())

    wait_until(has_leaders, "node 1 knows leaders", within_s=WAIT_S)


def test_writes_that_find_no_space_are_not_acknowledged_and_not_fatal(
    broken, crowd_of, new_topic, verdict
):
    topic = new_topic(broken.bootstrap_servers)
    crowd = crowd_of(broken, topic, "confluent", "aiokafka")
    crowd.wait_for_more(100)
    victim = broken.leader(topic, 0)
    broken.power[victim].behave(write_errno=errno.ENOSPC)
    crowd.wait_for_more(200)
    assert broken.is_running(victim), broken.log(victim)[-2_000:]
    broken.power[victim].behave()
    crowd.wait_for_more(200)
    crowd.finish()
    verdict(broken).check(topic, crowd)


def test_a_wiped_disk_is_filled_again_before_its_node_counts(broken, crowd_of, new_topic, verdict):
    topic = new_topic(broken.bootstrap_servers)
    crowd = crowd_of(broken, topic)
    crowd.wait_for_more(200)
    victim, other, _ = broken.nodes
    broken.kill(victim)
    groups = {path.name for path in (broken.data(victim) / "groups").iterdir()}
    broken.wipe(victim)
    said = len(broken.log(victim))
    broken.start(victim, timeout_s=60)
    crowd.wait_for_more(200)
    wait_repaired(broken, victim, said, groups)
    broken.kill(other)  # no progress from here on without the wiped node's vote and disk
    crowd.wait_for_more(100)
    broken.start(other)
    crowd.finish()
    verdict(broken).check(topic, crowd)


@pytest.mark.parametrize("manner", ["flipped", "truncated"])
def test_files_changed_while_a_node_was_down_are_repaired(
    broken, crowd_of, new_topic, verdict, chance, manner
):
    topic = new_topic(broken.bootstrap_servers)
    crowd = crowd_of(broken, topic, "confluent", "aiokafka")
    crowd.wait_for_more(300)
    victim = broken.leader(topic, 0)
    broken.kill(victim)
    crowd.wait_for_more(100)
    changed = [harm(path, manner, chance) for path in stored_files(broken.data(victim))]
    print(f"{manner}: {changed}")
    assert changed
    broken.power[victim].forget()
    said = len(broken.log(victim))
    broken.start(victim, timeout_s=60)
    crowd.wait_for_more(200)
    crowd.finish()
    assert not crowd.failed()
    wait_repaired(broken, victim, said)
    verdict(broken).check(topic, crowd)


def wait_repaired(cluster, node, said, groups=()):
    """Wait until every group votes again: `groups`, or what the node found damaged at its start."""

    def all_repaired():
        log = cluster.log(node)[said:]
        names = groups or re.findall(r"damage: ([0-9a-f]{32}-\d+): ", log)
        repaired = set(re.findall(r"group repaired group=([0-9a-f]{40})", log))
        return {in_hexadecimal(name) for name in names} <= repaired

    wait_until(all_repaired, f"every group of node {node} is repaired", within_s=WAIT_S)


def in_hexadecimal(name):
    topic, _, number = name.rpartition("-")
    return f"{topic}{int(number):08x}"


def stored_files(data):
    """Return what a node stores, but for the files whose loss makes it refuse to start."""
    files = [path for path in sorted(data.rglob("*")) if path.is_file()]
    apart = {"lock", "running.json", "running.json.new", "identity", "groups"}
    return [path for path in files if path.stat().st_size and path.stem not in apart]


def harm(path, manner, chance):
    """Flip two bits of a file's used part, or cut it at a random place."""
    data = path.read_bytes()
    used = len(data.rstrip(b"\0")) or 1
    if manner == "truncated":
        size = chance.randrange(used)
        os.truncate(path, size)
        return f"{path.name} cut at {size} of {len(data)}"
    with path.open("r+b") as file:
        for _ in range(2):
            at = chance.randrange(used)
            file.seek(at)
            file.write(bytes([data[at] ^ 1 << chance.randrange(8)]))
    return f"{path.name} flipped"
