"""CreatePartitions (key 37): more partitions for topics.

Behavior:
  Topics fail one by one; one that comes twice is INVALID_REQUEST. `count` is how many partitions
  the topic has afterwards; it may only grow. Replicas are placed by the broker or named for each
  new partition. A success is answered when the new partitions have leaders or timeout.ms is over.
  validate_only changes nothing.
Version notes:
  0 to 3. 2: flexible. 3: THROTTLING_QUOTA_EXCEEDED, which there is not here.
"""

import asyncio

from trimaran.broker.calls import Call, told
from trimaran.broker.rows import repeated
from trimaran.broker.topic_creation import place, run_command, wait_leaders
from trimaran.errors import ErrorCode, RequestError
from trimaran.ids import NodeId, TopicId
from trimaran.metadata.commands import CreatePartitions
from trimaran.metadata.limits import TOPIC_PARTITIONS_MAX
from trimaran.metadata.rules import check_assignments
from trimaran.metadata.topology import Topic
from trimaran.protocol.messages import (
    CreatePartitionsRequest,
    CreatePartitionsResponse,
    CreatePartitionsTopic,
    CreatePartitionsTopicResult,
)


async def handle(call: Call, request: CreatePartitionsRequest) -> CreatePartitionsResponse:
    """Add the partitions, one topic after the other."""
    deadline_s = call.deadlines.now_s() + call.timeout_s(request.timeout_ms)
    twice = repeated(asked.name for asked in request.topics)
    results = []
    grown: list[TopicId] = []
    for asked in {asked.name: asked for asked in request.topics}.values():
        await asyncio.sleep(0)  # thousands of refusals are not to keep the loop from the others
        try:
            if asked.name in twice:
                raise RequestError(
                    ErrorCode.INVALID_REQUEST, f"topic {asked.name!r} is in the request twice"
                )
            command = _plan(call, asked)
            if not request.validate_only:
                await run_command(call.broker, command)
                grown.append(command.topic_id)
            results.append(CreatePartitionsTopicResult(name=asked.name))
        except RequestError as error:
            call.note(error)
            results.append(
                CreatePartitionsTopicResult(
                    name=asked.name, error_code=error.code, error_message=told(error)
                )
            )
    remaining_s = deadline_s - call.deadlines.now_s()
    if grown and remaining_s > 0:
        await wait_leaders(call.broker, grown, timeout_s=remaining_s)
    return CreatePartitionsResponse(results=results)


def refuse(
    request: CreatePartitionsRequest, version: int, code: ErrorCode
) -> CreatePartitionsResponse:
    """Return `code` for every topic."""
    del version
    return CreatePartitionsResponse(
        results=[
            CreatePartitionsTopicResult(name=asked.name, error_code=code)
            for asked in request.topics
        ]
    )


def _plan(call: Call, asked: CreatePartitionsTopic) -> CreatePartitions:
    image = call.broker.image
    topic = image.topic(asked.name)
    if topic is None:
        raise RequestError(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, f"no topic {asked.name!r}")
    image.changeable(topic.topic_id)
    first = len(topic.partitions)
    if not first < asked.count <= TOPIC_PARTITIONS_MAX:
        raise RequestError(
            ErrorCode.INVALID_PARTITIONS,
            f"topic {asked.name!r} has {first} partitions: expected a count from {first + 1} to "
            f"{TOPIC_PARTITIONS_MAX}, found {asked.count}",
        )
    image.check_room(existing=first, added=asked.count - first)
    return CreatePartitions(
        topic_id=topic.topic_id,
        first_partition=first,
        assignments=_assignments(call, asked, topic),
    )


def _assignments(
    call: Call, asked: CreatePartitionsTopic, topic: Topic
) -> tuple[tuple[NodeId, ...], ...]:
    added_count = asked.count - len(topic.partitions)
    if asked.assignments is None:
        return place(
            call.broker,
            partition_count=added_count,
            replication_factor=topic.replication_factor,
        )
    assignments = tuple(tuple(NodeId(node) for node in row.broker_ids) for row in asked.assignments)
    if len(assignments) != added_count:
        raise RequestError(
            ErrorCode.INVALID_REPLICA_ASSIGNMENT,
            f"expected replicas for {added_count} new partitions, found {len(assignments)}",
        )
    known = [node.node_id for node in call.broker.image.nodes]
    check_assignments(assignments, known, replication_factor=topic.replication_factor)
    return assignments
