"""SyncGroup (key 14): get one's part; the leader brings everybody's.

Behavior:
  Answered when the leader has brought the assignment and a majority has it on disk: whoever
  coordinates next knows it. During a rebalance: REBALANCE_IN_PROGRESS.
Version notes:
  0 to 5. 3: static members. 5: protocol type and name, checked (INCONSISTENT_GROUP_PROTOCOL).
"""

from trimaran.broker.calls import Call
from trimaran.broker.coordinators import coordinator_of
from trimaran.errors import ErrorCode, RequestError
from trimaran.groups.limits import GROUP_BYTES_MAX
from trimaran.groups.messages import MemberClaim, SyncRequest
from trimaran.protocol.messages import SyncGroupRequest, SyncGroupResponse


async def handle(call: Call, request: SyncGroupRequest) -> SyncGroupResponse:
    """Answer when the assignment is stored."""
    size = sum(len(one.assignment) for one in request.assignments)
    if size > GROUP_BYTES_MAX:
        raise RequestError(
            ErrorCode.INVALID_REQUEST,
            f"assignments: expected at most {GROUP_BYTES_MAX} bytes, found {size}",
        )
    _, live = await coordinator_of(call.broker, request.group_id)
    ticket = live.new_ticket()
    call.abandon = lambda: live.gone(request.group_id, ticket)
    claim = MemberClaim(
        member_id=request.member_id,
        instance_id=request.group_instance_id,
        generation=request.generation_id,
    )
    sync = SyncRequest(
        ticket=ticket,
        claim=claim,
        protocol_type=request.protocol_type,
        protocol=request.protocol_name,
        assignments=[(one.member_id, one.assignment) for one in request.assignments],
    )
    answer = await live.sync(request.group_id, sync)
    return SyncGroupResponse(
        error_code=answer.error,
        protocol_type=answer.protocol_type,
        protocol_name=answer.protocol,
        assignment=answer.assignment,
    )


def refuse(request: SyncGroupRequest, version: int, code: ErrorCode) -> SyncGroupResponse:
    """Return `code`."""
    del request, version
    return SyncGroupResponse(error_code=code)
