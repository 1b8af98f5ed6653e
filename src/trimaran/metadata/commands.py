"""What may be asked of the metadata group: the payload of its COMMAND entries.

    offset  size  field
    0       1     format version, 2; 1, which had no key "id", is read
    1       rest  MessagePack map of one of the classes below; key "command" names which, keys of
                  default value are left out

Decoding bounds sizes and ranges, so that no command that is decoded can hold more than the limits;
whether it may be done (does the topic exist, is the name legal) is judged when it is applied, the
same way on every node. A node that got no answer proposes a command again, and both copies may be
committed, long after each other: by its id the image knows the second.
Does not: apply anything.
"""

from typing import Annotated, TypeAlias

import msgspec

from trimaran.errors import ErrorCode, ProtocolError, RequestError
from trimaran.ids import DiskId, NodeId, TopicId
from trimaran.metadata.limits import (
    COMMAND_BYTES_MAX,
    PRODUCER_ID_BLOCK_MAX,
    REPLICAS_MAX,
    TOPIC_PARTITIONS_MAX,
)
from trimaran.metadata.settings import VALUE_CHARACTERS_MAX

COMMAND_FORMAT_VERSION = 2
_READABLE_VERSIONS = (1, 2)
SETTINGS_MAX = 100
"""Settings in one command; there are fewer in all."""

_Node = Annotated[NodeId, msgspec.Meta(ge=1, le=2**31 - 1)]
_NodeOrAll = Annotated[NodeId, msgspec.Meta(ge=0, le=2**31 - 1)]
_Topic = Annotated[TopicId, msgspec.Meta(min_length=16, max_length=16)]
_Disk = Annotated[DiskId, msgspec.Meta(min_length=16, max_length=16)]
_Host = Annotated[str, msgspec.Meta(min_length=1, max_length=255)]
_Port = Annotated[int, msgspec.Meta(ge=0, le=65_535)]
_Label = Annotated[str, msgspec.Meta(max_length=255)]
_Name = Annotated[str, msgspec.Meta(max_length=300)]
_Text = Annotated[str, msgspec.Meta(max_length=VALUE_CHARACTERS_MAX)]
_Replicas = Annotated[tuple[_Node, ...], msgspec.Meta(max_length=REPLICAS_MAX)]
_Assignments = Annotated[tuple[_Replicas, ...], msgspec.Meta(max_length=TOPIC_PARTITIONS_MAX)]
_Settings = Annotated[dict[_Name, _Text], msgspec.Meta(max_length=SETTINGS_MAX)]
_Names = Annotated[tuple[_Name, ...], msgspec.Meta(max_length=SETTINGS_MAX)]
_Number = Annotated[int, msgspec.Meta(ge=0)]
"""64 bits."""


class CommandId(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Which command of which node, in which of its lives: the same in every copy."""

    node_id: _Node
    boot_id: _Number
    number: _Number


class _Command(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    omit_defaults=True,
    tag_field="command",
):
    """Base of the commands: a tagged MessagePack map without unknown keys."""

    id: CommandId | None = None
    """None: applied as often as it comes."""


class RegisterNode(_Command, frozen=True, tag="register-node"):
    """A node has started: where it is reached and which disk it runs on."""

    node_id: _Node
    disk_id: _Disk
    host: _Host
    """What Kafka clients are told (the advertised host)."""
    kafka_port: _Port
    http_port: _Port
    """0: the node serves no HTTP."""
    peer_host: _Host
    peer_port: _Port
    rack: _Label | None
    """The user's, shown to clients; placement does not look at it."""
    host_label: _Label | None
    """Nodes of one label are on one machine; None: on a machine of its own."""
    boot_id: _Number
    replaces: _Disk | None = None
    """The disk whose place this one takes: all groups on this one are marked, they have no vote
    before their leaders say so."""


class CreateTopic(_Command, frozen=True, tag="create-topic"):
    """A new topic, its partitions placed already."""

    name: _Name
    topic_id: _Topic
    assignments: _Assignments
    """For each partition its replicas, the preferred leader first."""
    settings: _Settings = {}


class DeleteTopic(_Command, frozen=True, tag="delete-topic"):
    """The topic with this id goes, and everything in it; a namesake made later does not."""

    topic_id: _Topic


class CreatePartitions(_Command, frozen=True, tag="create-partitions"):
    """More partitions for a topic."""

    topic_id: _Topic
    first_partition: Annotated[int, msgspec.Meta(ge=0, le=TOPIC_PARTITIONS_MAX)]
    """Partitions the topic had when these were placed; if it has more by now, refused."""
    assignments: _Assignments


class AlterTopicSettings(_Command, frozen=True, tag="alter-topic-settings"):
    """Settings of a topic set, others put back to their defaults."""

    topic_id: _Topic
    set: _Settings = {}
    unset: _Names = ()


class AlterNodeSettings(_Command, frozen=True, tag="alter-node-settings"):
    """Settings of a node, or of all nodes (node id 0), set and put back to their defaults."""

    node_id: _NodeOrAll
    set: _Settings = {}
    unset: _Names = ()


class AllocateProducerIds(_Command, frozen=True, tag="allocate-producer-ids"):
    """A block of producer ids that nobody was ever given."""

    node_id: _Node
    count: Annotated[int, msgspec.Meta(ge=1, le=PRODUCER_ID_BLOCK_MAX)]


Command: TypeAlias = (
    RegisterNode
    | CreateTopic
    | DeleteTopic
    | CreatePartitions
    | AlterTopicSettings
    | AlterNodeSettings
    | AllocateProducerIds
)

_ENCODER = msgspec.msgpack.Encoder(order="deterministic")
_DECODER: msgspec.msgpack.Decoder[Command] = msgspec.msgpack.Decoder(Command)


def encode_command(command: Command, *, command_id: CommandId | None = None) -> bytes:
    """Return the payload for `command`, under `command_id` if that is given.

    Equal commands give equal bytes.

    Raises:
        RequestError: INVALID_REQUEST, a field is outside what `decode_command` lets in. Checked
            here so that no entry is committed that nobody can apply.
    """
    if command_id is not None:
        command = msgspec.structs.replace(command, id=command_id)
    try:
        payload = bytes([COMMAND_FORMAT_VERSION]) + _ENCODER.encode(command)
        decode_command(payload)
    except (ProtocolError, ValueError, OverflowError) as error:
        raise RequestError(ErrorCode.INVALID_REQUEST, str(error)) from error
    return payload


def decode_command(payload: bytes | memoryview) -> Command:
    """Return the command in `payload`.

    Raises:
        ProtocolError: another version, unknown command or field, a value outside its bounds.
    """
    if not 1 <= len(payload) <= COMMAND_BYTES_MAX:
        raise ProtocolError(
            f"metadata command: expected 1 to {COMMAND_BYTES_MAX} bytes, found {len(payload)}"
        )
    if payload[0] not in _READABLE_VERSIONS:
        raise ProtocolError(
            f"metadata command: expected version {COMMAND_FORMAT_VERSION}, found {payload[0]}"
        )
    try:
        return _DECODER.decode(memoryview(payload)[1:])
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise ProtocolError(f"metadata command: {error}") from error
