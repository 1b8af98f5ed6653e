"""Groups as their coordinator describes them, whichever protocol their members speak.

Kafka answers DescribeGroups for classic groups and ConsumerGroupDescribe for those of the new
protocol (KIP-848), and GROUP_ID_NOT_FOUND for the other kind. Each takes many groups, and so does
OffsetFetch: a coordinator is asked three questions at most, for one group or for a hundred.
Does not: find the coordinator, or look at logs.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from trimaran.errors import ErrorCode, RequestError
from trimaran.groups.group import CONSUMER, GroupState
from trimaran.groups.subscription import read_assignment
from trimaran.ids import NodeId
from trimaran.protocol.api import ApiKey
from trimaran.protocol.messages import (
    ConsumerGroupDescribeRequest,
    DescribedConsumerGroup,
    DescribedGroup,
    DescribeGroupsRequest,
    OffsetFetchRequest,
    OffsetFetchRequestGroup,
    OffsetFetchResponseGroup,
)
from trimaran.server.http.context import NodeContext
from trimaran.server.http.kafka.client import refusal
from trimaran.server.http.models.groups import Assigned, Member

ASK_S = 5.0
LANE = "groups"
"""An answer about a hundred groups holds back no reader of events."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Described:
    """A group; `protocol` is its assignor, and empty while none is chosen."""

    state: str
    protocol_type: str
    protocol: str
    members: Sequence[Member] = ()


DEAD = Described(state=GroupState.DEAD.value, protocol_type="", protocol="")


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """A group as its coordinator describes it, and what it has committed."""

    described: Described
    coordinator: NodeId
    committed: Mapping[tuple[str, int], tuple[int, str | None]] = field(default_factory=dict)

    @property
    def is_gone(self) -> bool:
        """Whether the coordinator knows nothing of such a group."""
        return self.described.state == DEAD.state and not self.committed


async def standings_at(
    node: NodeContext, coordinator: NodeId, group_ids: Sequence[str]
) -> dict[str, Standing | RequestError]:
    """Return each group as `coordinator` has it, or what it says instead. Raises OSError."""
    described = await _describe(node, coordinator, group_ids)
    rows = [OffsetFetchRequestGroup(group_id=name, topics=None) for name in group_ids]
    answer = await node.kafka.ask(
        coordinator,
        ApiKey.OFFSET_FETCH,
        OffsetFetchRequest(groups=rows),
        lane=LANE,
        timeout_s=ASK_S,
    )
    found: dict[str, Standing | RequestError] = {}
    for row in answer.groups:
        group, refused = described[row.group_id], refusal(row.error_code)
        if isinstance(group, RequestError):
            found[row.group_id] = group
        elif refused is not None:
            found[row.group_id] = refused
        else:
            found[row.group_id] = Standing(
                described=group, coordinator=coordinator, committed=_committed(row)
            )
    return found


def _committed(found: OffsetFetchResponseGroup) -> dict[tuple[str, int], tuple[int, str | None]]:
    return {
        (topic.name, row.partition_index): (row.committed_offset, row.metadata)
        for topic in found.topics
        for row in topic.partitions
        if row.committed_offset >= 0
    }


async def _describe(
    node: NodeContext, coordinator: NodeId, group_ids: Sequence[str]
) -> dict[str, Described | RequestError]:
    answer = await node.kafka.ask(
        coordinator,
        ApiKey.DESCRIBE_GROUPS,
        DescribeGroupsRequest(groups=group_ids),
        lane=LANE,
        timeout_s=ASK_S,
    )
    found = {
        row.group_id: _of_classic(row)
        for row in answer.groups
        if row.error_code != ErrorCode.GROUP_ID_NOT_FOUND
    }
    others = [name for name in group_ids if name not in found]
    if others:
        answer = await node.kafka.ask(
            coordinator,
            ApiKey.CONSUMER_GROUP_DESCRIBE,
            ConsumerGroupDescribeRequest(group_ids=others),
            lane=LANE,
            timeout_s=ASK_S,
        )
        found.update({row.group_id: _of_consumers(row) for row in answer.groups})
    return found


def _of_classic(found: DescribedGroup) -> Described | RequestError:
    refused = refusal(found.error_code)
    if refused is not None:
        return refused
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


def _of_consumers(found: DescribedConsumerGroup) -> Described | RequestError:
    if found.error_code == ErrorCode.GROUP_ID_NOT_FOUND:
        return DEAD
    refused = refusal(found.error_code, found.error_message)
    if refused is not None:
        return refused
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
