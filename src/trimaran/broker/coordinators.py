"""Which coordinator a group belongs to, where that is, and that there are coordinators at all.

They are the partitions of an internal topic, which is created when the first group is asked for.
Does not: know any request.
"""

from collections.abc import Sequence

from trimaran.broker.api import Broker, GroupCoordinator
from trimaran.broker.live_groups import LiveGroups
from trimaran.broker.topic_creation import (
    place,
    run_command,
    topic_defaults,
    wait_for_nodes,
    wait_leaders,
)
from trimaran.errors import ErrorCode, RequestError
from trimaran.groups.limits import GROUP_ID_CHARACTERS_MAX
from trimaran.groups.location import location
from trimaran.ids import GROUPS_TOPIC_ID, GroupId
from trimaran.metadata.commands import CreateTopic
from trimaran.metadata.rules import GROUPS_TOPIC
from trimaran.metadata.topology import Topic

REPLICAS_WANTED = 3
"""Kafka's offsets.topic.replication.factor; fewer in a smaller cluster."""
NEWS_S = 1.0
"""How long a topic that a client knows may be news to this node."""


def check_group_id(group_id: str) -> None:
    """Return if a group may be called so.

    Raises:
        RequestError: INVALID_GROUP_ID.
    """
    if not 1 <= len(group_id) <= GROUP_ID_CHARACTERS_MAX:
        raise RequestError(
            ErrorCode.INVALID_GROUP_ID,
            f"group id: expected 1 to {GROUP_ID_CHARACTERS_MAX} characters, found {len(group_id)}",
        )


async def coordinator_of(broker: Broker, group_id: str) -> tuple[GroupCoordinator, LiveGroups]:
    """Return the coordinator of a group on this node, and its groups.

    Raises:
        RequestError: INVALID_GROUP_ID, NOT_COORDINATOR.
    """
    check_group_id(group_id)
    topic = broker.image.topic_by_id(GROUPS_TOPIC_ID)
    coordinator = None
    if topic is not None:
        coordinator = broker.coordinator(location(group_id, len(topic.partitions)))
    if coordinator is None:
        raise RequestError(ErrorCode.NOT_COORDINATOR, "no replica of the coordinator is here")
    return coordinator, await coordinator.ready()


async def wait_for_news(broker: Broker, names: Sequence[str]) -> None:
    """Return once all topics that a client names are known here, or NEWS_S have passed."""

    def all_known() -> bool:
        return all(broker.image.topic(name) is not None for name in names)

    if not all_known():
        await broker.wait_metadata(all_known, NEWS_S)


def raft_group_of(topic: Topic, group_id: str) -> GroupId:
    """Return the Raft group that keeps a consumer group."""
    return topic.group(location(group_id, len(topic.partitions)))


async def groups_topic(broker: Broker) -> Topic:
    """Return the topic of coordinators, created and led if it was not there.

    Raises:
        RequestError: COORDINATOR_NOT_AVAILABLE.
    """
    topic = broker.image.topic_by_id(GROUPS_TOPIC_ID)
    if topic is None:
        try:
            await _create(broker)
        except RequestError as error:
            raise RequestError(ErrorCode.COORDINATOR_NOT_AVAILABLE, str(error)) from error
        topic = broker.image.topic_by_id(GROUPS_TOPIC_ID)
    if topic is None:
        raise RequestError(ErrorCode.COORDINATOR_NOT_AVAILABLE, "there are no coordinators yet")
    return topic


async def _create(broker: Broker) -> None:
    """Create the topic; fine if somebody else was faster."""
    wanted = min(REPLICAS_WANTED, broker.kafka.nodes_count)
    replicas = max(wanted, topic_defaults(broker).replication_factor)
    if not await wait_for_nodes(broker, replicas, timeout_s=broker.kafka.leader_wait_s):
        raise RequestError(
            ErrorCode.INVALID_REPLICATION_FACTOR, f"groups need {replicas} nodes to be there"
        )
    assignments = place(
        broker, partition_count=broker.kafka.coordinators_count, replication_factor=replicas
    )
    command = CreateTopic(
        name=GROUPS_TOPIC, topic_id=GROUPS_TOPIC_ID, assignments=assignments, settings={}
    )
    try:
        await run_command(broker, command)
    except RequestError as error:
        if error.code != ErrorCode.TOPIC_ALREADY_EXISTS:
            raise
    await wait_leaders(broker, [GROUPS_TOPIC_ID], timeout_s=broker.kafka.leader_wait_s)
