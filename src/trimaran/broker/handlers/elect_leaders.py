"""ElectLeaders (key 43): leaderships back to the preferred replicas, now instead of after a while.

Behavior:
  Type 0: where the preferred (first) replica leads already, ELECTION_NOT_NEEDED; where its node
  does not answer, PREFERRED_LEADER_NOT_AVAILABLE. The partition's leader, which need not be this
  node, is asked to hand over. A success is answered when the preferred replica leads; what has not
  come by timeout.ms is REQUEST_TIMED_OUT.
  Type 1 (unclean): never done. ELECTION_NOT_NEEDED where there is a leader, else
  ELIGIBLE_LEADERS_NOT_AVAILABLE. Without a list of partitions all are looked at, and those that
  need nothing are left out.
Version notes:
  0 to 2. 1: the type, before always preferred. 2: flexible.
"""

from functools import partial

from trimaran.broker.calls import Call, told
from trimaran.errors import ErrorCode, RequestError
from trimaran.ids import GroupId, NodeId
from trimaran.protocol.messages import (
    ElectLeadersPartitionResult,
    ElectLeadersRequest,
    ElectLeadersResponse,
    ElectLeadersTopicResult,
)

_PREFERRED, _UNCLEAN = 0, 1
_WAITED_S_MAX = 30.0
_AGAIN_S = 1.0
"""How long to wait before a leader is asked again."""


class _Election:
    """A partition that is to be led by its preferred replica."""

    __slots__ = ("group", "preferred")

    def __init__(self, group: GroupId, preferred: NodeId) -> None:
        self.group = group
        self.preferred = preferred

    def is_over(self, call: Call) -> bool:
        """Whether the preferred replica leads."""
        return call.broker.leader_hint(self.group)[0] == self.preferred


async def handle(call: Call, request: ElectLeadersRequest) -> ElectLeadersResponse:
    """Begin all elections, then wait for them."""
    if request.election_type not in (_PREFERRED, _UNCLEAN):
        raise RequestError(
            ErrorCode.INVALID_REQUEST,
            f"election type: expected {_PREFERRED} or {_UNCLEAN}, found {request.election_type}",
        )
    begun = {
        (topic, number): _begin(call, topic, number, request.election_type)
        for topic, number in _places(call, request)
    }
    elections = [row for row in begun.values() if isinstance(row, _Election)]
    await _all_over(call, elections, min(call.timeout_s(request.timeout_ms), _WAITED_S_MAX))
    results: dict[str, list[ElectLeadersPartitionResult]] = {}
    for (topic, number), row in begun.items():
        result = _result(call, number, row)
        is_asked = request.topic_partitions is not None
        if is_asked or result.error_code != ErrorCode.ELECTION_NOT_NEEDED:
            results.setdefault(topic, []).append(result)
    return ElectLeadersResponse(
        replica_election_results=[
            ElectLeadersTopicResult(topic=topic, partition_result=rows)
            for topic, rows in results.items()
        ]
    )


def refuse(request: ElectLeadersRequest, version: int, code: ErrorCode) -> ElectLeadersResponse:
    """Return `code` for the request (1 and up) and every partition."""
    del version
    return ElectLeadersResponse(
        error_code=code,
        replica_election_results=[
            ElectLeadersTopicResult(
                topic=topic.topic,
                partition_result=[
                    ElectLeadersPartitionResult(partition_id=number, error_code=code)
                    for number in topic.partitions
                ],
            )
            for topic in request.topic_partitions or ()
        ],
    )


async def _all_over(call: Call, elections: list[_Election], timeout_s: float) -> None:
    """Ask for the elections until all are over: a replica that just started may lag at first."""
    deadline_s = call.deadlines.now_s() + timeout_s
    while pending := [election for election in elections if not election.is_over(call)]:
        left_s = deadline_s - call.deadlines.now_s()
        if left_s <= 0:
            return
        for election in pending:
            call.broker.hand_over(election.group, election.preferred)
        await call.broker.wait_metadata(partial(_are_over, call, pending), min(_AGAIN_S, left_s))


def _are_over(call: Call, elections: list[_Election]) -> bool:
    return all(election.is_over(call) for election in elections)


def _places(call: Call, request: ElectLeadersRequest) -> list[tuple[str, int]]:
    if request.topic_partitions is None:
        return [
            (topic.name, number)
            for topic in call.broker.image.topics
            for number in range(len(topic.partitions))
        ]
    return [(row.topic, number) for row in request.topic_partitions for number in row.partitions]


def _begin(call: Call, name: str, number: int, election_type: int) -> _Election | RequestError:
    """Return what to wait for, or why there is nothing."""
    topic = call.broker.image.topic(name)
    if topic is None or not 0 <= number < len(topic.partitions):
        return RequestError(
            ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, f"no partition {number} of topic {name!r}"
        )
    group = topic.group(number)
    leader, _ = call.broker.leader_hint(group)
    preferred = topic.partitions[number][0]
    if leader == preferred or (election_type == _UNCLEAN and leader is not None):
        return RequestError(ErrorCode.ELECTION_NOT_NEEDED, f"node {leader} leads")
    if election_type == _UNCLEAN:
        return RequestError(
            ErrorCode.ELIGIBLE_LEADERS_NOT_AVAILABLE, "a replica that lacks events never leads"
        )
    if all(node.node_id != preferred for node in call.broker.live_nodes()):
        return RequestError(
            ErrorCode.PREFERRED_LEADER_NOT_AVAILABLE, f"node {preferred} does not answer"
        )
    return _Election(group, preferred)


def _result(call: Call, number: int, row: _Election | RequestError) -> ElectLeadersPartitionResult:
    if isinstance(row, _Election):
        if row.is_over(call):
            return ElectLeadersPartitionResult(partition_id=number)
        row = RequestError(
            ErrorCode.REQUEST_TIMED_OUT, f"node {row.preferred} does not lead so far"
        )
    call.note(row)
    return ElectLeadersPartitionResult(
        partition_id=number, error_code=row.code, error_message=told(row)
    )
