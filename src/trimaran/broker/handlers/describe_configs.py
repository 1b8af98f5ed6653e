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

from trimaran.broker.calls import Call, told
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


def handle(call: Call, request: DescribeConfigsRequest) -> DescribeConfigsResponse:
    """Return the settings of each resource, once however often it is named."""
    once = {(row.resource_type, row.resource_name): row for row in request.resources}
    return DescribeConfigsResponse(
        results=[_describe(call, request, resource) for resource in once.values()]
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
    call: Call, request: DescribeConfigsRequest, resource: DescribeConfigsResource
) -> DescribeConfigsResult:
    try:
        values = _values(call, resource)
    except RequestError as error:
        call.note(error)
        return _failed(resource, error.code, told(error))
    keys = resource.configuration_keys
    rows = [_config(value, request) for value in values]
    if resource.resource_type == _NODE_RESOURCE and resource.resource_name:
        rows += _fixed_settings(call, request)
    return DescribeConfigsResult(
        resource_type=resource.resource_type,
        resource_name=resource.resource_name,
        configs=[row for row in rows if not keys or row.name in keys],
    )


def _values(call: Call, resource: DescribeConfigsResource) -> list[SettingValue]:
    name = resource.resource_name
    if resource.resource_type == _TOPIC_RESOURCE:
        return topic_values(find_topic(call.broker, name).settings)
    if resource.resource_type != _NODE_RESOURCE:
        raise RequestError(
            ErrorCode.INVALID_REQUEST,
            f"resource type: expected {_TOPIC_RESOURCE} (topic) or {_NODE_RESOURCE} (broker), "
            f"found {resource.resource_type}",
        )
    if name == "":
        return all_nodes_values(call.broker)
    if name != str(call.broker.node_id):
        raise RequestError(
            ErrorCode.INVALID_REQUEST,
            f"broker: ask node {name[:20]!r} itself, this is node {call.broker.node_id}",
        )
    return node_values(call.broker)


def _config(value: SettingValue, request: DescribeConfigsRequest) -> DescribeConfigsResourceResult:
    setting = value.setting
    synonyms = [DescribeConfigsSynonym(name=setting.name, value=value.text, source=value.source)]
    if value.source is not Source.DEFAULT:
        default = setting.default
        synonyms.append(
            DescribeConfigsSynonym(name=setting.name, value=default, source=Source.DEFAULT)
        )
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
