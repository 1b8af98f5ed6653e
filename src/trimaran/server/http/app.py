"""The ASGI application: paths to endpoints, the dashboard's files, the WebSocket.

Does not: answer anything itself, or run the server.
"""

import asyncio
from collections.abc import Mapping
from functools import cache, partial
from typing import Any

import msgspec
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from trimaran.server.http import files, problems
from trimaran.server.http.context import NodeContext
from trimaran.server.http.endpoint import Endpoint, problem_response, respond
from trimaran.server.http.headers import NODE_HEADER, TOKEN_HEADER
from trimaran.server.http.openapi import document
from trimaran.server.http.origins import check_origin, is_ours
from trimaran.server.http.problems import ProblemError
from trimaran.server.http.stream import Streams
from trimaran.server.http.table import ENDPOINTS

READS = ("GET", "HEAD")
RECEIVE_S = 30.0
"""For the head of a request to arrive, and again for its body: as long as Kafka clients have."""
ALLOWED_HEADERS = f"content-type, idempotency-key, {TOKEN_HEADER}"
EARLY = ("/health/live", "/metrics", "/v1/cluster/health", "/v1/local", "/v1/node")
"""These, and what is below them, are answered also while the node is not ready."""
DOCS = ("docs.html", "docs.js", "docs.css")


class PathEndpoint:
    """All methods of one path."""

    def __init__(self, node: NodeContext, rows: Mapping[str, Endpoint[Any, Any]]) -> None:
        self._node = node
        self._rows = rows
        methods = [*rows, *(["HEAD"] if "GET" in rows else [])]
        self._allowed = ", ".join(sorted(methods))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        request = Request(scope, receive)
        origin = request.headers.get("origin")
        is_fellow = origin is not None and is_ours(
            self._node, origin, request.headers.get("host", "")
        )
        if request.method == "OPTIONS" and is_fellow:
            response = self._preflight()
        else:
            response = await self._respond(request)
        if origin is not None:
            response.headers["vary"] = "origin"
            if is_fellow:
                response.headers["access-control-allow-origin"] = origin
        await response(scope, receive, send)

    def _preflight(self) -> Response:
        """Tell a page of another node of this cluster that it may go on."""
        headers = {
            "allow": self._allowed,
            "access-control-allow-methods": self._allowed,
            "access-control-allow-headers": ALLOWED_HEADERS,
            NODE_HEADER: str(self._node.node_id),
        }
        return Response(status_code=204, headers=headers)

    async def _respond(self, request: Request) -> Response:
        path, node = request.url.path, self._node
        name = "GET" if request.method == "HEAD" else request.method
        row = self._rows.get(name)
        try:
            if row is None:
                raise ProblemError(problems.METHOD, f"{request.method}; allowed: {self._allowed}")
            if not is_early(path):
                node.check_ready()
            if request.method not in READS:
                check_origin(node, request.headers)
            async with asyncio.timeout(RECEIVE_S):
                await read_body(request, node.config.http.body_bytes_max)
        except ProblemError as error:
            response = problem_response(error, path, node.node_id)
            if row is None:
                response.headers["allow"] = self._allowed
            return response
        except ClientDisconnect:
            return Response(status_code=400)
        except TimeoutError:
            late = ProblemError(problems.LATE, f"a request has {RECEIVE_S:g} s to arrive")
            return problem_response(late, path, node.node_id)
        return await respond(row, request, node)


class PathAsSent:
    """Middleware that leaves paths encoded: `a%2Fb` is one part of them, of a group named a/b."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] == "http":
            scope = {**scope, "path": scope["raw_path"].decode("latin-1")}
        await self._app(scope, receive, send)


class FilesEndpoint:
    """Whatever is no path of the API, by any method."""

    def __init__(self, node: NodeContext) -> None:
        self._node = node

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        response = files.serve_file(Request(scope, receive), self._node)
        await response(scope, receive, send)


def is_early(path: str) -> bool:
    """Whether a path is answered from what a node knows by itself, before it is ready."""
    return any(path == early or path.startswith(f"{early}/") for early in EARLY)


async def read_body(request: Request, bytes_max: int) -> None:
    """Read the body into the request. Raises ProblemError (413), ClientDisconnect."""
    length = request.headers.get("content-length", "0")
    problem = ProblemError(problems.TOO_LARGE, f"the body: at most {bytes_max} bytes")
    if length.isdigit() and int(length) > bytes_max:
        raise problem
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > bytes_max:
            raise problem
    request._body = bytes(body)


@cache
def encoded_document() -> bytes:
    """Return the OpenAPI document; made when somebody asks for it."""
    return msgspec.json.encode(document(ENDPOINTS))


def build_app(node: NodeContext, streams: Streams) -> Starlette:
    """Return the application of one node."""
    rows: dict[str, dict[str, Endpoint[Any, Any]]] = {}
    for row in ENDPOINTS:
        rows.setdefault(row.path, {})[row.method] = row
    routes: list[BaseRoute] = [
        Route(path, PathEndpoint(node, methods)) for path, methods in sorted(rows.items())
    ]

    async def openapi(_: Request) -> Response:
        loop = asyncio.get_running_loop()
        encoded = await loop.run_in_executor(node.decoding, encoded_document)
        headers = {NODE_HEADER: str(node.node_id)}
        return Response(encoded, media_type="application/json", headers=headers)

    async def page(name: str, _: Request) -> Response:
        return files.page(node, files.PAGES / name)

    routes += [
        Route("/openapi.json", openapi, methods=["GET"]),
        Route("/docs", partial(page, DOCS[0]), methods=["GET"]),
        *(Route(f"/docs/{name}", partial(page, name), methods=["GET"]) for name in DOCS[1:]),
        WebSocketRoute("/v1/stream", streams.serve),
        Route("/{path:path}", FilesEndpoint(node)),
    ]
    return Starlette(routes=routes, middleware=[Middleware(PathAsSent)])
