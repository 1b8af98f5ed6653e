"""The refusal of events without a key on a compacted topic, as Kafka's LogValidator does it.

Does not: look at anything else in a record.
"""

from trimaran.dedup.id_scan import RecordError
from trimaran.records.entry import Payload
from trimaran.records.keys import first_without_key


def require_keys(batch: Payload) -> None:
    """Return if every record of `batch` has a key.

    Raises:
        RecordError: INVALID_RECORD, with the number of the first record that has none.
        RequestError: INVALID_RECORD, UNSUPPORTED_COMPRESSION_TYPE: the records cannot be read.
    """
    number = first_without_key(batch)
    if number is not None:
        raise RecordError(number, "a compacted topic cannot accept an event without a key")
