"""DescribeConfigs (key 32): the settings of topics and nodes, with where each comes from.

Behavior:
  A topic (resource type 2) has every setting of the table, its own ones with source topic, the
  others with their defaults. A node (4; an empty name is what was set for all nodes) has the
  settings that may change while it runs, and read-only where it listens, who it is and what its
  coordinators allow groups (`group:` of its file, by Kafka's names). Loggers and the rest are
  INVALID_REQUEST. A name that is not in the table is left out; no names mean all.
Version notes:
  1 to 4. 1: source and synonyms (KIP-226). 3: types and documentation (KIP-569).
"""

from collections.abc import Sequence
from typing import TypeAlias

from trimaran.broker.calls import Call, told
from trimaran.broker.rows import check_rows, in_turns
from trimaran.broker.setting_values import (
    SettingValue,
    Source,
    all_nodes_values,
    find_topic,
    group_values,
    node_values,
    topic_values,
)
from trimaran.errors import ErrorCode, RequestError
from trimaran.metadata.settings import Effect, Kind
from trimaran.protocol.messages import (
    DescribeConfigsRequest,
    DescribeConfigsResource,
    DescribeConfigsResourceResult,
    DescribeConfigsResponse,
    DescribeConfigsResult,
    DescribeConfigsSynonym,
)

_TOPIC_RESOURCE = 2
_NODE_RESOURCE = 4


_AT_ONCE = 20
"""A topic with settings of its own takes a tenth of a millisecond."""

Rows: TypeAlias = Sequence[DescribeConfigsResourceResult]


async def handle(call: Call, request: DescribeConfigsRequest) -> DescribeConfigsResponse:
    """Return the settings of each resource, once however often it is named."""
    once = {(row.resource_type, row.resource_name): row for row in request.resources}
    check_rows(len(once))
    defaults: dict[tuple[str, ...], Rows] = {}
    return DescribeConfigsResponse(
        results=[
            _describe(call, request, resource, defaults)
            async for resource in in_turns(once.values(), _AT_ONCE)
        ]
    )


def refuse(
    request: DescribeConfigsRequest, version: int, code: ErrorCode
) -> DescribeConfigsResponse:
    """Return `code` for every resource."""
    del version
    return DescribeConfigsResponse(
        results=[_failed(resource, code, None) for resource in request.resources]
    )


def _describe(
    call: Call,
    request: DescribeConfigsRequest,
    resource: DescribeConfigsResource,
    defaults: dict[tuple[str, ...], Rows],
) -> DescribeConfigsResult:
    """`defaults` gathers what topics without settings of their own have, by the names asked for."""
    keys = tuple(resource.configuration_keys or ())
    try:
        if resource.resource_type != _TOPIC_RESOURCE:
            rows = _named(_node_rows(call, request, resource), keys)
        elif own := find_topic(call.broker, resource.resource_name).settings:
            rows = _named(_rows(topic_values(own), request), keys)
        else:
            if keys not in defaults:
                defaults[keys] = _named(_rows(topic_values({}), request), keys)
            rows = defaults[keys]
    except RequestError as error:
        call.note(error)
        return _failed(resource, error.code, told(error))
    return DescribeConfigsResult(
        resource_type=resource.resource_type,
        resource_name=resource.resource_name,
        configs=rows,
    )


def _named(rows: Rows, keys: tuple[str, ...]) -> Rows:
    wanted = frozenset(keys)
    return [row for row in rows if not wanted or row.name in wanted]


def _rows(values: Sequence[SettingValue], request: DescribeConfigsRequest) -> Rows:
    return [_config(value, request) for value in values]


def _node_rows(
    call: Call, request: DescribeConfigsRequest, resource: DescribeConfigsResource
) -> Rows:
    name = resource.resource_name
    if resource.resource_type != _NODE_RESOURCE:
        raise RequestError(
            ErrorCode.INVALID_REQUEST,
            f"resource type: expected {_TOPIC_RESOURCE} (topic) or {_NODE_RESOURCE} (broker), "
            f"found {resource.resource_type}",
        )
    if name == "":
        return _rows(all_nodes_values(call.broker), request)
    if name != str(call.broker.node_id):
        raise RequestError(
            ErrorCode.INVALID_REQUEST,
            f"broker: ask node {name[:20]!r} itself, this is node {call.broker.node_id}",
        )
    return [*_rows(node_values(call.broker), request), *_fixed_settings(call, request)]


def _config(value: SettingValue, request: DescribeConfigsRequest) -> DescribeConfigsResourceResult:
    setting = value.setting
    synonyms = [
        DescribeConfigsSynonym(name=setting.name, value=text, source=source)
        for text, source in value.levels
    ]
    return DescribeConfigsResourceResult(
        name=setting.name,
        value=value.text,
        read_only=setting.effect is Effect.WAITING,
        config_source=value.source,
        synonyms=synonyms if request.include_synonyms else (),
        config_type=setting.kind,
        documentation=setting.doc if request.include_documentation else None,
    )


def _fixed_settings(
    call: Call, request: DescribeConfigsRequest
) -> list[DescribeConfigsResourceResult]:
    """Return what is fixed while a node runs, as tools ask for it by Kafka's names."""
    own = next(one for one in call.broker.image.nodes if one.node_id == call.broker.node_id)
    listener = f"PLAINTEXT://{own.host}:{own.kafka_port}"
    rows = [
        ("advertised.listeners", listener, Kind.LIST, "Where clients reach this node."),
        ("broker.rack", own.rack, Kind.STRING, "The rack that this node tells readers."),
        ("listeners", listener, Kind.LIST, "Where this node listens for clients."),
        ("node.id", str(own.node_id), Kind.INT, "This node's number."),
        *group_values(call.broker),
    ]
    return [
        DescribeConfigsResourceResult(
            name=name,
            value=value,
            read_only=True,
            config_source=Source.FILE,
            config_type=kind,
            documentation=text if request.include_documentation else None,
        )
        for name, value, kind, text in rows
    ]


def _failed(
    resource: DescribeConfigsResource, code: ErrorCode, message: str | None
) -> DescribeConfigsResult:
    return DescribeConfigsResult(
        error_code=code,
        error_message=message,
        resource_type=resource.resource_type,
        resource_name=resource.resource_name,
    )
