"""Heartbeat (key 12): a member's sign of life; the answer tells it when to join again.

Behavior:
  REBALANCE_IN_PROGRESS while members are waited for; otherwise NONE, or who is unknown, of an older
  generation, or fenced off.
Version notes:
  0 to 4. 3: static members.
"""

from trimaran.broker.calls import Call
from trimaran.broker.coordinators import coordinator_of
from trimaran.errors import ErrorCode
from trimaran.groups.messages import MemberClaim
from trimaran.protocol.messages import HeartbeatRequest, HeartbeatResponse


async def handle(call: Call, request: HeartbeatRequest) -> HeartbeatResponse:
    """Answer at once."""
    _, live = await coordinator_of(call.broker, request.group_id)
    claim = MemberClaim(
        member_id=request.member_id,
        instance_id=request.group_instance_id,
        generation=request.generation_id,
    )
    return HeartbeatResponse(error_code=live.heartbeat(request.group_id, claim))


def refuse(request: HeartbeatRequest, version: int, code: ErrorCode) -> HeartbeatResponse:
    """Return `code`."""
    del request, version
    return HeartbeatResponse(error_code=code)
