"""How many events came when: offsets at the edges of equal parts of the time, not a scan.

Does not: read events. Where timestamps do not rise with offsets the parts are only near.
"""

from collections.abc import Sequence

from trimaran.metadata.topology import Topic
from trimaran.server.http.context import NodeContext, now_ms
from trimaran.server.http.kafka.asking import EARLIEST, LATEST, gather, list_offset
from trimaran.server.http.models.topics import Bucket, EventHistogram, HistogramQuery
from trimaran.server.http.problems import field_problem

HOUR_MS = 3_600_000
SEARCHES_MAX = 4_096


async def event_histogram(node: NodeContext, topic: Topic, query: HistogramQuery) -> EventHistogram:
    """Return the parts. Raises ProblemError (422), RequestError."""
    numbers = range(len(topic.partitions)) if query.partition is None else [query.partition]
    if len(numbers) * query.buckets > SEARCHES_MAX:
        raise field_problem(
            "buckets",
            f"{query.buckets} for {len(numbers)} partitions",
            f"at most {max(1, SEARCHES_MAX // len(numbers))}, or one partition",
        )
    to_ms = now_ms() if query.to_ms is None else query.to_ms
    from_ms = query.from_ms
    if from_ms is None:
        from_ms = await _first_ms(node, topic, list(numbers), to_ms)
    if from_ms >= to_ms:
        raise field_problem("from_ms", f"{from_ms} is not before to_ms {to_ms}")
    step_ms = max(1, -(-(to_ms - from_ms) // query.buckets))
    edges = list(range(from_ms, to_ms, step_ms))
    rows = await gather(
        [lambda at=number: _offsets(node, topic, at, [*edges, to_ms]) for number in numbers]
    )
    buckets = [
        Bucket(
            at_ms=edge,
            events=sum(max(0, row[at + 1] - row[at]) for row in rows),
            offsets={str(number): row[at] for number, row in zip(numbers, rows, strict=True)},
        )
        for at, edge in enumerate(edges)
    ]
    settings = topic.effective_settings()
    return EventHistogram(
        topic=topic.name,
        from_ms=from_ms,
        to_ms=to_ms,
        step_ms=step_ms,
        buckets=buckets,
        exact=not settings.event_dedup_enable and "compact" not in settings.cleanup_policy,
        served_by=node.node_id,
    )


async def _first_ms(node: NodeContext, topic: Topic, numbers: Sequence[int], to_ms: int) -> int:
    """Return the time of the first event, or an hour back where there is none."""
    found = await gather(
        [lambda at=number: list_offset(node.kafka, topic, at, 0) for number in numbers]
    )
    times = [row.timestamp_ms for row in found if row.offset >= 0]
    return min([*times, to_ms - 1]) if times else max(0, to_ms - HOUR_MS)


async def _offsets(
    node: NodeContext, topic: Topic, partition: int, edges: Sequence[int]
) -> list[int]:
    """Return the first offset at or after each edge, rising."""
    start = (await list_offset(node.kafka, topic, partition, EARLIEST)).offset
    end = (await list_offset(node.kafka, topic, partition, LATEST)).offset
    if start >= end:
        return [end] * len(edges)
    found: list[int] = []
    for edge in edges:
        if found and found[-1] >= end:
            found.append(end)
            continue
        row = await list_offset(node.kafka, topic, partition, edge)
        offset = row.offset if row.offset >= 0 else end
        found.append(max([offset, *found[-1:]]))
    return found
