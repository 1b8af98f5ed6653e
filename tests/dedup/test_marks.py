"""The payload of a DEDUP_MARK entry."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimaran.dedup.marks import DedupMark, decode_mark, encode_mark
from trimaran.errors import ProtocolError

MARK = DedupMark(producer_id=7, epoch=2, first_sequence=5, last_sequence=9, original_offset=1 << 40)


def test_mark_is_as_the_byte_table_says():
    assert encode_mark(MARK) == bytes.fromhex(
        "01 0000000000000007 0002 00000005 00000009 0000010000000000"
    )


@given(
    st.builds(
        DedupMark,
        producer_id=st.integers(0, 2**63 - 1),
        epoch=st.integers(0, 2**15 - 1),
        first_sequence=st.integers(0, 2**31 - 1),
        last_sequence=st.integers(0, 2**31 - 1),
        original_offset=st.integers(0, 2**63 - 1),
    )
)
def test_decode_gives_back_what_was_encoded(mark):
    assert decode_mark(memoryview(encode_mark(mark))) == mark


@pytest.mark.parametrize("length", [0, 1, 26, 28])
def test_another_size_is_refused(length):
    with pytest.raises(ProtocolError, match=f"expected 27 bytes, found {length}"):
        decode_mark((encode_mark(MARK) + b"\0")[:length])


@pytest.mark.parametrize(
    ("position", "value", "found"),
    [
        (0, 2, "expected version 1, found 2"),
        (1, 0x80, "out of range"),
        (9, 0x80, "out of range"),
        (11, 0x80, "out of range"),
        (15, 0x80, "out of range"),
        (19, 0x80, "out of range"),
    ],
)
def test_values_that_no_mark_has_are_refused(position, value, found):
    payload = bytearray(encode_mark(MARK))
    payload[position] = value

    with pytest.raises(ProtocolError, match=found):
        decode_mark(bytes(payload))
