"""Fetch, versions 4 to 17.

Version notes: 5 log start offset; 7 sessions (KIP-227); 9 leader epochs (KIP-320); 11 rack
(KIP-392); 12 flexible, leader hint; 13 topic ids instead of names (KIP-516); 15 the replica id is a
tagged field, skipped; 16 node endpoints (KIP-951); 17 a tagged directory id, skipped.

Does not: copy records: they go out as the buffers they are.
"""

from struct import Struct

from trimaran.protocol.codecs.leader_hints import end_answer, end_partition
from trimaran.protocol.messages.fetch import (
    AbortedTransaction,
    FetchPartition,
    FetchRequest,
    FetchResponse,
    FetchTopic,
    ForgottenTopic,
    PartitionData,
)
from trimaran.protocol.wire import Reader, Writer

_LIMITS = Struct(">iiib")
_SESSION = Struct(">ii")
_ASKED_V4 = Struct(">iqi")
_ASKED_V5 = Struct(">iqqi")
_ASKED_V9 = Struct(">iiqqi")
_ASKED_V12 = Struct(">iiqiqi")
_PARTITION_V4 = Struct(">ihqq")
_PARTITION_V5 = Struct(">ihqqq")
_ANSWER_V7 = Struct(">ihi")
_CURRENT_LEADER_TAG = 1


def decode_request(reader: Reader, version: int) -> FetchRequest:
    """Read the body of a request."""
    assert version >= 4
    if version <= 14:
        reader.int32()
    max_wait_ms, min_bytes, max_bytes, isolation_level = reader.fixed(_LIMITS)
    request = FetchRequest(max_wait_ms, min_bytes, (), max_bytes, isolation_level)
    if version >= 7:
        request.session_id, request.session_epoch = reader.fixed(_SESSION)
    request.topics = [_read_topic(reader, version) for _ in range(reader.count())]
    if version >= 7:
        request.forgotten_topics_data = [
            _read_forgotten(reader, version) for _ in range(reader.count())
        ]
    if version >= 11:
        request.rack_id = reader.string()
    reader.end_struct()
    return request


def encode_response(writer: Writer, version: int, response: FetchResponse) -> None:
    """Append the body of an answer."""
    if version >= 7:
        writer.buffer += _ANSWER_V7.pack(
            response.throttle_time_ms, response.error_code, response.session_id
        )
    else:
        writer.int32(response.throttle_time_ms)
    writer.count(len(response.responses))
    for topic in response.responses:
        if version >= 13:
            writer.uuid(topic.topic_id)
        else:
            writer.string(topic.topic)
        writer.count(len(topic.partitions))
        for partition in topic.partitions:
            _write_partition(writer, version, partition)
        writer.end_struct()
    if version >= 16:
        end_answer(writer, response.node_endpoints)
    else:
        writer.end_struct()


def _read_topic(reader: Reader, version: int) -> FetchTopic:
    topic = FetchTopic()
    if version >= 13:
        topic.topic_id = reader.uuid()
    else:
        topic.topic = reader.string()
    topic.partitions = [_read_partition(reader, version) for _ in range(reader.count())]
    reader.end_struct()
    return topic


def _read_partition(reader: Reader, version: int) -> FetchPartition:
    epoch = last_epoch = log_start = -1
    if version >= 12:
        partition, epoch, offset, last_epoch, log_start, bytes_max = reader.fixed(_ASKED_V12)
        reader.end_struct()
    elif version >= 9:
        partition, epoch, offset, log_start, bytes_max = reader.fixed(_ASKED_V9)
    elif version >= 5:
        partition, offset, log_start, bytes_max = reader.fixed(_ASKED_V5)
    else:
        partition, offset, bytes_max = reader.fixed(_ASKED_V4)
    return FetchPartition(partition, offset, bytes_max, epoch, last_epoch, log_start)


def _read_forgotten(reader: Reader, version: int) -> ForgottenTopic:
    topic = ForgottenTopic()
    if version >= 13:
        topic.topic_id = reader.uuid()
    else:
        topic.topic = reader.string()
    topic.partitions = reader.int32_array()
    reader.end_struct()
    return topic


def _write_partition(writer: Writer, version: int, partition: PartitionData) -> None:
    if version >= 5:
        writer.buffer += _PARTITION_V5.pack(
            partition.partition_index,
            partition.error_code,
            partition.high_watermark,
            partition.last_stable_offset,
            partition.log_start_offset,
        )
    else:
        writer.buffer += _PARTITION_V4.pack(
            partition.partition_index,
            partition.error_code,
            partition.high_watermark,
            partition.last_stable_offset,
        )
    writer.array(partition.aborted_transactions, _write_aborted)
    if version >= 11:
        writer.int32(partition.preferred_read_replica)
    writer.payloads(partition.records)
    if version >= 12:
        end_partition(writer, _CURRENT_LEADER_TAG, partition.current_leader)


def _write_aborted(writer: Writer, aborted: AbortedTransaction) -> None:
    writer.int64(aborted.producer_id)
    writer.int64(aborted.first_offset)
    writer.end_struct()
