"""How a noun asks a node's REST API: one request, or one for each page of a long list.

Its errors say what to do next.
Does not: keep connections, or know any path.
"""

import json
from http.client import HTTPException
from typing import Annotated, Any
from urllib.error import HTTPError, URLError
from urllib.parse import quote
from urllib.request import Request, urlopen

import typer

from trimaran.cli.contexts import address_or_context
from trimaran.cli.exits import USAGE, CommandError
from trimaran.server.http.headers import NODE_HEADER

DEFAULT_HTTP = "127.0.0.1:8080"
PAGE_ROWS = 1_000
PAGES_MAX = 20
"""Twice as many as a cluster may have topics."""

HttpOption = Annotated[
    str,
    typer.Option(
        "--http",
        envvar="TRIMARAN_HTTP",
        callback=address_or_context,
        help="HOST:PORT[,HOST:PORT...] of nodes' HTTP listeners; any one answers for all",
    ),
]


def ask(address: str, path: str, timeout_s: float, *, body: object | None = None) -> Any:  # noqa: ANN401  JSON
    """Return what the node at `address` answers to GET, or to POST of `body`.

    Of several addresses the next one is asked where the one before does not answer; not for a POST
    that may have come there.

    Raises:
        CommandError: an address is none, nobody answers, or the answer is a problem (RFC 9457).
    """
    *others, last = [host_and_port(place.strip()) for place in address.split(",")]
    for place in others:
        try:
            return _ask(place, path, timeout_s, body)
        except UnansweredError as error:
            if body is not None and error.may_be_done:
                raise
    return _ask(last, path, timeout_s, body)


def ask_list(address: str, path: str, timeout_s: float) -> Any:  # noqa: ANN401  JSON
    """Return a long list whole, or its first PAGES_MAX pages with `next` of the last.

    `timeout_s` is for each page.

    Raises:
        CommandError: as `ask`.
    """
    found = ask(address, f"{path}?limit={PAGE_ROWS}", timeout_s)
    for _ in range(PAGES_MAX - 1):
        if found["next"] is None:
            break
        after = f"&after={quote(found['next'])}"
        page = ask(address, f"{path}?limit={PAGE_ROWS}{after}", timeout_s)
        found["items"] += page["items"]
        found["next"] = page["next"]
    return found


def _ask(place: str, path: str, timeout_s: float, body: object | None) -> Any:  # noqa: ANN401  JSON
    data = None if body is None else json.dumps(body).encode()
    headers = {"Content-Type": "application/json"} if data else {}
    request = Request(f"http://{place}{path}", data=data, headers=headers)
    try:
        with urlopen(request, timeout=timeout_s) as answer:
            if answer.headers.get(NODE_HEADER) is None:
                raise CommandError(
                    f"what answers HTTP at {place} is no node of Trimaran\n"
                    "--http names a node's HTTP port"
                )
            return json.loads(answer.read())
    except HTTPError as error:
        raise CommandError(problem_text(error.read(), error.code)) from error
    except (URLError, TimeoutError, HTTPException, ConnectionError, ValueError) as error:
        raise unanswered(place, timeout_s, error, is_write=data is not None) from error


def host_and_port(address: str) -> str:
    """Return HOST:PORT; the address of a dashboard is one, too.

    Raises:
        CommandError: it is neither.
    """
    place = address.removeprefix("http://").partition("/")[0]
    host, _, port = place.rpartition(":")
    if not host or not port.isdigit() or not 0 < int(port) < 65_536:
        raise CommandError(f"--http: expected HOST:PORT[,...], found {address!r}", code=USAGE)
    return place


class UnansweredError(CommandError):
    """A node does not answer, or not in time."""

    def __init__(self, message: str, *, may_be_done: bool) -> None:
        """`may_be_done`: the request may have come there."""
        super().__init__(message)
        self.may_be_done = may_be_done


def unanswered(
    place: str, timeout_s: float, error: Exception, *, is_write: bool
) -> UnansweredError:
    """Return the error for a node that does not answer, or not in time."""
    reason = getattr(error, "reason", None) or error
    if isinstance(reason, TimeoutError):
        lost = "; what was asked for may still be done" if is_write else ""
        return UnansweredError(
            f"the node at {place} did not answer within {timeout_s:g} s{lost}\n"
            "--timeout gives it longer, --http names another node's HTTP port",
            may_be_done=True,
        )
    return UnansweredError(
        f"no node answers HTTP at {place} ({reason})\n"
        "is the cluster up? --http names another node's HTTP port",
        may_be_done=not isinstance(reason, ConnectionRefusedError),
    )


def problem_text(body: bytes, status: int) -> str:
    """Return a problem document as lines for a person."""
    try:
        problem = json.loads(body)
    except ValueError:
        return f"HTTP {status}"
    if not isinstance(problem, dict):
        return f"HTTP {status}"
    lines = [str(problem.get("detail") or problem.get("title") or f"HTTP {status}")]
    for one in problem.get("errors") or []:
        allowed = f" (allowed: {one['allowed']})" if one.get("allowed") else ""
        lines.append(f"{one.get('field')}: {one.get('detail')}{allowed}")
    return "\n".join(lines)
