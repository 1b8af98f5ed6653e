"""Whose data directory this is: cluster, node, disk. Written by `format`, never changed after.

The file `identity` is a frame (frames.py) with magic `TRID` and this body:

    position  bytes  field
    0         4      format version of the whole directory, 1
    4         4      node id
    8         16     disk id
    24        1      length of the cluster id, n
    25        n      cluster id, ASCII

A directory without it was never formatted (or lost everything): nobody may treat it as this node's.

Does not: mint ids, or decide what a wrong identity means for the process.
"""

import struct
from dataclasses import dataclass

from trimaran.errors import CorruptionError, StorageError
from trimaran.ids import ClusterId, DiskId, NodeId
from trimaran.storage.files import Files
from trimaran.storage.frames import decode_frame, encode_frame, read_whole, replace_whole

IDENTITY_PATH = "identity"
IDENTITY_MAGIC = b"TRID"
IDENTITY_BODY = struct.Struct(">II16sB")
STORE_VERSION = 1
CLUSTER_ID_BYTES_MAX = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Cluster, node and disk that a data directory belongs to."""

    cluster_id: ClusterId
    node_id: NodeId
    disk_id: DiskId
    format_version: int = STORE_VERSION


def encode_identity(identity: Identity) -> bytes:
    """Return the content of the identity file."""
    cluster = identity.cluster_id.encode("ascii")
    assert 0 < len(cluster) <= CLUSTER_ID_BYTES_MAX
    assert len(identity.disk_id) == 16
    head = IDENTITY_BODY.pack(
        identity.format_version, identity.node_id, identity.disk_id, len(cluster)
    )
    return encode_frame(IDENTITY_MAGIC, head + cluster)


def decode_identity(content: bytes) -> Identity:
    """Return the identity that `content` holds.

    Raises:
        CorruptionError: it does not pass its check.
        StorageError: a newer version of the program wrote this directory.
    """
    body = decode_frame(IDENTITY_PATH, IDENTITY_MAGIC, content)
    if len(body) < IDENTITY_BODY.size:
        raise CorruptionError(IDENTITY_PATH, 0, f"a body of {len(body)} bytes is too short")
    version, node_id, disk_id, length = IDENTITY_BODY.unpack_from(body)
    if version != STORE_VERSION:
        raise StorageError(
            f"{IDENTITY_PATH}: the directory has format version {version}, "
            f"this program reads version {STORE_VERSION}"
        )
    cluster = body[IDENTITY_BODY.size :]
    if len(cluster) != length or not cluster.isascii():
        raise CorruptionError(IDENTITY_PATH, 24, "the cluster id is not what its length says")
    return Identity(
        cluster_id=ClusterId(cluster.decode("ascii")),
        node_id=NodeId(node_id),
        disk_id=DiskId(disk_id),
        format_version=version,
    )


def write_identity(files: Files, identity: Identity) -> None:
    """Store `identity` durably; a directory that has one keeps it.

    Raises:
        StorageError: the directory is formatted already.
    """
    if files.exists(IDENTITY_PATH):
        raise StorageError(f"{IDENTITY_PATH}: the directory is formatted already")
    replace_whole(files, IDENTITY_PATH, encode_identity(identity))


def read_identity(files: Files) -> Identity:
    """Return whose directory this is.

    Raises:
        StorageError: never formatted, damaged, or written by a newer version.
    """
    if not files.exists(IDENTITY_PATH):
        raise StorageError(f"{IDENTITY_PATH}: missing, the directory was never formatted")
    return decode_identity(read_whole(files, IDENTITY_PATH))


def check_identity(files: Files, expected: Identity) -> None:
    """Make sure that the directory is `expected`'s.

    Raises:
        StorageError: it belongs to another cluster, node or disk.
    """
    found = read_identity(files)
    if found != expected:
        raise StorageError(f"{IDENTITY_PATH}: expected {expected}, found {found}")
