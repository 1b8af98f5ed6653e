"""ConsumerGroupHeartbeat (key 68): join, go on in or leave a group of the new protocol (KIP-848).

Behavior:
  As Kafka's coordinator. Answered when all that the answer says is stored by a majority. What a
  member is to have is told when it changes, when it joins, and when it says everything itself.
  Heartbeat interval and session time-out are the broker's, 1 s and 10 s by default.
Version notes:
  0 to 1. 1: member ids come from members; patterns, in RE2's syntax, for whole names of topics.
"""

from uuid import UUID

from trimaran.broker.calls import Call
from trimaran.broker.coordinators import coordinator_of
from trimaran.broker.group_topics import check_pattern
from trimaran.errors import ErrorCode, RequestError
from trimaran.groups.assignors import ASSIGNORS
from trimaran.groups.limits import (
    CLIENT_ID_KEPT_MAX,
    INSTANCE_ID_CHARACTERS_MAX,
    MEMBER_BYTES_MAX,
    MEMBER_ID_CHARACTERS_MAX,
    SUBSCRIPTION_TOPICS_MAX,
)
from trimaran.groups.messages import (
    LEAVE_EPOCH,
    LEAVE_FOR_A_WHILE_EPOCH,
    BeatAnswer,
    BeatRequest,
    Ticket,
)
from trimaran.groups.parts import Parts, by_topic, to_parts
from trimaran.protocol.messages import (
    ConsumerGroupHeartbeatRequest,
    ConsumerGroupHeartbeatResponse,
    HeartbeatAssignment,
    HeartbeatTopicPartitions,
)

_MEMBER_NAMES_ITSELF_FROM = 1


async def handle(
    call: Call, request: ConsumerGroupHeartbeatRequest
) -> ConsumerGroupHeartbeatResponse:
    """Answer when it is stored."""
    try:
        _check(call.version, request)
        _, live = await coordinator_of(call.broker, request.group_id)
        ticket = live.new_ticket()
        call.abandon = lambda: live.gone(request.group_id, ticket)
        answer = await live.beat(request.group_id, _beat(call, request, ticket))
    except RequestError as error:
        call.note(error)
        return ConsumerGroupHeartbeatResponse(error_code=error.code, error_message=str(error))
    return _response(answer)


def refuse(
    request: ConsumerGroupHeartbeatRequest, version: int, code: ErrorCode
) -> ConsumerGroupHeartbeatResponse:
    """Return `code`."""
    del request, version
    return ConsumerGroupHeartbeatResponse(error_code=code)


def _check(version: int, request: ConsumerGroupHeartbeatRequest) -> None:
    epoch = request.member_epoch
    needs_id = epoch != 0 or version >= _MEMBER_NAMES_ITSELF_FROM
    problems = [
        (epoch < LEAVE_FOR_A_WHILE_EPOCH, f"member epoch {epoch}"),
        (needs_id and not request.member_id, "no member id"),
        (not request.group_id, "no group id"),
        (request.instance_id == "", "an empty instance id"),
        (request.rack_id == "", "an empty rack id"),
        (request.rebalance_timeout_ms < -1, "a negative rebalance time-out"),
        (
            epoch == LEAVE_FOR_A_WHILE_EPOCH and request.instance_id is None,
            "a member without instance id that leaves for a while",
        ),
        *_of_first(request),
        *_too_long(request),
    ]
    for is_wrong, what in problems:
        if is_wrong:
            raise RequestError(ErrorCode.INVALID_REQUEST, f"group {request.group_id!r}: {what}")
    if request.server_assignor is not None and request.server_assignor not in ASSIGNORS:
        raise RequestError(
            ErrorCode.UNSUPPORTED_ASSIGNOR,
            f"assignor {request.server_assignor!r}: expected one of {', '.join(ASSIGNORS)}",
        )
    if request.subscribed_topic_regex is not None and epoch > LEAVE_EPOCH:
        check_pattern(request.subscribed_topic_regex)


def _of_first(request: ConsumerGroupHeartbeatRequest) -> list[tuple[bool, str]]:
    """Return what a member that joins must say."""
    if request.member_epoch != 0:
        return []
    has_no_subscription = (
        request.subscribed_topic_names is None and request.subscribed_topic_regex is None
    )
    return [
        (request.rebalance_timeout_ms == -1, "a first heartbeat without rebalance time-out"),
        (has_no_subscription, "a first heartbeat without subscription"),
        (
            request.topic_partitions is None or len(request.topic_partitions) > 0,
            "a first heartbeat must say that the member has nothing",
        ),
    ]


def _too_long(request: ConsumerGroupHeartbeatRequest) -> list[tuple[bool, str]]:
    topics = request.subscribed_topic_names or ()
    names = (request.member_id, request.rack_id or "", *topics)
    return [
        (any(len(name) > MEMBER_ID_CHARACTERS_MAX for name in names), "a name is too long"),
        (
            len(request.instance_id or "") > INSTANCE_ID_CHARACTERS_MAX,
            f"instance id: expected at most {INSTANCE_ID_CHARACTERS_MAX} characters",
        ),
        (len(topics) > SUBSCRIPTION_TOPICS_MAX, f"{len(topics)} topics are too many"),
        (sum(map(len, topics)) > MEMBER_BYTES_MAX, "the subscription is too long"),
    ]


def _beat(call: Call, request: ConsumerGroupHeartbeatRequest, ticket: Ticket) -> BeatRequest:
    rebalance_ms = request.rebalance_timeout_ms
    topics = request.subscribed_topic_names
    return BeatRequest(
        ticket=ticket,
        member_id=request.member_id or str(UUID(bytes=call.broker.new_topic_id())),
        epoch=request.member_epoch,
        instance_id=request.instance_id,
        rack_id=request.rack_id,
        client_id=(call.header.client_id or "")[:CLIENT_ID_KEPT_MAX],
        client_host="/" + call.peer.rpartition(":")[0][:CLIENT_ID_KEPT_MAX],
        rebalance_timeout_ms=None if rebalance_ms == -1 else rebalance_ms,
        topics=None if topics is None else tuple(topics),
        pattern=request.subscribed_topic_regex,
        assignor=request.server_assignor,
        owned=_owned(request),
    )


def _owned(request: ConsumerGroupHeartbeatRequest) -> Parts | None:
    if request.topic_partitions is None:
        return None
    return to_parts((one.topic_id, one.partitions) for one in request.topic_partitions)


def _response(answer: BeatAnswer) -> ConsumerGroupHeartbeatResponse:
    assignment = None
    if answer.assigned is not None:
        assignment = HeartbeatAssignment(
            topic_partitions=[
                HeartbeatTopicPartitions(topic_id=topic_id, partitions=numbers)
                for topic_id, numbers in by_topic(answer.assigned)
            ]
        )
    return ConsumerGroupHeartbeatResponse(
        error_code=answer.error,
        member_id=answer.member_id or None,
        member_epoch=answer.epoch,
        heartbeat_interval_ms=answer.heartbeat_interval_ms,
        assignment=assignment,
    )
