"""The clients without a library, against a broker that stores nothing and against one of ours."""

import contextlib
import time
from collections.abc import Callable

import pytest

from trimaran.bench.consuming import monotonic_window, new_reading
from trimaran.bench.errors import BenchError
from trimaran.bench.raw_consumer import read_raw
from trimaran.bench.raw_producer import RawKafkaProducer
from trimaran.bench.task import Task
from trimaran.testing import Cluster

pytestmark = pytest.mark.cluster


@pytest.fixture(scope="module")
def cluster():
    with Cluster(nodes=1) as one:
        yield one


@pytest.fixture
def topic(cluster, request):
    from confluent_kafka.admin import AdminClient, NewTopic

    name = request.node.name.replace("_", "-")[:60]
    admin = AdminClient({"bootstrap.servers": cluster.bootstrap_servers})
    admin.create_topics([NewTopic(name, num_partitions=3, replication_factor=1)])[name].result(20)
    return name


@pytest.fixture
def producer(cluster):
    """Makes producers, and closes their connections."""
    with contextlib.ExitStack() as stack:

        def make(topic, **fields):
            settings = {"bootstrap.servers": cluster.bootstrap_servers}
            task = Task(
                settings=settings,
                topic=topic,
                partitions=3,
                load="at_most",
                event_bytes=64,
                **fields,
            )
            sender = RawKafkaProducer(task, [bytes(64), b"x" * 64])
            sender.wait = lambda _duration_ns: sender.poll(1.0) and None
            for one in sender.sockets:
                stack.enter_context(one)
            return sender

        yield make


def counting() -> tuple[list[object], Callable[[object, object], None]]:
    errors: list[object] = []
    return errors, lambda error, _message: errors.append(error)


def read(cluster, topic, partitions, events):
    reading = new_reading(monotonic_window(time.monotonic_ns(), 0, 20))
    read_raw(
        cluster.bootstrap_servers,
        topic,
        partitions,
        reading,
        events_max=events,
        progress=lambda: None,
    )
    return reading


def test_every_event_is_reported_once_and_read_back_once(cluster, topic, producer) -> None:
    sender = producer(topic)
    errors, delivered = counting()

    for number in range(30):
        sender.send_chunk(number, 100, delivered)
        sender.poll(0)
    left = sender.flush(20)
    reading = read(cluster, topic, [0, 1, 2], 3_000)

    assert left == 0
    assert errors == [None] * 3_000
    assert reading.events == reading.events_in_window == 3_000


def test_no_more_chunks_are_under_way_than_allowed(cluster, topic, producer) -> None:
    sender = producer(topic)
    sender.chunks_max = 2
    most = 0

    def wait(_duration_ns: int) -> None:
        nonlocal most
        most = max(most, len(sender.open))
        sender.poll(1.0)

    sender.wait = wait
    for number in range(50):
        sender.send_chunk(number, 10, lambda _error, _message: None)
    sender.flush(20)

    assert most == 2
    assert sender.queue_full > 0


def test_refused_batch_counts_as_failed_with_its_error(cluster, topic, producer) -> None:
    sender = producer(topic)
    sender.payloads = [bytes(100_000)]
    errors, delivered = counting()

    sender.send_chunk(0, 20, delivered)
    sender.flush(20)

    assert errors == ["MESSAGE_TOO_LARGE"] * 20


def test_unknown_topic_is_an_error_in_one_line(producer) -> None:
    with pytest.raises(BenchError, match="not-there"):
        producer("not-there")
