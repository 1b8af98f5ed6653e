"""REST: samples, histograms, incidents, happenings; and `/metrics` for Prometheus.

This node's come from its observer, the others' from their own `/v1/node/...`.
Does not: measure.
"""

import asyncio
from collections.abc import Sequence
from typing import Any, TypeVar
from urllib.parse import urlencode

import msgspec

from trimaran.ids import NodeId
from trimaran.server.http import facts
from trimaran.server.http.context import NodeContext, now_ms
from trimaran.server.http.endpoint import Asked, Endpoint, Reply, get
from trimaran.server.http.models.base import NoBody, NoQuery
from trimaran.server.http.models.metrics import (
    HappeningList,
    HappeningsQuery,
    HistogramList,
    HistogramsQuery,
    HistoryAnswer,
    HistoryQuery,
    IncidentList,
    LimitQuery,
    NamesQuery,
    NodeHistogram,
    SeriesList,
    SeriesValues,
)
from trimaran.server.http.problems import field_problem
from trimaran.server.observing.merging import merged
from trimaran.server.observing.shapes import Happening, Incident

PROMETHEUS = "text/plain; version=0.0.4; charset=utf-8"
LIMIT_MS = 600
SERIES_MAX = 200

T = TypeVar("T", bound=msgspec.Struct)


async def prometheus(asked: Asked[NoQuery, NoBody]) -> Reply:
    """The text that Prometheus scrapes."""
    text = await asyncio.to_thread(asked.node.observer.prometheus)
    return Reply(body=text, media_type=PROMETHEUS)


async def series(asked: Asked[NoQuery, NoBody]) -> SeriesList:
    """What is sampled."""
    return SeriesList(items=list(asked.node.observer.series()), served_by=asked.node.node_id)


async def values(asked: Asked[NamesQuery, NoBody]) -> SeriesValues:
    """The last second of this node."""
    found = dict(asked.node.observer.latest())
    if asked.query.series is not None:
        wanted = names_of(asked.query.series)
        found = {name: found[name] for name in wanted if name in found}
    return SeriesValues(values=found, served_by=asked.node.node_id)


async def own_history(asked: Asked[HistoryQuery, NoBody]) -> HistoryAnswer:
    """This node's samples."""
    node, query = asked.node, asked.query
    found = node.observer.history(names_of(query.series), seconds=query.seconds, step=query.step)
    rows = {name: list(points) for name, points in found.values.items()}
    return HistoryAnswer(
        begin_ms=found.begin_ms,
        step_ms=found.step_ms,
        nodes={str(node.node_id): rows},
        served_by=node.node_id,
    )


async def history(asked: Asked[HistoryQuery, NoBody]) -> HistoryAnswer:
    """Several nodes' samples, brought to one length and time axis."""
    node, query = asked.node, asked.query
    own = await own_history(asked)
    path = "/v1/node/metrics/history?" + urlencode(
        {"series": query.series, "seconds": query.seconds, "step": query.step}
    )
    answers = await ask_nodes(node, query.node, path, HistoryAnswer, own)
    step_ms = query.step * 1000
    end_ms = now_ms() // step_ms * step_ms
    length = max(1, query.seconds // query.step)
    nodes: dict[str, dict[str, list[float | None]]] = {}
    for _, answer in answers:
        for number, rows in answer.nodes.items():
            nodes[number] = {
                name: on_axis(points, answer.begin_ms, step_ms, end_ms, length)
                for name, points in rows.items()
            }
    return HistoryAnswer(
        begin_ms=end_ms - length * step_ms,
        step_ms=step_ms,
        nodes=nodes,
        served_by=node.node_id,
    )


def on_axis(
    points: Sequence[float | None], begin_ms: int, step_ms: int, end_ms: int, length: int
) -> list[float | None]:
    """Return `points`, which begin at `begin_ms`, as the `length` steps that end at `end_ms`."""
    first_ms = end_ms - length * step_ms
    shift = round((first_ms - begin_ms) / step_ms)
    return [points[at] if 0 <= at < len(points) else None for at in range(shift, shift + length)]


async def own_histograms(asked: Asked[HistogramsQuery, NoBody]) -> HistogramList:
    """This node's histograms."""
    node, query = asked.node, asked.query
    items = [
        NodeHistogram(
            node_id=node.node_id,
            name=row.name,
            unit=row.unit,
            bounds=list(row.bounds),
            counts=list(row.counts),
            count=row.count,
            sum=row.sum,
        )
        for row in node.observer.histograms(window_s=query.window)
        if query.name in (None, row.name)
    ]
    return HistogramList(items=items, served_by=node.node_id)


async def histograms(asked: Asked[HistogramsQuery, NoBody]) -> HistogramList:
    """Several nodes' histograms."""
    node, query = asked.node, asked.query
    own = await own_histograms(asked)
    wanted = {"window": str(query.window)} | ({"name": query.name} if query.name else {})
    path = "/v1/node/metrics/histograms?" + urlencode(wanted)
    answers = await ask_nodes(node, query.node, path, HistogramList, own)
    items = [row for _, answer in answers for row in answer.items]
    return HistogramList(items=items, served_by=node.node_id)


async def own_incidents(asked: Asked[LimitQuery, NoBody]) -> IncidentList:
    """What this node saw."""
    return incident_list(asked.node, asked.node.observer.incidents(), asked.query.limit)


async def incidents(asked: Asked[LimitQuery, NoBody]) -> IncidentList:
    """What all nodes saw, each incident once."""
    node = asked.node
    own = await own_incidents(asked)
    path = f"/v1/node/incidents?limit={asked.query.limit}"
    answers = await ask_nodes(node, "all", path, IncidentList, own)
    rows = merged(row for _, answer in answers for row in answer.items)
    return incident_list(node, rows, asked.query.limit)


def incident_list(node: NodeContext, rows: Sequence[Incident], limit: int) -> IncidentList:
    """Return the newest with their percentiles."""
    shown = list(rows[:limit])
    totals = sorted(row.total_ms for row in shown if row.total_ms is not None)
    return IncidentList(
        items=shown,
        p50_ms=percentile(totals, 0.5),
        p99_ms=percentile(totals, 0.99),
        limit_ms=LIMIT_MS,
        served_by=node.node_id,
    )


def percentile(ascending: Sequence[float], part: float) -> float | None:
    """Return the smallest value that `part` of them do not exceed; None of none."""
    if not ascending:
        return None
    return ascending[min(len(ascending) - 1, max(0, -int(-len(ascending) * part // 1) - 1))]


async def own_happenings(asked: Asked[HappeningsQuery, NoBody]) -> HappeningList:
    """What this node tells."""
    rows = list(asked.node.observer.happenings(asked.query.after))
    rows.reverse()
    return HappeningList(items=rows[: asked.query.limit], served_by=asked.node.node_id)


async def happenings(asked: Asked[LimitQuery, NoBody]) -> HappeningList:
    """What all nodes tell, newest first."""
    node, limit = asked.node, asked.query.limit
    own = HappeningList(
        items=list(node.observer.happenings(0))[::-1][:limit], served_by=node.node_id
    )
    path = f"/v1/node/happenings?limit={limit}"
    answers = await ask_nodes(node, "all", path, HappeningList, own)
    rows: list[Happening] = [row for _, answer in answers for row in answer.items]
    rows.sort(key=lambda row: (-row.at_ms, row.node_id, -row.seq))
    return HappeningList(items=rows[:limit], served_by=node.node_id)


def names_of(text: str) -> list[str]:
    """Return the names of a list. Raises ProblemError (422)."""
    names = list(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    if not 1 <= len(names) <= SERIES_MAX:
        raise field_problem("series", f"{len(names)} names", f"1 to {SERIES_MAX}, with commas")
    return names


async def ask_nodes(
    node: NodeContext, wanted: str, path: str, shape: type[T], own: T
) -> list[tuple[NodeId, T]]:
    """Return the answers of the nodes in a list, those that answer. Raises ProblemError (422)."""
    known = facts.known_nodes(node)
    numbers = known if wanted == "all" else [NodeId(int(part)) for part in wanted.split(",")]
    for number in numbers:
        if number not in known:
            listed = ", ".join(str(item) for item in known)
            raise field_problem("node", f"{number}", f"all, or a list of {listed}")

    async def one(number: NodeId) -> T | None:
        if number == node.node_id:
            return own
        patience_s = facts.patience_s(node, number)
        return await node.fellows.get(number, path, shape, timeout_s=patience_s)

    answers = await asyncio.gather(*(one(number) for number in numbers))
    return [(number, row) for number, row in zip(numbers, answers, strict=True) if row is not None]


ENDPOINTS: tuple[Endpoint[Any, Any], ...] = (
    get(
        "/metrics",
        "metrics",
        "Prometheus text of this node",
        prometheus,
        None,
        media_type=PROMETHEUS,
    ),
    get("/v1/metrics/series", "metrics", "What is sampled", series, SeriesList),
    get(
        "/v1/metrics/history",
        "metrics",
        "Samples of the last hour",
        history,
        HistoryAnswer,
        query=HistoryQuery,
    ),
    get(
        "/v1/metrics/histograms",
        "metrics",
        "Histograms",
        histograms,
        HistogramList,
        query=HistogramsQuery,
    ),
    get(
        "/v1/incidents",
        "metrics",
        "Failovers, phase by phase",
        incidents,
        IncidentList,
        query=LimitQuery,
    ),
    get("/v1/happenings", "metrics", "What happened", happenings, HappeningList, query=LimitQuery),
    get(
        "/v1/node/series",
        "this node",
        "The last second of this node's series",
        values,
        SeriesValues,
        query=NamesQuery,
    ),
    get(
        "/v1/node/metrics/history",
        "this node",
        "This node's samples",
        own_history,
        HistoryAnswer,
        query=HistoryQuery,
    ),
    get(
        "/v1/node/metrics/histograms",
        "this node",
        "This node's histograms",
        own_histograms,
        HistogramList,
        query=HistogramsQuery,
    ),
    get(
        "/v1/node/incidents",
        "this node",
        "Failovers this node saw",
        own_incidents,
        IncidentList,
        query=LimitQuery,
    ),
    get(
        "/v1/node/happenings",
        "this node",
        "What this node tells",
        own_happenings,
        HappeningList,
        query=HappeningsQuery,
    ),
)
