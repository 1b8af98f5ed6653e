"""DeleteGroups (key 42): groups without members go, with their offsets (KIP-229).

Behavior:
  Each for itself: GROUP_ID_NOT_FOUND, NON_EMPTY_GROUP, or gone and committed as such.
Version notes:
  0 to 2.
"""

from trimaran.broker.calls import Call
from trimaran.broker.coordinators import coordinator_of
from trimaran.errors import ErrorCode, RequestError
from trimaran.protocol.messages import (
    DeletableGroupResult,
    DeleteGroupsRequest,
    DeleteGroupsResponse,
)


async def handle(call: Call, request: DeleteGroupsRequest) -> DeleteGroupsResponse:
    """Delete the groups one after the other."""
    names = dict.fromkeys(request.groups_names)
    return DeleteGroupsResponse(results=[await _delete(call, name) for name in names])


async def _delete(call: Call, name: str) -> DeletableGroupResult:
    try:
        _, live = await coordinator_of(call.broker, name)
        await live.delete(name)
    except RequestError as error:
        call.note(error)
        return DeletableGroupResult(group_id=name, error_code=error.code)
    return DeletableGroupResult(group_id=name)


def refuse(request: DeleteGroupsRequest, version: int, code: ErrorCode) -> DeleteGroupsResponse:
    """Return `code` for every group."""
    del version
    return DeleteGroupsResponse(
        results=[
            DeletableGroupResult(group_id=name, error_code=code) for name in request.groups_names
        ]
    )
