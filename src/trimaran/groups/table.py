"""What a coordinator's log stands for: its groups and where they stand, the same on every replica.

Invariants: a group is known while it has been stored or has offsets; an offset is the last one
committed for its partition, with the log time of that commit; equal logs give equal bytes.

A snapshot, a state file of the group's boundary (the caller keeps its checksum):

    offset  size  field (big-endian)
    0       1     format version, 2; 1, whose groups end with their offsets, is read
    1       4     number of groups, ascending by id; for each:
            4       length of what follows
            n       MessagePack array: group id, the stored classic group or nil, log time of its
                    last change in ms, offsets by topic id and partition as (commit time in ms,
                    offset), the stored group of the new protocol or nil

Each group's part is kept until the group changes: a snapshot costs what changed since the last one.
Does not: judge commands; the leader did.
"""

import struct
from collections.abc import Iterator, Sequence
from hashlib import blake2b

import msgspec

from trimaran.errors import CorruptionError
from trimaran.groups.commands import (
    Command,
    CommitOffsets,
    DeleteGroups,
    DeleteOffsets,
    ExpireOffsets,
    OffsetKey,
    StoreConsumers,
    StoreGroup,
)
from trimaran.groups.stored import (
    CommittedOffset,
    GroupName,
    StoredConsumer,
    StoredConsumers,
    StoredGroup,
    StoredTopic,
)

SNAPSHOT_FORMAT_VERSION = 2
_READ_VERSIONS = (1, 2)
_HEADER = struct.Struct(">BI")
_LENGTH = struct.Struct(">I")


class Position(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A committed offset and when it was committed."""

    commit_time_ms: int
    """Log time of the entry."""
    committed: CommittedOffset


class _StoredRow(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    group_id: GroupName
    group: StoredGroup | None
    changed_ms: int
    positions: tuple[Position, ...]
    consumers: StoredConsumers | None = None


_ENCODER = msgspec.msgpack.Encoder(order="deterministic")
_DECODER = msgspec.msgpack.Decoder(_StoredRow)


class _Row:
    """One group."""

    __slots__ = ("changed_ms", "consumers", "encoded", "group", "positions")

    def __init__(self) -> None:
        self.group: StoredGroup | None = None
        self.consumers: _Consumers | None = None
        self.changed_ms = 0
        self.positions: dict[OffsetKey, Position] = {}
        self.encoded: bytes | None = None


class _Consumers:
    """What a row holds of a group of the new protocol, changed in place."""

    __slots__ = ("assignment_epoch", "epoch", "members", "topics")

    def __init__(self) -> None:
        self.epoch = 0
        self.assignment_epoch = 0
        self.topics: tuple[StoredTopic, ...] = ()
        self.members: dict[str, StoredConsumer] = {}

    def apply(self, command: StoreConsumers) -> None:
        self.epoch = command.epoch
        self.assignment_epoch = command.assignment_epoch
        if command.topics is not None:
            self.topics = command.topics
        for member_id in command.removed:
            self.members.pop(member_id, None)
        for member in command.members:
            self.members[member.member_id] = member

    def stored(self) -> StoredConsumers:
        members = tuple(self.members.values())
        return StoredConsumers(self.epoch, self.assignment_epoch, self.topics, members)

    @classmethod
    def of(cls, stored: StoredConsumers) -> "_Consumers":
        consumers = cls()
        consumers.epoch = stored.epoch
        consumers.assignment_epoch = stored.assignment_epoch
        consumers.topics = stored.topics
        consumers.members = {member.member_id: member for member in stored.members}
        return consumers


class GroupTable:
    """The groups of one coordinator."""

    __slots__ = ("_rows",)

    def __init__(self) -> None:
        """Begin without groups."""
        self._rows: dict[str, _Row] = {}

    def __len__(self) -> int:
        """Return how many groups are known."""
        return len(self._rows)

    def __contains__(self, group_id: str) -> bool:
        """Whether the group is known."""
        return group_id in self._rows

    def __iter__(self) -> Iterator[str]:
        """Yield the ids of all groups, in the order in which they came."""
        return iter(self._rows)

    def stored(self, group_id: str) -> StoredGroup | None:
        """Return the classic group after its last rebalance; None if it never had members."""
        row = self._rows.get(group_id)
        return None if row is None else row.group

    def consumers(self, group_id: str) -> StoredConsumers | None:
        """Return the group of the new protocol; None if it is none."""
        row = self._rows.get(group_id)
        return None if row is None or row.consumers is None else row.consumers.stored()

    def changed_ms(self, group_id: str) -> int:
        """Return the log time at which the group was stored last, 0 if never."""
        row = self._rows.get(group_id)
        return 0 if row is None else row.changed_ms

    def position(self, group_id: str, key: OffsetKey) -> CommittedOffset | None:
        """Return where the group stands in a partition."""
        row = self._rows.get(group_id)
        found = None if row is None else row.positions.get(key)
        return None if found is None else found.committed

    def positions(self, group_id: str) -> Sequence[Position]:
        """Return everything the group has committed."""
        row = self._rows.get(group_id)
        return () if row is None else tuple(row.positions.values())

    def position_count(self, group_id: str) -> int:
        """Return for how many partitions the group has committed."""
        row = self._rows.get(group_id)
        return 0 if row is None else len(row.positions)

    def apply(self, command: Command, *, log_time_ms: int) -> None:
        """Do `command`, committed at log time `log_time_ms`; total and deterministic."""
        match command:
            case StoreGroup():
                row = self._row(command.group.group_id)
                row.group, row.consumers = command.group, None
                row.changed_ms = log_time_ms
            case StoreConsumers():
                self._store_consumers(command, log_time_ms)
            case CommitOffsets():
                self._commit(command, log_time_ms)
            case DeleteOffsets():
                self._drop(command.group_id, command.keys, before_ms=None)
            case ExpireOffsets():
                self._drop(command.group_id, command.keys, before_ms=command.before_ms)
            case DeleteGroups():  # pragma: no branch (mypy proves that there is no other)
                for group_id in command.group_ids:
                    self._rows.pop(group_id, None)

    def _row(self, group_id: str) -> _Row:
        row = self._rows.get(group_id)
        if row is None:
            row = self._rows[group_id] = _Row()
        row.encoded = None
        return row

    def _store_consumers(self, command: StoreConsumers, log_time_ms: int) -> None:
        row = self._row(command.group_id)
        row.group = None
        row.changed_ms = log_time_ms
        if row.consumers is None:
            row.consumers = _Consumers()
        row.consumers.apply(command)

    def _commit(self, command: CommitOffsets, log_time_ms: int) -> None:
        row = self._row(command.group_id)
        for committed in command.offsets:
            key = (committed.topic_id, committed.partition)
            row.positions[key] = Position(log_time_ms, committed)

    def _drop(self, group_id: str, keys: Sequence[OffsetKey], *, before_ms: int | None) -> None:
        if group_id not in self._rows:
            return
        row = self._row(group_id)
        for key in keys:
            found = row.positions.get(key)
            if found is not None and (before_ms is None or found.commit_time_ms < before_ms):
                del row.positions[key]

    # Snapshots

    def encode(self) -> bytes:
        """Return the state as a snapshot; equal states give equal bytes."""
        parts = [_HEADER.pack(SNAPSHOT_FORMAT_VERSION, len(self._rows))]
        for group_id in sorted(self._rows):
            encoded = self._encoded(group_id)
            parts += (_LENGTH.pack(len(encoded)), encoded)
        return b"".join(parts)

    def _encoded(self, group_id: str) -> bytes:
        row = self._rows[group_id]
        if row.encoded is None:
            positions = tuple(row.positions[key] for key in sorted(row.positions))
            consumers = None if row.consumers is None else row.consumers.stored()
            row.encoded = _ENCODER.encode(
                _StoredRow(group_id, row.group, row.changed_ms, positions, consumers)
            )
        return row.encoded

    @classmethod
    def decode(cls, data: bytes | memoryview, *, source: str = "groups snapshot") -> "GroupTable":
        """Return the table that `encode` wrote; `source` names the file in errors.

        Raises:
            CorruptionError: bytes that no table encodes to.
        """
        table = cls()
        view = memoryview(data)
        try:
            version, count = _HEADER.unpack_from(view)
            if version not in _READ_VERSIONS:
                raise CorruptionError(source, 0, f"expected version 1 or 2, found {version}")
            position = _HEADER.size
            for _ in range(count):
                (length,) = _LENGTH.unpack_from(view, position)
                position += _LENGTH.size
                table._load(_DECODER.decode(view[position : position + length]))
                position += length
        except (struct.error, msgspec.DecodeError, ValueError, RecursionError) as error:
            raise CorruptionError(source, 1, str(error)) from error
        if version == SNAPSHOT_FORMAT_VERSION and table.encode() != view:
            raise CorruptionError(source, 1, "not the one form in which this state is written")
        return table

    def digest(self) -> bytes:
        """Return 16 bytes that are equal on replicas that applied the same commands."""
        return blake2b(self.encode(), digest_size=16).digest()

    def _load(self, stored: _StoredRow) -> None:
        row = self._row(stored.group_id)
        row.group = stored.group
        row.changed_ms = stored.changed_ms
        if stored.consumers is not None:
            row.consumers = _Consumers.of(stored.consumers)
        for position in stored.positions:
            committed = position.committed
            row.positions[(committed.topic_id, committed.partition)] = position
