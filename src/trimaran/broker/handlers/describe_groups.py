"""DescribeGroups (key 15): what groups are like, and who is in them.

Behavior:
  A group that nobody knows, or of the new protocol, is Dead, as in Kafka. What members said and
  have is told while the group is stable. The coordinator has itself confirmed as such first.
Version notes:
  0 to 6. 3: operations (unknown: there are no ACLs). 4: static members. 6: GROUP_ID_NOT_FOUND for a
  group that is Dead (KIP-1043).
"""

from trimaran.broker.calls import Call
from trimaran.broker.coordinators import coordinator_of
from trimaran.errors import ErrorCode, RequestError
from trimaran.groups.group import Group, GroupState
from trimaran.protocol.messages import (
    DescribedGroup,
    DescribedGroupMember,
    DescribeGroupsRequest,
    DescribeGroupsResponse,
)

_ERROR_FROM = 6


async def handle(call: Call, request: DescribeGroupsRequest) -> DescribeGroupsResponse:
    """Describe each group once."""
    names = dict.fromkeys(request.groups)
    return DescribeGroupsResponse(groups=[await _describe(call, name) for name in names])


async def _describe(call: Call, name: str) -> DescribedGroup:
    try:
        coordinator, live = await coordinator_of(call.broker, name)
        await coordinator.confirm()
    except RequestError as error:
        call.note(error)
        return DescribedGroup(group_id=name, error_code=error.code)
    group = live.get(name)
    if not isinstance(group, Group):
        return _dead(call, name, "not found" if group is None else "is not a classic group")
    is_stable = group.state is GroupState.STABLE
    return DescribedGroup(
        group_id=name,
        group_state=group.state.value,
        protocol_type=group.roster.protocol_type,
        protocol_data=(group.roster.protocol or "") if is_stable else "",
        members=_members(group, is_stable=is_stable),
    )


def _dead(call: Call, name: str, what: str) -> DescribedGroup:
    state = GroupState.DEAD.value
    if call.version < _ERROR_FROM:
        return DescribedGroup(group_id=name, group_state=state)
    return DescribedGroup(
        group_id=name,
        group_state=state,
        error_code=ErrorCode.GROUP_ID_NOT_FOUND,
        error_message=f"Group {name} {what}.",
    )


def _members(group: Group, *, is_stable: bool) -> list[DescribedGroupMember]:
    return [
        DescribedGroupMember(
            member_id=member.member_id,
            group_instance_id=member.instance_id,
            client_id=member.client_id,
            client_host=member.client_host,
            member_metadata=member.metadata(group.roster.protocol) if is_stable else b"",
            member_assignment=member.assignment if is_stable else b"",
        )
        for member in group.roster
    ]


def refuse(request: DescribeGroupsRequest, version: int, code: ErrorCode) -> DescribeGroupsResponse:
    """Return `code` for every group."""
    del version
    return DescribeGroupsResponse(
        groups=[DescribedGroup(group_id=name, error_code=code) for name in request.groups]
    )
