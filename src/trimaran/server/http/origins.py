"""Whose pages may change something: those that a node of this cluster served.

A browser says in `Origin` which page sends a request; programs say nothing, and may. A page of
somebody else must not be able to publish or delete through a visitor's browser.

That `Origin` and `Host` are the same proves nothing where they are a name: whoever owns one can
point it at a node once a page of it was loaded (DNS rebinding), and then both say that name. So a
page counts as ours by what no stranger can choose: an address that a node has registered or listens
on, an origin in `http.allowed_origins`, or a `Host` that is no name at all but the very address
which the browser is connected to.
Does not: know users, there are none; or look at reads, whose `Origin` browsers leave out.
"""

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from trimaran.server.http.context import NodeContext
from trimaran.server.http.problems import FORBIDDEN_ORIGIN, ProblemError

_LOCAL_NAMES = ("127.0.0.1", "localhost", "[::1]")
_ANY_ADDRESSES = ("0.0.0.0", "[::]")
_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Site:
    """Where a page is from; equal whether or not a default port is written out."""

    scheme: str
    host: str
    port: int

    @property
    def is_no_name(self) -> bool:
        """Whether no name server is asked for the host: it is an address, or localhost."""
        try:
            ipaddress.ip_address(self.host)
        except ValueError:
            return self.host == "localhost"
        return True


def check_origin(node: NodeContext, headers: Mapping[str, str]) -> None:
    """Return if the request comes from no page, or from one of ours. Raises ProblemError (403)."""
    origin = headers.get("origin")
    if origin is not None and not is_ours(node, origin, headers.get("host", "")):
        raise ProblemError(
            FORBIDDEN_ORIGIN,
            f"a page of {origin!r} must not change this cluster: nodes do not know it as theirs. If"
            " it is, behind a proxy or by another name, set http.allowed_origins on every node",
        )


def is_ours(node: NodeContext, origin: str, host: str) -> bool:
    """Whether a page of `origin`, which reached this node as `host`, is of this cluster."""
    page = site_of(origin)
    if page is None:
        return False
    allowed = list(node.config.http.allowed_origins)
    allowed += [f"{page.scheme}://{address}" for address in addresses(node)]
    if page.is_no_name:
        allowed.append(f"{page.scheme}://{host}")
    return page in map(site_of, allowed)


def site_of(origin: str) -> Site | None:
    """Return where an origin is; None if it is none, such as `null`."""
    try:
        parts = urlsplit(origin)
        port = parts.port
    except ValueError:
        return None
    if parts.scheme not in _PORTS or not parts.hostname:
        return None
    return Site(parts.scheme, parts.hostname, _PORTS[parts.scheme] if port is None else port)


def addresses(node: NodeContext) -> list[str]:
    """Return HOST:PORT of every node's HTTP port, by all names of this machine where it is here."""
    http = node.config.http
    own_host = _in_url(http.host)
    found: list[str] = [] if own_host in _ANY_ADDRESSES else [f"{own_host}:{http.port}"]
    for known in node.image.nodes:
        host = _in_url(known.host)
        found.append(f"{host}:{known.http_port}")
        if host in _LOCAL_NAMES or own_host in _LOCAL_NAMES:
            found += [f"{name}:{known.http_port}" for name in _LOCAL_NAMES]
    return list(dict.fromkeys(found))


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host
