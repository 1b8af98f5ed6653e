"""What a topic says about its batches' timestamps, and the header that a batch gets at last.

Does not: look at records: a batch's header tells its first and its latest timestamp.
"""

from trimaran.errors import ErrorCode, RequestError
from trimaran.ids import Offset, Term
from trimaran.metadata.topic_settings import TopicSettings
from trimaran.records.batch import BatchHeader, set_log_append_time, stamp
from trimaran.records.entry import Payload

LOG_APPEND_TIME_TYPE = "LogAppendTime"


def judge_time(header: BatchHeader, settings: TopicSettings, log_time_ms: int) -> int:
    """Return the time that all records are to have; -1: those that their producer gave them.

    A batch without timestamps (-1) is not judged, as Kafka does.

    Raises:
        RequestError: INVALID_TIMESTAMP, too far from the log time.
    """
    if settings.message_timestamp_type == LOG_APPEND_TIME_TYPE:
        return log_time_ms
    ahead_ms = header.max_timestamp - log_time_ms
    if header.max_timestamp >= 0 and ahead_ms > settings.message_timestamp_after_max_ms:
        raise RequestError(
            ErrorCode.INVALID_TIMESTAMP, f"timestamp {header.max_timestamp}, {ahead_ms} ms ahead"
        )
    behind_ms = log_time_ms - header.base_timestamp
    if header.base_timestamp >= 0 and behind_ms > settings.message_timestamp_before_max_ms:
        raise RequestError(
            ErrorCode.INVALID_TIMESTAMP, f"timestamp {header.base_timestamp}, {behind_ms} ms old"
        )
    return -1


def stamped(
    batch: Payload | bytearray, base_offset: Offset, term: Term, append_time_ms: int
) -> memoryview:
    """Return a copy with its final header: the request's buffer is not ours to keep or change."""
    copy = bytearray(batch)
    if append_time_ms >= 0:
        set_log_append_time(copy, append_time_ms)
    stamp(copy, base_offset=base_offset, leader_epoch=term)
    return memoryview(copy).toreadonly()
