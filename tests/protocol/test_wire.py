"""Kafka's primitive types, and what is no such value."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimaran.errors import ProtocolError
from trimaran.protocol.wire import ITEMS_MAX, Reader, Writer


def reader(data: bytes, *, flexible: bool = False) -> Reader:
    return Reader(memoryview(data), flexible=flexible)


def written(writer: Writer) -> bytes:
    return b"".join(writer.finish())[4:]


@pytest.mark.parametrize("flexible", [False, True])
@given(
    text=st.none() | st.text(max_size=200),
    numbers=st.lists(st.integers(-(2**31), 2**31 - 1), max_size=150),
    varint=st.integers(0, 2**32 - 1),
)
def test_values_come_back(
    text: str | None, numbers: list[int], varint: int, *, flexible: bool
) -> None:
    writer = Writer(flexible=flexible)
    writer.string(text)
    writer.int32_array(numbers)
    writer.uvarint(varint)
    writer.end_struct()

    source = reader(written(writer), flexible=flexible)

    assert source.nullable_string() == text
    assert source.int32_array() == tuple(numbers)
    assert source.uvarint() == varint
    source.end_struct()
    assert source.position == len(source.data)


@pytest.mark.parametrize(
    ("varint", "expected"),
    [
        (b"\x00", 0),
        (b"\x7f", 127),
        (b"\x80\x01", 128),
        (b"\x80\x00", 0),
        (b"\xff\xff\xff\xff\x0f", 2**32 - 1),
    ],
)
def test_varints_are_read(varint: bytes, expected: int) -> None:
    assert reader(varint).uvarint() == expected


@pytest.mark.parametrize("varint", [b"\xff\xff\xff\xff\x10", b"\xff\xff\xff\xff\xff\x01"])
def test_varints_beyond_32_bits_are_refused(varint: bytes) -> None:
    with pytest.raises(ProtocolError, match="a varint of more than"):
        reader(varint).uvarint()


@pytest.mark.parametrize(
    ("data", "read", "flexible"),
    [
        (b"\xff\xff", Reader.string, False),
        (b"\x00", Reader.string, True),
        (b"\xff\xfe", Reader.nullable_string, False),
        (b"\x00\x05abc", Reader.string, False),
        (b"\x06abc", Reader.string, True),
        (b"\xff\xff\xff\xfe", Reader.nullable_bytes, False),
        (b"\x00\x00\x00\x05abc", Reader.nullable_bytes, False),
        (b"\xff\xff\xff\xff", Reader.count, False),
        (b"\x00", Reader.count, True),
        (b"\xff\xff\xff\xfe", Reader.nullable_count, False),
        (b"\x7f\xff\xff\xff", Reader.nullable_count, False),
        (b"\xff\xff\xff\xff\x0f", Reader.nullable_count, True),
        (b"\x00\x00\x00\x02x", Reader.int32_array, False),
        (b"\x01\x05\x09", Reader.end_struct, True),
        (b"short", Reader.uuid, False),
    ],
)
def test_lengths_that_do_not_fit_are_refused(data: bytes, read: object, *, flexible: bool) -> None:
    assert callable(read)
    with pytest.raises(ProtocolError):
        read(reader(data, flexible=flexible))


def test_nulls_are_read() -> None:
    assert reader(b"\xff\xff").nullable_string() is None
    assert reader(b"\x00", flexible=True).nullable_bytes() is None
    assert reader(b"\xff\xff\xff\xff").nullable_count() is None


def test_elements_are_counted_over_the_whole_frame() -> None:
    half = (ITEMS_MAX // 2 + 1).to_bytes(4, "big")
    source = reader(half + half + bytes(ITEMS_MAX))

    source.count()
    with pytest.raises(ProtocolError, match="elements announced"):
        source.count()


def test_unknown_tagged_fields_are_skipped() -> None:
    source = reader(b"\x02\x05\x02ab\xe3\x8a\x12\x00Z", flexible=True)

    source.end_struct()

    assert source.data[source.position :] == b"Z"


def test_payloads_are_not_copied() -> None:
    writer = Writer()
    payload, other = b"payload", memoryview(b"other")
    writer.int8(1)
    writer.payloads([payload, other])
    writer.payloads([])
    writer.payloads([payload])

    buffers = writer.finish()

    assert buffers[1] is payload
    assert buffers[2] is other
    assert buffers[-1] is payload
    assert b"".join(buffers) == (
        b"\x00\x00\x00\x20\x01\x00\x00\x00\x0cpayloadother\x00\x00\x00\x00\x00\x00\x00\x07payload"
    )


def test_a_string_of_more_than_16_bits_needs_a_flexible_version() -> None:
    writer = Writer(flexible=True)
    writer.string("x" * 2**15)

    assert len(written(writer)) == 2**15 + 3
    with pytest.raises(ProtocolError, match="32768 bytes"):
        Writer().string("x" * 2**15)
    Writer().string("x" * (2**15 - 1))


@pytest.mark.parametrize("flexible", [False, True])
def test_the_same_array_once_more_is_the_same_bytes(flexible: bool) -> None:
    names, others = ["a", "b"], [["a"], ["b"], ["a", "b"]]
    writer, plain = Writer(flexible=flexible), Writer(flexible=flexible)

    for items in (names, names, *others, names):
        writer.array(items, Writer.string)
        plain.array(list(items), Writer.string)
    writer.array([names, names], lambda to, items: to.array(items, Writer.string))
    plain.array([names, ["a", "b"]], lambda to, items: to.array(items, Writer.string))

    assert writer.finish() == plain.finish()


def test_an_array_around_payloads_is_written_each_time() -> None:
    writer = Writer()
    items = [[b"xyz"], [b"uv"]]

    writer.array(items, Writer.payloads)
    writer.array(items, Writer.payloads)

    once = b"\0\0\0\2\0\0\0\3xyz\0\0\0\2uv"
    assert b"".join(bytes(part) for part in writer.finish())[4:] == once * 2
