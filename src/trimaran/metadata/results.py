"""What came of a command: what changed, or why nothing did.

Each success is the change itself, so that whoever applies committed commands knows what to create,
remove or answer without comparing images.
Does not: change anything.
"""

from dataclasses import dataclass
from typing import TypeAlias

from trimaran.errors import ErrorCode
from trimaran.ids import DiskId, NodeId
from trimaran.metadata.commands import CommandId
from trimaran.metadata.topology import Node, Topic


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """Nothing changed; the same on every node."""

    code: ErrorCode
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Repeated:
    """A second copy of a command that was applied or refused before: nothing changed."""

    id: CommandId


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeRegistered:
    """A node is known, or known anew."""

    node: Node
    previous: Node | None
    """What was known before; None at the first registration."""
    disk_id: DiskId
    """The disk it runs on now."""

    @property
    def has_other_disk(self) -> bool:
        """Whether the node came back on another disk: it is let in without a vote."""
        return self.disk_id != self.node.disk_id


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicCreated:
    """All partitions of `topic` are to be created."""

    topic: Topic


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicDeleted:
    """All partitions of `topic` are to be removed."""

    topic: Topic


@dataclass(frozen=True, slots=True, kw_only=True)
class PartitionsCreated:
    """The partitions of `topic` from `first_partition` on are to be created."""

    topic: Topic
    first_partition: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicSettingsAltered:
    """`topic` has other settings than `previous`."""

    topic: Topic
    previous: Topic


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeSettingsAltered:
    """The settings of a node (0: of all nodes) are now these."""

    node_id: NodeId
    settings: dict[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProducerIdsAllocated:
    """Producer ids [first, first + count) belong to `node_id`."""

    node_id: NodeId
    first: int
    count: int


Change: TypeAlias = (
    NodeRegistered
    | TopicCreated
    | TopicDeleted
    | PartitionsCreated
    | TopicSettingsAltered
    | NodeSettingsAltered
    | ProducerIdsAllocated
)
Result: TypeAlias = Change | Refused
