"""Events out of the log: from an offset, from a time, the last ones; with a filter.

Batches come from the leader through the Kafka client; they are decoded and encoded as JSON in the
decoding thread, a bounded number of them. What bounds a read counts events as they are decoded: a
batch of a few bytes may hold megabytes. A reader of the end goes backwards from there, in steps,
and looks at no more events than `scan`, however long the log is.
Does not: follow (tails do).
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

import msgspec

from trimaran.errors import RequestError
from trimaran.metadata.topology import Topic
from trimaran.records.batch import BatchHeader, parse_header
from trimaran.records.entry import Payload
from trimaran.records.iteration import Record, iterate_records
from trimaran.server.http.context import NodeContext
from trimaran.server.http.datum import SHOWN_BYTES_MAX, event_of, filter_row, size_of
from trimaran.server.http.kafka.asking import (
    EARLIEST,
    LATEST,
    fetch,
    gather,
    is_out_of_range,
    list_offset,
)
from trimaran.server.http.models.events import Event, EventsQuery, View
from trimaran.server.http.problems import field_problem

FETCH_BYTES = 1 << 20
BATCHES_OF_ONE_TURN = 64
LOOKS_BACK_MAX = 64
"""Steps of one reader of the end: each doubles the way, or halves it where bytes ran out."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Seen:
    """A record and what its batch says of it."""

    partition: int
    record: Record
    log_append: bool
    leader_epoch: int
    size_bytes: int
    shown: dict[object, msgspec.Raw] = field(default_factory=dict)
    """As JSON, by how it is shown: tails show one row to many."""


def seen_in(header: BatchHeader, record: Record, partition: int) -> Seen:
    """Return a record of the batch with this header."""
    return Seen(partition, record, header.is_log_append_time, header.leader_epoch, size_of(record))


@dataclass(slots=True, kw_only=True)
class PartitionRead:
    """What was read of one partition."""

    partition: int
    begin: int
    next: int
    log_start: int
    high_watermark: int
    seen: list[Seen] = field(default_factory=list)
    scanned: int = 0
    bytes: int = 0
    """Of all that is in `seen`."""

    @property
    def is_at_end(self) -> bool:
        """Whether there is nothing behind it now."""
        return self.next >= self.high_watermark


async def in_thread(node: NodeContext, work: Callable[[], T]) -> T:
    """Run `work`, which decodes, in the decoding thread."""
    return await asyncio.get_running_loop().run_in_executor(node.decoding, work)


async def read_partition(
    node: NodeContext,
    topic: Topic,
    partition: int,
    *,
    begin: int,
    end: int,
    scan: int,
    bytes_max: int,
    log_start: int,
) -> PartitionRead:
    """Return up to `scan` records of [begin, end), the last of them the one that fills `bytes_max`.

    Raises:
        RequestError: there was no leader in time, or what is stored cannot be read.
    """
    read = PartitionRead(
        partition=partition, begin=begin, next=begin, log_start=log_start, high_watermark=end
    )
    while read.next < end and read.scanned < scan and read.bytes < bytes_max:
        try:
            found = await fetch(
                node.kafka,
                topic,
                partition,
                read.next,
                bytes_max=min(FETCH_BYTES, bytes_max - read.bytes),
            )
        except RequestError as error:
            if not is_out_of_range(error):
                raise
            again = await list_offset(node.kafka, topic, partition, EARLIEST)
            if again.offset <= read.next:
                raise
            read.next = again.offset  # retention moved the log's start meanwhile
            continue
        if not found.batches:
            break
        for at in range(0, len(found.batches), BATCHES_OF_ONE_TURN):
            some = found.batches[at : at + BATCHES_OF_ONE_TURN]
            await in_thread(
                node, partial(take, read, some, end=end, scan=scan, bytes_max=bytes_max)
            )
    return read


def take(
    read: PartitionRead, batches: Sequence[Payload], *, end: int, scan: int, bytes_max: int
) -> None:
    """Take in records, from where the read stands until it has enough."""
    for batch in batches:
        header = parse_header(batch)
        if header.last_offset < read.next:
            continue
        if read.next >= end or read.scanned >= scan or read.bytes >= bytes_max:
            return
        stop = header.last_offset + 1
        for record in iterate_records(batch):
            if record.offset < read.next:
                continue
            if record.offset >= end or read.scanned >= scan or read.bytes >= bytes_max:
                stop = record.offset
                break
            row = seen_in(header, record, read.partition)
            read.scanned += 1
            read.bytes += row.size_bytes
            read.seen.append(row)
        read.next = stop


async def read_last(
    node: NodeContext,
    topic: Topic,
    partition: int,
    *,
    start: int,
    end: int,
    count: int,
    bytes_max: int,
) -> PartitionRead:
    """Return the last `count` records of [start, end), as far back as `bytes_max` reaches.

    Where dedup or compaction left holes the way back is longer than `count` offsets.

    Raises:
        RequestError: there was no leader in time, or what is stored cannot be read.
    """
    read = PartitionRead(
        partition=partition, begin=end, next=end, log_start=start, high_watermark=end
    )
    width = count
    for _ in range(LOOKS_BACK_MAX):
        if read.begin <= start or len(read.seen) >= count or read.bytes >= bytes_max:
            break
        begin = max(start, read.begin - width)
        part = await read_partition(
            node,
            topic,
            partition,
            begin=begin,
            end=read.begin,
            scan=count,
            bytes_max=bytes_max - read.bytes,
            log_start=start,
        )
        if part.next < read.begin and read.begin - begin > 1:
            width = (read.begin - begin) // 2  # what comes last is wanted first
            continue
        read.seen[:0] = part.seen
        read.bytes += part.bytes
        read.begin = begin
        width *= 2
    del read.seen[:-count]
    read.scanned = len(read.seen)
    return read


async def bounds(
    node: NodeContext, topic: Topic, partitions: Sequence[int]
) -> Mapping[int, tuple[int, int]]:
    """Return [log start, high watermark) of each partition.

    Raises:
        RequestError: one has no leader.
    """

    async def one(partition: int) -> tuple[int, int]:
        start = await list_offset(node.kafka, topic, partition, EARLIEST)
        end = await list_offset(node.kafka, topic, partition, LATEST)
        return start.offset, end.offset

    found = await gather([lambda at=number: one(at) for number in partitions])
    return dict(zip(partitions, found, strict=True))


async def read_events(
    node: NodeContext, topic: Topic, partitions: Sequence[int], query: EventsQuery
) -> tuple[list[Seen], list[PartitionRead], bool]:
    """Return the events asked for in order, what was read, and whether more may follow.

    Raises:
        ProblemError: the query contradicts itself, the filter is none.
        RequestError: a partition has no leader.
    """
    ways = [query.offset is not None, query.time is not None, bool(query.last)]
    if sum(ways) > 1:
        raise field_problem("offset", "only one of offset, time and last may be given")
    if query.filter is not None:
        await node.filters.check(query.filter)
    known = await bounds(node, topic, partitions)
    is_last = sum(ways) == 0 or bool(query.last)
    reads = await _read_all(node, topic, known, query, is_last=is_last)
    seen = await in_thread(node, partial(in_time_order, reads))
    if query.filter is not None:
        rows = await in_thread(
            node, lambda: [filter_row(row.record, row.partition) for row in seen]
        )
        matches = await node.filters.matches(query.filter, rows)
        seen = [row for row, holds in zip(seen, matches, strict=True) if holds]
    if is_last:
        cut = seen[len(seen) - count_within(seen[::-1], query) :]
    else:
        cut = seen[: count_within(seen, query)]
    if not is_last and len(cut) < len(seen):
        rewind(reads, cut)
    more = len(cut) < len(seen) or not all(read.is_at_end for read in reads)
    return cut, reads, more


def count_within(rows: Sequence[Seen], query: EventsQuery) -> int:
    """Return how many of `rows` one answer may hold; the first however large it is."""
    size = 0
    for count, row in enumerate(rows[: query.limit]):
        size += row.size_bytes
        if size > query.max_bytes and count > 0:
            return count
    return min(len(rows), query.limit)


def in_time_order(reads: Sequence[PartitionRead]) -> list[Seen]:
    """Return what was read by time, each partition's events in the order of their offsets.

    Clients' timestamps may go back. Such an event takes the place of the latest before it, so that
    whatever part of the list is given out, the rest of a partition lies behind (`rewind`).
    """
    rows: list[tuple[int, int, int, Seen]] = []
    for read in reads:
        latest_ms = 0
        for row in read.seen:
            latest_ms = max(latest_ms, row.record.timestamp_ms)
            rows.append((latest_ms, row.partition, row.record.offset, row))
    rows.sort(key=lambda row: row[:3])
    return [row for _, _, _, row in rows]


async def _read_all(
    node: NodeContext,
    topic: Topic,
    known: Mapping[int, tuple[int, int]],
    query: EventsQuery,
    *,
    is_last: bool,
) -> list[PartitionRead]:
    share = max(1, query.scan // len(known))
    wanted = share if query.filter is not None else min(share, query.limit)

    async def one(partition: int) -> PartitionRead:
        start, end = known[partition]
        bytes_max = max(1_024, query.max_bytes // len(known))
        if is_last:
            return await read_last(
                node, topic, partition, start=start, end=end, count=wanted, bytes_max=bytes_max
            )
        begin = start
        if query.time is not None:
            found = await list_offset(node.kafka, topic, partition, query.time)
            begin = found.offset if found.offset >= 0 else end
        elif query.offset is not None:
            begin = min(max(start, query.offset), end)
        return await read_partition(
            node,
            topic,
            partition,
            begin=begin,
            end=end,
            scan=wanted,
            bytes_max=bytes_max,
            log_start=start,
        )

    return await gather([lambda at=number: one(at) for number in known])


def rewind(reads: Sequence[PartitionRead], given: Sequence[Seen]) -> None:
    """Let each partition's `next` be the first event that was read but not given out."""
    last = {row.partition: row.record.offset for row in given}
    for read in reads:
        if read.partition in last:
            read.next = last[read.partition] + 1
        else:
            read.next = read.begin


def shown(
    topic: Topic,
    row: Seen,
    view: View,
    id_header: bytes,
    *,
    bytes_max: int = SHOWN_BYTES_MAX,
) -> Event:
    """Return a record as it is shown."""
    return event_of(
        row.record,
        topic=topic.name,
        partition=row.partition,
        view=view,
        id_header=id_header,
        log_append=row.log_append,
        leader_epoch=row.leader_epoch,
        bytes_max=bytes_max,
    )


def encoded(
    topic: Topic,
    row: Seen,
    view: View,
    id_header: bytes,
    *,
    bytes_max: int = SHOWN_BYTES_MAX,
) -> msgspec.Raw:
    """Return a record as it is shown, as JSON: once for all who want it the same way."""
    key = (view, id_header, bytes_max)
    known = row.shown.get(key)
    if known is None:
        event = shown(topic, row, view, id_header, bytes_max=bytes_max)
        known = row.shown[key] = msgspec.Raw(msgspec.json.encode(event))
    return known
