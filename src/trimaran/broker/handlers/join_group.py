"""JoinGroup (key 11): be a member of a group's next generation (classic protocol).

Behavior:
  As Kafka's coordinator: the answer comes when all members have joined or the longest rebalance
  time-out is over; the leader's answer has what every member said. An empty group waits
  `group.initial_rebalance_delay_ms` for more members, 50 ms by default (Kafka: 3 s). A member
  whose connection breaks while it waits is not counted as joined; it may join again in its session.
Version notes:
  0 to 9. 1: rebalance time-out. 4: a new member gets MEMBER_ID_REQUIRED and its id first (KIP-394).
  5: static members (KIP-345). 7: protocol type. 9: a static leader may skip its assignment.
"""

from uuid import UUID

from trimaran.broker.calls import Call
from trimaran.broker.coordinators import coordinator_of
from trimaran.errors import ErrorCode, RequestError
from trimaran.groups.limits import (
    CLIENT_ID_KEPT_MAX,
    INSTANCE_ID_CHARACTERS_MAX,
    MEMBER_BYTES_MAX,
    MEMBER_ID_CHARACTERS_MAX,
    PROTOCOLS_MAX,
)
from trimaran.groups.messages import JoinAnswer, JoinRequest, Ticket
from trimaran.groups.stored import StoredProtocol
from trimaran.protocol.messages import (
    JoinGroupRequest,
    JoinGroupResponse,
    JoinGroupResponseMember,
)

_ID_FIRST_FROM = 4
_NULL_PROTOCOL_FROM = 7
_SKIP_FROM = 9


async def handle(call: Call, request: JoinGroupRequest) -> JoinGroupResponse:
    """Answer when the generation begins."""
    _check(call, request)
    _, live = await coordinator_of(call.broker, request.group_id)
    ticket = live.new_ticket()
    call.abandon = lambda: live.gone(request.group_id, ticket)
    answer = await live.join(request.group_id, _join(call, request, ticket))
    return _response(call.version, answer)


def refuse(request: JoinGroupRequest, version: int, code: ErrorCode) -> JoinGroupResponse:
    """Return `code`."""
    return _response(version, JoinAnswer(error=code, member_id=request.member_id))


def _check(call: Call, request: JoinGroupRequest) -> None:
    settings = call.broker.kafka.group
    low, high = settings.session_timeout_min_ms, settings.session_timeout_max_ms
    if not low <= request.session_timeout_ms <= high:
        raise RequestError(
            ErrorCode.INVALID_SESSION_TIMEOUT,
            f"session time-out: expected {low} to {high} ms, found {request.session_timeout_ms}",
        )
    if not request.protocol_type or not request.protocols:
        raise RequestError(ErrorCode.INCONSISTENT_GROUP_PROTOCOL, "no protocol is offered")
    size = sum(len(one.metadata) for one in request.protocols)
    names = [request.member_id, request.protocol_type, *(one.name for one in request.protocols)]
    is_long = any(len(name) > MEMBER_ID_CHARACTERS_MAX for name in names)
    is_long = is_long or len(request.group_instance_id or "") > INSTANCE_ID_CHARACTERS_MAX
    if len(request.protocols) > PROTOCOLS_MAX or size > MEMBER_BYTES_MAX or is_long:
        raise RequestError(
            ErrorCode.INVALID_REQUEST,
            f"expected at most {PROTOCOLS_MAX} protocols and {MEMBER_BYTES_MAX} bytes with names"
            f" of {MEMBER_ID_CHARACTERS_MAX} and an instance id of {INSTANCE_ID_CHARACTERS_MAX}"
            f" characters, found {len(request.protocols)} protocols and {size} bytes",
        )


def _join(call: Call, request: JoinGroupRequest, ticket: Ticket) -> JoinRequest:
    client_id = (call.header.client_id or "")[:CLIENT_ID_KEPT_MAX]
    unique = UUID(bytes=call.broker.new_topic_id())
    rebalance_ms = request.rebalance_timeout_ms
    return JoinRequest(
        ticket=ticket,
        member_id=request.member_id,
        fresh_id=f"{request.group_instance_id or client_id}-{unique}",
        instance_id=request.group_instance_id,
        client_id=client_id,
        client_host="/" + call.peer.rpartition(":")[0][:CLIENT_ID_KEPT_MAX],
        session_timeout_ms=request.session_timeout_ms,
        rebalance_timeout_ms=rebalance_ms if rebalance_ms >= 0 else request.session_timeout_ms,
        protocol_type=request.protocol_type,
        protocols=tuple(StoredProtocol(one.name, one.metadata) for one in request.protocols),
        learns_id_first=call.version >= _ID_FIRST_FROM,
        may_skip_assignment=call.version >= _SKIP_FROM,
    )


def _response(version: int, answer: JoinAnswer) -> JoinGroupResponse:
    protocol = answer.protocol
    if protocol is None and version < _NULL_PROTOCOL_FROM:
        protocol = ""
    return JoinGroupResponse(
        error_code=answer.error,
        generation_id=answer.generation,
        protocol_type=answer.protocol_type,
        protocol_name=protocol,
        leader=answer.leader,
        skip_assignment=answer.skip_assignment,
        member_id=answer.member_id,
        members=[
            JoinGroupResponseMember(
                member_id=member.member_id,
                group_instance_id=member.instance_id,
                metadata=member.metadata,
            )
            for member in answer.members
        ],
    )
