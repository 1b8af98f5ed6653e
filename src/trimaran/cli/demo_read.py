"""Reads the demo's topic back with kafka-python, which shares no code with the producer's client.

Does not: judge what it read.
"""

import logging
import time
from collections.abc import Callable

from trimaran.cli.demo_check import Sighting, digest
from trimaran.cli.exits import USAGE, CommandError

POLL_MS = 500
BATCH = 5_000
SILENCE_S = 30.0
"""After this long without an event, what is missing counts as lost."""


def read_back(
    bootstrap: str, topic: str, *, progress: Callable[[int], None]
) -> dict[int, list[Sighting]]:
    """Return (offset, digest) by partition, in the order read, up to the ends of now.

    Raises:
        CommandError: kafka-python is not installed.
    """
    try:
        from kafka import KafkaConsumer, TopicPartition
    except ImportError as error:
        raise CommandError(
            "the demo reads back with kafka-python, which is not installed\n"
            "install it with: pip install 'trimaran[demo]'",
            code=USAGE,
        ) from error
    logging.getLogger("kafka").setLevel(logging.CRITICAL)
    consumer = KafkaConsumer(
        bootstrap_servers=bootstrap.split(","),
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        max_partition_fetch_bytes=1 << 20,
    )
    read: dict[int, list[Sighting]] = {}
    try:
        numbers = sorted(consumer.partitions_for_topic(topic) or [])
        partitions = [TopicPartition(topic, number) for number in numbers]
        consumer.assign(partitions)
        consumer.seek_to_beginning(*partitions)
        missing = {p: end for p, end in consumer.end_offsets(partitions).items() if end > 0}
        total, heard = 0, time.monotonic()
        while missing and time.monotonic() < heard + SILENCE_S:
            for partition, records in consumer.poll(POLL_MS, max_records=BATCH).items():
                heard = time.monotonic()
                total += len(records)
                read.setdefault(partition.partition, []).extend(
                    (record.offset, digest(record.key, record.value)) for record in records
                )
                if records and records[-1].offset + 1 >= missing.get(partition, 0):
                    missing.pop(partition, None)
            progress(total)
    finally:
        consumer.close()
    return read
