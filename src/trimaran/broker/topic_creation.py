"""New topics and partitions: from what a client asked for to partitions that have leaders.

Metadata (first use), CreateTopics, CreatePartitions and the rest of administration share this: the
defaults for what was not said, placement, the command, and the wait until each new partition leads.
Does not: know Kafka's messages.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from trimaran.broker.api import Broker
from trimaran.broker.setting_values import node_values
from trimaran.errors import ErrorCode, RequestError
from trimaran.ids import NodeId, TopicId
from trimaran.metadata.commands import Command, CreateTopic
from trimaran.metadata.placement import node_loads, place_partitions
from trimaran.metadata.results import Change, Refused
from trimaran.metadata.rules import (
    METADATA_TOPIC,
    check_assignments,
    check_topic_id,
    check_topic_name,
)
from trimaran.metadata.settings import parse
from trimaran.metadata.topic_settings import check_topic_settings
from trimaran.metadata.topology import Node, Topic

UNSAID = -1
"""Kafka's number for "use the default"."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicDefaults:
    """What holds for a topic whose creator did not say."""

    auto_create_topics: bool
    num_partitions: int
    replication_factor: int


def topic_defaults(broker: Broker) -> TopicDefaults:
    """Return the defaults: set while running, else this node's configuration."""
    values = {value.setting.name: parse(value.setting, value.text) for value in node_values(broker)}
    return TopicDefaults(
        auto_create_topics=bool(values["auto.create.topics.enable"]),
        num_partitions=_number(values["num.partitions"]),
        replication_factor=_number(values["default.replication.factor"]),
    )


async def wait_for_nodes(broker: Broker, replication_factor: int, *, timeout_s: float) -> bool:
    """Wait until as many nodes have registered as a new topic of so many replicas needs.

    A topic keeps the replicas that it is created with: one created while a cluster starts would
    lack those of its last nodes for ever. Nodes beyond those of cluster.nodes are not waited for.
    False if too few have registered after all.
    """
    if replication_factor == UNSAID:
        replication_factor = topic_defaults(broker).replication_factor

    def are_enough() -> bool:
        return len(broker.image.nodes) >= replication_factor

    if are_enough() or replication_factor > broker.kafka.nodes_count or timeout_s <= 0:
        return are_enough()
    return await broker.wait_metadata(are_enough, timeout_s)


def plan_topic(
    broker: Broker,
    name: str,
    *,
    partition_count: int = UNSAID,
    replication_factor: int = UNSAID,
    settings: Mapping[str, str],
) -> CreateTopic:
    """Return the command that creates a topic, its partitions placed.

    Raises:
        RequestError: INVALID_TOPIC_EXCEPTION, TOPIC_ALREADY_EXISTS, INVALID_PARTITIONS,
            INVALID_REPLICATION_FACTOR, INVALID_CONFIG; REQUEST_TIMED_OUT as `place`.
    """
    defaults = topic_defaults(broker)
    replicas = defaults.replication_factor if replication_factor == UNSAID else replication_factor
    count = defaults.num_partitions if partition_count == UNSAID else partition_count
    assignments = place(broker, partition_count=count, replication_factor=replicas)
    return plan_assigned_topic(broker, name, assignments=assignments, settings=settings)


def plan_assigned_topic(
    broker: Broker,
    name: str,
    *,
    assignments: Sequence[Sequence[NodeId]],
    settings: Mapping[str, str],
) -> CreateTopic:
    """Return the command that creates a topic with these replicas.

    All checks here are made again when the command is applied; they are made first so that
    validate_only tells the truth and a wrong request costs no log entry.

    Raises:
        RequestError: as `plan_topic`, and INVALID_REPLICA_ASSIGNMENT.
    """
    check_new_name(broker, name)
    known = [node.node_id for node in _known_nodes(broker)]
    replicas = len(assignments[0]) if assignments else 0
    check_assignments(assignments, known, replication_factor=replicas)
    check_topic_settings(settings, replication_factor=replicas)
    broker.image.check_room(existing=0, added=len(assignments))
    topic_id = broker.new_topic_id()
    check_topic_id(topic_id, name)
    return CreateTopic(
        name=name,
        topic_id=topic_id,
        assignments=tuple(tuple(row) for row in assignments),
        settings=dict(settings),
    )


def check_new_name(broker: Broker, name: str) -> None:
    """Return if a new topic may be called `name`.

    Raises:
        RequestError: INVALID_TOPIC_EXCEPTION, TOPIC_ALREADY_EXISTS; INVALID_REQUEST for the name
            that tools know the cluster's own log by.
    """
    check_topic_name(name)
    if name == METADATA_TOPIC:
        raise RequestError(ErrorCode.INVALID_REQUEST, f"topic {name!r} is the cluster's own")
    if broker.image.topic(name) is not None:
        raise RequestError(ErrorCode.TOPIC_ALREADY_EXISTS, f"topic {name!r} exists already")
    namesake = broker.image.colliding(name)
    if namesake is not None:
        raise RequestError(
            ErrorCode.INVALID_TOPIC_EXCEPTION,
            f"topic {name!r} collides with {namesake!r}: only '.' and '_' tell them apart",
        )


def place(
    broker: Broker, *, partition_count: int, replication_factor: int
) -> tuple[tuple[NodeId, ...], ...]:
    """Return replicas for new partitions, spread over the nodes as they are loaded now.

    Raises:
        RequestError: INVALID_PARTITIONS, INVALID_REPLICATION_FACTOR; REQUEST_TIMED_OUT while this
            node knows of no nodes.
    """
    live = [node.node_id for node in broker.live_nodes()]
    return place_partitions(
        node_loads(_known_nodes(broker), broker.image.topics, live=live),
        partition_count=partition_count,
        replication_factor=replication_factor,
    )


def _known_nodes(broker: Broker) -> Sequence[Node]:
    """Return the nodes that have registered.

    One that knows of none, not even of itself, has not caught up with the metadata (its disk may be
    new): what it would find wrong with a request may be right, and clients give up where they are
    told so.

    Raises:
        RequestError: REQUEST_TIMED_OUT.
    """
    nodes = broker.image.nodes
    if not nodes:
        raise RequestError(
            ErrorCode.REQUEST_TIMED_OUT,
            "this node has not caught up with the cluster's metadata: ask again, or another node",
        )
    return nodes


async def run_command(broker: Broker, command: Command) -> Change:
    """Have `command` committed and applied; return what changed.

    Raises:
        RequestError: what the state machine refused it with, or REQUEST_TIMED_OUT.
    """
    result = await broker.execute(command)
    if isinstance(result, Refused):
        raise RequestError(result.code, result.message)
    return result


async def create_on_first_use(broker: Broker, name: str) -> None:
    """Create topic `name` with every default; fine if somebody else was faster.

    Raises:
        RequestError: as `plan_topic`; LEADER_NOT_AVAILABLE when the outcome is unknown, or while
            nodes of the cluster have not registered that the topic needs.
    """
    try:
        check_new_name(broker, name)
        if not await wait_for_nodes(broker, UNSAID, timeout_s=broker.kafka.leader_wait_s):
            _refuse_while_incomplete(broker)
        await run_command(broker, plan_topic(broker, name, settings={}))
    except RequestError as error:
        if error.code == ErrorCode.TOPIC_ALREADY_EXISTS:
            return
        if error.code == ErrorCode.REQUEST_TIMED_OUT:
            raise RequestError(ErrorCode.LEADER_NOT_AVAILABLE, str(error)) from error
        raise


def _refuse_while_incomplete(broker: Broker) -> None:
    """Have the client come again, unless the nodes would never be enough."""
    needed, registered = topic_defaults(broker).replication_factor, len(broker.image.nodes)
    if needed <= broker.kafka.nodes_count:
        raise RequestError(
            ErrorCode.LEADER_NOT_AVAILABLE,
            f"a new topic needs {needed} nodes, {registered} have registered so far",
        )


async def wait_leaders(broker: Broker, topic_ids: Sequence[TopicId], *, timeout_s: float) -> bool:
    """Wait until each partition of these topics has a leader; False if the time was too short.

    A topic that is deleted meanwhile is not waited for.
    """

    def all_led() -> bool:
        topics = [broker.image.topic_by_id(topic_id) for topic_id in topic_ids]
        return all(topic is None or is_led(broker, topic) for topic in topics)

    return await broker.wait_metadata(all_led, timeout_s)


def is_led(broker: Broker, topic: Topic) -> bool:
    """Whether every partition of `topic` has a leader, as far as this node knows."""
    return all(
        broker.leader_hint(topic.group(number))[0] is not None
        for number in range(len(topic.partitions))
    )


def _number(value: object) -> int:
    assert isinstance(value, int)
    return value
