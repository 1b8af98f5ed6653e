"""REST: events read and published.

Does not: find leaders or retry (`kafka`), decode or encode on the loop (`reading`).
"""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any, cast

from trimaran.errors import RequestError
from trimaran.metadata.topology import Topic
from trimaran.server.http import problems
from trimaran.server.http.context import NodeContext, now_ms
from trimaran.server.http.datum import id_of
from trimaran.server.http.endpoint import Asked, Endpoint, Reply, get
from trimaran.server.http.kafka.partitioning import partition_of_key
from trimaran.server.http.kafka.publishing import (
    NothingStoredError,
    OutcomeUnknownError,
    Stored,
)
from trimaran.server.http.models.base import FieldProblem, NoBody
from trimaran.server.http.models.events import (
    EVENTS_MAX,
    Event,
    EventAnswer,
    EventList,
    EventsQuery,
    NewEvent,
    OneEventQuery,
    Place,
    PublishAnswer,
    PublishBody,
    Published,
    PublishQuery,
)
from trimaran.server.http.problems import ProblemError, field_problem, not_found
from trimaran.server.http.reading import (
    bounds,
    encoded,
    in_thread,
    read_events,
    read_partition,
    shown,
)
from trimaran.server.http.writing import ToStore, record_of

PARTITIONS_READ_MAX = 256
RAW_TYPES = ("application/octet-stream", "text/plain")
ONE_EVENT_BYTES = 1 << 20
ID_CHARACTERS_MAX = 240
"""Of an Idempotency-Key: the number of the event is added to it."""

_turn = count()


@dataclass(frozen=True, slots=True)
class Failed:
    """Why events of one partition were not, or perhaps not, stored."""

    kind: problems.Kind
    reason: str


async def read(asked: Asked[EventsQuery, NoBody]) -> EventList:
    """Events from an offset, from a time, or the last ones."""
    begin = time.perf_counter()
    node, query = asked.node, asked.query
    topic = node.user_topic(asked.path["topic"])
    numbers = wanted_partitions(node, topic, query.partition)
    rows, reads, more = await read_events(node, topic, numbers, query)
    header = topic.effective_settings().event_dedup_header.encode()
    items = await in_thread(node, lambda: [encoded(topic, row, query.view, header) for row in rows])
    return EventList(
        topic=topic.name,
        items=cast("list[Event]", items),  # as JSON already: megabytes take long to encode
        next={str(part.partition): part.next for part in reads},
        scanned=sum(part.scanned for part in reads),
        more=more,
        high_watermarks={str(part.partition): part.high_watermark for part in reads},
        log_starts={str(part.partition): part.log_start for part in reads},
        took_ms=round((time.perf_counter() - begin) * 1000, 3),
        served_by=node.node_id,
    )


def wanted_partitions(node: NodeContext, topic: Topic, text: str | None) -> list[int]:
    """Return the partitions of a list, all without one. Raises ProblemError (404, 422)."""
    if text is not None:
        numbers = [node.partition_of(topic, int(part)) for part in text.split(",")]
        return list(dict.fromkeys(numbers))
    if len(topic.partitions) > PARTITIONS_READ_MAX:
        raise field_problem(
            "partition",
            f"{topic.name!r} has {len(topic.partitions)}",
            f"a list of at most {PARTITIONS_READ_MAX} of them",
        )
    return list(range(len(topic.partitions)))


async def one_event(asked: Asked[OneEventQuery, NoBody]) -> EventAnswer:
    """The event at an offset."""
    node = asked.node
    topic = node.user_topic(asked.path["topic"])
    number = node.partition_of(topic, asked.path["partition"])
    offset = asked.path["offset"]
    start, end = (await bounds(node, topic, [number]))[number]
    if not start <= offset < end:
        raise not_found(f"offset {offset}: partition {number} holds {start} to {end - 1}")
    found = await read_partition(
        node,
        topic,
        number,
        begin=offset,
        end=offset + 1,
        scan=1,
        bytes_max=ONE_EVENT_BYTES,
        log_start=start,
    )
    if not found.seen:
        raise not_found(f"offset {offset}: dedup or compaction removed the event")
    header = topic.effective_settings().event_dedup_header.encode()
    row = await in_thread(node, lambda: shown(topic, found.seen[0], asked.query.view, header))
    values = {name: getattr(row, name) for name in row.__struct_fields__}
    return EventAnswer(**values, served_by=node.node_id)


async def publish(asked: Asked[PublishQuery, PublishBody]) -> Reply:
    """Store events; each is stored once however often this has to be tried."""
    begin = time.perf_counter()
    node = asked.node
    topic = node.user_topic(asked.path["topic"])
    events, timeout_ms = events_of(asked)
    at_ms = now_ms()
    id_header = topic.effective_settings().event_dedup_header
    records = [
        record_of(event, at=at, id_header=id_header, now_ms=at_ms)
        for at, event in enumerate(events)
    ]
    placed = place(topic, events, records, id_header=id_header.encode())
    parts = await asyncio.gather(
        *(
            append(node, topic, number, rows, timeout_ms / 1000)
            for number, rows in sorted(placed.items())
        )
    )
    items: list[Published] = []
    failures: list[tuple[Failed, FieldProblem]] = []
    for (number, rows), outcome in zip(sorted(placed.items()), parts, strict=True):
        if isinstance(outcome, Failed):
            failures += [(outcome, _failure(row, number, outcome)) for row in rows]
        else:
            items += [_published(row, number, at) for row, at in zip(rows, outcome, strict=True)]
    items.sort(key=lambda item: item.index)
    if failures:
        raise publish_problem(items, failures)
    answer = PublishAnswer(
        topic=topic.name,
        items=items,
        took_ms=round((time.perf_counter() - begin) * 1000, 3),
        served_by=node.node_id,
    )
    is_new = any(item.duplicate_of is None for item in items)
    return Reply(body=answer, status=201 if is_new else 200)


def events_of(asked: Asked[PublishQuery, PublishBody]) -> tuple[list[NewEvent], int]:
    """Return the events of a body, or the one that the body is. Raises ProblemError (422)."""
    query = asked.query
    kind = asked.headers.get("content-type", "application/json").partition(";")[0].strip().lower()
    is_raw = query.raw or kind in RAW_TYPES
    if is_raw:
        event = NewEvent(value=asked.raw, key=query.key, partition=query.partition, id=query.id)
        events, timeout_ms = [event], query.timeout_ms
    else:
        for name in ("key", "partition", "id"):
            if getattr(query, name) is not None:
                raise field_problem(name, "belongs to a raw body", "in the body, for each event")
        events, timeout_ms = asked.body.events, asked.body.timeout_ms
    return with_ids(events, asked.headers.get("idempotency-key")), timeout_ms


def with_ids(events: list[NewEvent], key: str | None) -> list[NewEvent]:
    """Return the events with the ids that `Idempotency-Key` gives to those without."""
    if key is None:
        return events
    if not 1 <= len(key) <= ID_CHARACTERS_MAX or not key.isprintable():
        raise field_problem(
            "idempotency-key", "is not usable", f"1 to {ID_CHARACTERS_MAX} printable characters"
        )
    found = []
    for at, event in enumerate(events):
        given = key if len(events) == 1 else f"{key}/{at}"
        values = {name: getattr(event, name) for name in event.__struct_fields__}
        values["id"] = event.id or given
        found.append(NewEvent(**values))
    return found


def place(
    topic: Topic, events: Sequence[NewEvent], records: Sequence[ToStore], *, id_header: bytes
) -> dict[int, list[ToStore]]:
    """Return what goes to which partition: by key, else by id, the rest to the next one each time.

    By id, because only the partition that has an event knows a repetition of it.
    """
    partition_count = len(topic.partitions)
    next_one = next(_turn) % partition_count
    placed: dict[int, list[ToStore]] = {}
    for event, row in zip(events, records, strict=True):
        number = event.partition
        if number is None:
            key = row.record.key
            name = id_of(row.record, id_header) if key is None else key
            number = next_one if name is None else partition_of_key(name, partition_count)
        elif number >= partition_count:
            raise field_problem(
                f"events[{row.index}].partition", f"{number}", f"0 to {partition_count - 1}"
            )
        placed.setdefault(number, []).append(row)
    return placed


async def append(
    node: NodeContext, topic: Topic, number: int, rows: Sequence[ToStore], timeout_s: float
) -> list[Stored] | Failed:
    """Append to one partition."""
    try:
        return await node.publisher.append(
            topic, number, [row.record for row in rows], timeout_s=timeout_s
        )
    except OutcomeUnknownError as error:
        return Failed(problems.UNKNOWN, str(error))
    except NothingStoredError as error:
        return Failed(problems.UNAVAILABLE, str(error))
    except RequestError as error:
        found = problems.from_request_error(error)
        return Failed(found.kind, found.detail)


def _published(row: ToStore, number: int, stored: Stored) -> Published:
    original = Place(partition=number, offset=stored.offset) if stored.is_duplicate else None
    return Published(
        index=row.index,
        partition=number,
        offset=stored.offset,
        timestamp_ms=row.record.timestamp_ms,
        id=row.event_id,
        duplicate_of=original,
    )


def _failure(row: ToStore, number: int, failed: Failed) -> FieldProblem:
    word = "outcome unknown" if failed.kind is problems.UNKNOWN else "not stored"
    return FieldProblem(
        field=f"events[{row.index}]", detail=f"partition {number}: {word}: {failed.reason}"
    )


def publish_problem(
    items: Sequence[Published], failures: Sequence[tuple[Failed, FieldProblem]]
) -> ProblemError:
    """Return the problem of a publish that did not wholly succeed.

    Only when surely nothing at all was stored may it be sent again as it is.
    """
    kinds = [failed.kind for failed, _ in failures]
    rows = [row for _, row in failures]
    rows += [
        FieldProblem(
            field=f"events[{item.index}]",
            detail=f"stored in partition {item.partition} at offset {item.offset}",
        )
        for item in items
    ]
    if problems.UNKNOWN in kinds or items:
        detail = f"{len(failures)} of {len(failures) + len(items)} events may not be stored"
        return ProblemError(problems.UNKNOWN, detail, errors=rows)
    kind = next((kind for kind in kinds if kind is not problems.UNAVAILABLE), kinds[0])
    retry = problems.RETRY_AFTER_S if kind is problems.UNAVAILABLE else None
    return ProblemError(kind, failures[0][1].detail, errors=rows, retry_after_s=retry)


ENDPOINTS: tuple[Endpoint[Any, Any], ...] = (
    get("/v1/topics/{topic}/events", "events", "Read events", read, EventList, query=EventsQuery),
    get(
        "/v1/topics/{topic}/partitions/{partition}/events/{offset}",
        "events",
        "One event",
        one_event,
        EventAnswer,
        query=OneEventQuery,
    ),
    Endpoint(
        method="POST",
        path="/v1/topics/{topic}/events",
        tag="events",
        summary=f"Publish 1 to {EVENTS_MAX} events (200: all were duplicates)",
        handle=publish,
        answer=PublishAnswer,
        query=PublishQuery,
        body=PublishBody,
        status=201,
        more_statuses=(200,),
        raw_types=RAW_TYPES,
        request_headers=("Idempotency-Key",),
    ),
)
