"""What members of protocol type `consumer` tell each other through JoinGroup and SyncGroup.

    Subscription  version i16, topics [string], user data bytes,
                  from version 1 on partitions it has [(topic string, [i32])], ...
    Assignment    version i16, partitions [(topic string, [i32])], ...

Arrays have an i32 count, strings an i16 length, bytes an i32 length, -1 for none. What follows is
not looked at; what is written ends with user data (none).
Does not: know other protocol types.
"""

import struct
from dataclasses import dataclass
from typing import TypeAlias

from trimaran.groups.limits import MEMBER_ID_CHARACTERS_MAX, SUBSCRIPTION_TOPICS_MAX

_SHORT = struct.Struct(">h")
_INT = struct.Struct(">i")

TopicPartitions: TypeAlias = tuple[tuple[str, tuple[int, ...]], ...]


def subscribed_topics(metadata: bytes) -> tuple[str, ...] | None:
    """Return the topics in a member's subscription; None if it is not one."""
    reader = _Reader(metadata)
    try:
        return _topics(reader)[1]
    except (struct.error, ValueError):
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscription:
    """What a member wants, and what it says it has."""

    version: int
    topics: tuple[str, ...]
    owned: TopicPartitions = ()

    @property
    def problem(self) -> str:
        """Say what of it a group of the new protocol cannot store; empty: nothing."""
        if len(self.topics) > SUBSCRIPTION_TOPICS_MAX:
            return f"expected at most {SUBSCRIPTION_TOPICS_MAX} topics, found {len(self.topics)}"
        longest = max(map(len, self.topics), default=0)
        if longest > MEMBER_ID_CHARACTERS_MAX:
            return f"topic: expected at most {MEMBER_ID_CHARACTERS_MAX} characters, found {longest}"
        return ""


def read_subscription(metadata: bytes) -> Subscription | None:
    """Return a member's subscription; None if it is not one."""
    reader = _Reader(metadata)
    try:
        version, topics = _topics(reader)
        owned: TopicPartitions = ()
        if version >= 1:
            reader.take(max(reader.int32(), 0))
            owned = reader.topic_partitions()
    except (struct.error, ValueError):
        return None
    return Subscription(version=version, topics=topics, owned=owned)


def write_assignment(version: int, parts: TopicPartitions) -> bytes:
    """Return the bytes that give a member `parts`."""
    written = [_SHORT.pack(version), _INT.pack(len(parts))]
    for name, numbers in parts:
        text = name.encode()
        written += (_SHORT.pack(len(text)), text, _INT.pack(len(numbers)))
        written += [_INT.pack(number) for number in numbers]
    return b"".join([*written, _INT.pack(-1)])


def read_assignment(assignment: bytes) -> TopicPartitions | None:
    """Return what a leader gave a member, nothing for no bytes; None if it is no assignment."""
    if not assignment:
        return ()
    reader = _Reader(assignment)
    try:
        if reader.int16() < 0:
            return None
        return reader.topic_partitions()
    except (struct.error, ValueError):
        return None


def _topics(reader: "_Reader") -> tuple[int, tuple[str, ...]]:
    version = reader.int16()
    if version < 0:
        raise ValueError("negative version")
    return version, tuple(reader.string() for _ in range(reader.count()))


class _Reader:
    """Reads a message from its start; ValueError or struct.error where there is none."""

    __slots__ = ("_data", "_position")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._position = 0

    def int16(self) -> int:
        (value,) = _SHORT.unpack_from(self._data, self._position)
        self._position += _SHORT.size
        return int(value)

    def int32(self) -> int:
        (value,) = _INT.unpack_from(self._data, self._position)
        self._position += _INT.size
        return int(value)

    def count(self) -> int:
        count = self.int32()
        if not 0 <= count <= len(self._data):
            raise ValueError(f"{count} items in {len(self._data)} bytes")
        return count

    def take(self, length: int) -> bytes:
        end = self._position + length
        if length < 0 or end > len(self._data):
            raise ValueError(f"{length} bytes at {self._position} of {len(self._data)}")
        taken = self._data[self._position : end]
        self._position = end
        return taken

    def string(self) -> str:
        return self.take(self.int16()).decode()

    def number(self) -> int:
        number = self.int32()
        if number < 0:
            raise ValueError(f"partition {number}")
        return number

    def topic_partitions(self) -> TopicPartitions:
        return tuple(
            (self.string(), tuple(self.number() for _ in range(self.count())))
            for _ in range(self.count())
        )
