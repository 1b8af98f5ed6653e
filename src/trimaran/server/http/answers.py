"""The feed that keeps an answer of the REST API fresh: any GET with a JSON answer, by its path.

Does not: know any endpoint by name; what can be read with GET can be followed.
"""

import asyncio
import re
from functools import cache
from typing import Any
from urllib.parse import urlsplit

import msgspec

from trimaran.errors import ProtocolError, RequestError
from trimaran.server.http import problems
from trimaran.server.http.context import NodeContext, now_ms
from trimaran.server.http.endpoint import Asked, Endpoint, Reply, path_value, query_values
from trimaran.server.http.feeds import FRESH, Send
from trimaran.server.http.models.base import Body, NoBody
from trimaran.server.http.models.stream import AnswerNews, Subscribe
from trimaran.server.http.problems import ProblemError, field_problem, not_found
from trimaran.server.http.table import ENDPOINTS

_PARAMETER = re.compile(r"\\?{(\w+)\\?}")


async def answer(node: NodeContext, asked: Subscribe, send: Send, *, client: str) -> None:
    """Send what the path answers `client` now, at each interval; a moment's failure is skipped.

    Raises:
        ProblemError: there is no such path, a parameter is wrong, or what it names is gone.
    """
    if asked.path is None:
        raise field_problem("path", "is missing", "a path of the API with its parameters")
    endpoint, request = request_of(node, asked.path, client)

    async def look() -> msgspec.Raw:
        found = await endpoint.handle(request)
        body = found.body if isinstance(found, Reply) else found
        return msgspec.Raw(msgspec.json.encode(body))

    while True:
        try:
            body = await node.shared.get(
                f"answer {client} {asked.path}", asked.interval_ms / 1000 * FRESH, look
            )
        except ProblemError as error:
            if error.kind is not problems.UNAVAILABLE:
                raise
        except (OSError, RequestError, ProtocolError):
            pass  # another node did not answer; the next look may find it
        else:
            await send(AnswerNews(id=asked.id, at_ms=now_ms(), body=body))
        await asyncio.sleep(asked.interval_ms / 1000)


def request_of(
    node: NodeContext, target: str, client: str
) -> tuple[Endpoint[Any, NoBody], Asked[Body, NoBody]]:
    """Return the endpoint of a path and the request that it stands for. Raises ProblemError."""
    parts = urlsplit(target)
    for pattern, endpoint in readable():
        match = pattern.fullmatch(parts.path)
        if match is not None:
            values = {name: path_value(name, text) for name, text in match.groupdict().items()}
            query = query_values(parts.query, endpoint.query)
            request = Asked(
                node=node, path=values, query=query, body=NoBody(), headers={}, client=client
            )
            return endpoint, request
    raise not_found(f"path {parts.path}: a GET with a JSON answer, see /docs")


@cache
def readable() -> tuple[tuple[re.Pattern[str], Endpoint[Any, NoBody]], ...]:
    """Return every endpoint that can be followed, with the pattern of its path."""
    return tuple(
        (re.compile(_PARAMETER.sub(r"(?P<\1>[^/]+)", re.escape(row.path))), row)
        for row in ENDPOINTS
        if row.method == "GET" and row.answer is not None
    )
