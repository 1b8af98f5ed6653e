"""The codecs: framings, damage, and bytes that claim to be gigabytes."""

import gzip
import random
import subprocess
import sys
import tracemalloc
import zlib
from collections.abc import Callable

import cramjam
import pytest

from trimaran.errors import ErrorCode, RequestError
from trimaran.records import compression
from trimaran.records.batch import Codec
from trimaran.records.compression import (
    INFLATED_BYTES_MAX,
    INFLATED_FREE_BYTES,
    PARTS_MAX,
    compress,
    decompress,
)

PLAIN = b"".join(b"event %d, " % i for i in range(5000))
PACKING = [Codec.GZIP, Codec.SNAPPY, Codec.LZ4, Codec.ZSTD]


def error_of(codec: int, compressed: bytes, **limits: int) -> ErrorCode:
    with pytest.raises(RequestError) as caught:
        decompress(codec, compressed, **limits)
    return caught.value.code


@pytest.mark.parametrize("codec", list(Codec))
@pytest.mark.parametrize("plain", [b"", b"x", PLAIN, random.Random(4).randbytes(300_000)])
def test_what_was_compressed_comes_back(codec: Codec, plain: bytes) -> None:
    assert decompress(codec, memoryview(compress(codec, plain))) == plain


def test_raw_snappy_is_read_too() -> None:
    assert decompress(Codec.SNAPPY, bytes(cramjam.snappy.compress_raw(PLAIN))) == PLAIN


def test_xerial_snappy_of_several_blocks_is_read() -> None:
    framed = compress(Codec.SNAPPY, PLAIN)

    assert decompress(Codec.SNAPPY, framed + framed[16:]) == PLAIN + PLAIN


@pytest.mark.parametrize("cut", [1, 8])
def test_gzip_of_several_members_is_read(cut: int) -> None:
    members = [gzip.compress(PLAIN[i::cut]) for i in range(cut)]

    assert decompress(Codec.GZIP, b"".join(members)) == b"".join(PLAIN[i::cut] for i in range(cut))


def test_what_follows_a_gzip_member_is_not_copied_for_each(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rests = []

    class Member:
        def __init__(self, **window: int) -> None:
            self.inner = original(**window)

        def __getattr__(self, name: str) -> object:
            found = getattr(self.inner, name)
            if name == "unused_data":
                rests.append(len(found))
            return found

    original = zlib.decompressobj
    monkeypatch.setattr(compression.zlib, "decompressobj", Member)
    members = [gzip.compress(b"%d" % number) for number in range(3000)]

    plain = decompress(Codec.GZIP, b"".join(members))

    assert plain == b"".join(b"%d" % number for number in range(3000))
    assert max(rests) <= 16 * 1024


def xerial(blocks: int) -> bytes:
    """Return so many snappy blocks, each of one byte that says that nothing is in it."""
    return compress(Codec.SNAPPY, b"")[:16] + b"\x00\x00\x00\x01\x00" * blocks


@pytest.mark.parametrize(
    ("codec", "parts"), [(Codec.GZIP, gzip.compress(b"").__mul__), (Codec.SNAPPY, xerial)]
)
def test_more_parts_than_clients_make_are_refused(
    codec: Codec, parts: Callable[[int], bytes]
) -> None:
    assert decompress(codec, parts(PARTS_MAX)) == b""
    assert error_of(codec, parts(PARTS_MAX + 1)) is ErrorCode.INVALID_RECORD


def test_snappy_in_blocks_of_java_is_read_up_to_the_largest_batch() -> None:
    plain = bytes(32 * 1024)
    block = compress(Codec.SNAPPY, plain)
    count = INFLATED_BYTES_MAX // len(plain)

    assert len(decompress(Codec.SNAPPY, block + block[16:] * (count - 1))) == INFLATED_BYTES_MAX


@pytest.mark.parametrize("codec", PACKING)
def test_data_that_end_early_are_refused(codec: Codec) -> None:
    compressed = compress(codec, PLAIN)

    for end in (2, 9, 12, 18, len(compressed) // 2, len(compressed) - 1):
        assert error_of(codec, compressed[:end]) is ErrorCode.INVALID_RECORD


@pytest.mark.parametrize("codec", PACKING)
def test_noise_is_refused(codec: Codec) -> None:
    assert error_of(codec, b"\xfe\xdc\xba" * 30) is ErrorCode.INVALID_RECORD


def test_a_negative_snappy_block_is_refused() -> None:
    framed = bytearray(compress(Codec.SNAPPY, PLAIN))
    framed[16] = 0xFF

    assert error_of(Codec.SNAPPY, bytes(framed)) is ErrorCode.INVALID_RECORD


def test_an_undefined_codec_is_unsupported() -> None:
    assert error_of(6, b"") is ErrorCode.UNSUPPORTED_COMPRESSION_TYPE


@pytest.mark.parametrize("codec", PACKING)
def test_an_honest_megabyte_of_equal_bytes_passes(codec: Codec) -> None:
    plain = bytes(1024 * 1024)

    assert decompress(codec, compress(codec, plain)) == plain


@pytest.mark.parametrize("codec", PACKING)
def test_a_bomb_is_refused_within_the_limit(codec: Codec) -> None:
    if codec is Codec.GZIP:
        packer = zlib.compressobj(wbits=31)
        bomb = b"".join(packer.compress(bytes(1 << 20)) for _ in range(200)) + packer.flush()
    else:
        bomb = compress(codec, bytes(200 << 20))

    tracemalloc.start()
    assert error_of(codec, bomb) is ErrorCode.INVALID_RECORD
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert peak < 3 * compression.INFLATED_BYTES_MAX


def test_a_small_bomb_meets_the_ratio_and_a_caller_may_ask_for_less() -> None:
    bomb = compress(Codec.ZSTD, bytes(INFLATED_FREE_BYTES + 1))

    assert error_of(Codec.ZSTD, bomb) is ErrorCode.INVALID_RECORD
    assert error_of(Codec.GZIP, gzip.compress(PLAIN), bytes_max=100) is ErrorCode.INVALID_RECORD
    assert error_of(Codec.SNAPPY, compress(Codec.SNAPPY, PLAIN), bytes_max=9) is (
        ErrorCode.INVALID_RECORD
    )


@pytest.mark.parametrize("codec", [Codec.NONE, Codec.GZIP])
def test_the_library_is_loaded_by_its_own_codecs_only(codec: Codec) -> None:
    program = (
        "import sys; from trimaran.records.compression import compress, decompress\n"
        f"assert decompress({int(codec)}, compress({int(codec)}, b'plain')) == b'plain'\n"
        "assert 'cramjam' not in sys.modules"
    )

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)

    assert done.returncode == 0, done.stderr
