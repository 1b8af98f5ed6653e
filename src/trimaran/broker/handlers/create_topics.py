"""CreateTopics (key 19): new topics, answered when they can be used.

Behavior:
  Topics fail one by one. A success means committed in the metadata and, within timeout.ms, every
  partition has a leader; a topic whose leaders take longer is still a success, it exists.
  Replicas are placed by the broker or named for each partition. While nodes of the cluster have
  not registered that a topic needs, it waits for them, up to timeout.ms. Settings that do nothing
  yet are refused by name. validate_only checks everything and changes nothing.
Version notes:
  2 to 7. 4: -1 partitions or replicas take the defaults (KIP-464). 5: counts and settings in the
  answer (KIP-525). 7: topic id (KIP-516).
"""

import asyncio
from collections.abc import Sequence

from trimaran.broker.calls import Call, told
from trimaran.broker.rows import repeated
from trimaran.broker.setting_values import topic_values
from trimaran.broker.topic_creation import (
    UNSAID,
    check_new_name,
    plan_assigned_topic,
    plan_topic,
    run_command,
    wait_for_nodes,
    wait_leaders,
)
from trimaran.errors import ErrorCode, RequestError
from trimaran.ids import NodeId, TopicId
from trimaran.metadata.commands import CreateTopic
from trimaran.metadata.settings import check_count
from trimaran.protocol.messages import (
    CreatableReplicaAssignment,
    CreatableTopic,
    CreatableTopicConfigs,
    CreatableTopicResult,
    CreateTopicsRequest,
    CreateTopicsResponse,
)


async def handle(call: Call, request: CreateTopicsRequest) -> CreateTopicsResponse:
    """Create the topics one after the other."""
    deadline_s = call.deadlines.now_s() + call.timeout_s(request.timeout_ms)
    twice = repeated(topic.name for topic in request.topics)
    results: dict[str, CreatableTopicResult] = {}
    created: list[TopicId] = []
    for topic in request.topics:
        await asyncio.sleep(0)  # thousands of refusals are not to keep the loop from the others
        try:
            if topic.name in twice:
                raise RequestError(
                    ErrorCode.INVALID_REQUEST, f"topic {topic.name!r} is in the request twice"
                )
            command = await _plan(call, topic, deadline_s=deadline_s)
            if not request.validate_only:
                await run_command(call.broker, command)
                created.append(command.topic_id)
            results[topic.name] = _result(command, validate_only=request.validate_only)
        except RequestError as error:
            call.note(error)
            results[topic.name] = CreatableTopicResult(
                name=topic.name, error_code=error.code, error_message=told(error)
            )
    remaining_s = deadline_s - call.deadlines.now_s()
    if created and remaining_s > 0:
        await wait_leaders(call.broker, created, timeout_s=remaining_s)
    return CreateTopicsResponse(topics=list(results.values()))


def refuse(request: CreateTopicsRequest, version: int, code: ErrorCode) -> CreateTopicsResponse:
    """Return `code` for every topic."""
    del version
    return CreateTopicsResponse(
        topics=[CreatableTopicResult(name=topic.name, error_code=code) for topic in request.topics]
    )


async def _plan(call: Call, topic: CreatableTopic, *, deadline_s: float) -> CreateTopic:
    check_count(len(topic.configs))
    settings: dict[str, str] = {}
    for config in topic.configs:
        if config.value is None:
            raise RequestError(ErrorCode.INVALID_CONFIG, f"{config.name}: expected a value")
        settings[config.name] = config.value
    if not topic.assignments:
        check_new_name(call.broker, topic.name)
        left_s = deadline_s - call.deadlines.now_s()
        await wait_for_nodes(call.broker, topic.replication_factor, timeout_s=left_s)
        return plan_topic(
            call.broker,
            topic.name,
            partition_count=topic.num_partitions,
            replication_factor=topic.replication_factor,
            settings=settings,
        )
    if topic.num_partitions != UNSAID or topic.replication_factor != UNSAID:
        raise RequestError(
            ErrorCode.INVALID_REQUEST,
            f"topic {topic.name!r}: with replicas assigned, expected partitions and replication "
            f"factor -1, found {topic.num_partitions} and {topic.replication_factor}",
        )
    return plan_assigned_topic(
        call.broker, topic.name, assignments=_assignments(topic.assignments), settings=settings
    )


def _assignments(assigned: Sequence[CreatableReplicaAssignment]) -> list[list[NodeId]]:
    """Return the replicas by partition number."""
    ascending = sorted(assigned, key=lambda row: row.partition_index)
    numbers = [row.partition_index for row in ascending]
    if numbers != list(range(len(ascending))):
        raise RequestError(
            ErrorCode.INVALID_REPLICA_ASSIGNMENT,
            f"expected each partition from 0 to {len(ascending) - 1} once, found {numbers[:10]}",
        )
    return [[NodeId(node) for node in row.broker_ids] for row in ascending]


def _result(command: CreateTopic, *, validate_only: bool) -> CreatableTopicResult:
    return CreatableTopicResult(
        name=command.name,
        topic_id=TopicId(bytes(16)) if validate_only else command.topic_id,
        num_partitions=len(command.assignments),
        replication_factor=len(command.assignments[0]),
        configs=[
            CreatableTopicConfigs(
                name=value.setting.name,
                value=value.text,
                config_source=value.source,
            )
            for value in topic_values(command.settings)
        ],
    )
