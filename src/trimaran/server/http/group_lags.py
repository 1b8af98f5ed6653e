"""How far groups are behind the logs they read, in events and in seconds: many groups at once.

Groups that share a topic share the look at its logs. Seconds of lag are the age of the first event
that was not consumed: its timestamp is read from the log, for a bounded number of partitions.
Does not: speak with coordinators.
"""

from collections.abc import Iterable, Mapping, Sequence

from trimaran.broker.rows import in_turns
from trimaran.errors import RequestError
from trimaran.records.batch import parse_header
from trimaran.records.iteration import iterate_records
from trimaran.server.http.context import NodeContext, now_ms
from trimaran.server.http.describing import Standing
from trimaran.server.http.kafka.asking import fetch, gather
from trimaran.server.http.log_ends import Ends, Place, log_ends
from trimaran.server.http.models.groups import GroupDetail, GroupPartition

LAG_READS_MAX = 64
"""Partitions of a group whose lag in seconds is looked up: those with the most events behind."""
LAG_BYTES = 4_096
GROUPS_AT_ONCE = 16
"""In one turn of the loop."""

Ages = Mapping[tuple[Place, int], float | None]
"""Of the first event at or after an offset, in seconds."""


async def details(node: NodeContext, standings: Mapping[str, Standing]) -> dict[str, GroupDetail]:
    """Return groups with everything, by their ids."""
    owner = {group_id: _owners(found) for group_id, found in standings.items()}
    places = {
        group_id: sorted(set(found.committed) | set(owner[group_id]))
        for group_id, found in standings.items()
    }
    ends = await log_ends(node, (place for some in places.values() for place in some))
    late = dict.fromkeys(
        place for found in standings.values() for place in _worst(found.committed, ends)
    )
    seconds = await gather([lambda at=place: _age_s(node, *at) for place in late])
    ages = dict(zip(late, seconds, strict=True))
    rows: dict[str, GroupDetail] = {}
    async for group_id, found in in_turns(standings.items(), GROUPS_AT_ONCE):
        owners = owner[group_id]
        rows[group_id] = _detail(
            group_id,
            found,
            [_row(at, found, ends, ages, owners.get(at)) for at in places[group_id]],
        )
    return rows


def _owners(found: Standing) -> dict[Place, str]:
    return {
        (part.topic, number): member.member_id
        for member in found.described.members
        for part in member.assignment
        for number in part.partitions
    }


def _worst(
    committed: Mapping[Place, tuple[int, str | None]], ends: Mapping[Place, Ends]
) -> list[tuple[Place, int]]:
    """Return where a group is furthest behind, with the offset that it has consumed to."""
    late = [
        (ends[place][1] - offset, place, offset)
        for place, (offset, _) in committed.items()
        if place in ends and offset < ends[place][1]
    ]
    late.sort(key=lambda row: -row[0])
    return [(place, offset) for _, place, offset in late[:LAG_READS_MAX]]


def _row(
    place: Place, found: Standing, ends: Mapping[Place, Ends], ages: Ages, owner: str | None
) -> GroupPartition:
    committed, metadata = found.committed.get(place, (None, None))
    start, end = ends.get(place, (None, None))
    lag = age_s = None
    if committed is not None and end is not None:
        lag = max(0, end - max(committed, start or 0))
        age_s = 0.0 if lag == 0 else ages.get((place, committed))
    return GroupPartition(
        topic=place[0],
        partition=place[1],
        committed=committed,
        log_start=start,
        high_watermark=end,
        lag_events=lag,
        lag_s=age_s,
        metadata=metadata or None,
        member_id=owner,
    )


def _detail(group_id: str, found: Standing, rows: Sequence[GroupPartition]) -> GroupDetail:
    return GroupDetail(
        group_id=group_id,
        state=found.described.state,
        protocol_type=found.described.protocol_type,
        protocol=found.described.protocol,
        coordinator=found.coordinator,
        lag_events=_sum(row.lag_events for row in rows),
        lag_s=max((row.lag_s for row in rows if row.lag_s is not None), default=None),
        topics=sorted({row.topic for row in rows}),
        members=list(found.described.members),
        partitions=list(rows),
    )


def _sum(values: Iterable[int | None]) -> int | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None


async def _age_s(node: NodeContext, place: Place, offset: int) -> float | None:
    """Return how old the event at `offset` (or the next one there is) is."""
    name, number = place
    topic = node.image.topic(name)
    if topic is None:
        return None  # deleted since
    try:
        found = await fetch(node.kafka, topic, number, offset, bytes_max=LAG_BYTES, timeout_s=1.0)
        timestamp = _first_timestamp(found.batches, offset)
    except RequestError:
        return None
    return None if timestamp is None else max(0.0, (now_ms() - timestamp) / 1000)


def _first_timestamp(batches: Sequence[bytes | memoryview], offset: int) -> int | None:
    for batch in batches:
        header = parse_header(batch)
        if header.is_log_append_time:
            return header.max_timestamp
        for record in iterate_records(batch):
            if record.offset >= offset:
                return record.timestamp_ms
    return None
