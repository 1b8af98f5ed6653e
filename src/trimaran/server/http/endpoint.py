"""A row of the REST API: what is asked, what is answered; and the way from request to handler.

Everything that comes from outside is decoded into a typed struct before a handler sees it; whatever
is wrong becomes a problem document here and nowhere else.
Does not: know any noun.
"""

import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Generic, TypeVar
from urllib.parse import parse_qsl, unquote

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from trimaran.errors import ProtocolError, RequestError
from trimaran.server.http import problems
from trimaran.server.http.context import NodeContext
from trimaran.server.http.headers import NODE_HEADER
from trimaran.server.http.kafka.client import NotSentError, told
from trimaran.server.http.models.base import (
    Body,
    FieldProblem,
    NoBody,
    NodeNumber,
    NoQuery,
    OffsetNumber,
    PartitionNumber,
    TopicName,
)
from trimaran.server.http.problems import ProblemError, from_validation

Q = TypeVar("Q", bound=Body)
B = TypeVar("B", bound=Body)

GroupName = Annotated[str, msgspec.Meta(min_length=1, max_length=249)]
PATH_TYPES: dict[str, Any] = {
    "topic": TopicName,
    "partition": PartitionNumber,
    "offset": OffsetNumber,
    "node": NodeNumber,
    "group": GroupName,
}
QUERY_CHARACTERS_MAX = 16_384

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """An answer that is not 200 with a struct."""

    body: msgspec.Struct | bytes | None
    status: int = 200
    media_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked(Generic[Q, B]):
    """A request whose every part has been checked."""

    node: NodeContext
    path: Mapping[str, Any]
    query: Q
    body: B
    headers: Mapping[str, str]
    raw: bytes = b""
    """The body as it came, where the endpoint takes other content types too."""
    client: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint(Generic[Q, B]):
    """One method on one path."""

    method: str
    path: str
    tag: str
    summary: str
    handle: Callable[[Asked[Q, B]], Awaitable[msgspec.Struct | Reply]]
    answer: type[msgspec.Struct] | None
    """None: no body (204), or not JSON (`media_type`)."""
    query: type[Q]
    body: type[B]
    status: int = 200
    more_statuses: tuple[int, ...] = ()
    """Others with the same answer."""
    empty_statuses: tuple[int, ...] = ()
    """Others without one."""
    media_type: str = "application/json"
    raw_types: tuple[str, ...] = ()
    """Content types whose body is not decoded."""
    request_headers: tuple[str, ...] = ()
    """Headers that mean something here, for the document."""

    @property
    def has_body(self) -> bool:
        """Whether something is sent."""
        return self.body is not NoBody


def get(
    path: str,
    tag: str,
    summary: str,
    handle: Callable[[Asked[Any, NoBody]], Awaitable[msgspec.Struct | Reply]],
    answer: type[msgspec.Struct] | None,
    *,
    query: type[Body] = NoQuery,
    media_type: str = "application/json",
    more_statuses: tuple[int, ...] = (),
) -> Endpoint[Any, NoBody]:
    """Return a row that only reads."""
    return Endpoint(
        method="GET",
        path=path,
        tag=tag,
        summary=summary,
        handle=handle,
        answer=answer,
        query=query,
        body=NoBody,
        media_type=media_type,
        more_statuses=more_statuses,
    )


async def respond(endpoint: Endpoint[Any, Any], request: Request, node: NodeContext) -> Response:
    """Decode, call the handler, encode; any failure becomes a problem document."""
    try:
        asked = await _decode(endpoint, request, node)
        found = await endpoint.handle(asked)
    except ProblemError as error:
        return problem_response(error, request.url.path, node.node_id)
    except RequestError as error:
        problem = problems.from_request_error(error)
        return problem_response(problem, request.url.path, node.node_id)
    except (OSError, ProtocolError) as error:
        problem = unanswered(endpoint.method, error)
        return problem_response(problem, request.url.path, node.node_id)
    except Exception:
        # A mistake on this side of the node must not end the node: the core does not need it.
        log.exception("request failed path=%s", request.url.path)
        problem = ProblemError(problems.INTERNAL, "see the log of this node")
        return problem_response(problem, request.url.path, node.node_id)
    reply = found if isinstance(found, Reply) else Reply(body=found, status=endpoint.status)
    return _encode(reply, node.node_id)


def unanswered(method: str, error: OSError | ProtocolError) -> ProblemError:
    """Return the problem that a node did not answer: it may have done what it was asked to do."""
    detail = f"a node did not answer: {told(error)}"
    if method == "GET" or isinstance(error, NotSentError):
        return problems.unavailable(detail)
    return ProblemError(problems.UNKNOWN, detail)


def problem_response(error: ProblemError, path: str, node_id: int) -> Response:
    """Return the document as an answer."""
    headers = {NODE_HEADER: str(node_id)}
    if error.retry_after_s is not None:
        headers["retry-after"] = str(error.retry_after_s)
    document = error.document(instance=path, served_by=node_id)
    return Response(
        msgspec.json.encode(document),
        status_code=error.kind.status,
        media_type=problems.MEDIA_TYPE,
        headers=headers,
    )


def _encode(reply: Reply, node_id: int) -> Response:
    headers = {**reply.headers, NODE_HEADER: str(node_id)}
    if reply.body is None:
        return Response(status_code=reply.status, headers=headers)
    is_raw = isinstance(reply.body, bytes)
    content = reply.body if is_raw else msgspec.json.encode(reply.body)
    if not is_raw:
        headers["cache-control"] = "no-store"
    return Response(content, status_code=reply.status, media_type=reply.media_type, headers=headers)


async def _decode(
    endpoint: Endpoint[Any, Any], request: Request, node: NodeContext
) -> Asked[Any, Any]:
    path = {name: path_value(name, text) for name, text in request.path_params.items()}
    query = query_values(request.url.query, endpoint.query)
    body: Body = NoBody()
    raw = b""
    if endpoint.has_body:
        raw = await request.body()
        kind = request.headers.get("content-type", "application/json").partition(";")[0].strip()
        if kind.lower() not in endpoint.raw_types and not getattr(query, "raw", False):
            body = body_value(raw, kind.lower(), endpoint)
    client = request.client.host if request.client is not None else ""
    return Asked(
        node=node,
        path=path,
        query=query,
        body=body,
        headers=request.headers,
        raw=raw,
        client=client,
    )


def path_value(name: str, text: str) -> Any:  # noqa: ANN401 - of the type in PATH_TYPES
    """Return what a part of the path, as it was sent, stands for. Raises ProblemError (422)."""
    try:
        return msgspec.convert(unquote(text), PATH_TYPES[name], strict=False)
    except msgspec.ValidationError as error:
        raise from_validation(error, None, where=name) from error


def query_values(text: str, shape: type[Q]) -> Q:
    """Return the parameters behind the question mark. Raises ProblemError (400, 422)."""
    if len(text) > QUERY_CHARACTERS_MAX:
        raise problems.field_problem("query", "is too long", f"{QUERY_CHARACTERS_MAX} characters")
    try:
        pairs = parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=64)
    except ValueError as error:
        raise ProblemError(problems.BAD_REQUEST, f"query parameters: {error}") from error
    values: dict[str, str] = {}
    for name, value in pairs:
        if name in values:
            raise problems.field_problem(name, "comes more than once")
        values[name] = value
    try:
        return msgspec.convert(values, shape, strict=False)
    except msgspec.ValidationError as error:
        raise from_validation(error, shape, where="query") from error


def body_value(raw: bytes, kind: str, endpoint: Endpoint[Any, B]) -> B:
    """Return the decoded body. Raises ProblemError (400, 415, 422)."""
    if kind != "application/json":
        allowed = ", ".join(("application/json", *endpoint.raw_types))
        found = FieldProblem(field="content-type", detail=f"found {kind}", allowed=allowed)
        raise ProblemError(problems.MEDIA, f"content-type {kind}; {allowed}", errors=[found])
    try:
        return msgspec.json.decode(raw, type=endpoint.body)
    except msgspec.ValidationError as error:
        raise from_validation(error, endpoint.body) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ProblemError(problems.BAD_REQUEST, f"the body is no JSON: {error}") from error
