"""What a coordinator has its Raft group agree on: the payload of its COMMAND entries.

    offset  size  field
    0       1     format version, 1
    1       rest  MessagePack array of one of the classes below, its name first

Offsets name topics by id: a topic that is made again under its old name starts without any.
Decoding bounds sizes and ranges; whether a client may do it was judged by the leader before it
proposed, and applying never refuses.
Does not: apply anything.
"""

from typing import Annotated, TypeAlias

import msgspec

from trimaran.errors import ProtocolError
from trimaran.groups.limits import COMMAND_BYTES_MAX, GROUPS_MAX, OFFSETS_MAX
from trimaran.groups.stored import (
    CommittedOffset,
    GroupName,
    PartitionNumber,
    StoredConsumer,
    StoredGroup,
    StoredTopic,
    TopicKey,
)
from trimaran.ids import TopicId

COMMAND_FORMAT_VERSION = 1

OffsetKey: TypeAlias = tuple[TopicId, int]
"""Topic id and partition."""
_Keys = Annotated[
    tuple[tuple[TopicKey, PartitionNumber], ...], msgspec.Meta(max_length=OFFSETS_MAX)
]


class _Command(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=True):
    """Base of the commands."""


class StoreGroup(_Command, frozen=True, tag="group"):
    """A rebalance is finished: these are the members and what each has."""

    group: StoredGroup


class StoreConsumers(_Command, frozen=True, tag="consumers"):
    """What changed in a group of the new protocol, all at once; it comes into being, if it must.

    A classic group of that name ends with it, as a group of the new protocol does with StoreGroup.
    """

    group_id: GroupName
    epoch: Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)]
    assignment_epoch: Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)]
    topics: tuple[StoredTopic, ...] | None
    """None: as before."""
    members: tuple[StoredConsumer, ...]
    """Those that are new or changed."""
    removed: tuple[str, ...]
    """Ids of those that are gone."""


class CommitOffsets(_Command, frozen=True, tag="commit"):
    """A group stands here; it comes into being with its first commit, if it must."""

    group_id: GroupName
    offsets: Annotated[tuple[CommittedOffset, ...], msgspec.Meta(max_length=OFFSETS_MAX)]


class DeleteOffsets(_Command, frozen=True, tag="delete-offsets"):
    """A group has no position in these partitions any more."""

    group_id: GroupName
    keys: _Keys


class ExpireOffsets(_Command, frozen=True, tag="expire-offsets"):
    """As DeleteOffsets, but not where the group committed again at or after `before_ms`."""

    group_id: GroupName
    before_ms: Annotated[int, msgspec.Meta(ge=0)]
    """Log time."""
    keys: _Keys


class DeleteGroups(_Command, frozen=True, tag="delete-groups"):
    """These groups are gone, offsets and all."""

    group_ids: Annotated[tuple[GroupName, ...], msgspec.Meta(max_length=GROUPS_MAX)]


Command: TypeAlias = (
    StoreGroup | StoreConsumers | CommitOffsets | DeleteOffsets | ExpireOffsets | DeleteGroups
)

_ENCODER = msgspec.msgpack.Encoder(order="deterministic")
_DECODER: msgspec.msgpack.Decoder[Command] = msgspec.msgpack.Decoder(Command)


def encode_command(command: Command) -> bytes:
    """Return the payload for `command`. Equal commands give equal bytes.

    Raises:
        ProtocolError: a field is outside what `decode_command` lets in. Checked here so that no
            entry is committed that nobody can apply.
    """
    try:
        payload = bytes([COMMAND_FORMAT_VERSION]) + _ENCODER.encode(command)
    except (ValueError, OverflowError) as error:
        raise ProtocolError(f"group command: {error}") from error
    decode_command(payload)
    return payload


def decode_command(payload: bytes | memoryview) -> Command:
    """Return the command in `payload`.

    Raises:
        ProtocolError: another version, unknown command or field, a value outside its bounds.
    """
    if not 1 <= len(payload) <= COMMAND_BYTES_MAX:
        raise ProtocolError(
            f"group command: expected 1 to {COMMAND_BYTES_MAX} bytes, found {len(payload)}"
        )
    if payload[0] != COMMAND_FORMAT_VERSION:
        raise ProtocolError(
            f"group command: expected version {COMMAND_FORMAT_VERSION}, found {payload[0]}"
        )
    try:
        return _DECODER.decode(memoryview(payload)[1:])
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise ProtocolError(f"group command: {error}") from error
