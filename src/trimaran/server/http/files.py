"""The dashboard's files and the page of the API: from the package, never from another host.

`static/` is what the package build made of the dashboard; where it was not built a plain page says
so. A path that is no file is the dashboard's own business, whatever names are in it: it gets the
index page. Only below `assets/` there is nothing but files.
Does not: list directories, or leave them.
"""

from mimetypes import guess_type
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response

from trimaran.server.http.context import NodeContext
from trimaran.server.http.endpoint import problem_response
from trimaran.server.http.headers import NODE_HEADER
from trimaran.server.http.origins import addresses
from trimaran.server.http.problems import METHOD, ProblemError, not_found

STATIC = Path(__file__).parent / "static"
PAGES = Path(__file__).parent / "pages"
ENCODINGS = (("br", ".br"), ("gzip", ".gz"))
FOR_EVER = "public, max-age=31536000, immutable"
ASSETS = "/assets/"
"""What the build made, by names that change with their content."""
RESERVED = ("v1", "health", "metrics", "docs", "openapi.json")
"""First parts of paths that are no page of the dashboard."""


def serve_file(request: Request, node: NodeContext) -> Response:
    """Return a file of the dashboard, its index page, or a problem."""
    path = request.url.path
    if path.split("/")[1] in RESERVED:
        return problem_response(not_found(f"path {path}: see /docs"), path, node.node_id)
    if request.method not in ("GET", "HEAD"):
        refused = problem_response(ProblemError(METHOD, "only GET"), path, node.node_id)
        refused.headers["allow"] = "GET, HEAD"
        return refused
    found = static_file(path)
    if found is None and path.startswith(ASSETS):
        return problem_response(not_found(f"file {path}"), path, node.node_id)
    if found is None:
        found = static_file("/index.html")
    if found is None:
        return page(node, PAGES / "not-built.html")
    return _answer(request, node, found)


def static_file(path: str) -> Path | None:
    """Return the file that `path` names below `static/`."""
    if "\0" in path or "\\" in path:
        return None
    wanted = (STATIC / path.lstrip("/")).resolve()
    if not wanted.is_relative_to(STATIC.resolve()) or not wanted.is_file():
        return None
    return wanted


def page(node: NodeContext, path: Path) -> Response:
    """Return a file of `pages/`."""
    media_type = guess_type(path.name)[0] or "text/html"
    headers = {"cache-control": "no-cache", **_headers(node)}
    return Response(path.read_bytes(), media_type=media_type, headers=headers)


def _answer(request: Request, node: NodeContext, path: Path) -> Response:
    accepted = [
        part.partition(";")[0].strip()
        for part in request.headers.get("accept-encoding", "").split(",")
    ]
    content, headers = path, _headers(node)
    for name, suffix in ENCODINGS:
        packed = path.with_name(path.name + suffix)
        if name in accepted and packed.is_file():
            content, headers["content-encoding"] = packed, name
            break
    is_hashed = path.is_relative_to(STATIC.resolve() / "assets")
    headers["cache-control"] = FOR_EVER if is_hashed else "no-cache"
    headers["vary"] = "accept-encoding"
    media_type = guess_type(path.name)[0] or "application/octet-stream"
    return Response(content.read_bytes(), media_type=media_type, headers=headers)


def _headers(node: NodeContext) -> dict[str, str]:
    """Return headers that keep the page to this cluster."""
    # Content Security Policy has no syntax for IPv6 addresses; such a page stays with its own node.
    others = " ".join(f"http://{at} ws://{at}" for at in addresses(node) if "[" not in at)
    policy = (
        f"default-src 'self'; connect-src 'self' {others}; img-src 'self' data:; "
        "style-src 'self' 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'"
    )
    return {
        "content-security-policy": policy,
        "x-content-type-options": "nosniff",
        "referrer-policy": "no-referrer",
        NODE_HEADER: str(node.node_id),
    }
