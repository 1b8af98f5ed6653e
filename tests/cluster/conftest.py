"""Producers of three client libraries that note every send and its end, and readers of two.

What they did and saw becomes one history, which the history checker judges.
"""

import asyncio
import json
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

import pytest

from trimaran.checking import Outcome, Poll, Seek, Send, check_history, make_value
from trimaran.testing import Cluster

WAIT_S = 60.0
INFLIGHT_MAX = 200
LOG_TAIL = 6_000
HEADERS = [("source", b"smoke"), ("empty", b"")]


@dataclass(frozen=True)
class Record:
    partition: int
    offset: int | None
    """None: acknowledged without saying where, see `located`."""
    key: bytes
    value: bytes
    headers: tuple[tuple[str, bytes], ...]


class Load(threading.Thread):
    """Produces until stopped; `acked` holds every acknowledged record, `sends` all there were."""

    name_of_library = ""
    settings = MappingProxyType({})
    rate = None
    """Records a second at most."""

    def __init__(self, bootstrap, topic):
        super().__init__(daemon=True)
        self.bootstrap = bootstrap
        self.topic = topic
        self.acked = []
        self.sends = []
        self.failed = []
        self.error = None
        self._begun = None
        self._stopping = threading.Event()

    def run(self):
        try:
            self.produce()
        except BaseException as error:  # noqa: BLE001  the test asks for it
            self.error = error

    def key_and_value(self, number):
        return b"key-%d" % (number % 17), make_value(self.name_of_library, number, b"x" * 100)

    def begin(self, number):
        """Note that a record is about to be sent; return its key and value."""
        assert number == len(self.sends)
        if self.rate is not None:
            self._begun = self._begun or time.monotonic()
            self._stopping.wait(max(0.0, self._begun + number / self.rate - time.monotonic()))
        key, value = self.key_and_value(number)
        self.sends.append(Send(self.name_of_library, -1, (value,), time.monotonic()))
        return key, value

    def note(self, number, partition, offset):
        key, value = self.key_and_value(number)
        send = self.sends[number]
        send.partition, send.offsets = partition, () if offset is None else (offset,)
        send.completed_s, send.outcome = time.monotonic(), Outcome.OK
        self.acked.append(Record(partition, offset, key, value, tuple(HEADERS)))

    def wait_for_more(self, count):
        """Return once `count` more records than now were acknowledged."""
        target = len(self.acked) + count
        deadline = time.monotonic() + WAIT_S
        while len(self.acked) < target:
            assert self.error is None, self.error
            assert time.monotonic() < deadline, f"{len(self.acked)} of {target} acknowledged"
            self._stopping.wait(0.01)

    def finish(self):
        self._stopping.set()
        self.join(WAIT_S)
        assert not self.is_alive()
        assert self.error is None, self.error


class ConfluentLoad(Load):
    name_of_library = "confluent"

    def produce(self):
        from confluent_kafka import Producer

        producer = Producer(
            {"bootstrap.servers": self.bootstrap, "acks": "all", "enable.idempotence": True}
            | {"linger.ms": 2, "log_level": 0}
            | self.settings
        )
        number = 0
        while not self._stopping.is_set():
            if len(producer) < INFLIGHT_MAX:
                key, value = self.begin(number)
                producer.produce(
                    self.topic, value, key, headers=HEADERS, on_delivery=self.delivered(number)
                )
                number += 1
            producer.poll(0.0002)
        assert producer.flush(WAIT_S) == 0

    def delivered(self, number):
        def report(error, message):
            if error is None:
                self.note(number, message.partition(), message.offset())
            else:
                self.failed.append(str(error))

        return report


class AiokafkaLoad(Load):
    name_of_library = "aiokafka"

    def produce(self):
        asyncio.run(self.produce_on_loop())

    async def produce_on_loop(self):
        from aiokafka import AIOKafkaProducer

        producer = AIOKafkaProducer(
            bootstrap_servers=self.bootstrap,
            acks="all",
            enable_idempotence=True,
            linger_ms=2,
            **self.settings,
        )
        await producer.start()
        number, waiting = 0, {}
        while not self._stopping.is_set() or waiting:
            while len(waiting) < INFLIGHT_MAX and not self._stopping.is_set():
                key, value = self.begin(number)
                waiting[number] = await producer.send(self.topic, value, key, headers=HEADERS)
                number += 1
            first, future = next(iter(waiting.items()))
            del waiting[first]
            try:
                answer = await asyncio.wait_for(future, WAIT_S)
            except Exception as error:  # noqa: BLE001  what failed is listed
                self.failed.append(repr(error))
            else:
                self.note(first, answer.partition, answer.offset)
        await producer.stop()


class KafkaPythonLoad(Load):
    name_of_library = "kafka_python"

    def produce(self):
        child = kafka_python("produce", self.bootstrap, self.topic, stdin=subprocess.PIPE)
        room = threading.Semaphore(INFLIGHT_MAX)
        reading = threading.Thread(target=self.read_acks, args=(child.stdout, room))
        reading.start()
        number = 0
        while not self._stopping.is_set():
            if room.acquire(timeout=0.05):
                key, value = self.begin(number)
                line = json.dumps([number, key.decode(), value.decode()])
                child.stdin.write(line + "\n")
                child.stdin.flush()
                number += 1
        child.stdin.close()
        reading.join()
        child.stdout.close()
        assert child.wait(WAIT_S) == 0
        assert len(self.acked) + len(self.failed) == number

    def read_acks(self, lines, room):
        for line in lines:
            number, *outcome = json.loads(line)
            if len(outcome) == 2:
                self.note(number, *outcome)
            else:
                self.failed.append(outcome[0])
            room.release()


def kafka_python(*words, stdin=None):
    script = str(Path(__file__).with_name("kafka_python_client.py"))
    return subprocess.Popen(
        [sys.executable, script, *words], stdin=stdin, stdout=subprocess.PIPE, text=True
    )


LOADS = {load.name_of_library: load for load in (ConfluentLoad, AiokafkaLoad, KafkaPythonLoad)}


def read_by_confluent(bootstrap, topic):
    from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, TopicPartition

    consumer = Consumer(
        {"bootstrap.servers": bootstrap, "group.id": "reader", "enable.auto.commit": False}
        | {"enable.partition.eof": True, "log_level": 0}
    )
    records, ended = [], set()
    numbers = list(consumer.list_topics(topic, timeout=10).topics[topic].partitions)
    consumer.assign([TopicPartition(topic, number, OFFSET_BEGINNING) for number in numbers])
    deadline = time.monotonic() + WAIT_S
    while len(ended) < len(numbers):
        assert time.monotonic() < deadline, f"the end came for {sorted(ended)} only"
        for message in consumer.consume(1_000, 0.2):
            if message.error() is None:
                records += messages_as_records([message])
            elif message.error().code() == KafkaError._PARTITION_EOF:
                ended.add(message.partition())
    consumer.close()
    return records


def read_by_kafka_python(bootstrap, topic):
    child = kafka_python("read", bootstrap, topic)
    out, _ = child.communicate(timeout=2 * WAIT_S)
    assert child.returncode == 0
    records = []
    for partition, offset, key, value, headers in map(json.loads, out.splitlines()):
        content = (key.encode(), value.encode(), tuple((n, v.encode()) for n, v in headers))
        records.append(Record(partition, offset, *content))
    return records


READERS = {"confluent": read_by_confluent, "kafka_python": read_by_kafka_python}


class Tail(threading.Thread):
    """Reads from the start while others write; `operations` holds its polls."""

    def __init__(self, bootstrap, topic):
        super().__init__(daemon=True)
        self.bootstrap = bootstrap
        self.topic = topic
        self.operations = []
        self.ends = {}
        """Where it would read on, by partition."""
        self.error = None
        self._stopping = threading.Event()

    def run(self):
        try:
            self.consume()
        except BaseException as error:  # noqa: BLE001  the test asks for it
            self.error = error

    def consume(self):
        from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition

        consumer = Consumer(
            {"bootstrap.servers": self.bootstrap, "group.id": "tail", "log_level": 0}
            | {"enable.auto.commit": False}
        )
        numbers = list(consumer.list_topics(self.topic, timeout=10).topics[self.topic].partitions)
        consumer.assign([TopicPartition(self.topic, n, OFFSET_BEGINNING) for n in numbers])
        self.operations += [Seek("tail", number, 0) for number in numbers]
        while not self._stopping.is_set():
            messages = [one for one in consumer.consume(500, 0.1) if one.error() is None]
            self.operations += polls_of("tail", messages_as_records(messages))
            self.ends.update({one.partition(): one.offset() + 1 for one in messages})
        consumer.close()

    def finish(self, load):
        """End once everything that was acknowledged has been read."""
        ends = {}
        for record in (one for one in load.acked if one.offset is not None):
            ends[record.partition] = max(record.offset + 1, ends.get(record.partition, 0))
        deadline = time.monotonic() + WAIT_S
        while any(self.ends.get(partition, 0) < end for partition, end in ends.items()):
            assert self.error is None, self.error
            assert time.monotonic() < deadline, f"read to {self.ends} of {ends}"
            self._stopping.wait(0.01)
        self._stopping.set()
        self.join(WAIT_S)
        assert self.error is None, self.error


def messages_as_records(messages):
    return [
        Record(m.partition(), m.offset(), m.key(), m.value(), tuple(m.headers() or ()))
        for m in messages
    ]


def located(acked, reads):
    """Return `acked` with the offsets filled in that no answer told.

    librdkafka reports such a success when a batch has failed with "outcome unknown" and waits to be
    sent again while a later one of the same producer succeeds: then the earlier one is in the log,
    and it is not sent again ("implicit ack"). It must be there once, at the same place for all.
    """
    places = {}
    for record in (record for records in reads.values() for record in records):
        places.setdefault((record.partition, record.value), {})[record.offset] = None
    found = []
    for record in acked:
        if record.offset is None:
            offsets = list(places.get((record.partition, record.value), ()))
            assert len(offsets) == 1, f"{record} was acknowledged and is stored at {offsets}"
            record = replace(record, offset=offsets[0])
        found.append(record)
    return found


def stored_logs(cluster, topic):
    """Stop all nodes; return what each of them has stored of `topic`; start them again."""
    wait_in_sync(cluster, topic)
    for node in cluster.nodes:
        assert cluster.stop(node) == 0
    try:
        return {f"node {node}": dumped_records(cluster.data(node), topic) for node in cluster.nodes}
    finally:
        cluster.start_all()


def wait_in_sync(cluster, topic, within_s=30.0):
    """Wait until every replica of the topic is named in sync by a node."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        answer = cluster.metadata(topic, node=cluster.nodes[0])
        if answer and all(sorted(p.in_sync) == [1, 2, 3] for p in answer.partitions.values()):
            return
    raise AssertionError(f"not in sync: {answer}")


def dumped_records(data, topic):
    """Return the records of `topic` in a data directory, in order."""
    dumped = subprocess.run(
        [sys.executable, "-m", "trimaran", "verify", str(data), "--dump", "--topic", topic],
        capture_output=True,
        text=True,
        check=False,
    )
    assert dumped.returncode == 0, dumped.stderr
    records = []
    for entry in map(json.loads, dumped.stdout.splitlines()):
        for record in entry.get("records", []):
            headers = tuple((name, value.encode()) for name, value in record["headers"])
            content = (encoded(record["key"]), encoded(record["value"]), headers)
            records.append(Record(entry["partition"], record["offset"], *content))
    return records


def encoded(text):
    return None if text is None else text.encode()


def polls_of(reader, records):
    """Return what a reader got just now as polls, one for each partition."""
    now_s = time.monotonic()
    partitions = {}
    for record in records:
        partitions.setdefault(record.partition, []).append(record)
    return [
        Poll(reader, partition, [r.offset for r in rows], [r.value for r in rows], now_s)
        for partition, rows in partitions.items()
    ]


def check_all_there(load, reads, tail=None):
    """Every acknowledged record at its offset, unchanged; no anomaly in what anybody did or saw.

    `reads` has the records that each reader got from the start to the end, in its order.
    """
    history = [send for send in load.sends if send.outcome is Outcome.OK]
    assert len(history) == len(load.acked)
    acked = located(load.acked, reads)
    for reader, records in reads.items():
        stored = {(r.partition, r.offset): r for r in records}
        for record in acked:
            assert stored.get((record.partition, record.offset)) == record
        partitions = sorted({r.partition for r in records})
        for partition in partitions:
            offsets = [r.offset for r in records if r.partition == partition]
            assert offsets == list(range(len(offsets))), f"holes in partition {partition}"
        history += [Seek(reader, partition, 0) for partition in partitions]
        history += polls_of(reader, records)
    if tail is not None:
        history += tail.operations
    assert check_history(history) == []


@pytest.fixture(scope="package")
def shared_cluster():
    with Cluster(nodes=3) as running:
        yield running


@pytest.fixture
def cluster(shared_cluster):
    """The shared cluster with every node running; a node that ended is a failure of its test."""
    logged = {node: len(shared_cluster.log(node)) for node in shared_cluster.nodes}
    yield shared_cluster
    ended = [node for node in shared_cluster.nodes if not shared_cluster.is_running(node)]
    for node in shared_cluster.nodes:
        print(f"log of node {node}:\n{shared_cluster.log(node)[logged[node] :][-LOG_TAIL:]}")
    for node in ended:
        shared_cluster.start(node)
    assert not ended


@pytest.fixture
def all_there():
    return check_all_there


@pytest.fixture
def libraries():
    return LOADS


@pytest.fixture(params=sorted(LOADS))
def load_of(request):
    started = []

    def start(bootstrap, topic):
        load = LOADS[request.param](bootstrap, topic)
        load.start()
        started.append(load)
        return load

    yield start
    for load in started:
        load._stopping.set()
        load.join(WAIT_S)


@pytest.fixture
def tail_of():
    started = []

    def start(bootstrap, topic):
        tail = Tail(bootstrap, topic)
        tail.start()
        started.append(tail)
        return tail

    yield start
    for tail in started:
        tail._stopping.set()
        tail.join(WAIT_S)


@pytest.fixture
def readers():
    return READERS


@pytest.fixture
def new_topic(request):
    def create(bootstrap, *, partitions=3, replicas=3, suffix=""):
        from confluent_kafka.admin import AdminClient, NewTopic

        name = request.node.name.translate(str.maketrans("[]", "--")).strip("-")[:200] + suffix
        admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})
        admin.create_topics([NewTopic(name, partitions, replicas)])[name].result(20)
        return name

    return create


@pytest.fixture(name="stored_logs")
def stored_logs_fixture():
    return stored_logs


@pytest.fixture(name="located")
def located_fixture():
    return located


@pytest.fixture(name="polls_of")
def polls_of_fixture():
    return polls_of
