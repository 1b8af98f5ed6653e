"""Every setting of a topic or of this node: its value in force, and where that comes from.

Does not: decide what may be set (`metadata.topic_settings`, `metadata.node_settings`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum

from trimaran.broker.api import Broker
from trimaran.errors import ErrorCode, RequestError
from trimaran.groups.assignors import ASSIGNORS
from trimaran.ids import NodeId
from trimaran.metadata import node_settings
from trimaran.metadata.node_settings import NODE_SETTINGS
from trimaran.metadata.rules import check_topic_name
from trimaran.metadata.settings import Kind, Setting, written
from trimaran.metadata.topic_settings import TOPIC_SETTINGS
from trimaran.metadata.topology import Topic


class Source(IntEnum):
    """Where a value comes from; the numbers are those of DescribeConfigs."""

    TOPIC = 1
    NODE = 2
    """Set for this node while it ran."""
    ALL_NODES = 3
    """Set for all nodes while they ran."""
    FILE = 4
    """This node's configuration."""
    DEFAULT = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class SettingValue:
    """A setting, and all that says something about its value."""

    setting: Setting
    levels: tuple[tuple[str, Source], ...]
    """(text, source), the one in force first; each holds where those before it do not."""

    @property
    def text(self) -> str:
        """The value in force."""
        return self.levels[0][0]

    @property
    def source(self) -> Source:
        """Where it comes from."""
        return self.levels[0][1]


def find_topic(broker: Broker, name: str) -> Topic:
    """Return the topic. Raises RequestError UNKNOWN_TOPIC_OR_PARTITION, INVALID_TOPIC_EXCEPTION."""
    topic = broker.image.topic(name)
    if topic is None:
        check_topic_name(name)
        raise RequestError(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, f"no topic {name[:249]!r}")
    return topic


def find_node(broker: Broker, name: str) -> NodeId:
    """Return the id of a registered node. Raises RequestError INVALID_REQUEST."""
    known = {str(node.node_id): node.node_id for node in broker.image.nodes}
    if name not in known:
        raise RequestError(
            ErrorCode.INVALID_REQUEST,
            f"broker: expected one of {', '.join(known)}, found {name[:20]!r}",
        )
    return known[name]


def topic_values(own: Mapping[str, str]) -> list[SettingValue]:
    """Return all settings of a topic that has `own` settings."""
    return [
        SettingValue(
            setting=row, levels=(*_level(row, own, Source.TOPIC), (row.default, Source.DEFAULT))
        )
        for row in TOPIC_SETTINGS.values()
    ]


def node_values(broker: Broker) -> list[SettingValue]:
    """Return the settings of this node that may change while it runs."""
    image = broker.image
    for_all = image.own_node_settings(NodeId(node_settings.ALL_NODES))
    own = image.own_node_settings(broker.node_id)
    from_file = {
        "auto.create.topics.enable": "true" if broker.kafka.auto_create_topics else "false",
        "num.partitions": str(broker.kafka.num_partitions),
        "default.replication.factor": str(broker.kafka.default_replication_factor),
    }
    assert from_file.keys() == NODE_SETTINGS.keys()
    return [
        SettingValue(
            setting=row,
            levels=(
                *_level(row, own, Source.NODE),
                *_level(row, for_all, Source.ALL_NODES),
                (from_file[row.name], Source.FILE),
                (row.default, Source.DEFAULT),
            ),
        )
        for row in NODE_SETTINGS.values()
    ]


def all_nodes_values(broker: Broker) -> list[SettingValue]:
    """Return what was set for all nodes, and nothing else."""
    for_all = broker.image.own_node_settings(NodeId(node_settings.ALL_NODES))
    return [
        SettingValue(setting=row, levels=_level(row, for_all, Source.ALL_NODES))
        for row in NODE_SETTINGS.values()
        if row.name in for_all
    ]


def _level(
    row: Setting, settings: Mapping[str, str], source: Source
) -> tuple[tuple[str, Source], ...]:
    text = settings.get(row.name)
    return () if text is None else ((written(row, text), source),)


def group_values(broker: Broker) -> list[tuple[str, str, Kind, str]]:
    """Return what coordinators allow, fixed while a node runs: Kafka's name, value, kind, text."""
    kafka, group = broker.kafka, broker.kafka.group
    members_max = str(group.members_max)
    return [
        (
            "group.consumer.assignors",
            ",".join(ASSIGNORS),
            Kind.LIST,
            "What the new protocol assigns with; the first unless members ask for another.",
        ),
        (
            "group.consumer.heartbeat.interval.ms",
            str(group.heartbeat_interval_ms),
            Kind.INT,
            "How often members of the new protocol give a sign of life.",
        ),
        (
            "group.consumer.max.size",
            members_max,
            Kind.INT,
            "Members of one group of the new protocol.",
        ),
        (
            "group.consumer.migration.policy",
            group.migration.value,
            Kind.STRING,
            "Which way groups with members may go between the protocols.",
        ),
        (
            "group.consumer.session.timeout.ms",
            str(group.consumer_session_timeout_ms),
            Kind.INT,
            "How long a member of the new protocol may be silent.",
        ),
        (
            "group.initial.rebalance.delay.ms",
            str(group.initial_rebalance_delay_ms),
            Kind.INT,
            "How long an empty classic group waits for more members.",
        ),
        (
            "group.max.session.timeout.ms",
            str(group.session_timeout_max_ms),
            Kind.INT,
            "Longest session time-out that a classic member may ask for.",
        ),
        ("group.max.size", members_max, Kind.INT, "Members of one classic group."),
        (
            "group.min.session.timeout.ms",
            str(group.session_timeout_min_ms),
            Kind.INT,
            "Shortest session time-out that a classic member may ask for.",
        ),
        (
            "offset.metadata.max.bytes",
            str(kafka.offset_metadata_bytes_max),
            Kind.INT,
            "Longest text that may be committed with an offset.",
        ),
        (
            "offsets.retention.minutes",
            str(int(kafka.offsets_retention_s // 60)),
            Kind.INT,
            "How long a group without members keeps its offsets.",
        ),
    ]
