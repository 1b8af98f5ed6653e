"""Metadata (key 3): nodes, topics, partitions and who leads them.

Behavior:
  The nodes that would be named as leaders are asked for a sign of life first: a client that asks
  because a connection broke may be faster than the news of it. An unknown topic is created on
  first use, if client and settings allow it, once as many nodes have registered as it needs (else
  LEADER_NOT_AVAILABLE after 10 s), and answered with its leaders. While a partition has
  no leader since less than 400 ms the answer waits for the new one, at most 150 ms if another
  answer of the connection is ready behind it; then LEADER_NOT_AVAILABLE and leader -1. The list of
  nodes keeps the dead ones: librdkafka forgets a node that is missing and needs a second to find
  it again. The topic of coordinators is no log of events: it is told when asked for by name only.
  The controller is this node: any node takes any request. Replicas count as in sync while
  their node is alive. Who goes on asking a node that has heard of no majority for 1 s is
  sent away: the connection is closed. Operations are not known: there are no ACLs.
Version notes:
  0 to 12. 0: an empty list means all topics; later null does, and empty means none. 4: the client
  says whether topics may be created. 10: topic ids in the answer, 12: in the request.
"""

from collections.abc import Coroutine, Sequence
from dataclasses import replace

from trimaran.broker.calls import Call
from trimaran.broker.parking import Parked, leaderless
from trimaran.broker.rows import check_rows
from trimaran.broker.topic_creation import create_on_first_use, topic_defaults
from trimaran.errors import ErrorCode, RequestError
from trimaran.ids import GroupId, NodeId
from trimaran.metadata.rules import check_topic_name
from trimaran.metadata.topology import Topic
from trimaran.protocol.messages import (
    MetadataRequest,
    MetadataRequestTopic,
    MetadataResponse,
    MetadataResponseBroker,
    MetadataResponseTopic,
)
from trimaran.protocol.messages.common import ZERO_TOPIC_ID

_IDS_IN_REQUEST_FROM = 12
CUT_OFF_S = 1.0
"""Longer than an election takes: then it is not the others that are without a leader."""
_CREATED_MAX = 100
"""Topics created for one request; a client that asks for more asks again."""


def handle(call: Call, request: MetadataRequest) -> Coroutine[None, None, None] | None:
    """Answer now, or after topics were created, or when leaders are there."""
    if request.topics:
        # A hundred bytes that name a big topic ten times are not to be a megabyte of answer.
        once = {(asked.name, asked.topic_id): asked for asked in request.topics}
        check_rows(len(once))
        request = replace(request, topics=list(once.values()))
    missing = _missing_names(call, request)
    if missing:
        return _create_first(call, request, missing)
    _confirm_leaders(call, request)
    return None


def _confirm_leaders(call: Call, request: MetadataRequest) -> None:
    """Name no leader whose node has not been heard of since: it may have died this moment."""

    def answer() -> None:
        if not call.ended:
            _park_or_answer(call, request, {}, new_park_s=call.broker.kafka.metadata_park_s)

    leaders: dict[NodeId, None] = {}
    for topic in _known_topics(call, request):
        for number in range(len(topic.partitions)):
            leader, _ = call.broker.leader_hint(topic.group(number))
            if leader is not None:
                leaders[leader] = None
    call.broker.confirm_alive(list(leaders), answer)


def refuse(request: MetadataRequest, version: int, code: ErrorCode) -> MetadataResponse:
    """Return `code` for every topic named."""
    return MetadataResponse(
        brokers=[],
        topics=[_failed(asked, version, code) for asked in request.topics or ()],
    )


def _missing_names(call: Call, request: MetadataRequest) -> list[str]:
    """Return the topics to create, each once."""
    if not request.topics or not request.allow_auto_topic_creation:
        return []
    image = call.broker.image
    names = {
        asked.name: None
        for asked in request.topics
        if asked.name and asked.topic_id == ZERO_TOPIC_ID and image.topic(asked.name) is None
    }
    if not names or not topic_defaults(call.broker).auto_create_topics:
        return []
    return list(names)


async def _create_first(call: Call, request: MetadataRequest, names: Sequence[str]) -> None:
    refused: dict[str, ErrorCode] = {}
    for position, name in enumerate(names):
        if position >= _CREATED_MAX:
            refused[name] = ErrorCode.LEADER_NOT_AVAILABLE
            continue
        try:
            await create_on_first_use(call.broker, name)
        except RequestError as error:
            call.note(error)
            refused[name] = error.code
            if error.code == ErrorCode.LEADER_NOT_AVAILABLE:
                refused |= dict.fromkeys(names[position:], error.code)
                break  # the metadata group is without a leader: the others would wait as long
    if not call.ended:
        _park_or_answer(call, request, refused, new_park_s=call.broker.kafka.leader_wait_s)


def _park_or_answer(
    call: Call, request: MetadataRequest, refused: dict[str, ErrorCode], *, new_park_s: float
) -> None:
    waits: dict[GroupId, float] = {}
    now_s = call.deadlines.now_s()
    for topic in _known_topics(call, request):
        waits |= leaderless(call.broker, topic, now_s=now_s, new_park_s=new_park_s)
    if waits:
        Parked(call, waits, lambda: _answer(call, request, refused))
    else:
        _answer(call, request, refused)


def _answer(call: Call, request: MetadataRequest, refused: dict[str, ErrorCode]) -> None:
    """Answer; a node that is cut off sends away who goes on asking it.

    librdkafka asks only nodes that it is connected to: this one for ever, if there is no other.
    """
    call.answer(_response(call, request, refused))
    cut_off_s = call.broker.cut_off_for_s()
    if cut_off_s >= CUT_OFF_S:
        call.owner.send_away(f"this node has heard of no majority for {cut_off_s:.1f} s")


def _known_topics(call: Call, request: MetadataRequest) -> Sequence[Topic]:
    if request.topics is None:
        return [topic for topic in call.broker.image.topics if not topic.is_internal]
    found = [_find(call, asked) for asked in request.topics]
    return [topic for topic in found if topic is not None]


def _find(call: Call, asked: MetadataRequestTopic) -> Topic | None:
    image = call.broker.image
    if asked.topic_id != ZERO_TOPIC_ID:
        return image.topic_by_id(asked.topic_id) if call.version >= _IDS_IN_REQUEST_FROM else None
    return None if asked.name is None else image.topic(asked.name)


def _response(
    call: Call, request: MetadataRequest, refused: dict[str, ErrorCode]
) -> MetadataResponse:
    topics: list[MetadataResponseTopic | bytes] = []
    if request.topics is None:
        topics += [call.parts.part(topic, call.version) for topic in _known_topics(call, request)]
    for asked in request.topics or ():
        topic = _find(call, asked)
        if topic is not None:
            topics.append(call.parts.part(topic, call.version))
        else:
            code = refused.get(asked.name or "") or _unknown_code(asked, call.version)
            topics.append(_failed(asked, call.version, code))
    return MetadataResponse(
        brokers=[
            MetadataResponseBroker(
                node_id=node.node_id, host=node.host, port=node.kafka_port, rack=node.rack
            )
            for node in call.broker.image.nodes
        ],
        cluster_id=call.broker.cluster_id,
        controller_id=call.broker.node_id,
        topics=topics,
    )


def _unknown_code(asked: MetadataRequestTopic, version: int) -> ErrorCode:
    if asked.topic_id != ZERO_TOPIC_ID:
        by_id = version >= _IDS_IN_REQUEST_FROM
        return ErrorCode.UNKNOWN_TOPIC_ID if by_id else ErrorCode.INVALID_REQUEST
    if asked.name is None:
        return ErrorCode.INVALID_REQUEST
    try:
        check_topic_name(asked.name)
    except RequestError as error:
        return error.code
    return ErrorCode.UNKNOWN_TOPIC_OR_PARTITION


def _failed(asked: MetadataRequestTopic, version: int, code: ErrorCode) -> MetadataResponseTopic:
    """Return an error for one topic; only version 12 may leave its name out."""
    name = asked.name
    if name is None and version < _IDS_IN_REQUEST_FROM:
        name = ""
    return MetadataResponseTopic(error_code=code, name=name, topic_id=asked.topic_id)
