"""ListGroups (key 16): the groups that this node coordinates. A client asks every node.

Behavior:
  Those of the coordinators led here, once they know all that was committed. Filters do not look at
  upper and lower case; types are `classic` and `consumer` (the new protocol).
Version notes:
  0 to 5. 4: state, and a filter by it (KIP-518). 5: type, and a filter by it (KIP-848).
"""

from trimaran.broker.calls import Call
from trimaran.broker.live_groups import LiveGroup
from trimaran.errors import ErrorCode, RequestError
from trimaran.groups.consumer_group import ConsumerGroup
from trimaran.groups.group import CONSUMER
from trimaran.protocol.messages import ListedGroup, ListGroupsRequest, ListGroupsResponse

_CLASSIC_TYPE = "classic"
_CONSUMER_TYPE = "consumer"


async def handle(call: Call, request: ListGroupsRequest) -> ListGroupsResponse:
    """List the groups of each coordinator led here."""
    states = {name.lower(): None for name in request.states_filter}
    types = {name.lower(): None for name in request.types_filter}
    listed: list[ListedGroup] = []
    for coordinator in call.broker.coordinators():
        if not coordinator.is_leader:
            continue
        try:
            live = await coordinator.ready()
        except RequestError:
            continue  # led by another node by now, which lists them
        groups = [live.get(name) for name in live.ids()]
        listed += [_listed(group) for group in groups if group is not None]
    return ListGroupsResponse(
        groups=[
            group
            for group in listed
            if (not states or group.group_state.lower() in states)
            and (not types or group.group_type in types)
        ]
    )


def _listed(group: LiveGroup) -> ListedGroup:
    if isinstance(group, ConsumerGroup):
        protocol_type, group_type = CONSUMER, _CONSUMER_TYPE
    else:
        protocol_type, group_type = group.roster.protocol_type, _CLASSIC_TYPE
    return ListedGroup(
        group_id=group.group_id,
        protocol_type=protocol_type,
        group_state=group.state.value,
        group_type=group_type,
    )


def refuse(request: ListGroupsRequest, version: int, code: ErrorCode) -> ListGroupsResponse:
    """Return `code`."""
    del request, version
    return ListGroupsResponse(error_code=code)
