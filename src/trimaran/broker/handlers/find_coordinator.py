"""FindCoordinator (key 10): which node keeps a group.

Behavior:
  The leader of the Raft group that the group's id falls to. The first question creates those Raft
  groups and waits for their leaders. While a leader was lost less than 400 ms ago the answer waits
  for its successor, then it is COORDINATOR_NOT_AVAILABLE. A node is named only after a sign of
  life: a client that asks because a connection broke may be faster than the news of it. For a
  transaction the answer is the one on which clients give up at once.
Version notes:
  0 to 6. 1: key type. 4: several keys (KIP-699). 5 and 6 say that clients know newer errors and
  share groups, which are refused.
"""

import asyncio

from trimaran.broker.calls import Call, told
from trimaran.broker.coordinators import check_group_id, groups_topic, raft_group_of
from trimaran.errors import ErrorCode, RequestError
from trimaran.ids import GroupId
from trimaran.metadata.topology import Node
from trimaran.protocol.messages import (
    Coordinator,
    FindCoordinatorRequest,
    FindCoordinatorResponse,
)

_GROUP = 0
_TRANSACTION = 1
_KEYS_FROM = 4


async def handle(call: Call, request: FindCoordinatorRequest) -> FindCoordinatorResponse:
    """Return the coordinator of every key."""
    if request.key_type == _TRANSACTION:
        raise RequestError(
            ErrorCode.TRANSACTIONAL_ID_AUTHORIZATION_FAILED, "transactions are not there yet"
        )
    if request.key_type != _GROUP:
        raise RequestError(
            ErrorCode.INVALID_REQUEST,
            f"key type: expected {_GROUP} or {_TRANSACTION}, found {request.key_type}",
        )
    if call.version < _KEYS_FROM:
        node = await _find(call, request.key)
        return FindCoordinatorResponse(node_id=node.node_id, host=node.host, port=node.kafka_port)
    keys = dict.fromkeys(request.coordinator_keys)
    return FindCoordinatorResponse(coordinators=[await _answer(call, key) for key in keys])


async def _answer(call: Call, key: str) -> Coordinator:
    try:
        node = await _find(call, key)
    except RequestError as error:
        call.note(error)
        return Coordinator(key=key, error_code=error.code, error_message=told(error))
    return Coordinator(key=key, node_id=node.node_id, host=node.host, port=node.kafka_port)


async def _find(call: Call, key: str) -> Node:
    check_group_id(key)
    topic = await groups_topic(call.broker)
    group = raft_group_of(topic, key)
    await _wait_leader(call, group)
    await _confirm(call, group)
    leader, _ = call.broker.leader_hint(group)
    node = None if leader is None else call.broker.image.node(leader)
    if node is None:
        raise RequestError(
            ErrorCode.COORDINATOR_NOT_AVAILABLE, f"nobody coordinates group {key!r} for now"
        )
    return node


async def _wait_leader(call: Call, group: GroupId) -> None:
    """Return when the Raft group has a leader, or it is not worth waiting for one."""
    broker = call.broker
    lost_at_s = broker.leader_lost_at(group)
    wait_s = broker.kafka.leader_wait_s
    if lost_at_s is not None:
        wait_s = max(lost_at_s + broker.kafka.metadata_park_s - call.deadlines.now_s(), 0.0)
    await broker.wait_metadata(lambda: broker.leader_hint(group)[0] is not None, wait_s)


async def _confirm(call: Call, group: GroupId) -> None:
    """Name no node that has not been heard of since: if it is gone, wait for its successor."""
    leader, _ = call.broker.leader_hint(group)
    if leader is None:
        return
    heard: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def done() -> None:
        if not heard.done():
            heard.set_result(None)

    call.broker.confirm_alive([leader], done)
    await heard
    if call.broker.leader_hint(group)[0] is None:
        await _wait_leader(call, group)


def refuse(
    request: FindCoordinatorRequest, version: int, code: ErrorCode
) -> FindCoordinatorResponse:
    """Return `code` for every key."""
    del version
    return FindCoordinatorResponse(
        error_code=code,
        coordinators=[Coordinator(key=key, error_code=code) for key in request.coordinator_keys],
    )
