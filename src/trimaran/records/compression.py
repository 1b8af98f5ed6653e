"""The codecs of a batch's records, inflating under limits.

A few bytes can claim to be gigabytes (a "zip bomb"), so every decompression has a ceiling: an
absolute one and one that grows with the input. gzip is the standard library's; snappy, lz4 and zstd
are cramjam's, imported with the first such batch because a broker that does not decode never needs
them.

Snappy comes in two framings: raw, and Xerial's (snappy-java, what Java clients write):

    0   magic 82 53 4e 41 50 50 59 00     8   version i32    12   lowest compatible version i32
    16  blocks until the end, each: length i32, then that many bytes of raw snappy

Does not: look into the records.
"""

import zlib
from struct import Struct
from typing import Final

from trimaran.errors import ErrorCode, RequestError
from trimaran.records.batch import Codec

INFLATED_BYTES_MAX: Final = 64 * 1024 * 1024
"""No batch inflates to more. 64 times the largest batch that is accepted by default."""
INFLATED_FREE_BYTES: Final = 8 * 1024 * 1024
"""Up to here no ratio is asked for: a megabyte of equal bytes is honest and shrinks to a few."""
RATIO_MAX: Final = 1000
"""Above `INFLATED_FREE_BYTES`, at most this many bytes out for one byte in."""
PARTS_MAX: Final = 4096
"""Members of a gzip batch, or blocks of a snappy one: each costs time, however little is in it.

Java's snappy blocks hold 32 KiB, so that 2,048 make the largest batch; clients write one member.
"""

_GUESS_RATIO = 4
_GUESS_BYTES_MIN = 64 * 1024
_GZIP_WINDOW = 31
_SLICE_BYTES = 16 * 1024
_XERIAL_MAGIC = b"\x82SNAPPY\x00"
_XERIAL_HEADER_BYTES = 16
_XERIAL_VERSIONS = (1).to_bytes(4, "big") * 2
_LENGTH = Struct(">i")


def decompress(
    codec: int, compressed: bytes | memoryview, *, bytes_max: int = INFLATED_BYTES_MAX
) -> bytes:
    """Return what `compressed` was made of.

    Raises:
        RequestError: UNSUPPORTED_COMPRESSION_TYPE for a codec that is not defined, INVALID_RECORD
            for bytes that are not of that codec or inflate beyond the limits of this module.
    """
    limit = min(bytes_max, max(INFLATED_FREE_BYTES, RATIO_MAX * len(compressed)))
    if codec == Codec.NONE:
        return bytes(compressed)
    if codec == Codec.GZIP:
        return _gunzip(compressed, limit)
    if codec == Codec.SNAPPY:
        return _unsnap(bytes(compressed), limit)
    if codec in {Codec.LZ4, Codec.ZSTD}:
        return _inflate_frame(codec, compressed, limit)
    raise RequestError(ErrorCode.UNSUPPORTED_COMPRESSION_TYPE, f"codec {codec} is not defined")


def compress(codec: int, plain: bytes) -> bytes:
    """Return `plain` compressed as Kafka's own producer does it (snappy in Xerial's framing)."""
    if codec == Codec.NONE:
        return plain
    if codec == Codec.GZIP:
        deflater = zlib.compressobj(wbits=_GZIP_WINDOW)
        return deflater.compress(plain) + deflater.flush()
    import cramjam

    if codec == Codec.SNAPPY:
        block = bytes(cramjam.snappy.compress_raw(plain))
        return _XERIAL_MAGIC + _XERIAL_VERSIONS + _LENGTH.pack(len(block)) + block
    if codec == Codec.LZ4:
        # Kafka's Java clients refuse linked blocks (KIP-57).
        packer = cramjam.lz4.Compressor(block_linked=False, content_checksum=False)
        packer.compress(plain)
        return bytes(packer.finish())
    assert codec == Codec.ZSTD
    return bytes(cramjam.zstd.compress(plain))


def _gunzip(compressed: bytes | memoryview, limit: int) -> bytes:
    """Return one or more gzip members, inflated.

    They are fed in slices: what follows a member is copied with it, and the whole rest would be
    copied for each.
    """
    plain = bytearray()
    position = 0
    for _ in range(PARTS_MAX):
        member = zlib.decompressobj(wbits=_GZIP_WINDOW)
        while not member.eof:
            piece = compressed[position : position + _SLICE_BYTES]
            if not piece:
                raise _unusable("gzip", "the data end early")
            try:
                plain += member.decompress(piece, limit - len(plain) + 1)
            except zlib.error as error:
                raise _unusable("gzip", str(error)) from error
            if len(plain) > limit:
                raise _unusable("gzip", f"more than {limit} bytes inflated")
            position += len(piece) - len(member.unused_data)
        if position == len(compressed):
            return bytes(plain)
    raise _unusable("gzip", f"more than {PARTS_MAX} members")


def _unsnap(compressed: bytes, limit: int) -> bytes:
    """Return raw or Xerial-framed snappy, inflated."""
    if not compressed.startswith(_XERIAL_MAGIC):
        return _unsnap_block(compressed, limit)
    if len(compressed) < _XERIAL_HEADER_BYTES:
        raise _unusable("snappy", "the Xerial header ends early")
    plain = bytearray()
    position = _XERIAL_HEADER_BYTES
    blocks = 0
    while position < len(compressed):
        blocks += 1
        if blocks > PARTS_MAX:
            raise _unusable("snappy", f"more than {PARTS_MAX} blocks")
        start = position + _LENGTH.size
        if start > len(compressed):
            raise _unusable("snappy", "a block's length ends early")
        (length,) = _LENGTH.unpack_from(compressed, position)
        position = start + length
        if length < 0 or position > len(compressed):
            raise _unusable("snappy", f"a block of {length} bytes does not fit")
        plain += _unsnap_block(compressed[start:position], limit - len(plain))
    return bytes(plain)


def _unsnap_block(block: bytes, limit: int) -> bytes:
    """Return one raw snappy block, inflated; it declares its size in front."""
    import cramjam

    try:
        size = cramjam.snappy.decompress_raw_len(block)
        if size > limit:
            raise _unusable("snappy", f"{size} bytes declared, at most {limit} allowed")
        return bytes(cramjam.snappy.decompress_raw(block))
    except cramjam.DecompressionError as error:
        raise _unusable("snappy", str(error)) from error


def _inflate_frame(codec: int, compressed: bytes | memoryview, limit: int) -> bytes:
    """Return lz4 or zstd frames, inflated into a buffer that grows as long as it is too small.

    The library does not tell "too small" from "damaged" by type, so a damaged frame is tried
    again as well: at most six times, and each try ends at the damage.
    """
    import cramjam

    inflate = cramjam.lz4.decompress_into if codec == Codec.LZ4 else cramjam.zstd.decompress_into
    size = min(limit, max(_GUESS_BYTES_MIN, _GUESS_RATIO * len(compressed)))
    while True:
        plain = bytearray(size)
        try:
            used = inflate(compressed, plain)
        except cramjam.DecompressionError as error:
            if size == limit:
                raise _unusable(Codec(codec).name.lower(), f"{error} (limit {limit})") from error
            size = min(limit, size * _GUESS_RATIO)
        else:
            return bytes(memoryview(plain)[:used])


def _unusable(codec: str, found: str) -> RequestError:
    return RequestError(ErrorCode.INVALID_RECORD, f"{codec}: {found}")
