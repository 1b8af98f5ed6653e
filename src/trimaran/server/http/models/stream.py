"""Shapes: messages of the WebSocket. The `type` field tells them apart, both ways.

Does not: send them.
"""

from typing import Annotated, Any, Literal

import msgspec

from trimaran.server.http.models.base import Answer, PartitionNumber, Problem, TopicName
from trimaran.server.http.models.cluster import ClusterHealth, Node
from trimaran.server.http.models.events import FilterText, View
from trimaran.server.http.models.groups import GroupDetail
from trimaran.server.http.models.topics import PartitionState
from trimaran.server.observing.shapes import Happening, Incident

SubscriptionId = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
RATE_MAX = 500
SERIES_MAX = 200


class Asked(
    msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True, tag_field="type"
):
    """Base of what a client sends."""


class Subscribe(Asked, frozen=True, kw_only=True, tag="subscribe"):
    """Begin a feed; which fields count depends on the feed."""

    id: SubscriptionId
    feed: Literal["tail", "metrics", "happenings", "cluster", "partition", "group", "answer"]
    topic: TopicName | None = None
    partition: PartitionNumber | None = None
    filter: FilterText | None = None
    view: View = "auto"
    from_: Literal["now", "last"] = msgspec.field(name="from", default="now")
    last: Annotated[int, msgspec.Meta(ge=1, le=1_000)] = 50
    rate: Annotated[int, msgspec.Meta(ge=1, le=RATE_MAX)] = RATE_MAX
    series: Annotated[list[str], msgspec.Meta(max_length=SERIES_MAX)] | None = None
    nodes: Literal["all"] | Annotated[list[int], msgspec.Meta(max_length=32)] = "all"
    interval_ms: Annotated[int, msgspec.Meta(ge=250, le=10_000)] = 1_000
    backlog: Annotated[int, msgspec.Meta(ge=0, le=1_000)] = 100
    group_id: Annotated[str, msgspec.Meta(min_length=1, max_length=249)] | None = None
    path: Annotated[str, msgspec.Meta(min_length=1, max_length=8_192)] | None = None


class Pause(Asked, frozen=True, kw_only=True, tag="pause"):
    """Send nothing for now."""

    id: SubscriptionId


class Resume(Asked, frozen=True, kw_only=True, tag="resume"):
    """Go on from the newest."""

    id: SubscriptionId


class Unsubscribe(Asked, frozen=True, kw_only=True, tag="unsubscribe"):
    """End a feed."""

    id: SubscriptionId


class ChangeFilter(Asked, frozen=True, kw_only=True, tag="filter"):
    """Give a tail another filter, or none."""

    id: SubscriptionId
    filter: FilterText | None = None


class Ping(Asked, frozen=True, kw_only=True, tag="ping"):
    """Ask for a sign of life."""

    nonce: Any = None


ClientMessage = Subscribe | Pause | Resume | Unsubscribe | ChangeFilter | Ping


class Hello(Answer, frozen=True, kw_only=True, tag_field="type", tag="hello"):
    """The first message of a node."""

    served_by: int
    cluster_id: str
    version: str
    at_ms: int


class Told(Answer, frozen=True, kw_only=True):
    """What a client asked for is done."""

    type: Literal["subscribed", "paused", "resumed", "unsubscribed"]
    id: str


class Pong(Answer, frozen=True, kw_only=True, tag_field="type", tag="pong"):
    """A sign of life."""

    nonce: Any


class StreamError(Answer, frozen=True, kw_only=True, tag_field="type", tag="error"):
    """A feed that did not begin, or ended; or a message that was not understood."""

    id: str | None
    problem: Problem


class Events(Answer, frozen=True, kw_only=True, tag_field="type", tag="events"):
    """Events of a tail. `missed`: since the message before; `items` are of shape Event."""

    id: str
    items: list[msgspec.Raw]
    missed: int
    missed_total: int
    seen_total: int
    filtered: int
    at_ms: int


class Samples(Answer, frozen=True, kw_only=True, tag_field="type", tag="metrics"):
    """The last second of each node's series."""

    id: str
    at_ms: int
    nodes: dict[str, dict[str, float]]
    unreachable: list[int]


class Happened(Answer, frozen=True, kw_only=True, tag_field="type", tag="happenings"):
    """What happened, oldest first."""

    id: str
    items: list[Happening]


class IncidentNews(Answer, frozen=True, kw_only=True, tag_field="type", tag="incident"):
    """An incident began, changed or ended."""

    id: str
    incident: Incident


class Edge(Answer, frozen=True, kw_only=True):
    """What flows from a leader to a follower."""

    from_: int = msgspec.field(name="from")
    to: int
    append_events_per_s: float | None
    rtt_ms: float | None
    lag_events: float | None
    reachable: bool


class ClusterNews(Answer, frozen=True, kw_only=True, tag_field="type", tag="cluster"):
    """The cluster now."""

    id: str
    at_ms: int
    health: ClusterHealth
    nodes: list[Node]
    edges: list[Edge]


class PartitionNews(Answer, frozen=True, kw_only=True, tag_field="type", tag="partition"):
    """A partition now."""

    id: str
    at_ms: int
    state: PartitionState


class GroupNews(Answer, frozen=True, kw_only=True, tag_field="type", tag="group"):
    """A group now."""

    id: str
    at_ms: int
    group: GroupDetail


class AnswerNews(Answer, frozen=True, kw_only=True, tag_field="type", tag="answer"):
    """What a GET of the REST API answers now; `body` is of that endpoint's shape."""

    id: str
    at_ms: int
    body: msgspec.Raw
