"""A node and a topic, as the image holds them and snapshots carry them. Immutable.

Does not: say who is alive or who leads; that is no metadata.
"""

from typing import Annotated

import msgspec

from trimaran.ids import GROUPS_TOPIC_ID, DiskId, GroupId, NodeId, TopicId, group_id
from trimaran.metadata.topic_settings import TopicSettings, effective_settings

_Id16 = msgspec.Meta(min_length=16, max_length=16)


class Node(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A node that has registered; the fields are those of RegisterNode."""

    node_id: NodeId
    disk_id: Annotated[DiskId, _Id16]
    """The disk whose votes count: that of the first registration, or the last that replaced it."""
    host: str
    kafka_port: int
    http_port: int
    peer_host: str
    peer_port: int
    rack: str | None
    host_label: str | None
    boot_id: int


class Topic(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A topic: the target that its partitions' groups are brought to."""

    name: str
    topic_id: Annotated[TopicId, _Id16]
    partitions: Annotated[
        tuple[Annotated[tuple[NodeId, ...], msgspec.Meta(min_length=1)], ...],
        msgspec.Meta(min_length=1),
    ]
    """Replicas of each partition, the preferred leader first."""
    settings: dict[str, str]
    """Texts set on the topic itself, ascending by name; never changed in place."""

    @property
    def is_internal(self) -> bool:
        """Whether its partitions are coordinators of consumer groups: no log of events."""
        return self.topic_id == GROUPS_TOPIC_ID

    @property
    def replication_factor(self) -> int:
        """Replicas of each of its partitions."""
        return len(self.partitions[0])

    def group(self, partition: int) -> GroupId:
        """Return the group that replicates one of its partitions."""
        assert 0 <= partition < len(self.partitions)
        return group_id(self.topic_id, partition)

    def effective_settings(self) -> TopicSettings:
        """Return what is in force: its own settings, else the defaults."""
        return effective_settings(self.settings)
