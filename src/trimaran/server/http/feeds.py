"""What a subscription of the WebSocket sends: tails, samples, happenings, the cluster.

A feed is a coroutine that sends when there is something; sending waits for the client, and what
came meanwhile is skipped, not kept. What is asked of other nodes is shared by all who want it.
Does not: read or write the socket itself.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from urllib.parse import quote

import msgspec

from trimaran.errors import RequestError
from trimaran.ids import NodeId
from trimaran.metadata.topology import Topic
from trimaran.server.http import facts, grouping, problems
from trimaran.server.http.context import NodeContext, now_ms
from trimaran.server.http.datum import filter_row
from trimaran.server.http.health import judge
from trimaran.server.http.models.cluster import NodeFacts
from trimaran.server.http.models.events import EventsQuery
from trimaran.server.http.models.metrics import HappeningList, IncidentList, SeriesValues
from trimaran.server.http.models.stream import (
    ClusterNews,
    Edge,
    Events,
    GroupNews,
    Happened,
    IncidentNews,
    PartitionNews,
    Samples,
    Subscribe,
)
from trimaran.server.http.problems import ProblemError, field_problem, not_found
from trimaran.server.http.reading import Seen, encoded, in_thread, read_events
from trimaran.server.http.routes.topics import partition_state
from trimaran.server.http.tails import TICK_S, Tails, Watcher
from trimaran.server.observing.merging import merged
from trimaran.server.observing.shapes import Happening, Incident

SHOWN_BYTES = 8_192
"""Of a key, value or header in a tail; the event itself shows all."""
HAPPENINGS_S = 0.5
FRESH = 0.9
"""Part of an interval for which an answer of another node is shared."""

Send = Callable[[msgspec.Struct], Awaitable[None]]


class TailFeed:
    """A tail with its filter; the client may change it while it runs."""

    def __init__(self, node: NodeContext, tails: Tails, asked: Subscribe, send: Send) -> None:
        if asked.topic is None:
            raise field_problem("topic", "is missing", "the name of a topic")
        self._node = node
        self._tails = tails
        self._asked = asked
        self._send = send
        self._topic: Topic = node.user_topic(asked.topic)
        if asked.partition is not None:
            node.partition_of(self._topic, asked.partition)
        self._filter = asked.filter
        self.watcher = Watcher(partition=asked.partition, is_filtered=asked.filter is not None)
        self._missed_total = 0
        self._seen_total = 0

    async def set_filter(self, expression: str | None) -> None:
        """Use another filter from now on. Raises ProblemError (400)."""
        if expression is not None:
            await self._node.filters.check(expression)
        self._filter = expression
        self.watcher.is_filtered = expression is not None

    async def run(self) -> None:
        """Send events until cancelled, or the topic is gone."""
        await self.set_filter(self._filter)
        tail = await self._tails.watch(self._topic, self.watcher)
        pause_s = max(TICK_S, 1 / self._asked.rate)
        limit = max(1, round(self._asked.rate * pause_s))
        try:
            if self._asked.from_ == "last":
                ends = {at: tail.position(at) for at in self._numbers()}
                await self._send(await self._last_before(ends))
            while not self.watcher.is_over:
                await self.watcher.news.wait()
                # No name holds the events themselves while a slow client is waited for.
                await self._send(await self._message(*self.watcher.take(), limit=limit))
                await asyncio.sleep(pause_s)
            raise not_found(f"topic {self._topic.name!r} was deleted")
        finally:
            self._tails.unwatch(tail, self.watcher)

    def _numbers(self) -> Sequence[int]:
        if self._asked.partition is not None:
            return [self._asked.partition]
        return range(len(self._topic.partitions))

    async def _last_before(self, ends: dict[int, int | None]) -> Events:
        """Return what was there before the reader began."""
        query = EventsQuery(last=True, limit=self._asked.last, filter=self._filter)
        rows, _, _ = await read_events(self._node, self._topic, list(self._numbers()), query)
        before = [row for row in rows if row.record.offset < (ends.get(row.partition) or 0)]
        return await self._events(before, missed=0, filtered=0)

    async def _message(self, rows: list[Seen], missed: int, *, limit: int) -> Events:
        filtered = 0
        if self._filter is not None and rows:
            views = await in_thread(
                self._node, lambda: [filter_row(row.record, row.partition) for row in rows]
            )
            try:
                matches = await self._node.filters.matches(self._filter, views)
            except ProblemError as error:
                if error.kind is not problems.TOO_MANY:
                    raise
                missed += len(rows)  # a moment's crowd ends no tail
                rows, matches = [], []
            kept = [row for row, holds in zip(rows, matches, strict=True) if holds]
            filtered = len(rows) - len(kept)
            rows = kept
        if len(rows) > limit:
            step = len(rows) / limit
            sampled = [rows[int(at * step)] for at in range(limit)]
            missed += len(rows) - len(sampled)
            rows = sampled
        return await self._events(rows, missed=missed, filtered=filtered)

    async def _events(self, rows: list[Seen], *, missed: int, filtered: int) -> Events:
        self._missed_total += missed
        self._seen_total += len(rows) + filtered
        header = self._topic.effective_settings().event_dedup_header.encode()
        items = await in_thread(
            self._node,
            lambda: [
                encoded(self._topic, row, self._asked.view, header, bytes_max=SHOWN_BYTES)
                for row in rows
            ],
        )
        return Events(
            id=self._asked.id,
            items=items,
            missed=missed,
            missed_total=self._missed_total,
            seen_total=self._seen_total,
            filtered=filtered,
            at_ms=now_ms(),
        )


async def metrics(node: NodeContext, asked: Subscribe, send: Send) -> None:
    """Send every node's samples at each interval."""
    known = facts.known_nodes(node)
    numbers = known if asked.nodes == "all" else [NodeId(number) for number in asked.nodes]
    if any(number not in known for number in numbers):
        raise field_problem("nodes", f"{numbers}", f"some of {known}")
    names = asked.series
    query = "" if names is None else f"?series={quote(','.join(names))}"
    age_s = asked.interval_ms / 1000 * FRESH

    async def one(number: NodeId) -> dict[str, float] | None:
        if number == node.node_id:
            latest = node.observer.latest()
            if names is None:
                return dict(latest)
            return {name: latest[name] for name in names if name in latest}
        path = f"/v1/node/series{query}"
        patience_s = facts.patience_s(node, number)
        answer = await node.shared.get(
            f"{number} {path}",
            age_s,
            lambda: node.fellows.get(number, path, SeriesValues, timeout_s=patience_s),
        )
        return None if answer is None else answer.values

    while True:
        rows = await asyncio.gather(*(one(number) for number in numbers))
        found = dict(zip(numbers, rows, strict=True))
        await send(
            Samples(
                id=asked.id,
                at_ms=now_ms(),
                nodes={str(number): row for number, row in found.items() if row is not None},
                unreachable=[number for number, row in found.items() if row is None],
            )
        )
        await asyncio.sleep(asked.interval_ms / 1000)


async def happenings(node: NodeContext, asked: Subscribe, send: Send) -> None:
    """Send what happens on any node, and how incidents go."""
    seen: dict[NodeId, int] = {}
    told: dict[str, Incident] = {}
    is_first = True
    while True:
        rows: list[Happening] = []
        for number, found in (await _all_happenings(node)).items():
            newest = max((row.seq for row in found), default=0)
            if newest < seen.get(number, 0):
                seen[number] = 0  # it was started again, and counts from 1
            rows += [row for row in found if row.seq > seen.get(number, 0)]
            seen[number] = max(newest, seen.get(number, 0))
        rows.sort(key=lambda row: (row.at_ms, row.node_id, row.seq))
        if is_first:
            rows = rows[len(rows) - asked.backlog :] if asked.backlog < len(rows) else rows
        if rows or is_first:
            await send(Happened(id=asked.id, items=rows))
        for incident in await _all_incidents(node):
            if told.get(incident.id) != incident:
                told[incident.id] = incident
                if not is_first or incident.total_ms is None:
                    await send(IncidentNews(id=asked.id, incident=incident))
        is_first = False
        await asyncio.sleep(HAPPENINGS_S)


async def _all_happenings(node: NodeContext) -> dict[NodeId, list[Happening]]:
    others = [number for number in node.alive() if number != node.node_id]

    async def one(number: NodeId) -> list[Happening]:
        answer = await node.shared.get(
            f"{number} happenings",
            HAPPENINGS_S * FRESH,
            lambda: node.fellows.get(number, "/v1/node/happenings?limit=200", HappeningList),
        )
        return [] if answer is None else answer.items

    rows = await asyncio.gather(*(one(number) for number in others))
    found = dict(zip(others, rows, strict=True))
    found[node.node_id] = list(node.observer.happenings(0))
    return found


async def _all_incidents(node: NodeContext) -> list[Incident]:
    others = [number for number in node.alive() if number != node.node_id]

    async def one(number: NodeId) -> list[Incident]:
        answer = await node.shared.get(
            f"{number} incidents",
            HAPPENINGS_S * FRESH,
            lambda: node.fellows.get(number, "/v1/node/incidents", IncidentList),
        )
        return [] if answer is None else answer.items

    found = list(node.observer.incidents())
    for rows in await asyncio.gather(*(one(number) for number in others)):
        found += rows
    return merged(found)[::-1]


async def cluster(node: NodeContext, asked: Subscribe, send: Send) -> None:
    """Send the state of all nodes at each interval."""
    while True:
        found = await node.shared.get(
            "facts", asked.interval_ms / 1000 * FRESH, lambda: facts.all_facts(node)
        )
        leaders, replicas = await facts.counts(node)
        alive = node.alive()
        rows = [
            facts.node_row(node, number, row, alive=alive, leaders=leaders, replicas=replicas)
            for number, (row, _) in found.items()
        ]
        told = {number: row for number, (row, _) in found.items()}
        await send(
            ClusterNews(
                id=asked.id,
                at_ms=now_ms(),
                health=await judge(node, found),
                nodes=rows,
                edges=edges(told),
            )
        )
        await asyncio.sleep(asked.interval_ms / 1000)


def edges(told: dict[NodeId, NodeFacts | None]) -> list[Edge]:
    """Return what each node says of its way to each other node."""
    rows = []
    for number, facts_of in told.items():
        if facts_of is None:
            continue
        series = facts_of.series
        rows += [
            Edge(
                from_=number,
                to=other,
                append_events_per_s=series.get(f"peer/{other}/append_events_per_s"),
                rtt_ms=series.get(f"peer/{other}/rtt_ms"),
                lag_events=series.get(f"peer/{other}/lag_events"),
                reachable=other in facts_of.alive_nodes,
            )
            for other in told
            if other != number
        ]
    return rows


async def partition(node: NodeContext, asked: Subscribe, send: Send) -> None:
    """Send the state of a partition's replicas at each interval."""
    if asked.topic is None or asked.partition is None:
        raise field_problem("partition", "needs topic and partition", "both")
    number = node.partition_of(node.topic(asked.topic), asked.partition)
    while True:
        topic = node.topic(asked.topic)
        told = await node.shared.get(
            f"partition {topic.name} {number}",
            asked.interval_ms / 1000 * FRESH,
            partial(facts.partitions_of, node, topic, [number]),
        )
        state = partition_state(node, topic, number, told)
        await send(PartitionNews(id=asked.id, at_ms=now_ms(), state=state))
        await asyncio.sleep(asked.interval_ms / 1000)


async def group(node: NodeContext, asked: Subscribe, send: Send) -> None:
    """Send where a group stands at each interval."""
    group_id = asked.group_id
    if group_id is None:
        raise field_problem("group_id", "is missing", "the id of a group")
    while True:
        try:
            found = await node.shared.get(
                f"group {group_id}",
                asked.interval_ms / 1000 * FRESH,
                lambda: grouping.detail(node, group_id),
            )
            await send(GroupNews(id=asked.id, at_ms=now_ms(), group=found))
        except (OSError, RequestError):
            pass  # its coordinator moves; the next look finds it
        await asyncio.sleep(asked.interval_ms / 1000)
