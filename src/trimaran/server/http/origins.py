"""Whose pages may change something: those that a node of this cluster served.

A browser says in `Origin` which page sends a request; programs say nothing, and may. A page of
somebody else must not be able to publish or delete through a visitor's browser.
Does not: know users; there are none.
"""

from collections.abc import Mapping
from urllib.parse import urlsplit

from trimaran.server.http.context import NodeContext
from trimaran.server.http.problems import FORBIDDEN_ORIGIN, ProblemError

_LOCAL_NAMES = ("127.0.0.1", "localhost", "[::1]")


def check_origin(node: NodeContext, headers: Mapping[str, str]) -> None:
    """Return if the request comes from no page, or from one of ours. Raises ProblemError (403)."""
    origin = headers.get("origin")
    if origin is not None and not is_ours(node, origin, headers.get("host", "")):
        raise ProblemError(FORBIDDEN_ORIGIN, f"a page of {origin!r} must not change this cluster")


def is_ours(node: NodeContext, origin: str, host: str) -> bool:
    """Whether a page of `origin` was served by a node of this cluster."""
    try:
        parts = urlsplit(origin)
    except ValueError:
        return False
    if parts.scheme not in ("http", "https") or not parts.netloc:
        return False
    return parts.netloc == host or parts.netloc in addresses(node)


def addresses(node: NodeContext) -> list[str]:
    """Return HOST:PORT of every node's HTTP port, by all names of this machine where it is here."""
    found: list[str] = []
    own_host = node.config.http.host
    for known in node.image.nodes:
        found.append(f"{known.host}:{known.http_port}")
        if known.host in _LOCAL_NAMES or own_host in _LOCAL_NAMES:
            found += [f"{name}:{known.http_port}" for name in _LOCAL_NAMES]
    return list(dict.fromkeys(found))
