"""How a noun asks a node's REST API: one request, errors that say what to do next.

Does not: keep connections, or know any path.
"""

import json
from http.client import HTTPException
from typing import Annotated, Any
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

import typer

from trimaran.cli.contexts import address_or_context
from trimaran.cli.exits import USAGE, CommandError

DEFAULT_HTTP = "127.0.0.1:8080"

HttpOption = Annotated[
    str,
    typer.Option(
        "--http",
        envvar="TRIMARAN_HTTP",
        callback=address_or_context,
        help="HOST:PORT of any node's HTTP listener",
    ),
]


def ask(address: str, path: str, timeout_s: float, *, body: object | None = None) -> Any:  # noqa: ANN401  JSON
    """Return what the node at `address` answers to GET, or to POST of `body`.

    Raises:
        CommandError: the address is none, nobody answers, or the answer is a problem (RFC 9457).
    """
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit() or not 0 < int(port) < 65_536:
        raise CommandError(f"--http: expected HOST:PORT, found {address!r}", code=USAGE)
    data = None if body is None else json.dumps(body).encode()
    headers = {"Content-Type": "application/json"} if data else {}
    request = Request(f"http://{address}{path}", data=data, headers=headers)
    try:
        with urlopen(request, timeout=timeout_s) as answer:
            return json.loads(answer.read())
    except HTTPError as error:
        raise CommandError(problem_text(error.read(), error.code)) from error
    except (URLError, TimeoutError, HTTPException, ConnectionError, ValueError) as error:
        reason = getattr(error, "reason", None) or error
        raise CommandError(
            f"no node answers HTTP at {address} ({reason})\n"
            "is the cluster up? --http names another node's HTTP port"
        ) from error


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
