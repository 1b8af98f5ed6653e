"""Which partition an event goes to: by its key as Kafka's Java clients choose.

Murmur2 (Austin Appleby's public-domain algorithm, with Kafka's seed), so that events of one key
come to one partition whichever client sent them.
Does not: know topics.
"""

_SEED = 0x9747B28C
_FACTOR = 0x5BD1E995
_MASK = 0xFFFF_FFFF


def partition_of_key(key: bytes, partitions: int) -> int:
    """Return the partition of `key`."""
    assert partitions > 0
    return (murmur2(key) & 0x7FFF_FFFF) % partitions


def murmur2(data: bytes) -> int:
    """Return the hash, 32 bits."""
    length = len(data)
    value = (_SEED ^ length) & _MASK
    whole = length & ~3
    for at in range(0, whole, 4):
        part = int.from_bytes(data[at : at + 4], "little") * _FACTOR & _MASK
        part = (part ^ part >> 24) * _FACTOR & _MASK
        value = value * _FACTOR & _MASK ^ part
    rest = data[whole:]
    if rest:
        value = (value ^ int.from_bytes(rest, "little")) * _FACTOR & _MASK
    value = (value ^ value >> 13) * _FACTOR & _MASK
    return value ^ value >> 15
