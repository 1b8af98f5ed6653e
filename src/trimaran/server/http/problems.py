"""What can go wrong, as RFC 9457 problem documents.

A handler raises `ProblemError`; what Kafka handlers of this or another node refuse comes as
`RequestError` and is translated by the table here.
Does not: send anything.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from trimaran.errors import ErrorCode, RequestError
from trimaran.server.http.models.base import FieldProblem, Problem

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_S = 1
_AT = re.compile(r"^(?P<detail>.*?)(?: - at `(?P<path>.*)`)?$", re.DOTALL)
_NAMED = re.compile(r"(?:unknown|missing required) field `(?P<name>[^`]*)`")


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of problem."""

    slug: str
    status: int
    title: str


BAD_REQUEST = Kind("bad-request", 400, "The request cannot be read")
FILTER = Kind("filter", 400, "The filter is not valid or ran too long")
FORBIDDEN_ORIGIN = Kind("origin", 403, "Not from a page of this cluster")
FORBIDDEN_TOKEN = Kind("token", 403, "The token is missing or wrong")
NOT_FOUND = Kind("not-found", 404, "There is no such thing")
METHOD = Kind("method", 405, "Not for this path")
LATE = Kind("late", 408, "The request took too long to arrive")
CONFLICT = Kind("conflict", 409, "Not in the present state")
TOO_LARGE = Kind("too-large", 413, "Too much at once")
MEDIA = Kind("unsupported-media", 415, "Not this content type")
FIELD = Kind("unprocessable", 422, "A field is wrong")
TOO_MANY = Kind("too-many", 429, "Too many at once")
INTERNAL = Kind("internal", 500, "A mistake in the program")
UNAVAILABLE = Kind("unavailable", 503, "Not now")
UNKNOWN = Kind("outcome-unknown", 504, "The outcome is unknown")

_CODES = {
    ErrorCode.UNKNOWN_TOPIC_OR_PARTITION: NOT_FOUND,
    ErrorCode.UNKNOWN_TOPIC_ID: NOT_FOUND,
    ErrorCode.GROUP_ID_NOT_FOUND: NOT_FOUND,
    ErrorCode.OFFSET_OUT_OF_RANGE: FIELD,
    ErrorCode.MESSAGE_TOO_LARGE: TOO_LARGE,
    ErrorCode.RECORD_LIST_TOO_LARGE: TOO_LARGE,
    ErrorCode.INVALID_TOPIC_EXCEPTION: FIELD,
    ErrorCode.INVALID_PARTITIONS: FIELD,
    ErrorCode.INVALID_REPLICATION_FACTOR: FIELD,
    ErrorCode.INVALID_REPLICA_ASSIGNMENT: FIELD,
    ErrorCode.INVALID_CONFIG: FIELD,
    ErrorCode.INVALID_REQUEST: FIELD,
    ErrorCode.INVALID_RECORD: FIELD,
    ErrorCode.INVALID_GROUP_ID: FIELD,
    ErrorCode.INVALID_TIMESTAMP: FIELD,
    ErrorCode.POLICY_VIOLATION: FIELD,
    ErrorCode.TOPIC_ALREADY_EXISTS: CONFLICT,
    ErrorCode.NON_EMPTY_GROUP: CONFLICT,
    ErrorCode.UNKNOWN_MEMBER_ID: CONFLICT,
    ErrorCode.REBALANCE_IN_PROGRESS: CONFLICT,
    ErrorCode.GROUP_SUBSCRIBED_TO_TOPIC: CONFLICT,
    ErrorCode.REQUEST_TIMED_OUT: UNKNOWN,
}


class ProblemError(Exception):
    """Answer with a problem document."""

    def __init__(
        self,
        kind: Kind,
        detail: str,
        *,
        errors: Sequence[FieldProblem] = (),
        retry_after_s: int | None = None,
    ) -> None:
        super().__init__(detail)
        self.kind = kind
        self.detail = detail
        self.errors = list(errors)
        self.retry_after_s = retry_after_s

    def document(self, *, instance: str, served_by: int) -> Problem:
        """Return the document."""
        return Problem(
            type=f"/problems/{self.kind.slug}",
            title=self.kind.title,
            status=self.kind.status,
            detail=self.detail,
            instance=instance,
            served_by=served_by,
            errors=self.errors,
            retry_after_s=self.retry_after_s,
        )


def field_problem(field: str, detail: str, allowed: str | None = None) -> ProblemError:
    """Return the problem that one field has a value which is not allowed."""
    found = FieldProblem(field=field, detail=detail, allowed=allowed)
    return ProblemError(FIELD, f"{field}: {detail}", errors=[found])


def not_found(what: str) -> ProblemError:
    """Return the problem that `what` does not exist."""
    return ProblemError(NOT_FOUND, what)


def unavailable(detail: str) -> ProblemError:
    """Return the problem that this cannot be done now; nothing was changed."""
    return ProblemError(UNAVAILABLE, detail, retry_after_s=RETRY_AFTER_S)


def from_validation(
    error: msgspec.ValidationError, shape: type[msgspec.Struct] | None, *, where: str = ""
) -> ProblemError:
    """Return what a decoder found wrong, with the name of the field and what is allowed."""
    match = _AT.match(str(error))
    assert match is not None, "the pattern fits every text"
    detail, path = match["detail"], (match["path"] or "$").removeprefix("$").lstrip(".")
    allowed = None
    named = _NAMED.search(detail)
    if named is not None:
        path = f"{path}.{named['name']}" if path else named["name"]
        if "unknown" in detail and shape is not None and "." not in path:
            allowed = ", ".join(item.encode_name for item in msgspec.structs.fields(shape)) or None
    return field_problem(path or where or "body", detail, allowed)


def from_request_error(error: RequestError) -> ProblemError:
    """Return what a Kafka handler refused, in HTTP's words."""
    kind = _CODES.get(error.code, UNAVAILABLE)
    detail = f"{error.code.name}: {error}" if str(error) else error.code.name
    retry = RETRY_AFTER_S if kind is UNAVAILABLE else None
    return ProblemError(kind, detail, retry_after_s=retry)
