"""Small files that are replaced whole: a frame with magic, version, length and checksum.

    position  bytes  field
    0         4      magic of the file's kind
    4         2      format version, 1
    6         2      zero
    8         4      length of the body, n
    12        n      body
    12 + n    4      CRC-32C of everything before

All numbers are big-endian. A file is replaced by writing `<name>.new`, syncing it, renaming it over
the old one and syncing the directory: after a crash either the old or the new content is there.

Does not: know what a body means.
"""

import struct

from trimaran.errors import CorruptionError
from trimaran.records.checksum import crc32c
from trimaran.storage.files import Files

FORMAT_VERSION = 1
FRAME_HEAD = struct.Struct(">4sHHI")
CHECKSUM = struct.Struct(">I")
NEW_SUFFIX = ".new"
BODY_BYTES_MAX = 64 << 20
"""A longer body is a damaged length, not something we wrote."""


def encode_frame(magic: bytes, body: bytes) -> bytes:
    """Return the content of a file that holds `body`."""
    assert len(magic) == 4
    assert len(body) <= BODY_BYTES_MAX
    covered = FRAME_HEAD.pack(magic, FORMAT_VERSION, 0, len(body)) + body
    return covered + CHECKSUM.pack(crc32c(covered))


def decode_frame(path: str, magic: bytes, content: bytes) -> bytes:
    """Return the body held by `content`; `path` is named in errors.

    Raises:
        CorruptionError: anything but what `encode_frame` returns.
    """
    if len(content) < FRAME_HEAD.size + CHECKSUM.size:
        raise CorruptionError(path, 0, f"{len(content)} bytes are too few")
    found_magic, version, _, length = FRAME_HEAD.unpack_from(content)
    if found_magic != magic:
        raise CorruptionError(path, 0, f"expected magic {magic!r}, found {found_magic!r}")
    end = FRAME_HEAD.size + length
    if end + CHECKSUM.size != len(content):
        raise CorruptionError(path, 8, f"a body of {length} bytes in a file of {len(content)}")
    if CHECKSUM.unpack_from(content, end)[0] != crc32c(memoryview(content)[:end]):
        raise CorruptionError(path, end, "the checksum does not match")
    if version != FORMAT_VERSION:
        raise CorruptionError(path, 4, f"format version {version} is not {FORMAT_VERSION}")
    return content[FRAME_HEAD.size : end]


def read_whole(files: Files, path: str) -> bytes:
    """Return the content of a file that is small enough to be in memory.

    Raises:
        StorageError: it does not exist or cannot be read.
    """
    file = files.open(path)
    try:
        return file.pread(file.size(), 0)
    finally:
        file.close()


def replace_whole(files: Files, path: str, content: bytes) -> None:
    """Make `content` the durable content of `path`, or leave what was there.

    Raises:
        DiskFullError: no space; the old content stands.
        StorageError: anything else; either content may stand.
    """
    directory, _, _ = path.rpartition("/")
    new_path = path + NEW_SUFFIX
    if files.exists(new_path):
        files.remove(new_path)
    file = files.open(new_path, create=True)
    try:
        file.pwrite([content], 0)
        file.sync()
    finally:
        file.close()
    files.rename(new_path, path)
    files.sync_directory(directory or ".")
