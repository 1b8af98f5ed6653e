"""The OpenAPI 3.1 document, made from the rows of the API and the shapes they name.

`python -m trimaran.server.http.openapi` prints it without a node.
Does not: describe the WebSocket, for which OpenAPI has no words (docs/rest-api.md does).
"""

import re
import sys
from collections.abc import Sequence
from typing import Any

import msgspec

from trimaran import __version__
from trimaran.server.http.endpoint import PATH_TYPES, Endpoint
from trimaran.server.http.models.base import Problem
from trimaran.server.http.models.events import Event
from trimaran.server.http.problems import MEDIA_TYPE

REFERENCE = "#/components/schemas/{name}"
DESCRIPTION = """Everything about a cluster from any of its nodes; each answer names the node that
gave it (`served_by`, header `trimaran-node`). Errors are problem documents (RFC 9457). Live events
and samples come over the WebSocket `/v1/stream`."""
_PARAMETER = re.compile(r"{(\w+)}")


def document(endpoints: Sequence[Endpoint[Any, Any]]) -> dict[str, Any]:
    """Return the document."""
    shapes: dict[Any, None] = {Problem: None, Event: None}
    for row in endpoints:
        for shape in (row.answer, row.body if row.has_body else None):
            if shape is not None:
                shapes[shape] = None
    _, components = msgspec.json.schema_components(list(shapes), ref_template=REFERENCE)
    paths: dict[str, dict[str, Any]] = {}
    for row in endpoints:
        paths.setdefault(row.path, {})[row.method.lower()] = operation(row)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Trimaran", "version": __version__, "description": DESCRIPTION},
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {"schemas": components},
    }


def operation(row: Endpoint[Any, Any]) -> dict[str, Any]:
    """Return one operation."""
    found: dict[str, Any] = {
        "operationId": operation_id(row),
        "tags": [row.tag],
        "summary": row.summary,
        "parameters": [*_path_parameters(row), *_query_parameters(row), *_headers(row)],
        "responses": _responses(row),
    }
    if row.has_body:
        content: dict[str, Any] = {"application/json": {"schema": _reference(row.body)}}
        for kind in row.raw_types:
            content[kind] = {"schema": {"type": "string"}}
        found["requestBody"] = {"required": True, "content": content}
    return found


def operation_id(row: Endpoint[Any, Any]) -> str:
    """Return a name, unique in the document."""
    words = [part.strip("{}") for part in row.path.split("/") if part not in ("", "v1")]
    return "_".join([row.method.lower(), *words]).replace("-", "_")


def _reference(shape: Any) -> dict[str, str]:  # noqa: ANN401 - a struct type
    return {"$ref": REFERENCE.format(name=shape.__name__)}


def _path_parameters(row: Endpoint[Any, Any]) -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "in": "path",
            "required": True,
            "schema": msgspec.json.schema(PATH_TYPES[name]),
        }
        for name in _PARAMETER.findall(row.path)
    ]


def _query_parameters(row: Endpoint[Any, Any]) -> list[dict[str, Any]]:
    _, components = msgspec.json.schema_components([row.query], ref_template=REFERENCE)
    shape = components[row.query.__name__]
    required = shape.get("required", [])
    found = []
    for name, schema in shape["properties"].items():
        plain = _without_null(schema)
        parameter = {
            "name": name,
            "in": "query",
            "required": name in required,
            "schema": plain,
        }
        if "description" in plain:
            parameter["description"] = plain["description"]
        found.append(parameter)
    return found


def _headers(row: Endpoint[Any, Any]) -> list[dict[str, Any]]:
    return [
        {"name": name, "in": "header", "required": False, "schema": {"type": "string"}}
        for name in row.request_headers
    ]


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of a parameter that is left out rather than null."""
    choices = [part for part in schema.get("anyOf", []) if part != {"type": "null"}]
    if len(choices) == 1:
        return dict(choices[0])
    return {key: value for key, value in schema.items() if value is not None}


def _responses(row: Endpoint[Any, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for status in (row.status, *row.more_statuses):
        found[str(status)] = {"description": row.summary}
        if row.answer is not None:
            found[str(status)]["content"] = {row.media_type: {"schema": _reference(row.answer)}}
        elif status != 204:
            kind = row.media_type.partition(";")[0]
            found[str(status)]["content"] = {kind: {"schema": {"type": "string"}}}
    for status in row.empty_statuses:
        found[str(status)] = {"description": "Nothing to tell"}
    found["default"] = {
        "description": "What went wrong (RFC 9457)",
        "content": {MEDIA_TYPE: {"schema": _reference(Problem)}},
    }
    return found


def main() -> int:
    """Print the document."""
    from trimaran.server.http.table import ENDPOINTS

    text = msgspec.json.format(msgspec.json.encode(document(ENDPOINTS)), indent=2)
    sys.stdout.write(text.decode() + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
