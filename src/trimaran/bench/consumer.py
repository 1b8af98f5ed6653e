"""A consumer process's task: the ordinary client, or the raw one.

Does not: read from standard input or write to standard output; `worker` does.
"""

import time
from collections.abc import Callable
from typing import Any

from confluent_kafka import Consumer, TopicPartition

from trimaran.bench.consuming import Reading, monotonic_window, new_reading, read_stamped
from trimaran.bench.histogram import encode
from trimaran.bench.raw_consumer import read_raw
from trimaran.bench.schedule import NANOSECONDS
from trimaran.bench.task import RAW_KAFKA_CONSUMER, Outcome, Task

CONNECT_S = 15.0
MakeProgress = Callable[[Callable[[], dict[str, Any]]], Callable[[], None]]


def prepare_consumer(
    task: Task, make_progress: MakeProgress, stopped: Callable[[], bool]
) -> Callable[[int], Outcome]:
    """Connect; return what reads, from the common start time on until `stopped()`."""
    if task.client == RAW_KAFKA_CONSUMER:
        return lambda start_ns: _read_raw(task, start_ns, make_progress)
    settings: dict[str, Any] = dict(task.settings)
    consumer = Consumer(settings)
    consumer.list_topics(task.topic, timeout=CONNECT_S)
    consumer.assign([TopicPartition(task.topic, number, 0) for number in task.own_partitions])

    def run(start_ns: int) -> Outcome:
        reading = new_reading(monotonic_window(start_ns, task.warm_up_s, task.seconds))
        progress = make_progress(lambda: {"stamped": reading.stamped})
        read_stamped(consumer, reading, progress, stopped)
        consumer.close()
        return _outcome(reading, start_ns)

    return run


def _read_raw(task: Task, start_ns: int, make_progress: MakeProgress) -> Outcome:
    reading = new_reading(monotonic_window(start_ns, task.warm_up_s, task.seconds))
    while (ahead_ns := start_ns - time.monotonic_ns()) > 0:
        time.sleep(ahead_ns / NANOSECONDS)
    read_raw(
        str(task.settings["bootstrap.servers"]),
        task.topic,
        task.own_partitions,
        reading,
        events_max=task.events_max,
        progress=make_progress(lambda: {"consumed": reading.events}),
    )
    return _outcome(reading, start_ns)


def _outcome(reading: Reading, start_ns: int) -> Outcome:
    return Outcome(
        offered=reading.events,
        answered=reading.events,
        unanswered=0,
        answers_in_window=reading.events_in_window,
        stamped=reading.stamped,
        event_histogram=encode(reading.latency_us),
        took_s=max(0, reading.last_ns - start_ns) / NANOSECONDS,
    )
