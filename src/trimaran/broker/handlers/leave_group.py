"""LeaveGroup (key 13): members go, and the others share what they had.

Behavior:
  Each member for itself. A static member may be named by its instance id alone, as administrators
  do; a client that closes does not send it for a static member.
Version notes:
  0 to 5. 3: several members, each with its error; before, one, with the answer's error.
"""

from trimaran.broker.calls import Call
from trimaran.broker.coordinators import coordinator_of
from trimaran.errors import ErrorCode, RequestError
from trimaran.groups.messages import MemberClaim
from trimaran.protocol.messages import (
    LeaveGroupRequest,
    LeaveGroupResponse,
    MemberIdentity,
    MemberResponse,
)

_MEMBERS_FROM = 3


async def handle(call: Call, request: LeaveGroupRequest) -> LeaveGroupResponse:
    """Answer at once: the others find out by themselves."""
    _, live = await coordinator_of(call.broker, request.group_id)
    identities = request.members
    if call.version < _MEMBERS_FROM:
        identities = [MemberIdentity(member_id=request.member_id)]
    claims = [
        MemberClaim(member_id=one.member_id, instance_id=one.group_instance_id)
        for one in identities
    ]
    try:
        codes = live.leave(request.group_id, claims)
    except RequestError as error:
        codes = [error.code] * len(claims)
    if call.version < _MEMBERS_FROM:
        return LeaveGroupResponse(error_code=codes[0])
    return LeaveGroupResponse(
        members=[
            MemberResponse(
                member_id=one.member_id, group_instance_id=one.group_instance_id, error_code=code
            )
            for one, code in zip(identities, codes, strict=True)
        ]
    )


def refuse(request: LeaveGroupRequest, version: int, code: ErrorCode) -> LeaveGroupResponse:
    """Return `code` for the request."""
    del request, version
    return LeaveGroupResponse(error_code=code)
