"""IncrementalAlterConfigs (key 44): single settings of topics and nodes (KIP-339).

Behavior:
  As AlterConfigs, but what is not named stays. Operations: 0 sets, 1 goes back to the default (as
  what there is not does, too), 2 adds words to a list and 3 takes them out (INVALID_CONFIG for a
  setting that is no list).
Version notes:
  0 and 1. 1: flexible.
"""

import asyncio
from collections.abc import Mapping

from trimaran.broker.calls import Call, told
from trimaran.broker.setting_changes import SettingChanges, change_settings
from trimaran.errors import ErrorCode, RequestError
from trimaran.metadata.settings import VALUE_CHARACTERS_MAX, Kind, Table, check_count
from trimaran.protocol.messages import (
    AlterConfigsResourceResponse,
    IncrementalAlterableConfig,
    IncrementalAlterConfigsRequest,
    IncrementalAlterConfigsResource,
    IncrementalAlterConfigsResponse,
)

_SET, _DELETE, _APPEND, _SUBTRACT = 0, 1, 2, 3


async def handle(
    call: Call, request: IncrementalAlterConfigsRequest
) -> IncrementalAlterConfigsResponse:
    """Change the resources one after the other."""
    first: dict[tuple[int, str], IncrementalAlterConfigsResource] = {}
    twice: dict[tuple[int, str], None] = {}
    for resource in request.resources:
        place = (resource.resource_type, resource.resource_name)
        if first.setdefault(place, resource) is not resource:
            twice[place] = None
    responses = []
    for place, resource in first.items():
        await asyncio.sleep(0)  # thousands of refusals are not to keep the loop from the others
        responses.append(
            await _alter(
                call, resource, comes_twice=place in twice, validate_only=request.validate_only
            )
        )
    return IncrementalAlterConfigsResponse(responses=responses)


def refuse(
    request: IncrementalAlterConfigsRequest, version: int, code: ErrorCode
) -> IncrementalAlterConfigsResponse:
    """Return `code` for every resource."""
    del version
    return IncrementalAlterConfigsResponse(
        responses=[
            AlterConfigsResourceResponse(
                error_code=code,
                resource_type=resource.resource_type,
                resource_name=resource.resource_name,
            )
            for resource in request.resources
        ]
    )


async def _alter(
    call: Call,
    resource: IncrementalAlterConfigsResource,
    *,
    comes_twice: bool,
    validate_only: bool,
) -> AlterConfigsResourceResponse:
    code, message = ErrorCode.NONE, None

    def changing(own: Mapping[str, str], table: Table) -> SettingChanges:
        return _changed(own, table, resource)

    try:
        if comes_twice:
            raise RequestError(ErrorCode.INVALID_REQUEST, "the resource is in the request twice")
        await change_settings(
            call.broker,
            resource.resource_type,
            resource.resource_name,
            changing,
            validate_only=validate_only,
        )
    except RequestError as error:
        call.note(error)
        code, message = error.code, told(error)
    return AlterConfigsResourceResponse(
        error_code=code,
        error_message=message,
        resource_type=resource.resource_type,
        resource_name=resource.resource_name,
    )


def _changed(
    own: Mapping[str, str], table: Table, resource: IncrementalAlterConfigsResource
) -> SettingChanges:
    check_count(len(resource.configs))
    wanted: dict[str, str] = {}
    unset: dict[str, None] = {}
    for config in resource.configs:
        if config.name in wanted or config.name in unset:
            raise RequestError(ErrorCode.INVALID_REQUEST, f"{config.name} comes twice")
        if config.config_operation == _DELETE:
            unset[config.name] = None
        else:
            wanted[config.name] = _new_text(own, table, config)
    return SettingChanges(set=wanted, unset=tuple(name for name in unset if name in table))


def _new_text(own: Mapping[str, str], table: Table, config: IncrementalAlterableConfig) -> str:
    operation, name, value = config.config_operation, config.name, config.value
    if operation not in (_SET, _APPEND, _SUBTRACT):
        raise RequestError(ErrorCode.INVALID_REQUEST, f"{name}: unknown operation {operation}")
    if value is None:
        raise RequestError(ErrorCode.INVALID_REQUEST, f"{name}: expected a value")
    if operation == _SET:
        return value
    setting = table.get(name)
    if setting is None or setting.kind is not Kind.LIST:
        raise RequestError(
            ErrorCode.INVALID_CONFIG, f"{name}: words are added to and taken from lists only"
        )
    if len(value) > VALUE_CHARACTERS_MAX:
        raise RequestError(ErrorCode.INVALID_CONFIG, f"{name}: {len(value)} characters of words")
    words = [word.strip() for word in own.get(name, setting.default).split(",") if word.strip()]
    given = [word.strip() for word in value.split(",")]
    if operation == _APPEND:
        return ",".join(words + [word for word in given if word not in words])
    return ",".join(word for word in words if word not in given)
