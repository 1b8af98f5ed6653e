"""Shapes: events read and published.

Does not: decode payloads.
"""

from typing import Annotated, Any, Literal

import msgspec

from trimaran.server.http.models.base import (
    Answer,
    Body,
    Limit,
    OffsetNumber,
    PartitionNumber,
    TimeMs,
)

View = Literal["auto", "json", "text", "base64", "hex"]
Encoding = Literal["text", "json", "base64"]
FILTER_CHARACTERS_MAX = 1_000
FilterText = Annotated[
    str,
    msgspec.Meta(
        min_length=1,
        max_length=FILTER_CHARACTERS_MAX,
        description="A CEL expression over key, value, headers, partition, offset, timestamp_ms.",
    ),
]
PartitionList = Annotated[
    str, msgspec.Meta(pattern=r"^[0-9]{1,5}(,[0-9]{1,5}){0,255}$", examples=["0,2"])
]
IdText = Annotated[str, msgspec.Meta(min_length=1, max_length=256)]
EVENTS_MAX = 1_000


class EventsQuery(Body, frozen=True, kw_only=True):
    """Where to read (one of offset, time, last), how much, and how it is shown."""

    partition: PartitionList | None = None
    offset: OffsetNumber | None = None
    time: TimeMs | None = None
    last: bool | None = None
    limit: Limit = 100
    filter: FilterText | None = None
    view: View = "auto"
    max_bytes: Annotated[
        int,
        msgspec.Meta(
            ge=1_024,
            le=8_388_608,
            description="Of keys, values and headers without compression; one event in any case.",
        ),
    ] = 1_048_576
    scan: Annotated[int, msgspec.Meta(ge=1, le=100_000)] = 10_000


class OneEventQuery(Body, frozen=True, kw_only=True):
    """How it is shown."""

    view: View = "auto"


class Datum(Answer, frozen=True, kw_only=True):
    """Bytes in a readable form."""

    view: Literal["json", "text", "base64", "hex"]
    data: Any
    size_bytes: int
    truncated: bool


class Header(Answer, frozen=True, kw_only=True):
    """A record header."""

    name: str
    value: Datum | None


class Event(Answer, frozen=True, kw_only=True):
    """An event."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    log_append: bool
    key: Datum | None
    value: Datum | None
    headers: list[Header]
    event_id: str | None
    size_bytes: int
    leader_epoch: int


class EventAnswer(Event, frozen=True, kw_only=True):
    """One event."""

    served_by: int


class EventList(Answer, frozen=True, kw_only=True):
    """Events, and where to go on."""

    topic: str
    items: list[Event]
    next: dict[str, int]
    scanned: int
    more: bool
    high_watermarks: dict[str, int]
    log_starts: dict[str, int]
    took_ms: float
    served_by: int


class NewHeader(Body, frozen=True, kw_only=True):
    """A record header to be."""

    name: Annotated[str, msgspec.Meta(min_length=1, max_length=1_024)]
    value: str | None = None
    encoding: Literal["text", "base64"] = "text"


class NewEvent(Body, frozen=True, kw_only=True):
    """An event to be. Without an encoding a string is text and everything else is JSON."""

    value: Any = None
    key: Any = None
    value_encoding: Encoding | None = None
    key_encoding: Encoding | None = None
    headers: Annotated[list[NewHeader], msgspec.Meta(max_length=100)] = msgspec.field(
        default_factory=list
    )
    partition: PartitionNumber | None = None
    timestamp_ms: TimeMs | None = None
    id: IdText | None = None


class PublishBody(Body, frozen=True, kw_only=True):
    """Events to be."""

    events: Annotated[list[NewEvent], msgspec.Meta(min_length=1, max_length=EVENTS_MAX)]
    timeout_ms: Annotated[int, msgspec.Meta(ge=100, le=60_000)] = 10_000


class PublishQuery(Body, frozen=True, kw_only=True):
    """`raw`: the body is the value of one event, and these say the rest."""

    raw: bool = False
    key: Annotated[str, msgspec.Meta(max_length=65_536)] | None = None
    partition: PartitionNumber | None = None
    id: IdText | None = None
    timeout_ms: Annotated[int, msgspec.Meta(ge=100, le=60_000)] = 10_000


class Place(Answer, frozen=True, kw_only=True):
    """Where an event is."""

    partition: int
    offset: int | None


class Published(Answer, frozen=True, kw_only=True):
    """Where an event is. What could not be stored makes the whole answer a problem."""

    index: int
    partition: int
    offset: int | None
    timestamp_ms: int
    id: str | None
    duplicate_of: Place | None


class PublishAnswer(Answer, frozen=True, kw_only=True):
    """What became of the events, in their order."""

    topic: str
    items: list[Published]
    took_ms: float
    served_by: int
