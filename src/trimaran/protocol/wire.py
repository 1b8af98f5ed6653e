"""Kafka's primitive types: bytes to values under bounds, values to bytes.

Big-endian. What changes at a message's first flexible version (KIP-482) is decided once, by the
`flexible` flag:

    type      before                            flexible ("compact")
    string    length i16 (-1 null), UTF-8       length + 1 as uvarint (0 null), UTF-8
    bytes     length i32 (-1 null)              length + 1 as uvarint (0 null)
    array     count i32 (-1 null)               count + 1 as uvarint (0 null)
    struct    its fields                        its fields, then tagged fields:
                                                count uvarint, each: tag, size uvarints, bytes

uvarint: seven bits a byte, low bits first, at most five bytes.

The reader is total: any bytes give values or one of `MALFORMED`, which `codec` turns into a
ProtocolError; nothing is allocated by a declared count or length before the bytes were seen.

Does not: know messages.
"""

import struct
from collections.abc import Callable, Sequence
from struct import Struct
from typing import Final, TypeVar

from trimaran.errors import ProtocolError
from trimaran.ids import TopicId
from trimaran.records.entry import Payload

Item = TypeVar("Item")

MALFORMED: Final = (ProtocolError, struct.error, IndexError, UnicodeDecodeError)
"""What reading bytes that are no message may raise; nothing else."""

ITEMS_MAX: Final = 25_000
"""Array elements in one request, all arrays together: an element may take 2 bytes on the wire and
100 in memory, and a microsecond to read, so a frame's size alone bounds neither memory nor the time
that others wait. A cluster has at most 10,000 partitions, each perhaps of a topic of its own.
"""

INT8: Final = Struct(">b")
INT16: Final = Struct(">h")
UINT16: Final = Struct(">H")
INT32: Final = Struct(">i")
INT64: Final = Struct(">q")

_UVARINT_SHIFT_MAX = 28
_UVARINT_MAX = 2**32 - 1
_UUID_BYTES = 16
_STRING_BYTES_MAX = 2**15 - 1


class Reader:
    """Reads one frame from front to back. On the way of every request: plain slots."""

    __slots__ = ("data", "flexible", "items_left", "position")

    def __init__(self, data: memoryview, position: int = 0, *, flexible: bool = False) -> None:
        self.data = data
        self.position = position
        self.flexible = flexible
        self.items_left = ITEMS_MAX

    def fixed(self, layout: Struct) -> tuple[int, ...]:
        """Return the values of a struct of fixed size, one unpack for all of them."""
        position = self.position
        self.position = position + layout.size
        return layout.unpack_from(self.data, position)

    def int8(self) -> int:
        """Return an i8."""
        self.position += 1
        value: int = INT8.unpack_from(self.data, self.position - 1)[0]
        return value

    def int16(self) -> int:
        """Return an i16."""
        self.position += 2
        value: int = INT16.unpack_from(self.data, self.position - 2)[0]
        return value

    def uint16(self) -> int:
        """Return a u16: ports."""
        self.position += 2
        value: int = UINT16.unpack_from(self.data, self.position - 2)[0]
        return value

    def int32(self) -> int:
        """Return an i32."""
        self.position += 4
        value: int = INT32.unpack_from(self.data, self.position - 4)[0]
        return value

    def int64(self) -> int:
        """Return an i64."""
        self.position += 8
        value: int = INT64.unpack_from(self.data, self.position - 8)[0]
        return value

    def boolean(self) -> bool:
        """Return a bool; any byte but 0 is true."""
        return self.int8() != 0

    def uuid(self) -> TopicId:
        """Return the 16 bytes of a UUID."""
        return TopicId(bytes(self.take(_UUID_BYTES)))

    def uvarint(self) -> int:
        """Return an unsigned varint of at most 32 bits."""
        data = self.data
        position = self.position
        byte = data[position]
        if byte < 0x80:
            self.position = position + 1
            return byte
        value = byte & 0x7F
        shift = 7
        while True:
            position += 1
            byte = data[position]
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                break
            shift += 7
            if shift > _UVARINT_SHIFT_MAX:
                raise ProtocolError("a varint of more than five bytes")
        if value > _UVARINT_MAX:
            raise ProtocolError(f"a varint of more than 32 bits: {value}")
        self.position = position + 1
        return value

    def take(self, size: int) -> memoryview:
        """Return the next `size` bytes as a view on the frame."""
        start = self.position
        end = start + size
        if size < 0 or end > len(self.data):
            raise ProtocolError(
                f"{size} bytes at byte {start} of a frame of {len(self.data)}: beyond its end"
            )
        self.position = end
        return self.data[start:end]

    def nullable_string(self) -> str | None:
        """Return a string or None."""
        length = self.uvarint() - 1 if self.flexible else self.int16()
        if length < 0:
            self._check_null(length)
            return None
        return str(self.take(length), "utf-8")

    def string(self) -> str:
        """Return a string that must not be null."""
        value = self.nullable_string()
        if value is None:
            raise ProtocolError(f"a null string at byte {self.position}")
        return value

    def nullable_bytes(self) -> memoryview | None:
        """Return bytes as a view on the frame, or None."""
        length = self.uvarint() - 1 if self.flexible else self.int32()
        if length < 0:
            self._check_null(length)
            return None
        return self.take(length)

    def nullable_count(self) -> int | None:
        """Return how many elements of an array follow, or None for a null array.

        Raises:
            ProtocolError: more than the frame has bytes left, or than `ITEMS_MAX` in this frame.
        """
        count = self.uvarint() - 1 if self.flexible else self.int32()
        if count < 0:
            self._check_null(count)
            return None
        self.items_left -= count
        if count > len(self.data) - self.position or self.items_left < 0:
            raise ProtocolError(
                f"{count} elements announced with {len(self.data) - self.position} bytes left "
                f"(at most {ITEMS_MAX} in a request)"
            )
        return count

    def count(self) -> int:
        """Return how many elements of an array follow; it must not be null."""
        count = self.nullable_count()
        if count is None:
            raise ProtocolError(f"a null array at byte {self.position}")
        return count

    def int32_array(self) -> tuple[int, ...]:
        """Return an array of i32."""
        count = self.count()
        return self.fixed(Struct(f">{count}i"))

    def string_array(self) -> tuple[str, ...]:
        """Return an array of strings."""
        return tuple([self.string() for _ in range(self.count())])

    def end_struct(self) -> None:
        """Skip the tagged fields that end a struct, known or not; there are none if inflexible."""
        if not self.flexible:
            return
        if self.data[self.position] == 0:
            self.position += 1
            return
        for _ in range(self.uvarint()):
            self.uvarint()
            self.take(self.uvarint())

    def _check_null(self, length: int) -> None:
        if length < -1:
            raise ProtocolError(f"a length of {length} at byte {self.position}")


class Writer:
    """Builds one answer, its size in front. On the way of every answer: plain slots.

    Bytes gather in one buffer; payloads that are large already (`payloads`) stay what they are and
    stand between such buffers, so that nothing is copied.
    """

    __slots__ = ("_array", "_finished", "_finished_bytes", "buffer", "flexible")

    def __init__(self, *, flexible: bool = False) -> None:
        self.buffer = bytearray(4)
        self.flexible = flexible
        self._array: tuple[object, object, int, int] | None = None
        """The array that was appended last, by what, and where its bytes are in the buffer."""
        self._finished: list[Payload | bytearray] = []
        self._finished_bytes = 0

    def int8(self, value: int) -> None:
        """Append an i8."""
        self.buffer += INT8.pack(value)

    def int16(self, value: int) -> None:
        """Append an i16."""
        self.buffer += INT16.pack(value)

    def uint16(self, value: int) -> None:
        """Append a u16."""
        self.buffer += UINT16.pack(value)

    def int32(self, value: int) -> None:
        """Append an i32."""
        self.buffer += INT32.pack(value)

    def int64(self, value: int) -> None:
        """Append an i64."""
        self.buffer += INT64.pack(value)

    def boolean(self, value: bool) -> None:
        """Append a bool."""
        self.buffer.append(value)

    def uuid(self, value: TopicId) -> None:
        """Append the 16 bytes of a UUID."""
        assert len(value) == _UUID_BYTES
        self.buffer += value

    def uvarint(self, value: int) -> None:
        """Append an unsigned varint."""
        assert 0 <= value <= _UVARINT_MAX
        while value > 0x7F:
            self.buffer.append(value & 0x7F | 0x80)
            value >>= 7
        self.buffer.append(value)

    def string(self, value: str | None) -> None:
        """Append a string; None is null.

        Raises:
            ProtocolError: longer than an inflexible version can say. A client may have stored it
                through a flexible one, so this is nobody's bug.
        """
        if value is None:
            self._null(INT16)
            return
        encoded = value.encode()
        if self.flexible:
            self.uvarint(len(encoded) + 1)
        else:
            if len(encoded) > _STRING_BYTES_MAX:
                raise ProtocolError(
                    f"a string of {len(encoded)} bytes in a version of 16-bit lengths"
                )
            self.buffer += INT16.pack(len(encoded))
        self.buffer += encoded

    def count(self, count: int | None) -> None:
        """Append the number of elements of an array, or of bytes in a bytes field; None is null."""
        if count is None:
            self._null(INT32)
        elif self.flexible:
            self.uvarint(count + 1)
        else:
            self.buffer += INT32.pack(count)

    def int32_array(self, values: Sequence[int]) -> None:
        """Append an array of i32."""
        self.count(len(values))
        self.buffer += Struct(f">{len(values)}i").pack(*values)

    def array(self, items: Sequence[Item] | None, write: Callable[["Writer", Item], None]) -> None:
        """Append an array, each element by `write`; the same one once more is copied.

        Thousands of topics have the settings of one.
        """
        if items is None:
            self.count(None)
            return
        before, buffer = self._array, self.buffer
        if before is not None and before[0] is items and before[1] is write:
            buffer += buffer[before[2] : before[3]]
            return
        start = len(buffer)
        self.count(len(items))
        for item in items:
            write(self, item)
        if self.buffer is buffer:  # else payloads stand between
            self._array = (items, write, start, len(buffer))

    def payloads(self, payloads: Sequence[Payload]) -> None:
        """Append one bytes field that is made of `payloads`, none of them copied."""
        size = sum(map(len, payloads))
        self.count(size)
        if size > 0:
            self._finished.append(self.buffer)
            self._finished += payloads
            self._finished_bytes += len(self.buffer) + size
            self.buffer = bytearray()
            self._array = None

    def end_struct(self) -> None:
        """Append "no tagged fields", which ends a struct; nothing if inflexible."""
        if self.flexible:
            self.buffer.append(0)

    def finish(self) -> list[Payload | bytearray]:
        """Return the whole answer, to be sent in this order, its size filled in."""
        size = self._finished_bytes + len(self.buffer) - 4
        if not self._finished:
            INT32.pack_into(self.buffer, 0, size)
            return [self.buffer]
        first = self._finished[0]
        assert isinstance(first, bytearray), "payloads never stand first"
        INT32.pack_into(first, 0, size)
        if len(self.buffer) > 0:
            self._finished.append(self.buffer)
        return self._finished

    def _null(self, inflexible: Struct) -> None:
        if self.flexible:
            self.buffer.append(0)
        else:
            self.buffer += inflexible.pack(-1)
