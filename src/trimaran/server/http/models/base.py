"""What all shapes are made of.

Does not: name any noun of the API.
"""

from typing import Annotated, Literal

import msgspec


class Answer(msgspec.Struct, kw_only=True, frozen=True):
    """Base of what is answered."""


class Body(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """Base of what is sent to a node: unknown fields are refused."""


class NoBody(Body, frozen=True, kw_only=True):
    """Nothing is expected."""


class NoQuery(Body, frozen=True, kw_only=True):
    """No parameters."""


LIMIT_MAX = 1_000
Limit = Annotated[int, msgspec.Meta(ge=1, le=LIMIT_MAX, description="Items of one page.")]
After = Annotated[str, msgspec.Meta(max_length=1_024, description="`next` of the page before.")]
Search = Annotated[str, msgspec.Meta(max_length=249, description="Only names that contain this.")]
TopicName = Annotated[
    str, msgspec.Meta(min_length=1, max_length=249, pattern=r"^[a-zA-Z0-9._\-]+$")
]
PartitionNumber = Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)]
OffsetNumber = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
TimeMs = Annotated[int, msgspec.Meta(ge=0, le=2**53, description="Milliseconds since the epoch.")]
NodeNumber = Annotated[int, msgspec.Meta(ge=1, le=2**31 - 1)]
NodeList = Annotated[
    str, msgspec.Meta(pattern=r"^(all|[0-9]{1,10}(,[0-9]{1,10}){0,31})$", examples=["all", "1,2"])
]


class PageQuery(Body, frozen=True, kw_only=True):
    """Which part of a list."""

    limit: Limit = 100
    after: After | None = None


class SearchQuery(PageQuery, frozen=True, kw_only=True):
    """Which part of a list of names."""

    search: Search | None = None


class FieldProblem(Answer, frozen=True, kw_only=True):
    """One field that is wrong."""

    field: str
    detail: str
    allowed: str | None = None


class Problem(Answer, frozen=True, kw_only=True):
    """What went wrong (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str
    instance: str
    served_by: int
    errors: list[FieldProblem] = msgspec.field(default_factory=list)
    retry_after_s: int | None = None


class LiveAnswer(Answer, frozen=True, kw_only=True):
    """The process answers."""

    status: Literal["live"]
    served_by: int


class ReadyAnswer(Answer, frozen=True, kw_only=True):
    """Whether the node takes part in the cluster."""

    status: Literal["ready", "not-ready"]
    reason: str | None
    served_by: int
