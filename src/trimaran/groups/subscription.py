"""The topics that members of protocol type `consumer` say they want.

Kafka's ConsumerProtocolSubscription: version i16, then an array of strings (i32 count, i16 lengths)
in every version; what follows is not looked at. Does not: know other protocol types.
"""

import struct

_HEAD = struct.Struct(">hi")
_LENGTH = struct.Struct(">h")


def subscribed_topics(metadata: bytes) -> tuple[str, ...] | None:
    """Return the topics in a member's subscription; None if it is not one."""
    try:
        version, count = _HEAD.unpack_from(metadata)
        position = _HEAD.size
        if version < 0 or not 0 <= count <= len(metadata):
            return None
        topics = []
        for _ in range(count):
            (length,) = _LENGTH.unpack_from(metadata, position)
            position += _LENGTH.size
            if length < 0 or position + length > len(metadata):
                return None
            topics.append(metadata[position : position + length].decode())
            position += length
    except (struct.error, UnicodeDecodeError):
        return None
    return tuple(topics)
