"""Shapes: samples, incidents, happenings. The plain data are `server.observing.shapes`.

Does not: measure anything.
"""

from typing import Annotated

import msgspec

from trimaran.server.http.models.base import Answer, Body, Limit, NodeList
from trimaran.server.observing.shapes import Happening, Incident, SeriesInfo

Names = Annotated[str, msgspec.Meta(min_length=1, max_length=8_192, examples=["events_in_per_s"])]


class SeriesList(Answer, frozen=True, kw_only=True):
    """Series that there are on this node."""

    items: list[SeriesInfo]
    served_by: int


class HistoryQuery(Body, frozen=True, kw_only=True):
    """Which series, of which nodes, how far back."""

    series: Names
    node: NodeList = "all"
    seconds: Annotated[int, msgspec.Meta(ge=1, le=3_600)] = 300
    step: Annotated[int, msgspec.Meta(ge=1, le=60)] = 1


class HistoryAnswer(Answer, frozen=True, kw_only=True):
    """Series by node, all of one length, oldest first."""

    begin_ms: int
    step_ms: int
    nodes: dict[str, dict[str, list[float | None]]]
    served_by: int


class HistogramsQuery(Body, frozen=True, kw_only=True):
    """Which histograms; `window` 0: since the start."""

    name: Annotated[str, msgspec.Meta(max_length=249)] | None = None
    node: NodeList = "all"
    window: Annotated[int, msgspec.Meta(ge=0, le=60)] = 60


class NodeHistogram(Answer, frozen=True, kw_only=True):
    """A histogram of one node."""

    node_id: int
    name: str
    unit: str
    bounds: list[float]
    counts: list[int]
    count: int
    sum: float


class HistogramList(Answer, frozen=True, kw_only=True):
    """Histograms."""

    items: list[NodeHistogram]
    served_by: int


class LimitQuery(Body, frozen=True, kw_only=True):
    """How many of the newest."""

    limit: Limit = 100


class HappeningsQuery(Body, frozen=True, kw_only=True):
    """How many of the newest; `after`: only those of this node with a higher number."""

    limit: Limit = 200
    after: Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)] = 0


class IncidentList(Answer, frozen=True, kw_only=True):
    """Incidents, newest first."""

    items: list[Incident]
    p50_ms: float | None
    p99_ms: float | None
    limit_ms: int
    served_by: int


class HappeningList(Answer, frozen=True, kw_only=True):
    """Happenings, newest first."""

    items: list[Happening]
    served_by: int


class SeriesValues(Answer, frozen=True, kw_only=True):
    """The last second of this node's series."""

    values: dict[str, float]
    served_by: int


class NamesQuery(Body, frozen=True, kw_only=True):
    """Which series; all without."""

    series: Names | None = None
