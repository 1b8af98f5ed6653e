"""A cluster with links, disks and power to break, loads of all client libraries on it, a verdict.

The verdict has three parts: what readers of two libraries get, what lies in each node's own log
(`verify --dump`), and the history checker over all that producers and readers did and saw.
"""

import contextlib
import json
import subprocess
import sys
import time
from pathlib import Path
from random import Random

import pytest

from trimaran.checking import Outcome, Seek, check_history
from trimaran.testing.breakable import BreakableCluster
from trimaran.testing.waiting import wait_until

WAIT_S = 60.0
CATCH_UP_TRIES = 5
SETTINGS = {"storage": {"free_space_reserve_bytes": 0}}
LOG_TAIL = 4_000


DUMP_DEAD = Path(__file__).with_name("dump_dead.py")
RATE = 400
"""Records a second of each producer: every one of them is looked at several times afterwards."""
IMPATIENT = {
    "confluent": {
        "request.timeout.ms": 1_000,
        "socket.timeout.ms": 1_500,
        "reconnect.backoff.max.ms": 200,
        "topic.metadata.refresh.interval.ms": 500,
    },
    "aiokafka": {},
    "kafka_python": {},
}
"""Settings that shorten the wait on a connection to a silent node; the other two clients give
events up after that time, so where nodes fall silent librdkafka's is the load."""


class Crowd:
    """One producer of each library on one topic."""

    def __init__(self, loads):
        self.loads = loads
        for load in loads:
            load.start()

    @property
    def acked(self):
        return [record for load in self.loads for record in load.acked]

    def wait_for_more(self, count):
        """Return once every producer had `count` more records acknowledged than now."""
        targets = [len(load.acked) + count for load in self.loads]
        deadline = time.monotonic() + WAIT_S
        for load, target in zip(self.loads, targets, strict=True):
            while len(load.acked) < target:
                assert load.error is None, load.error
                assert time.monotonic() < deadline, (
                    f"{load.name_of_library}: {len(load.acked)} of {target} acknowledged"
                )
                load._stopping.wait(0.01)

    def finish(self):
        for load in self.loads:
            load._stopping.set()
        for load in self.loads:
            load.finish()

    def failed(self):
        return [failure for load in self.loads for failure in load.failed]

    def sends(self, stored):
        """Return the sends as history; one without an answer belongs where it was read, if so."""
        partition_of = {record.value: record.partition for record in stored}
        for load in self.loads:
            for send in load.sends:
                if send.outcome is not Outcome.OK:
                    send.partition = partition_of.get(send.values[0], -1)
                if send.partition >= 0:
                    yield send


class Verdict:
    """Whether everything that was acknowledged is there, for every reader and in every log."""

    def __init__(self, cluster, readers, located):
        self.cluster = cluster
        self.readers = readers
        self.located = located

    def check(self, topic, crowd, *, tail=None, readers=("confluent",), killed=False):
        """Read by clients, then each node's own log; judge all of it together.

        The nodes are frozen for that, all at once, or killed: a log is to hold what recovery would
        find, not what an orderly stop leaves. Whenever that is, two logs have every acknowledged
        record; and once they had time, all three are the same.
        """
        if tail is not None:
            tail.finish(crowd)
        bootstrap = self.cluster.bootstrap_servers
        reads = {name: self.readers[name](bootstrap, topic) for name in readers}
        wait_all_connected(self.cluster, topic)
        for _ in range(CATCH_UP_TRIES):
            with silenced(self.cluster, killed=killed):
                logs, damaged = dumps(self.cluster, topic, type(crowd.acked[0]))
            check_majority(self.located(crowd.acked, logs), logs)
            first, *others = [as_set(records) for records in logs.values()]
            if all(one == first for one in others) and not damaged:
                break
            wait_all_connected(self.cluster, topic)
        assert not damaged
        self.judge(crowd, reads | logs, tail)

    def judge(self, crowd, reads, tail=None):
        acked = self.located(crowd.acked, reads)
        assert acked
        everything = [record for rows in reads.values() for record in rows]
        history = list(crowd.sends(everything))
        logs = {}
        for reader, records in reads.items():
            found = {(r.partition, r.offset): r for r in records}
            missing = [r for r in acked if found.get((r.partition, r.offset)) != r]
            assert not missing, f"{reader} lacks {len(missing)} of {len(acked)}: {missing[:3]}"
            for partition in sorted({r.partition for r in records}):
                offsets = [r.offset for r in records if r.partition == partition]
                assert offsets == list(range(len(offsets))), f"holes in {partition} of {reader}"
                history.append(Seek(reader, partition, 0))
                for r in (r for r in records if r.partition == partition):
                    first = logs.setdefault((partition, r.offset), r)
                    assert first == r, f"{reader} differs: {first} {r}"
            history += crowd.polls_of(reader, records)
        if tail is not None:
            history += tail.operations
        assert check_history(history) == []


@contextlib.contextmanager
def silenced(cluster, *, killed):
    """Freeze all nodes at once, or kill them; let them go on, or start them, afterwards."""
    for node in cluster.nodes:
        (cluster.kill if killed else cluster.pause)(node)
    try:
        yield
    finally:
        for node in cluster.nodes:
            if not killed:
                cluster.resume(node)
        cluster.start_all()


def as_set(records):
    return {(r.partition, r.offset): r for r in records}


def check_majority(acked, logs):
    """Every acknowledged record is in the logs of two nodes of three, whenever they died."""
    stored = [as_set(records) for records in logs.values()]
    for record in acked:
        place = (record.partition, record.offset)
        holders = sum(log.get(place) == record for log in stored)
        assert holders >= 2, f"{record} is in {holders} logs only"


def wait_all_connected(cluster, topic):
    """Wait until every node sees all nodes, and leaders: a replica may still lag behind then."""

    def all_connected():
        answers = [cluster.metadata(topic, node=node) for node in cluster.nodes]
        rows = [row for answer in answers if answer for row in answer.partitions.values()]
        return all(answers) and rows and all(sorted(r.in_sync) == [1, 2, 3] for r in rows)

    wait_until(all_connected, f"all nodes see all nodes of {topic}", within_s=WAIT_S)


def dumps(cluster, topic, record_type):
    """Return the records of `topic` in each silent node's own log, and what is wrong there."""
    dumping = {
        node: subprocess.Popen(
            [sys.executable, str(DUMP_DEAD), str(cluster.data(node)), topic],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for node in cluster.nodes
    }
    found, damaged = {}, []
    for node, process in dumping.items():
        out, errors = process.communicate(timeout=WAIT_S)
        if process.returncode:
            damaged.append(f"node {node}: {errors}")
        records = found[f"node {node}"] = []
        for entry in map(json.loads, out.splitlines()):
            for record in entry.get("records", []):
                headers = tuple((name, value.encode()) for name, value in record["headers"])
                content = (record["key"].encode(), record["value"].encode(), headers)
                records.append(record_type(entry["partition"], record["offset"], *content))
    return found, damaged


@pytest.fixture(scope="package")
def shared_breakable():
    with BreakableCluster(nodes=3, links=True, power=True, settings=SETTINGS) as running:
        yield running


@pytest.fixture
def broken(shared_breakable):
    """The shared cluster, whole again afterwards; a node that ended by itself fails its test."""
    logged = {node: len(shared_breakable.log(node)) for node in shared_breakable.nodes}
    yield shared_breakable
    ended = [node for node in shared_breakable.nodes if not shared_breakable.is_running(node)]
    for node in shared_breakable.nodes:
        print(f"log of node {node}:\n{shared_breakable.log(node)[logged[node] :][-LOG_TAIL:]}")
        shared_breakable.power[node].behave()
        if shared_breakable.is_running(node):
            shared_breakable.resume(node)
    shared_breakable.heal()
    shared_breakable.start_all()
    assert not ended


@pytest.fixture
def crowd_of(libraries, polls_of):
    started = []

    def start(cluster, topic, *names, bootstrap=None):
        bootstrap = bootstrap or cluster.bootstrap_servers
        loads = [libraries[name](bootstrap, topic) for name in names or libraries]
        for load in loads:
            load.settings = IMPATIENT[load.name_of_library]
            load.rate = RATE
        crowd = Crowd(loads)
        crowd.polls_of = polls_of
        started.append(crowd)
        return crowd

    yield start
    for crowd in started:
        for load in crowd.loads:
            load._stopping.set()
        for load in crowd.loads:
            load.join(WAIT_S)


@pytest.fixture
def verdict(readers, located):
    return lambda cluster: Verdict(cluster, readers, located)


@pytest.fixture
def all_connected():
    return wait_all_connected


@pytest.fixture
def dumped():
    return dumps


@pytest.fixture
def chance(request):
    """Chance that is the same each time, and another for each test."""
    return Random(request.node.name)
