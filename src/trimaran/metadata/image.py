"""The metadata group's state machine: committed commands in, changes out, the same on every node.

Invariants: a command that is refused changes nothing but that its id is known; a command is applied
or refused once, however often it comes (the latest APPLIED_COMMANDS_MAX are remembered); topic
names, topic ids and collision keys (see `rules`) belong to one topic each; applied_index only
grows; a producer id is given out once; a node's disk is the one it first came with, whatever disk
it comes back on; nodes, topics and settings are replaced, never changed in place, so readers may
keep them.

A snapshot, a state file of the group's boundary (the caller keeps its checksum):

    offset  size  field
    0       1     format version, 2; 1, which ended with node_settings, is read
    1       rest  MessagePack map: applied_index, next_producer_id, nodes ascending by id, topics
                  ascending by name, node_settings as pairs (node id, settings) ascending by
                  node id; names of settings ascending; deleted_topics (their ids) and
                  applied_commands (as arrays: node id, boot id, number), the oldest first

Does not: know who is alive or leads, place partitions, or keep of deleted topics more than an id.
"""

from collections.abc import Mapping
from hashlib import blake2b
from typing import Annotated, TypeVar

import msgspec

from trimaran.errors import CorruptionError, ErrorCode, RequestError
from trimaran.ids import GroupId, Index, NodeId, TopicId, split_group_id
from trimaran.metadata.commands import (
    AllocateProducerIds,
    AlterNodeSettings,
    AlterTopicSettings,
    Command,
    CommandId,
    CreatePartitions,
    CreateTopic,
    DeleteTopic,
    RegisterNode,
)
from trimaran.metadata.limits import (
    APPLIED_COMMANDS_MAX,
    CLUSTER_PARTITIONS_MAX,
    DELETED_TOPICS_MAX,
    NODES_MAX,
    PRODUCER_ID_MAX,
    TOPIC_PARTITIONS_MAX,
)
from trimaran.metadata.node_settings import ALL_NODES, check_node_settings
from trimaran.metadata.results import (
    Change,
    NodeRegistered,
    NodeSettingsAltered,
    PartitionsCreated,
    ProducerIdsAllocated,
    Refused,
    Repeated,
    Result,
    TopicCreated,
    TopicDeleted,
    TopicSettingsAltered,
)
from trimaran.metadata.rules import (
    check_assignments,
    check_topic_id,
    check_topic_name,
    collision_key,
)
from trimaran.metadata.topic_settings import check_topic_settings
from trimaran.metadata.topology import Node, Topic

SNAPSHOT_FORMAT_VERSION = 2

_Key = TypeVar("_Key")
_Id16 = Annotated[TopicId, msgspec.Meta(min_length=16, max_length=16)]


class _SnapshotOfFormat1(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    applied_index: Annotated[Index, msgspec.Meta(ge=0)]
    next_producer_id: Annotated[int, msgspec.Meta(ge=0)]
    nodes: tuple[Node, ...]
    topics: tuple[Topic, ...]
    node_settings: tuple[tuple[NodeId, dict[str, str]], ...]


class _Snapshot(_SnapshotOfFormat1, frozen=True, kw_only=True, forbid_unknown_fields=True):
    deleted_topics: Annotated[tuple[_Id16, ...], msgspec.Meta(max_length=DELETED_TOPICS_MAX)]
    applied_commands: Annotated[
        tuple[CommandId, ...], msgspec.Meta(max_length=APPLIED_COMMANDS_MAX)
    ]


_ENCODER = msgspec.msgpack.Encoder(order="deterministic")
_DECODER = msgspec.msgpack.Decoder(_Snapshot)
_DECODER_OF_FORMAT_1 = msgspec.msgpack.Decoder(_SnapshotOfFormat1)


class Image:
    """What the cluster has agreed on, up to `applied_index`."""

    __slots__ = (
        "_applied_commands",
        "_by_id",
        "_by_name",
        "_collision_keys",
        "_deleted_topics",
        "_next_producer_id",
        "_node_settings",
        "_nodes",
        "_partition_count",
        "_topics",
        "applied_index",
    )

    def __init__(self) -> None:
        """Begin as an empty cluster."""
        self.applied_index = Index(0)
        self._nodes: dict[NodeId, Node] = {}
        self._by_name: dict[str, Topic] = {}
        self._by_id: dict[TopicId, Topic] = {}
        self._collision_keys: dict[str, str] = {}
        self._node_settings: dict[NodeId, dict[str, str]] = {}
        self._next_producer_id = 0
        self._partition_count = 0
        self._topics: tuple[Topic, ...] | None = ()
        self._deleted_topics: dict[TopicId, None] = {}
        self._applied_commands: dict[CommandId, None] = {}

    @property
    def nodes(self) -> tuple[Node, ...]:
        """The nodes that have registered, ascending by id."""
        return tuple(self._nodes.values())

    @property
    def topics(self) -> tuple[Topic, ...]:
        """All topics, ascending by name; the same tuple until a topic changes."""
        if self._topics is None:
            self._topics = tuple(self._by_name[name] for name in sorted(self._by_name))
        return self._topics

    @property
    def partition_count(self) -> int:
        """Partitions of all topics."""
        return self._partition_count

    @property
    def next_producer_id(self) -> int:
        """The lowest producer id that nobody was given."""
        return self._next_producer_id

    def node(self, node_id: NodeId) -> Node | None:
        """Return the node with this id."""
        return self._nodes.get(node_id)

    def topic(self, name: str) -> Topic | None:
        """Return the topic of this name."""
        return self._by_name.get(name)

    def colliding(self, name: str) -> str | None:
        """Return the topic that has this name, or one that only '.' and '_' tell apart from it."""
        return self._collision_keys.get(collision_key(name))

    def topic_by_id(self, topic_id: TopicId) -> Topic | None:
        """Return the topic with this id."""
        return self._by_id.get(topic_id)

    def was_deleted(self, topic_id: TopicId) -> bool:
        """Whether a committed command deleted the topic with this id; False if long ago."""
        return topic_id in self._deleted_topics

    def replicas(self, group: GroupId) -> tuple[NodeId, ...] | None:
        """Return who is to replicate `group`, the preferred leader first; None if not a topic's."""
        topic_id, partition = split_group_id(group)
        topic = self._by_id.get(topic_id)
        if topic is None or partition >= len(topic.partitions):
            return None
        return topic.partitions[partition]

    def node_settings(self, node_id: NodeId) -> Mapping[str, str]:
        """Return what was set for `node_id` while it ran: for all nodes, then for it alone."""
        for_all = self._node_settings.get(NodeId(ALL_NODES), {})
        return {**for_all, **self._node_settings.get(node_id, {})}

    def own_node_settings(self, node_id: NodeId) -> Mapping[str, str]:
        """Return what was set for `node_id` itself; 0: for all nodes."""
        return self._node_settings.get(node_id, {})

    def changeable(self, topic_id: TopicId) -> Topic:
        """Return the topic with this id, which is not one of our own.

        Raises:
            RequestError: UNKNOWN_TOPIC_ID, INVALID_TOPIC_EXCEPTION.
        """
        topic = self._existing(topic_id)
        if topic.is_internal:
            raise RequestError(
                ErrorCode.INVALID_TOPIC_EXCEPTION, f"topic {topic.name!r} is internal"
            )
        return topic

    def check_room(self, *, existing: int, added: int) -> None:
        """Return if a topic of `existing` partitions may have so many more.

        Raises:
            RequestError: INVALID_PARTITIONS.
        """
        if existing + added > TOPIC_PARTITIONS_MAX:
            raise RequestError(
                ErrorCode.INVALID_PARTITIONS,
                f"expected at most {TOPIC_PARTITIONS_MAX} partitions in a topic,"
                f" found {existing + added}",
            )
        if self._partition_count + added > CLUSTER_PARTITIONS_MAX:
            raise RequestError(
                ErrorCode.INVALID_PARTITIONS,
                f"expected at most {CLUSTER_PARTITIONS_MAX} partitions in the cluster,"
                f" found {self._partition_count + added}",
            )

    def apply(self, command: Command, index: Index) -> Result | Repeated:
        """Do `command`, the committed entry at `index`, or refuse it; total and deterministic."""
        assert index > self.applied_index, f"apply of {index} after {self.applied_index}"
        self.applied_index = index
        if command.id is not None:
            if command.id in self._applied_commands:
                return Repeated(id=command.id)
            _remember(self._applied_commands, command.id, APPLIED_COMMANDS_MAX)
        try:
            return self._change(command)
        except RequestError as error:
            return Refused(code=error.code, message=str(error))

    def encode(self) -> bytes:
        """Return the state as a snapshot; equal states give equal bytes."""
        snapshot = _Snapshot(
            applied_index=self.applied_index,
            next_producer_id=self._next_producer_id,
            nodes=self.nodes,
            topics=self.topics,
            node_settings=tuple(sorted(self._node_settings.items())),
            deleted_topics=tuple(self._deleted_topics),
            applied_commands=tuple(self._applied_commands),
        )
        return _written(snapshot)

    @classmethod
    def decode(cls, data: bytes | memoryview, *, source: str = "metadata snapshot") -> "Image":
        """Return the image that `encode` wrote; `source` names the file in errors.

        Raises:
            CorruptionError: bytes that no image encodes to.
        """
        snapshot = _decoded(data, source)
        image = cls()
        image._load(snapshot)
        topic_counts = (len(image._by_name), len(image._by_id), len(image._collision_keys))
        is_sound = topic_counts == (len(snapshot.topics),) * 3 and not any(
            topic_id in image._by_id for topic_id in image._deleted_topics
        )
        if not is_sound or image.encode() != _written(snapshot):
            raise CorruptionError(source, 1, "not the one form in which this state is written")
        return image

    def digest(self) -> bytes:
        """Return 16 bytes that are equal on nodes that applied the same commands."""
        return blake2b(self.encode(), digest_size=16).digest()

    def _load(self, snapshot: _Snapshot) -> None:
        self.applied_index = snapshot.applied_index
        self._next_producer_id = snapshot.next_producer_id
        for node in snapshot.nodes:
            self._put_node(node)
        for topic in snapshot.topics:
            self._put_topic(topic)
        self._node_settings = dict(snapshot.node_settings)
        self._deleted_topics = dict.fromkeys(snapshot.deleted_topics)
        self._applied_commands = dict.fromkeys(snapshot.applied_commands)

    def _change(self, command: Command) -> Change:
        match command:
            case RegisterNode():
                return self._register_node(command)
            case CreateTopic():
                return self._create_topic(command)
            case DeleteTopic():
                return self._delete_topic(command)
            case CreatePartitions():
                return self._create_partitions(command)
            case AlterTopicSettings():
                return self._alter_topic_settings(command)
            case AlterNodeSettings():
                return self._alter_node_settings(command)
            case AllocateProducerIds():  # pragma: no branch (mypy proves that there is no other)
                return self._allocate_producer_ids(command)

    def _register_node(self, command: RegisterNode) -> NodeRegistered:
        previous = self._nodes.get(command.node_id)
        if previous is None and len(self._nodes) >= NODES_MAX:
            raise RequestError(
                ErrorCode.INVALID_REQUEST, f"expected at most {NODES_MAX} nodes in a cluster"
            )
        is_new = previous is None or command.replaces == previous.disk_id
        node = Node(
            node_id=command.node_id,
            disk_id=command.disk_id if is_new or previous is None else previous.disk_id,
            host=command.host,
            kafka_port=command.kafka_port,
            http_port=command.http_port,
            peer_host=command.peer_host,
            peer_port=command.peer_port,
            rack=command.rack,
            host_label=command.host_label,
            boot_id=command.boot_id,
        )
        self._put_node(node)
        return NodeRegistered(node=node, previous=previous, disk_id=command.disk_id)

    def _create_topic(self, command: CreateTopic) -> TopicCreated:
        name = command.name
        check_topic_name(name)
        if name in self._by_name:
            raise RequestError(ErrorCode.TOPIC_ALREADY_EXISTS, f"topic {name!r} exists already")
        namesake = self.colliding(name)
        if namesake is not None:
            raise RequestError(
                ErrorCode.INVALID_TOPIC_EXCEPTION,
                f"topic {name!r} collides with {namesake!r}: only '.' and '_' tell them apart",
            )
        check_topic_id(command.topic_id, name)
        if command.topic_id in self._by_id or command.topic_id in self._deleted_topics:
            raise RequestError(
                ErrorCode.INVALID_REQUEST, f"topic id {command.topic_id.hex()} is taken"
            )
        replication_factor = len(command.assignments[0]) if command.assignments else 0
        check_assignments(command.assignments, self._nodes, replication_factor=replication_factor)
        check_topic_settings(command.settings, replication_factor=replication_factor)
        self.check_room(existing=0, added=len(command.assignments))
        topic = Topic(
            name=name,
            topic_id=command.topic_id,
            partitions=command.assignments,
            settings=_sorted(command.settings),
        )
        self._put_topic(topic)
        return TopicCreated(topic=topic)

    def _delete_topic(self, command: DeleteTopic) -> TopicDeleted:
        topic = self.changeable(command.topic_id)
        del self._by_name[topic.name]
        del self._by_id[topic.topic_id]
        del self._collision_keys[collision_key(topic.name)]
        self._partition_count -= len(topic.partitions)
        self._topics = None
        _remember(self._deleted_topics, topic.topic_id, DELETED_TOPICS_MAX)
        assert self._partition_count >= 0
        return TopicDeleted(topic=topic)

    def _create_partitions(self, command: CreatePartitions) -> PartitionsCreated:
        topic = self.changeable(command.topic_id)
        count = len(topic.partitions)
        if command.first_partition != count:
            raise RequestError(
                ErrorCode.INVALID_PARTITIONS,
                f"topic {topic.name!r} has {count} partitions, not {command.first_partition}",
            )
        check_assignments(
            command.assignments, self._nodes, replication_factor=topic.replication_factor
        )
        self.check_room(existing=count, added=len(command.assignments))
        grown = msgspec.structs.replace(topic, partitions=topic.partitions + command.assignments)
        self._put_topic(grown)
        return PartitionsCreated(topic=grown, first_partition=count)

    def _alter_topic_settings(self, command: AlterTopicSettings) -> TopicSettingsAltered:
        previous = self.changeable(command.topic_id)
        settings = _altered(previous.settings, command.set, command.unset)
        check_topic_settings(settings, replication_factor=previous.replication_factor)
        topic = msgspec.structs.replace(previous, settings=settings)
        self._put_topic(topic)
        return TopicSettingsAltered(topic=topic, previous=previous)

    def _alter_node_settings(self, command: AlterNodeSettings) -> NodeSettingsAltered:
        node_id = command.node_id
        if node_id != ALL_NODES:
            self._check_registered(node_id)
        settings = _altered(self._node_settings.get(node_id, {}), command.set, command.unset)
        check_node_settings(settings)
        others = {key: value for key, value in self._node_settings.items() if key != node_id}
        self._node_settings = {**others, node_id: settings} if settings else others
        return NodeSettingsAltered(node_id=node_id, settings=settings)

    def _allocate_producer_ids(self, command: AllocateProducerIds) -> ProducerIdsAllocated:
        self._check_registered(command.node_id)
        first = self._next_producer_id
        if first + command.count > PRODUCER_ID_MAX:
            raise RequestError(ErrorCode.UNKNOWN_SERVER_ERROR, "all producer ids are given out")
        self._next_producer_id = first + command.count
        return ProducerIdsAllocated(node_id=command.node_id, first=first, count=command.count)

    def _put_node(self, node: Node) -> None:
        is_new = node.node_id not in self._nodes
        self._nodes[node.node_id] = node
        if is_new:
            self._nodes = {node_id: self._nodes[node_id] for node_id in sorted(self._nodes)}

    def _put_topic(self, topic: Topic) -> None:
        previous = self._by_id.get(topic.topic_id)
        self._partition_count += len(topic.partitions)
        if previous is not None:
            self._partition_count -= len(previous.partitions)
        self._by_name[topic.name] = topic
        self._by_id[topic.topic_id] = topic
        self._collision_keys[collision_key(topic.name)] = topic.name
        self._topics = None

    def _existing(self, topic_id: TopicId) -> Topic:
        topic = self._by_id.get(topic_id)
        if topic is None:
            raise RequestError(ErrorCode.UNKNOWN_TOPIC_ID, f"no topic has id {topic_id.hex()}")
        return topic

    def _check_registered(self, node_id: NodeId) -> None:
        if node_id not in self._nodes:
            raise RequestError(ErrorCode.INVALID_REQUEST, f"node {node_id} has not registered")


def _decoded(data: bytes | memoryview, source: str) -> _Snapshot:
    version = data[0] if len(data) > 0 else None
    body = memoryview(data)[1:]
    try:
        if version == SNAPSHOT_FORMAT_VERSION:
            snapshot = _DECODER.decode(body)
            written = _ENCODER.encode(snapshot)
        elif version == 1:
            old = _DECODER_OF_FORMAT_1.decode(body)
            written = _ENCODER.encode(old)
            fields = {name: getattr(old, name) for name in old.__struct_fields__}
            snapshot = _Snapshot(**fields, deleted_topics=(), applied_commands=())
        else:
            raise CorruptionError(
                source, 0, f"expected version {SNAPSHOT_FORMAT_VERSION}, found {version}"
            )
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise CorruptionError(source, 1, str(error)) from error
    if written != body:
        raise CorruptionError(source, 1, "not the one form in which this state is written")
    return snapshot


def _written(snapshot: _Snapshot) -> bytes:
    return bytes([SNAPSHOT_FORMAT_VERSION]) + _ENCODER.encode(snapshot)


def _remember(known: dict[_Key, None], key: _Key, count_max: int) -> None:
    """Add `key`, and forget the oldest if there are too many."""
    known[key] = None
    if len(known) > count_max:
        del known[next(iter(known))]
    assert len(known) <= count_max


def _sorted(settings: Mapping[str, str]) -> dict[str, str]:
    return {name: settings[name] for name in sorted(settings)}


def _altered(
    settings: Mapping[str, str], changed: Mapping[str, str], unset: tuple[str, ...]
) -> dict[str, str]:
    twice = [name for name in unset if name in changed]
    if twice:
        raise RequestError(ErrorCode.INVALID_REQUEST, f"both set and unset: {', '.join(twice)}")
    kept = {name: text for name, text in settings.items() if name not in unset}
    return _sorted({**kept, **changed})
