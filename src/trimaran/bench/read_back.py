"""Reads a topic of numbered events from its start and compares it with what was answered.

*Lost*: answered, and not there. *Duplicated*: there more often than once. *Out of order*: below a
number that stood before it in the same partition (an event that is there twice counts only as
duplicated). Events without an answer may be there or not: their outcome was unknown.
Does not: compare contents beyond the number; the demo and the tests do.
"""

import time
from collections.abc import Collection, Iterable

import msgspec
from confluent_kafka import Consumer, KafkaException, TopicPartition

from trimaran.bench.errors import BenchError
from trimaran.bench.loads import NUMBER_BYTES
from trimaran.bench.target import Target

READ_COUNT = 10_000
SILENCE_S = 30.0
"""Without a single event for so long, reading back has failed."""


class Accounting(msgspec.Struct, kw_only=True, frozen=True):
    """What became of the answered events."""

    stored: int
    lost: int
    duplicated: int
    out_of_order: int


def account(answered: Collection[int], stored: Iterable[tuple[int, int]]) -> Accounting:
    """Compare the answered numbers with (partition, number) pairs in log order."""
    seen: set[int] = set()
    highest: dict[int, int] = {}
    count = duplicated = out_of_order = 0
    for partition, number in stored:
        count += 1
        if number in seen:
            duplicated += 1
        elif number < highest.get(partition, -1):
            out_of_order += 1
        seen.add(number)
        highest[partition] = max(number, highest.get(partition, -1))
    lost = sum(number not in seen for number in answered)
    return Accounting(stored=count, lost=lost, duplicated=duplicated, out_of_order=out_of_order)


def read_back(target: Target, topic: str, *, partitions: int) -> list[tuple[int, int]]:
    """Return (partition, number) of every event of `topic`, each partition in log order.

    Raises:
        BenchError: the end of the log is not reached; nothing came for `SILENCE_S`.
    """
    consumer = Consumer(
        {
            "bootstrap.servers": target.bootstrap,
            "group.id": f"{topic}-read-back",
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            "log_level": 2,
        }
    )
    try:
        places = [TopicPartition(topic, number, 0) for number in range(partitions)]
        ends = {p.partition: consumer.get_watermark_offsets(p, SILENCE_S)[1] for p in places}
        consumer.assign(places)
        return _read_to(consumer, ends)
    except KafkaException as error:
        raise BenchError(f"reading {topic} back failed: {error}") from error
    finally:
        consumer.close()


def _read_to(consumer: Consumer, ends: dict[int, int]) -> list[tuple[int, int]]:
    found: list[tuple[int, int]] = []
    open_partitions = {number for number, end in ends.items() if end > 0}
    heard_s = time.monotonic()
    while open_partitions:
        messages = consumer.consume(READ_COUNT, timeout=1.0)
        for message in messages:
            value, partition, offset = message.value(), message.partition(), message.offset()
            if message.error() is not None or value is None or partition is None or offset is None:
                continue
            found.append((partition, int.from_bytes(bytes(value)[:NUMBER_BYTES], "big")))
            heard_s = time.monotonic()
            if offset + 1 >= ends[partition]:
                open_partitions.discard(partition)
        if time.monotonic() - heard_s > SILENCE_S:
            raise BenchError(f"reading back stopped before the end of {sorted(open_partitions)}")
    return found
