"""One request to one node on a connection of its own: what that node itself says now.

A Kafka client follows leaders, caches, backs off and picks whichever node it likes, a frozen one
included; what a survivor or a thawed leader answers must be asked without one.
Does not: retry or look for the leader.
"""

from collections.abc import Sequence

from trimaran.bench.kafka_wire import ask
from trimaran.protocol.api import ApiKey
from trimaran.protocol.messages.fetch import (
    ListOffsetsPartition,
    ListOffsetsRequest,
    ListOffsetsTopic,
)
from trimaran.protocol.messages.produce import (
    PartitionProduceData,
    ProduceRequest,
    TopicProduceData,
)
from trimaran.records.building import build_batch
from trimaran.records.iteration import Record

LATEST = -1
ALL_REPLICAS = -1
LIST_OFFSETS_VERSION = 4
PRODUCE_VERSION = 7


def log_end(address: str, topic: str, partition: int, *, timeout_s: float) -> int | None:
    """Return the latest offset that the node at `address` vouches for; None if it declines.

    Raises:
        OSError: not reachable, no answer in time, or connection closed.
    """
    asked = ListOffsetsPartition(partition_index=partition, timestamp=LATEST)
    request = ListOffsetsRequest(topics=(ListOffsetsTopic(name=topic, partitions=(asked,)),))
    answer = ask(address, ApiKey.LIST_OFFSETS, LIST_OFFSETS_VERSION, request, timeout_s)
    one = answer.topics[0].partitions[0]
    return None if one.error_code else int(one.offset)


def append(address: str, topic: str, partition: int, value: bytes, *, timeout_s: float) -> bool:
    """Send one event with acks=all; return whether the node at `address` acknowledged it.

    Raises:
        OSError: not reachable, no answer in time, or connection closed: the outcome is unknown.
    """
    batch = build_batch([Record(value=value, timestamp_ms=0)])
    request = ProduceRequest(
        transactional_id=None,
        acks=ALL_REPLICAS,
        timeout_ms=round(timeout_s * 1_000),
        topic_data=(
            TopicProduceData(topic, (PartitionProduceData(partition, memoryview(batch)),)),
        ),
    )
    answer = ask(address, ApiKey.PRODUCE, PRODUCE_VERSION, request, timeout_s)
    return not answer.responses[0].partition_responses[0].error_code


def append_to_each(
    address: str, topic: str, partitions: Sequence[int], value: bytes, *, timeout_s: float
) -> set[int]:
    """Send one event to each of `partitions` in one request; return those acknowledged.

    The answer comes once the last partition has its own: when exactly each was written is not told.

    Raises:
        OSError: not reachable, no answer in time, or connection closed: the outcomes are unknown.
    """
    batch = memoryview(build_batch([Record(value=value, timestamp_ms=0)]))
    parts = tuple(PartitionProduceData(number, batch) for number in partitions)
    request = ProduceRequest(
        transactional_id=None,
        acks=ALL_REPLICAS,
        timeout_ms=round(timeout_s * 1_000),
        topic_data=(TopicProduceData(topic, parts),),
    )
    answer = ask(address, ApiKey.PRODUCE, PRODUCE_VERSION, request, timeout_s)
    return {one.index for one in answer.responses[0].partition_responses if not one.error_code}
