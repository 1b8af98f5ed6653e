"""Producers of three client libraries that note every acknowledgement, and readers of two."""

import asyncio
import json
import subprocess
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest

from trimaran.testing import Cluster

WAIT_S = 60.0
INFLIGHT_MAX = 200
LOG_TAIL = 6_000
HEADERS = [("source", b"smoke"), ("empty", b"")]


@dataclass(frozen=True)
class Record:
    partition: int
    offset: int
    key: bytes
    value: bytes
    headers: tuple[tuple[str, bytes], ...]


def key_and_value(number):
    return b"key-%d" % (number % 17), b'{"number": %d, "fill": "%s"}' % (number, b"x" * 100)


class Load(threading.Thread):
    """Produces until stopped; `acked` holds every acknowledged record."""

    def __init__(self, bootstrap, topic):
        super().__init__(daemon=True)
        self.bootstrap = bootstrap
        self.topic = topic
        self.acked = []
        self.failed = []
        self.error = None
        self._stopping = threading.Event()

    def run(self):
        try:
            self.produce()
        except BaseException as error:  # noqa: BLE001  the test asks for it
            self.error = error

    def note(self, number, partition, offset):
        key, value = key_and_value(number)
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
    def produce(self):
        from confluent_kafka import Producer

        producer = Producer(
            {"bootstrap.servers": self.bootstrap, "acks": "all", "enable.idempotence": True}
            | {"linger.ms": 2, "log_level": 0}
        )
        number = 0
        while not self._stopping.is_set():
            if len(producer) < INFLIGHT_MAX:
                key, value = key_and_value(number)
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
    def produce(self):
        asyncio.run(self.produce_on_loop())

    async def produce_on_loop(self):
        from aiokafka import AIOKafkaProducer

        producer = AIOKafkaProducer(
            bootstrap_servers=self.bootstrap, acks="all", enable_idempotence=True, linger_ms=2
        )
        await producer.start()
        number, waiting = 0, {}
        while not self._stopping.is_set() or waiting:
            while len(waiting) < INFLIGHT_MAX and not self._stopping.is_set():
                key, value = key_and_value(number)
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
    def produce(self):
        child = kafka_python("produce", self.bootstrap, self.topic, stdin=subprocess.PIPE)
        room = threading.Semaphore(INFLIGHT_MAX)
        reading = threading.Thread(target=self.read_acks, args=(child.stdout, room))
        reading.start()
        number = 0
        while not self._stopping.is_set():
            if room.acquire(timeout=0.05):
                key, value = key_and_value(number)
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


LOADS = {"confluent": ConfluentLoad, "aiokafka": AiokafkaLoad, "kafka_python": KafkaPythonLoad}


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
                headers = tuple(message.headers() or ())
                place = (message.partition(), message.offset())
                records.append(Record(*place, message.key(), message.value(), headers))
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


def check_all_there(acked, read):
    """Every acknowledged record at its offset, unchanged; nothing twice; no offset twice."""
    stored = {(r.partition, r.offset): r for r in read}
    assert len(stored) == len(read), "an offset was read twice"
    for record in acked:
        assert stored.get((record.partition, record.offset)) == record
    twice = [value for value, count in Counter(r.value for r in read).items() if count > 1]
    assert not twice
    for partition in {r.partition for r in read}:
        offsets = [r.offset for r in read if r.partition == partition]
        assert offsets == list(range(len(offsets))), f"holes in partition {partition}"


@pytest.fixture(scope="session")
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
def readers():
    return READERS


@pytest.fixture
def new_topic(request):
    def create(bootstrap, *, partitions=3, replicas=3):
        from confluent_kafka.admin import AdminClient, NewTopic

        name = request.node.name.translate(str.maketrans("[]", "--")).strip("-")[:200]
        admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})
        admin.create_topics([NewTopic(name, partitions, replicas)])[name].result(20)
        return name

    return create
