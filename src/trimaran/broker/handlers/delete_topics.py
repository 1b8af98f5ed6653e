"""DeleteTopics (key 20): topics go, by name or by id.

Behavior:
  Topics fail one by one; one that comes twice, or once by name and once by id, is INVALID_REQUEST.
  A success means committed and applied on this node; the replicas remove their files afterwards. A
  name is turned into the id it has now, so that a namesake created meanwhile stays.
Version notes:
  1 to 6. 5: a message beside the error code. 6: topic ids (KIP-516).
"""

import asyncio

from trimaran.broker.calls import Call, told
from trimaran.broker.rows import repeated
from trimaran.broker.topic_creation import run_command
from trimaran.errors import ErrorCode, RequestError
from trimaran.ids import TopicId
from trimaran.metadata.commands import DeleteTopic
from trimaran.protocol.messages import (
    DeletableTopicResult,
    DeleteTopicsRequest,
    DeleteTopicsResponse,
    DeleteTopicState,
)
from trimaran.protocol.messages.common import ZERO_TOPIC_ID


async def handle(call: Call, request: DeleteTopicsRequest) -> DeleteTopicsResponse:
    """Delete the topics one after the other."""
    asked = _asked(request)
    once, twice = list(dict.fromkeys(asked)), repeated(asked)
    meant = [_meant(call, one) for one in once]
    by_both = repeated(name for name in meant if name is not None)
    results = []
    for one, name in zip(once, meant, strict=True):
        await asyncio.sleep(0)  # thousands of refusals are not to keep the loop from the others
        if one in twice:
            results.append(_refused(call, one, "is in the request twice"))
        elif name not in by_both:
            results.append(await _delete(call, one))
        elif one.name is None:
            both = DeleteTopicState(name=name, topic_id=one.topic_id)
            results.append(_refused(call, both, "is in the request by its name as well"))
    return DeleteTopicsResponse(responses=results)


def refuse(request: DeleteTopicsRequest, version: int, code: ErrorCode) -> DeleteTopicsResponse:
    """Return `code` for every topic."""
    del version
    return DeleteTopicsResponse(
        responses=[
            DeletableTopicResult(name=asked.name, topic_id=asked.topic_id, error_code=code)
            for asked in _asked(request)
        ]
    )


def _asked(request: DeleteTopicsRequest) -> list[DeleteTopicState]:
    return [*request.topics, *(DeleteTopicState(name=name) for name in request.topic_names)]


def _meant(call: Call, asked: DeleteTopicState) -> str | None:
    """Return the name of the topic that is named by either."""
    if asked.name is not None:
        return None if asked.topic_id != ZERO_TOPIC_ID else asked.name
    topic = call.broker.image.topic_by_id(asked.topic_id)
    return None if topic is None else topic.name


def _refused(call: Call, asked: DeleteTopicState, reason: str) -> DeletableTopicResult:
    name = asked.topic_id.hex() if asked.name is None else repr(asked.name)
    error = RequestError(ErrorCode.INVALID_REQUEST, f"topic {name} {reason}")
    call.note(error)
    return DeletableTopicResult(
        name=asked.name,
        topic_id=asked.topic_id,
        error_code=error.code,
        error_message=told(error),
    )


async def _delete(call: Call, asked: DeleteTopicState) -> DeletableTopicResult:
    name, topic_id = asked.name, asked.topic_id
    try:
        topic_id = _find(call, asked)
        topic = call.broker.image.topic_by_id(topic_id)
        name = None if topic is None else topic.name
        await run_command(call.broker, DeleteTopic(topic_id=topic_id))
    except RequestError as error:
        call.note(error)
        return DeletableTopicResult(
            name=name, topic_id=topic_id, error_code=error.code, error_message=told(error)
        )
    return DeletableTopicResult(name=name, topic_id=topic_id)


def _find(call: Call, asked: DeleteTopicState) -> TopicId:
    """Return the id of the topic that is meant.

    Raises:
        RequestError: INVALID_REQUEST for name and id together, or neither; UNKNOWN_TOPIC_ID,
            UNKNOWN_TOPIC_OR_PARTITION.
    """
    image = call.broker.image
    if (asked.name is None) == (asked.topic_id == ZERO_TOPIC_ID):
        raise RequestError(ErrorCode.INVALID_REQUEST, "expected either a topic's name or its id")
    if asked.name is None:
        if image.topic_by_id(asked.topic_id) is None:
            raise RequestError(
                ErrorCode.UNKNOWN_TOPIC_ID, f"no topic with id {asked.topic_id.hex()}"
            )
        return asked.topic_id
    topic = image.topic(asked.name)
    if topic is None:
        raise RequestError(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, f"no topic {asked.name!r}")
    return topic.topic_id
