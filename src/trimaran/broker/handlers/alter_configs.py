"""AlterConfigs (key 33): all settings of topics and nodes at once; superseded by key 44.

Behavior:
  Resources fail one by one. What the request does not name goes back to its default. A topic
  (resource type 2), a node by its id or all nodes by an empty name (4). Changes take effect without
  a restart. An unknown name and an impossible value are INVALID_CONFIG, of a node INVALID_REQUEST,
  with the reason. A resource or a name that comes twice and a value of null are INVALID_REQUEST.
  validate_only checks only.
Version notes:
  0 to 2. 2: flexible.
"""

import asyncio
from collections.abc import Mapping

from trimaran.broker.calls import Call, told
from trimaran.broker.setting_changes import SettingChanges, change_settings
from trimaran.errors import ErrorCode, RequestError
from trimaran.metadata.settings import Table, check_count
from trimaran.protocol.messages import (
    AlterConfigsRequest,
    AlterConfigsResource,
    AlterConfigsResourceResponse,
    AlterConfigsResponse,
)


async def handle(call: Call, request: AlterConfigsRequest) -> AlterConfigsResponse:
    """Change the resources one after the other."""
    once: dict[tuple[int, str], list[AlterConfigsResource]] = {}
    for resource in request.resources:
        once.setdefault((resource.resource_type, resource.resource_name), []).append(resource)
    responses = []
    for same in once.values():
        await asyncio.sleep(0)  # thousands of refusals are not to keep the loop from the others
        responses.append(
            await _alter(call, same[0], len(same), validate_only=request.validate_only)
        )
    return AlterConfigsResponse(responses=responses)


def refuse(request: AlterConfigsRequest, version: int, code: ErrorCode) -> AlterConfigsResponse:
    """Return `code` for every resource."""
    del version
    return AlterConfigsResponse(
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
    call: Call, resource: AlterConfigsResource, count: int, *, validate_only: bool
) -> AlterConfigsResourceResponse:
    code, message = ErrorCode.NONE, None

    def changing(own: Mapping[str, str], table: Table) -> SettingChanges:
        del table
        return _replaced(own, resource)

    try:
        if count > 1:
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


def _replaced(own: Mapping[str, str], resource: AlterConfigsResource) -> SettingChanges:
    check_count(len(resource.configs))
    wanted: dict[str, str] = {}
    for config in resource.configs:
        if config.value is None:
            raise RequestError(ErrorCode.INVALID_REQUEST, f"{config.name}: expected a value")
        if config.name in wanted:
            raise RequestError(ErrorCode.INVALID_REQUEST, f"{config.name} comes twice")
        wanted[config.name] = config.value
    return SettingChanges(set=wanted, unset=tuple(name for name in own if name not in wanted))
