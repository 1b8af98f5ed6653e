"""What can be set on nodes while they run: the defaults for topics that name nothing themselves.

Everything else about a node stands in its configuration file and needs a restart. A value set for
one node goes before the value set for all, that before the file.
Does not: read the file.
"""

from collections.abc import Mapping

from trimaran.metadata.settings import Kind, Setting, Table, check, table_of

ALL_NODES = 0
"""The node id that means every node; Kafka's empty broker name."""

NODE_SETTINGS: Table = table_of(
    Setting(
        name="auto.create.topics.enable",
        kind=Kind.BOOLEAN,
        default="true",
        doc="Whether asking for an unknown topic creates it.",
    ),
    Setting(
        name="num.partitions",
        kind=Kind.INT,
        default="4",
        low=1,
        high=2_000,
        doc="Partitions of a topic created without a number.",
    ),
    Setting(
        name="default.replication.factor",
        kind=Kind.INT,
        default="3",
        low=1,
        high=7,
        doc="Replicas of a topic created without a number; never more than there are nodes.",
    ),
)


def check_node_settings(settings: Mapping[str, str]) -> None:
    """Return if `settings` may be set on a node.

    Raises:
        RequestError: INVALID_CONFIG that names the settings that may not.
    """
    check(NODE_SETTINGS, settings)
