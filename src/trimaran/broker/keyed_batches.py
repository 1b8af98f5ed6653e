"""The refusal of events without a key on a compacted topic, as Kafka's LogValidator does it.

A small batch is looked through on the loop, at once. Others take a thread (`openings`): clients may
send hundreds of thousands of events in one batch, and a megabyte may inflate to 64.

Does not: look at anything else in a record.
"""

from trimaran.dedup.id_scan import RecordError
from trimaran.dedup.native import COMPILED
from trimaran.errors import ErrorCode, RequestError
from trimaran.records.batch import HEADER_BYTES, BatchHeader
from trimaran.records.compression import decompress
from trimaran.records.entry import Payload
from trimaran.records.keys import first_without_key

RECORDS_MAX = 1_000_000
"""A batch of more is refused: other partitions' batches wait for the thread that looks through it.
The most that librdkafka lets a batch hold (`batch.num.messages`)."""
RECORDS_AT_ONCE = 1_000
INFLATED_AT_ONCE = 1 << 20
"""What is larger than one of the two takes the loop milliseconds."""


def has_keys_at_once(batch: Payload, header: BatchHeader) -> bool:
    """Return whether every record of `batch` has a key; False: that is for a thread to find out.

    Raises:
        RequestError: as `require_keys`.
    """
    if header.record_count > RECORDS_AT_ONCE:
        return False
    with memoryview(batch) as view, view[HEADER_BYTES:] as packed:
        try:
            block = decompress(header.codec, packed, bytes_max=INFLATED_AT_ONCE)
        except RequestError:
            return False  # more than that, or damaged
    require_keys(block, header)
    return True


def require_keys(block: bytes, header: BatchHeader) -> None:
    """Return if every record in `block`, the inflated records of a batch, has a key.

    Raises:
        RecordError: INVALID_RECORD, with the number of the first record that has none.
        RequestError: INVALID_RECORD: these are no records. RECORD_LIST_TOO_LARGE.
    """
    count = header.record_count
    if count > RECORDS_MAX:
        raise RequestError(
            ErrorCode.RECORD_LIST_TOO_LARGE,
            f"a batch of {count} events, at most {RECORDS_MAX} on a compacted topic; "
            "let the producer make smaller ones (batch.num.messages, batch.size)",
        )
    last_delta = header.last_offset_delta
    if COMPILED is not None and COMPILED.have_keys(block, count, last_delta):
        return
    number = first_without_key(block, count=count, last_delta=last_delta)
    if number is not None:
        raise RecordError(number, "a compacted topic cannot accept an event without a key")
