"""ConsumerGroupDescribe (key 69): what groups of the new protocol are like (KIP-848).

Behavior:
  Each group for itself; the coordinator has itself confirmed as such first. GROUP_ID_NOT_FOUND for
  a group that nobody knows and for a classic one.
Version notes:
  0 to 1. 1: which protocol a member speaks (KIP-1099).
"""

from trimaran.broker.calls import Call, told
from trimaran.broker.coordinators import coordinator_of
from trimaran.errors import ErrorCode, RequestError
from trimaran.groups.consumer_group import ConsumerGroup
from trimaran.groups.consumers import Consumer
from trimaran.groups.parts import Parts, by_topic
from trimaran.protocol.messages import (
    ConsumerGroupDescribeRequest,
    ConsumerGroupDescribeResponse,
    DescribedAssignment,
    DescribedConsumer,
    DescribedConsumerGroup,
    DescribedTopicPartitions,
)

_CLASSIC_MEMBER = 0
_CONSUMER_MEMBER = 1


async def handle(
    call: Call, request: ConsumerGroupDescribeRequest
) -> ConsumerGroupDescribeResponse:
    """Describe each group once."""
    names = dict.fromkeys(request.group_ids)
    return ConsumerGroupDescribeResponse(groups=[await _describe(call, name) for name in names])


async def _describe(call: Call, name: str) -> DescribedConsumerGroup:
    try:
        coordinator, live = await coordinator_of(call.broker, name)
        await coordinator.confirm()
        group = live.get(name)
        if not isinstance(group, ConsumerGroup):
            what = "not found" if group is None else "is not a consumer group"
            raise RequestError(ErrorCode.GROUP_ID_NOT_FOUND, f"Group {name} {what}.")
    except RequestError as error:
        call.note(error)
        return DescribedConsumerGroup(
            group_id=name, error_code=error.code, error_message=told(error)
        )
    return DescribedConsumerGroup(
        group_id=name,
        group_state=group.state.value,
        group_epoch=group.epoch,
        assignment_epoch=group.assignment_epoch,
        assignor_name=group.assignor,
        members=[_member(call, member) for member in group.members],
    )


def _member(call: Call, member: Consumer) -> DescribedConsumer:
    return DescribedConsumer(
        member_id=member.member_id,
        instance_id=member.instance_id,
        rack_id=member.rack_id,
        member_epoch=member.epoch,
        client_id=member.client_id,
        client_host=member.client_host,
        subscribed_topic_names=member.topics,
        subscribed_topic_regex=member.pattern or None,
        assignment=_assignment(call, member.progress.assigned),
        target_assignment=_assignment(call, member.target),
        member_type=_CONSUMER_MEMBER if member.classic is None else _CLASSIC_MEMBER,
    )


def _assignment(call: Call, parts: Parts) -> DescribedAssignment:
    named = [
        (call.broker.image.topic_by_id(topic_id), numbers) for topic_id, numbers in by_topic(parts)
    ]
    return DescribedAssignment(
        topic_partitions=[
            DescribedTopicPartitions(
                topic_id=topic.topic_id, topic_name=topic.name, partitions=numbers
            )
            for topic, numbers in named
            if topic is not None
        ]
    )


def refuse(
    request: ConsumerGroupDescribeRequest, version: int, code: ErrorCode
) -> ConsumerGroupDescribeResponse:
    """Return `code` for every group."""
    del version
    return ConsumerGroupDescribeResponse(
        groups=[
            DescribedConsumerGroup(group_id=name, error_code=code) for name in request.group_ids
        ]
    )
