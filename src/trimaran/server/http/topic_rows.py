"""Topics in rows: size, leaders, rate, and which groups are behind.

Does not: hold a page up for a group that cannot be asked; its lag is left out.
"""

import asyncio
from collections.abc import Sequence
from urllib.parse import quote

from trimaran.broker.rows import LONG_ROWS_AT_ONCE, in_turns
from trimaran.errors import RequestError
from trimaran.ids import NodeId
from trimaran.metadata.topology import Topic
from trimaran.server.http import grouping
from trimaran.server.http.context import NodeContext
from trimaran.server.http.facts import own_partition, partitions_of
from trimaran.server.http.models.cluster import NodePartition
from trimaran.server.http.models.groups import GroupDetail
from trimaran.server.http.models.metrics import HistoryAnswer
from trimaran.server.http.models.topics import GroupLag
from trimaran.server.http.models.topics import Topic as TopicRow
from trimaran.server.http.problems import ProblemError

RATE_SECONDS = 60
LEADERS_SHOWN = 256
GROUPS_SHOWN = 5
"""Of a topic among others; of one alone, all are."""
GROUPS_ASKED_MAX = 200
LAG_ANSWER_S = 1.5
LAGS_SHARED_S = 2.0
NAMES_OF_ONE_QUESTION = 50


async def topic_rows(
    node: NodeContext, topics: Sequence[Topic], *, groups_shown: int = GROUPS_SHOWN
) -> list[TopicRow]:
    """Return `topics` in rows, in their order, each with the groups that are furthest behind."""
    names = [topic.name for topic in topics]
    places = asyncio.gather(*(_led_rows(node, topic) for topic in topics))
    rates, lags = await asyncio.gather(topic_rates(node, names), group_lags(node))
    rows = []
    for topic, led in zip(topics, await places, strict=True):
        rate = rates.get(topic.name, [])
        behind = sorted(lags.get(topic.name, []), key=lambda row: -row.lag_events)
        rows.append(_row(node, topic, led, rate, behind, groups_shown))
    return rows


def _row(
    node: NodeContext,
    topic: Topic,
    led: dict[int, NodePartition],
    rate: list[float],
    groups: list[GroupLag],
    groups_shown: int,
) -> TopicRow:
    hint = node.broker.services.leader_hint
    leader_of = [hint(topic.group(number))[0] for number in range(len(topic.partitions))]
    leaders: dict[str, int] = {}
    for leader in leader_of:
        if leader is not None:
            leaders[str(leader)] = leaders.get(str(leader), 0) + 1
    is_known = len(led) == len(topic.partitions) and not topic.is_internal
    return TopicRow(
        name=topic.name,
        topic_id=topic.topic_id.hex(),
        partitions=len(topic.partitions),
        replication_factor=topic.replication_factor,
        is_internal=topic.is_internal,
        size_bytes=sum(row.size_bytes for row in led.values()) if is_known else None,
        events=sum(row.high_watermark - row.log_start for row in led.values())
        if is_known
        else None,
        leaders=leaders,
        leader_of=list(leader_of[:LEADERS_SHOWN]),
        groups=groups[:groups_shown],
        groups_total=len(groups),
        worst_lag_s=max((row.lag_s for row in groups if row.lag_s is not None), default=None),
        events_in_per_s=rate[-1] if rate else None,
        rate=rate,
        dedup=topic.effective_settings().event_dedup_enable,
    )


async def _led_rows(node: NodeContext, topic: Topic) -> dict[int, NodePartition]:
    """Return one row a partition, this node's own where it has one."""
    found = {}
    missing = []
    async for number in in_turns(range(len(topic.partitions)), LONG_ROWS_AT_ONCE):
        row = own_partition(node, topic, number)
        if row is None:
            missing.append(number)
        else:
            found[number] = row
    if missing:
        for rows in (await partitions_of(node, topic, missing)).values():
            found.update({number: row for number, row in rows.items() if number in missing})
    return found


async def topic_rates(node: NodeContext, names: Sequence[str]) -> dict[str, list[float]]:
    """Return events per second of the last minute, oldest first, all nodes together."""
    found: dict[str, list[float]] = {}
    for begin in range(0, len(names), NAMES_OF_ONE_QUESTION):
        some = names[begin : begin + NAMES_OF_ONE_QUESTION]
        series = {f"topic/{name}/events_in_per_s": name for name in some}
        for values in await _histories(node, list(series)):
            for key, points in values.items():
                if key in series:
                    _add(found.setdefault(series[key], []), points)
    return found


async def _histories(node: NodeContext, series: list[str]) -> list[dict[str, list[float | None]]]:
    own = node.observer.history(series, seconds=RATE_SECONDS, step=1)
    others: list[NodeId] = [number for number in node.alive() if number != node.node_id]
    path = f"/v1/node/metrics/history?seconds={RATE_SECONDS}&series={quote(','.join(series))}"
    answers = await node.fellows.get_all(others, path, HistoryAnswer)
    found = [{name: list(points) for name, points in own.values.items()}]
    for answer in answers:
        if answer is not None:
            found += answer.nodes.values()
    return found


def _add(total: list[float], points: list[float | None]) -> None:
    """Add to the newest ends of a sum."""
    if len(points) > len(total):
        total[:0] = [0.0] * (len(points) - len(total))
    for back in range(1, len(points) + 1):
        total[-back] += points[-back] or 0.0


async def group_lags(node: NodeContext) -> dict[str, list[GroupLag]]:
    """Return the groups of each topic with their lag, as of a moment ago."""
    return await node.shared.get("group-lags", LAGS_SHARED_S, lambda: _group_lags(node))


async def _group_lags(node: NodeContext) -> dict[str, list[GroupLag]]:
    try:
        listed = (await grouping.all_groups(node))[:GROUPS_ASKED_MAX]
    except (OSError, RequestError):
        listed = []
    details = await asyncio.gather(*(_detail(node, row.group_id) for row, _ in listed))
    found: dict[str, list[GroupLag]] = {}
    for detail in details:
        for topic in detail.topics if detail is not None else ():
            assert detail is not None
            rows = [row for row in detail.partitions if row.topic == topic]
            lag = GroupLag(
                group_id=detail.group_id,
                lag_events=sum(row.lag_events or 0 for row in rows),
                lag_s=max((row.lag_s for row in rows if row.lag_s is not None), default=None),
            )
            found.setdefault(topic, []).append(lag)
    return found


async def _detail(node: NodeContext, group_id: str) -> GroupDetail | None:
    """Return the group; None if it is gone, or not to be learnt in time: others are shown."""
    try:
        async with asyncio.timeout(LAG_ANSWER_S):
            return await grouping.detail(node, group_id)
    except (OSError, RequestError, ProblemError):
        return None
