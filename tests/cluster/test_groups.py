"""Consumer groups of real clients in processes of their own: who leaves, who is killed.

TRIMARAN_GROUP_RUNS says how often a group of 30 partitions is put through all of it in time, which
is for a machine without other work; not at all by default.
"""

import json
import os
import subprocess
import sys
import threading
import time
from collections import Counter
from itertools import chain
from pathlib import Path

import pytest

from trimaran.bench.machine import describe
from trimaran.groups.limits import COORDINATORS_DEFAULT
from trimaran.groups.location import location
from trimaran.metadata.rules import GROUPS_TOPIC
from trimaran.testing import Cluster

pytestmark = [pytest.mark.cluster, pytest.mark.clients]

WAIT_S = 30.0
PARTITIONS = 6
MANY = 30
RUNS = int(os.environ.get("TRIMARAN_GROUP_RUNS", "0"))
AGAIN_S = 2.0
"""After a member leaves or a node dies every partition is read again within this time."""
REPLACED_S = {"confluent": 6.0 + 0.5, "new_protocol": 10.0 + 1.0}
"""A killed member's session time-out and one heartbeat: group_client.py, and a node's defaults."""
REPLACED = "a member is killed: replaced"
TIMES = Path(__file__).parents[2] / "build" / "clients" / "group-times.jsonl"
SCRIPT = str(Path(__file__).with_name("group_client.py"))


class Member(threading.Thread):
    """A consumer process and what it said, with the times."""

    def __init__(self, *words):
        super().__init__(daemon=True)
        self.process = subprocess.Popen(
            [sys.executable, SCRIPT, *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.joining_s = None
        self.assigned = None
        self.reads = []
        self.committed = {}
        self.troubles = []
        self.said = threading.Event()
        self.start()

    def run(self):
        for line in self.process.stdout:
            kind, *fields = json.loads(line)
            if kind == "joining":
                self.joining_s = time.monotonic()
            elif kind == "assigned":
                self.assigned = fields[0]
            elif kind == "read":
                self.reads.append((*fields, time.monotonic()))
            elif kind == "committed":
                partition, offset = fields  # negative: nothing new of that one
                self.committed[partition] = max(offset, self.committed.get(partition, 0))
            else:
                self.troubles.append((kind, *fields))
            self.said.set()

    def kill(self):
        self.process.kill()
        self.end()

    def leave(self):
        self.process.stdin.close()
        self.end()
        assert self.process.returncode == 0

    def end(self):
        self.process.stdin.close()
        self.process.wait(WAIT_S)
        self.join(WAIT_S)
        self.process.stdout.close()


class Group:
    """The members of one group, and a producer that fills its topic."""

    def __init__(self, cluster, topic, library, name, partitions):
        from confluent_kafka import Producer

        self.cluster, self.topic, self.library, self.name = cluster, topic, library, name
        self.partitions = partitions
        self.members = []
        self.past = []
        self.sent = []
        self.producer = Producer(
            {"bootstrap.servers": cluster.bootstrap_servers, "linger.ms": 0, "log_level": 0}
            | {"reconnect.backoff.max.ms": 100}
        )

    @property
    def coordinator(self):
        number = location(self.name, COORDINATORS_DEFAULT)
        return self.cluster.leader(GROUPS_TOPIC, number)

    def leaders(self):
        """Return the nodes that lead partitions of the topic, the busiest first."""
        found = Counter(self.cluster.leader(self.topic, one) for one in range(self.partitions))
        return [node for node, _ in found.most_common()]

    def add(self, *words):
        bootstrap = self.cluster.bootstrap_servers
        member = Member(self.library, bootstrap, self.topic, self.name, *words)
        self.members.append(member)
        return member

    def produce(self, count):
        """Have `count` more values acknowledged in every partition."""
        failed = []
        for _ in range(count):
            for partition in range(self.partitions):
                value = f"v{len(self.sent)}"
                self.sent.append(value)
                self.producer.produce(
                    self.topic,
                    value.encode(),
                    partition=partition,
                    on_delivery=lambda error, _: error and failed.append(str(error)),
                )
        assert self.producer.flush(WAIT_S) == 0
        assert not failed

    @property
    def values(self):
        return [row[2] for member in [*self.members, *self.past] for row in member.reads]

    def wait(self, condition, what):
        deadline = time.monotonic() + WAIT_S
        while not condition():
            assert time.monotonic() < deadline, f"{what}: {self.state()}"
            for member in self.members:
                assert member.process.poll() is None, f"ended: {self.state()}"
            self.members[0].said.wait(0.02)
            self.members[0].said.clear()

    def state(self):
        members = [
            (one.assigned, len(one.reads), one.committed, one.troubles) for one in self.members
        ]
        return f"{members}, {len(set(self.values))} of {len(self.sent)} read"

    def wait_shared(self):
        """Wait until the members share all partitions, none twice; return how long that took."""
        begin = time.monotonic()

        def is_shared():
            rows = [member.assigned or [] for member in self.members]
            return all(rows) and sorted(chain.from_iterable(rows)) == list(range(self.partitions))

        self.wait(is_shared, "not shared")
        return time.monotonic() - begin

    def wait_read(self):
        self.wait(lambda: set(self.values) >= set(self.sent), "not all read")

    def committed(self):
        """Return where the group stands, as a client sees it that is in no group."""
        from confluent_kafka import Consumer, TopicPartition

        consumer = Consumer(
            {"bootstrap.servers": self.cluster.bootstrap_servers, "group.id": self.name}
            | {"log_level": 0}
        )
        asked = [TopicPartition(self.topic, number) for number in range(self.partitions)]
        found = {one.partition: one.offset for one in consumer.committed(asked, timeout=WAIT_S)}
        consumer.close()
        return found

    def wait_committed(self):
        """Wait until everything that was sent is committed; return where the group stands."""
        each = len(self.sent) // self.partitions
        whole = dict.fromkeys(range(self.partitions), each)

        def known():
            together = {}
            for member in [*self.past, *self.members]:
                for number, offset in member.committed.items():
                    together[number] = max(offset, together.get(number, 0))
            return together

        self.wait(lambda: known() == whole, "not all committed")
        return whole

    def part(self, member):
        self.members.remove(member)
        self.past.append(member)

    def close(self):
        for member in [*self.members, *self.past]:
            if member.process.poll() is None:
                member.process.kill()
            member.end()


@pytest.fixture
def group_of(cluster, new_topic, request):
    made = []

    def make(library, partitions=PARTITIONS):
        topic = new_topic(cluster.bootstrap_servers, partitions=partitions)
        made.append(Group(cluster, topic, library, f"{request.node.name}", partitions))
        return made[-1]

    yield make
    for group in made:
        group.close()


LIBRARIES = ["confluent", "cooperative", "new_protocol", "kafka_python", "aiokafka"]


@pytest.mark.parametrize("library", LIBRARIES)
def test_three_members_share_the_work_whoever_leaves_or_dies(group_of, library):
    group = group_of(library)
    for _ in range(3):
        group.add()
    print(f"{library}: shared by three after {group.wait_shared():.2f} s")
    group.produce(20)
    group.wait_read()
    assert sorted(group.values) == sorted(group.sent), "each once"
    group.wait_committed()

    leaving = group.members[0]
    leaving.leave()
    group.part(leaving)
    print(f"{library}: shared by two after {group.wait_shared():.2f} s")
    group.produce(20)
    group.wait_read()
    assert sorted(group.values) == sorted(group.sent), "each once"
    group.wait_committed()

    victim = group.coordinator
    group.cluster.kill(victim)
    begin = time.monotonic()
    group.produce(20)
    group.wait_read()
    group.wait_committed()
    print(f"{library}: read and committed again {time.monotonic() - begin:.2f} s after the kill")
    assert group.committed() == group.wait_committed()
    group.cluster.start(victim)

    dying = group.members[0]
    dying.kill()
    group.part(dying)
    print(f"{library}: a killed member is replaced after {group.wait_shared():.2f} s")
    group.produce(20)
    group.wait_read()
    group.wait_committed()
    last = group.members[0]
    last.leave()
    assert group.committed() == dict.fromkeys(range(PARTITIONS), 80)
    assert all(
        kind == "commit refused" for one in (last, dying, leaving) for kind, *_ in one.troubles
    )


class Timed:
    """One run of a group that loses members and nodes: how long each loss kept it from reading."""

    def __init__(self, group):
        self.group = group
        self.taken_s = {}
        self.standing = dict.fromkeys(range(group.partitions), 0)
        self.is_intact = True
        self.ended = False

    def step(self, what, cause):
        """Let `cause` happen; its own time counts. Afterwards every commit still stands."""
        begin = time.monotonic()
        cause()
        self.group.produce(1)
        self.group.wait_read()
        self.taken_s[what] = time.monotonic() - begin
        self.check_offsets()

    def check_offsets(self):
        """Compare with what was acknowledged: nothing moves back, and in the end all is there."""
        found = self.group.committed()
        self.is_intact &= all(found[number] >= was for number, was in self.standing.items())
        self.standing = self.group.wait_committed()
        self.is_intact &= self.group.committed() == self.standing

    def replace(self, dying):
        """Kill `dying`; the time until the others have all of its partitions."""
        begin = time.monotonic()
        dying.kill()
        self.group.part(dying)
        self.group.wait_shared()
        self.taken_s[REPLACED] = time.monotonic() - begin
        self.check_offsets()

    def note(self, run):
        """Append the run to what `python -m tests.clients.page` makes a table of."""
        machine = describe([])
        row = {
            "library": self.group.library,
            "run": run,
            "date": machine.date,
            "machine": f"{machine.processor}, {machine.cores} cores, {machine.memory_gb} GB",
            "commit": machine.commit,
            "taken_s": self.taken_s,
            "is_intact": self.is_intact and self.ended,
        }
        print(row)
        TIMES.parent.mkdir(parents=True, exist_ok=True)
        with TIMES.open("a") as file:
            file.write(json.dumps(row) + "\n")


@pytest.mark.parametrize("run", range(RUNS))
@pytest.mark.parametrize("library", REPLACED_S)
def test_every_partition_is_read_again_in_time(group_of, library, run):
    timed = Timed(group_of(library, MANY))
    try:
        lose_members_and_nodes(timed)
        timed.ended = True
    finally:
        timed.note(run)
    replaced_s = timed.taken_s.pop(REPLACED)

    assert timed.is_intact
    assert max(timed.taken_s.values()) < AGAIN_S
    assert replaced_s < REPLACED_S[library]


def lose_members_and_nodes(timed):
    group, cluster = timed.group, timed.group.cluster
    for _ in range(3):
        group.add()
    group.wait_shared()
    timed.step("nothing", lambda: None)

    leaving = group.members[0]

    def leave():
        leaving.leave()
        group.part(leaving)

    timed.step("a member leaves", leave)
    group.add()
    group.wait_shared()

    coordinator = group.coordinator
    timed.step("the coordinator is killed", lambda: cluster.kill(coordinator))
    cluster.start(coordinator)
    coordinator = group.coordinator
    leader = next(node for node in group.leaders() if node != coordinator)
    timed.step("a leader is killed", lambda: cluster.kill(leader))
    cluster.start(leader)
    timed.replace(group.members[0])
    timed.step("nothing more", lambda: None)


def test_a_static_member_that_is_back_in_time_moves_nobody(group_of):
    group = group_of("confluent")
    for name in ("one", "two"):
        group.add(name)
    group.wait_shared()
    static, other = group.members
    had, others = static.assigned, other.assigned
    static.kill()
    group.part(static)
    back = group.add("one")
    group.wait(lambda: back.assigned == had, "not back")
    group.produce(5)
    group.wait_read()

    assert other.assigned == others


@pytest.mark.parametrize("library", ["confluent", "kafka_python", "aiokafka"])
def test_a_group_of_one_reads_in_a_moment(group_of, library):
    group = group_of(library)
    group.produce(1)
    group.committed()  # the coordinators are there
    member = group.add()
    group.wait_read()
    taken_s = member.reads[0][3] - member.joining_s
    print(f"{library}: the first record came {taken_s:.2f} s after joining")

    assert member.assigned == list(range(PARTITIONS))


def test_offsets_survive_a_restart_of_the_whole_cluster(tmp_path):
    from confluent_kafka import Consumer, TopicPartition
    from confluent_kafka.admin import AdminClient, NewTopic

    wanted = {}
    with Cluster(nodes=3, directory=tmp_path) as cluster:
        admin = AdminClient({"bootstrap.servers": cluster.bootstrap_servers, "log_level": 0})
        admin.create_topics([NewTopic("t", 3, 3)])["t"].result(WAIT_S)
        groups = [f"group-{number}" for number in range(6)]

        def consumer_of(group):
            return Consumer(
                {"bootstrap.servers": cluster.bootstrap_servers, "group.id": group, "log_level": 0}
            )

        for number, group in enumerate(groups):
            consumer = consumer_of(group)
            offsets = [TopicPartition("t", p, 10 * number + p, metadata="here") for p in range(3)]
            consumer.commit(offsets=offsets, asynchronous=False)
            consumer.close()
            wanted[group] = [(10 * number + p, "here") for p in range(3)]
        for node in cluster.nodes:
            cluster.kill(node)
        for node in cluster.nodes:
            cluster._local.start(node)
        cluster._local.wait_ready(WAIT_S)
        found = {}
        for group in groups:
            consumer = consumer_of(group)
            rows = consumer.committed([TopicPartition("t", p) for p in range(3)], timeout=WAIT_S)
            found[group] = [(row.offset, row.metadata) for row in rows]
            consumer.close()

    assert found == wanted
