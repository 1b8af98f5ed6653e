"""Questions about logs and groups, each in one function; leaders are found, and moves survived.

Does not: append (`publishing`).
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from trimaran.errors import ErrorCode, RequestError
from trimaran.ids import NodeId
from trimaran.metadata.topology import Topic
from trimaran.protocol.api import ApiKey
from trimaran.protocol.messages import (
    DeleteRecordsPartition,
    DeleteRecordsRequest,
    DeleteRecordsTopic,
    FetchPartition,
    FetchRequest,
    FetchTopic,
    ListOffsetsPartition,
    ListOffsetsRequest,
    ListOffsetsTopic,
)
from trimaran.records.batch import HEADER_BYTES, parse_header
from trimaran.records.entry import Payload
from trimaran.server.http.kafka.client import KafkaClient, checked

LATEST = -1
EARLIEST = -2
READ_S = 5.0
"""How long a question about a log may take, elections included."""
CONCURRENT_MAX = 32
"""Questions of one request under way at a time."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Fetched:
    """What a leader has from an offset on."""

    batches: Sequence[Payload]
    high_watermark: int
    log_start: int


@dataclass(frozen=True, slots=True)
class Found:
    """An offset and its timestamp, -1 where there is none."""

    offset: int
    timestamp_ms: int


async def list_offset(
    client: KafkaClient, topic: Topic, partition: int, timestamp: int, *, timeout_s: float = READ_S
) -> Found:
    """Return the first event at or after `timestamp`; EARLIEST and LATEST: the log's ends.

    Raises:
        RequestError: the leader refuses, or there was none in time.
    """

    async def ask(node: NodeId, left_s: float) -> Found:
        row = ListOffsetsPartition(partition_index=partition, timestamp=timestamp)
        request = ListOffsetsRequest(topics=[ListOffsetsTopic(name=topic.name, partitions=[row])])
        answer = await client.ask(node, ApiKey.LIST_OFFSETS, request, lane="read", timeout_s=left_s)
        found = answer.topics[0].partitions[0]
        checked(found.error_code)
        return Found(found.offset, found.timestamp)

    found: Found = await client.ask_leader(topic.group(partition), ask, timeout_s=timeout_s)
    return found


async def fetch(
    client: KafkaClient,
    topic: Topic,
    partition: int,
    offset: int,
    *,
    bytes_max: int,
    timeout_s: float = READ_S,
) -> Fetched:
    """Return committed batches from the one that holds `offset`.

    Raises:
        RequestError: OFFSET_OUT_OF_RANGE, or there was no leader in time.
    """

    async def ask(node: NodeId, left_s: float) -> Fetched:
        row = FetchPartition(
            partition=partition, fetch_offset=offset, partition_max_bytes=bytes_max
        )
        request = FetchRequest(
            max_wait_ms=0,
            min_bytes=0,
            max_bytes=bytes_max,
            topics=[FetchTopic(topic=topic.name, partitions=[row])],
        )
        answer = await client.ask(node, ApiKey.FETCH, request, lane="read", timeout_s=left_s)
        checked(answer.error_code)
        found = answer.responses[0].partitions[0]
        checked(found.error_code)
        batches = [batch for records in found.records for batch in split_batches(records)]
        return Fetched(batches, found.high_watermark, found.log_start_offset)

    found: Fetched = await client.ask_leader(topic.group(partition), ask, timeout_s=timeout_s)
    return found


def split_batches(records: Payload) -> list[Payload]:
    """Return the whole batches in what a Fetch answered."""
    batches: list[Payload] = []
    view = memoryview(records)
    position = 0
    while len(view) - position >= HEADER_BYTES:
        size = parse_header(view[position:]).size
        if size < HEADER_BYTES or position + size > len(view):
            break
        batches.append(view[position : position + size])
        position += size
    return batches


async def delete_records(
    client: KafkaClient, topic: Topic, partition: int, before: int, *, timeout_s: float = READ_S
) -> int:
    """Give up what lies below `before` (-1: all); return where the log begins then.

    Raises:
        RequestError: OFFSET_OUT_OF_RANGE, or there was no leader in time.
    """

    async def ask(node: NodeId, left_s: float) -> int:
        row = DeleteRecordsPartition(partition_index=partition, offset=before)
        request = DeleteRecordsRequest(
            topics=[DeleteRecordsTopic(name=topic.name, partitions=[row])],
            timeout_ms=int(left_s * 1000),
        )
        answer = await client.ask(
            node, ApiKey.DELETE_RECORDS, request, lane="admin", timeout_s=left_s + 1
        )
        found = answer.topics[0].partitions[0]
        checked(found.error_code)
        return int(found.low_watermark)

    found: int = await client.ask_leader(topic.group(partition), ask, timeout_s=timeout_s)
    return found


async def offsets_of(
    client: KafkaClient, topic: Topic, partitions: Sequence[int], timestamp: int
) -> Mapping[int, Found | None]:
    """Return `list_offset` of several partitions; None where the leader did not answer."""

    async def one(partition: int) -> Found | None:
        try:
            return await list_offset(client, topic, partition, timestamp)
        except RequestError:
            return None

    found = await gather([lambda at=number: one(at) for number in partitions])
    return dict(zip(partitions, found, strict=True))


async def gather(calls: Sequence[Any]) -> list[Any]:
    """Await what each of `calls` returns, some at a time, in their order."""
    gate = asyncio.Semaphore(CONCURRENT_MAX)

    async def one(call: Any) -> Any:  # noqa: ANN401 - any awaitable's result
        async with gate:
            return await call()

    return list(await asyncio.gather(*(one(call) for call in calls)))


def is_out_of_range(error: RequestError) -> bool:
    """Whether the offset lies outside the log."""
    return error.code is ErrorCode.OFFSET_OUT_OF_RANGE
