"""Event ids as hashes, and how an entry carries those of its events.

An id is known by 16 bytes of BLAKE2b: exact for all that can happen, the same length for every id.
A CloudEvents id counts together with its source; plain ids are one space, whatever header names
them. The hashes that travel with an entry say which event has which, so that followers read nothing
else (`Entry.event_ids`; big-endian):

    position  bytes  field
    0         1      form: 1 dense, 2 sparse
    dense:    16 n   hashes of the events at offset delta 0, 1, ... n - 1, nothing left out
    sparse:   4      number of ids, n
              4 n    offset deltas, rising
              16 n   hashes, in the same order

Does not: find ids in records (`id_scan`), or remember them (`id_window`).
"""

import struct
from collections.abc import Sequence
from hashlib import blake2b

from trimaran.errors import ProtocolError

HASH_BYTES = 16
ID_BYTES_MAX = 256
"""Longest event id; also the longest source of a CloudEvent."""

_DENSE = 1
_SPARSE = 2
_COUNT = struct.Struct(">I")
_CLOUD_EVENT = b"cloudevents"


def hash_id(event_id: bytes) -> bytes:
    """Return the 16 bytes that `event_id` is known by."""
    return blake2b(event_id, digest_size=HASH_BYTES).digest()


def hash_cloud_event(source: bytes, event_id: bytes) -> bytes:
    """Return the 16 bytes that the CloudEvent `event_id` of `source` is known by."""
    text = len(source).to_bytes(2, "big") + source + event_id
    return blake2b(text, digest_size=HASH_BYTES, person=_CLOUD_EVENT).digest()


def pack_ids(hashes: bytes, deltas: Sequence[int]) -> bytes:
    """Return what an entry carries: of the hashes, one behind the other, each with its delta.

    b"" without ids: an entry of a topic without dedup.
    """
    count = len(deltas)
    assert len(hashes) == HASH_BYTES * count
    if count == 0:
        return b""
    if deltas[-1] == count - 1:  # rising from 0 or above, so each is its number
        return b"\1" + hashes
    return b"\2" + struct.pack(f">I{count}I", count, *deltas) + hashes


def unpack_ids(packed: bytes) -> tuple[Sequence[int], bytes]:
    """Return offset deltas, and the hashes of those events one after the other.

    Raises:
        ProtocolError: bytes that `pack_ids` does not make.
    """
    form = packed[0] if packed else 0
    if form == _DENSE and len(packed) > 1 and len(packed) % HASH_BYTES == 1:
        return range(len(packed) // HASH_BYTES), packed[1:]
    if form == _SPARSE and len(packed) > _COUNT.size:
        (count,) = _COUNT.unpack_from(packed, 1)
        start = 1 + _COUNT.size + 4 * count
        if count > 0 and len(packed) == start + HASH_BYTES * count:
            deltas = struct.unpack_from(f">{count}I", packed, 1 + _COUNT.size)
            if all(deltas[at] < deltas[at + 1] for at in range(count - 1)):
                return deltas, packed[start:]
    raise ProtocolError(f"{len(packed)} bytes of form {form} are no event ids")
