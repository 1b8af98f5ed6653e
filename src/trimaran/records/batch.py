"""RecordBatch v2 seen from outside: its 61-byte header, the checks on arrival, the stamp.

A batch is opaque (design decision D2): the broker reads and checks the header, verifies the CRC-32C
and writes base offset and leader epoch, both of which lie outside the CRC. Nothing here looks at a
record. Layout, big-endian (Kafka: DefaultRecordBatch.java):

    offset  field                   offset  field
    0       base offset i64         27      base timestamp i64, ms
    8       batch length i32        35      max timestamp i64, ms
    12      leader epoch i32        43      producer id i64, -1 none
    16      magic i8 = 2            51      producer epoch i16
    17      CRC-32C u32             53      base sequence i32, -1 none
    21      attributes i16          57      record count i32
    23      last offset delta i32   61      records, compressed as one block if the codec is not 0

Batch length counts the bytes after itself: the whole batch is 12 + length. The CRC covers
[21, end). Attributes: bits 0-2 codec, 3 timestamp is log append time, 4 transactional, 5 control,
6 delete horizon.

Does not: decode or decompress records, nor judge producer sequences (dedup does).
"""

from enum import IntEnum
from struct import Struct

from trimaran.errors import ErrorCode, RequestError
from trimaran.records.checksum import crc32c
from trimaran.records.entry import Payload

HEADER = Struct(">qiibIhiqqqhii")
HEADER_BYTES = HEADER.size
assert HEADER_BYTES == 61

LENGTH_END = 12
"""Batch length counts from here."""
CRC_START = 21
"""First byte under the CRC."""
MAGIC = 2
SEQUENCE_MAX = 2**31 - 1

CODEC_MASK = 0x07
LOG_APPEND_TIME = 0x08
TRANSACTIONAL = 0x10
CONTROL = 0x20

_CRC = Struct(">I")
_BASE_OFFSET = Struct(">q")
_LEADER_EPOCH = Struct(">i")
_ATTRIBUTES = Struct(">h")
_MAX_TIMESTAMP = Struct(">q")
_LENGTH = Struct(">i")
_LENGTH_POSITION = 8
_CRC_POSITION = 17
_MAX_TIMESTAMP_POSITION = 35


class Codec(IntEnum):
    """How the records of a batch are compressed (attributes, bits 0-2)."""

    NONE = 0
    GZIP = 1
    SNAPPY = 2
    LZ4 = 3
    ZSTD = 4


class BatchHeader:
    """The header's fields as Python ints. Built once per batch: plain slots, not frozen."""

    __slots__ = (
        "attributes",
        "base_offset",
        "base_sequence",
        "base_timestamp",
        "batch_length",
        "crc",
        "last_offset_delta",
        "leader_epoch",
        "magic",
        "max_timestamp",
        "producer_epoch",
        "producer_id",
        "record_count",
    )

    def __init__(
        self,
        base_offset: int,
        batch_length: int,
        leader_epoch: int,
        magic: int,
        crc: int,
        attributes: int,
        last_offset_delta: int,
        base_timestamp: int,
        max_timestamp: int,
        producer_id: int,
        producer_epoch: int,
        base_sequence: int,
        record_count: int,
    ) -> None:
        """Take the fields in the order of the bytes."""
        self.base_offset = base_offset
        self.batch_length = batch_length
        self.leader_epoch = leader_epoch
        self.magic = magic
        self.crc = crc
        self.attributes = attributes
        self.last_offset_delta = last_offset_delta
        self.base_timestamp = base_timestamp
        self.max_timestamp = max_timestamp
        self.producer_id = producer_id
        self.producer_epoch = producer_epoch
        self.base_sequence = base_sequence
        self.record_count = record_count

    @property
    def size(self) -> int:
        """Bytes of the whole batch, this header included."""
        return LENGTH_END + self.batch_length

    @property
    def codec(self) -> int:
        """A `Codec` as int; 5 to 7 are not defined."""
        return self.attributes & CODEC_MASK

    @property
    def is_log_append_time(self) -> bool:
        """Whether every record's timestamp is `max_timestamp`, set by the broker."""
        return self.attributes & LOG_APPEND_TIME != 0

    @property
    def is_transactional(self) -> bool:
        """Whether the batch belongs to a transaction."""
        return self.attributes & TRANSACTIONAL != 0

    @property
    def is_control(self) -> bool:
        """Whether the batch holds a control record instead of events."""
        return self.attributes & CONTROL != 0

    @property
    def has_producer(self) -> bool:
        """Whether an idempotent producer wrote it, so that epoch and sequence mean something."""
        return self.producer_id >= 0

    @property
    def last_offset(self) -> int:
        """Offset of the last event, also where that event was removed by dedup or compaction."""
        return self.base_offset + self.last_offset_delta

    @property
    def last_sequence(self) -> int:
        """Sequence of the last event; after 2**31 - 1 comes 0. -1 without a sequence."""
        if self.base_sequence < 0:
            return -1
        return add_sequence(self.base_sequence, self.last_offset_delta)


def add_sequence(sequence: int, count: int) -> int:
    """Return the sequence `count` events after `sequence`; 0 follows 2**31 - 1 (Kafka, KIP-98)."""
    return (sequence + count) & SEQUENCE_MAX


def parse_header(buffer: Payload | bytearray) -> BatchHeader:
    """Return the header of the batch that starts at `buffer[0]`, unchecked.

    Raises:
        RequestError: INVALID_RECORD, fewer than 61 bytes.
    """
    if len(buffer) < HEADER_BYTES:
        raise _invalid(f"a batch has at least {HEADER_BYTES} bytes, found {len(buffer)}")
    return BatchHeader(*HEADER.unpack_from(buffer))


def validate(buffer: Payload | bytearray, *, max_bytes: int) -> BatchHeader:
    """Check what a producer sent for one partition and return its header.

    The checks are those of Kafka's LogValidator.validateBatch and ProduceRequest.validateRecords
    that need the header only. Whether zstd may be used (Produce 7) is the handler's question.

    Raises:
        RequestError: CORRUPT_MESSAGE if CRC or magic are wrong, MESSAGE_TOO_LARGE above
            `max_bytes`, else INVALID_RECORD.
    """
    header = parse_header(buffer)
    if not 0 <= header.magic <= MAGIC:
        raise RequestError(
            ErrorCode.CORRUPT_MESSAGE, f"magic: expected {MAGIC}, found {header.magic}"
        )
    if header.magic != MAGIC:
        raise _invalid(f"magic: expected {MAGIC}, found {header.magic}")
    if header.size != len(buffer):
        raise _invalid(
            f"expected exactly one batch: its header says {header.size} bytes, found {len(buffer)}"
        )
    if header.size > max_bytes:
        raise RequestError(
            ErrorCode.MESSAGE_TOO_LARGE, f"a batch of {header.size} bytes; at most {max_bytes}"
        )
    problem = _header_problem(header)
    if problem is not None:
        raise _invalid(problem)
    found = crc_of(buffer)
    if found != header.crc:
        raise RequestError(
            ErrorCode.CORRUPT_MESSAGE,
            f"CRC-32C of the batch: its header says {header.crc:#010x}, found {found:#010x}",
        )
    return header


def crc_of(buffer: Payload | bytearray) -> int:
    """Return the CRC-32C of the bytes of a batch that are under it."""
    with memoryview(buffer) as view, view[CRC_START:] as covered:
        return crc32c(covered)


def stamp(batch: bytearray | memoryview, *, base_offset: int, leader_epoch: int) -> None:
    """Write base offset and leader epoch into a batch, in place; the CRC stays right."""
    assert len(batch) >= HEADER_BYTES
    assert base_offset >= 0
    assert leader_epoch >= 0
    _BASE_OFFSET.pack_into(batch, 0, base_offset)
    _LEADER_EPOCH.pack_into(batch, LENGTH_END, leader_epoch)


def set_log_append_time(batch: bytearray | memoryview, timestamp_ms: int) -> None:
    """Give every record the time `timestamp_ms`, in place, and renew the CRC (KIP-32)."""
    assert len(batch) >= HEADER_BYTES
    assert timestamp_ms >= 0
    (attributes,) = _ATTRIBUTES.unpack_from(batch, CRC_START)
    _ATTRIBUTES.pack_into(batch, CRC_START, attributes | LOG_APPEND_TIME)
    _MAX_TIMESTAMP.pack_into(batch, _MAX_TIMESTAMP_POSITION, timestamp_ms)
    renew_crc(batch)


def renew_crc(batch: bytearray | memoryview) -> None:
    """Write the CRC-32C of `batch` as it now stands into its header."""
    with memoryview(batch) as view, view[CRC_START:] as covered:
        _CRC.pack_into(batch, _CRC_POSITION, crc32c(covered))


def rewrite(batch: Payload, block: bytes, codec: Codec) -> bytes:
    """Return `batch` with `block` in place of its records, which is compressed with `codec`."""
    header = bytearray(batch[:HEADER_BYTES])
    (attributes,) = _ATTRIBUTES.unpack_from(header, CRC_START)
    _ATTRIBUTES.pack_into(header, CRC_START, attributes & ~CODEC_MASK | codec)
    _LENGTH.pack_into(header, _LENGTH_POSITION, HEADER_BYTES - LENGTH_END + len(block))
    whole = header + block
    renew_crc(whole)
    return bytes(whole)


def _header_problem(header: BatchHeader) -> str | None:
    """Return what forbids to store a batch of one piece, None if nothing does."""
    if header.attributes > Codec.ZSTD or header.attributes < 0:
        problem = _attributes_problem(header)
        if problem is not None:
            return problem
    if header.base_offset != 0:
        return f"base offset: expected 0 from a producer, found {header.base_offset}"
    if header.record_count <= 0:
        return f"record count: expected at least 1, found {header.record_count}"
    if header.last_offset_delta + 1 != header.record_count:
        return (
            f"record count: expected {header.last_offset_delta + 1} by the last offset delta, "
            f"found {header.record_count}"
        )
    if header.producer_id >= 0 and (header.base_sequence < 0 or header.producer_epoch < 0):
        return (
            f"producer {header.producer_id}: expected epoch and sequence from 0, found "
            f"{header.producer_epoch} and {header.base_sequence}"
        )
    return None


def _attributes_problem(header: BatchHeader) -> str | None:
    """Return which attribute a producer may not set, None if all may be."""
    if header.is_control:
        return "control batches are written by brokers only"
    if header.is_transactional:
        return "transactions are not supported"
    if header.codec > Codec.ZSTD:
        return f"codec {header.codec} is not defined"
    return None


def _invalid(message: str) -> RequestError:
    return RequestError(ErrorCode.INVALID_RECORD, message)
