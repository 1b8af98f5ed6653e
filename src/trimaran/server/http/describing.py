"""A group as its coordinator describes it, whichever protocol its members speak.

Kafka answers DescribeGroups for classic groups and ConsumerGroupDescribe for those of the new
protocol (KIP-848), and GROUP_ID_NOT_FOUND for the other kind.
Does not: find the coordinator, or look at offsets.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from trimaran.errors import ErrorCode
from trimaran.groups.group import CONSUMER, GroupState
from trimaran.groups.subscription import read_assignment
from trimaran.ids import NodeId
from trimaran.protocol.api import ApiKey
from trimaran.protocol.messages import (
    ConsumerGroupDescribeRequest,
    DescribedConsumerGroup,
    DescribedGroup,
    DescribeGroupsRequest,
)
from trimaran.server.http.context import NodeContext
from trimaran.server.http.kafka.client import checked
from trimaran.server.http.models.groups import Assigned, Member

ASK_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Described:
    """A group; `protocol` is its assignor, and empty while none is chosen."""

    state: str
    protocol_type: str
    protocol: str
    members: Sequence[Member] = ()

    @property
    def is_dead(self) -> bool:
        """Whether the coordinator knows no such group."""
        return self.state == DEAD.state


DEAD = Described(state=GroupState.DEAD.value, protocol_type="", protocol="")


async def describe(node: NodeContext, coordinator: NodeId, group_id: str) -> Described:
    """Return the group, or DEAD. Raises RequestError, OSError."""
    answer = await node.kafka.ask(
        coordinator,
        ApiKey.DESCRIBE_GROUPS,
        DescribeGroupsRequest(groups=[group_id]),
        lane="read",
        timeout_s=ASK_S,
    )
    classic: DescribedGroup = answer.groups[0]
    if classic.error_code != ErrorCode.GROUP_ID_NOT_FOUND:
        checked(classic.error_code)
        return _of_classic(classic)
    answer = await node.kafka.ask(
        coordinator,
        ApiKey.CONSUMER_GROUP_DESCRIBE,
        ConsumerGroupDescribeRequest(group_ids=[group_id]),
        lane="read",
        timeout_s=ASK_S,
    )
    found: DescribedConsumerGroup = answer.groups[0]
    if found.error_code == ErrorCode.GROUP_ID_NOT_FOUND:
        return DEAD
    checked(found.error_code, found.error_message)
    return _of_consumers(found)


def _of_classic(found: DescribedGroup) -> Described:
    return Described(
        state=found.group_state or DEAD.state,
        protocol_type=found.protocol_type,
        protocol=found.protocol_data,
        members=[
            Member(
                member_id=member.member_id,
                instance_id=member.group_instance_id,
                client_id=member.client_id,
                client_host=member.client_host,
                assignment=[
                    Assigned(topic=name, partitions=sorted(numbers))
                    for name, numbers in read_assignment(bytes(member.member_assignment)) or ()
                ],
            )
            for member in found.members
        ],
    )


def _of_consumers(found: DescribedConsumerGroup) -> Described:
    return Described(
        state=found.group_state,
        protocol_type=CONSUMER,
        protocol=found.assignor_name,
        members=[
            Member(
                member_id=member.member_id,
                instance_id=member.instance_id,
                client_id=member.client_id,
                client_host=member.client_host,
                assignment=[
                    Assigned(topic=part.topic_name, partitions=sorted(part.partitions))
                    for part in member.assignment.topic_partitions
                ],
            )
            for member in found.members
        ],
    )
