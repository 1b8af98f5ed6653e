"""Produce, versions 3 to 11.

Version notes: 5 log start offset; 8 record errors (KIP-467); 9 flexible; 10 leader hints (KIP-951).
3, 4 and 6, 7 differ in meaning only (7 allows zstd, KIP-110).

Does not: look into the records; they stay a view on the frame.
"""

from struct import Struct

from trimaran.protocol.codecs.leader_hints import end_answer, end_partition
from trimaran.protocol.messages.produce import (
    BatchIndexAndErrorMessage,
    PartitionProduceData,
    PartitionProduceResponse,
    ProduceRequest,
    ProduceResponse,
    TopicProduceData,
)
from trimaran.protocol.wire import Reader, Writer

_ACKS_TIMEOUT = Struct(">hi")
_PARTITION = Struct(">ihqq")
_PARTITION_V5 = Struct(">ihqqq")
_CURRENT_LEADER_TAG = 0


def decode_request(reader: Reader, version: int) -> ProduceRequest:
    """Read the body of a request."""
    assert version >= 3
    transactional_id = reader.nullable_string()
    acks, timeout_ms = reader.fixed(_ACKS_TIMEOUT)
    topics = []
    for _ in range(reader.count()):
        name = reader.string()
        partitions = []
        for _ in range(reader.count()):
            index = reader.int32()
            records = reader.nullable_bytes()
            reader.end_struct()
            partitions.append(PartitionProduceData(index, records))
        reader.end_struct()
        topics.append(TopicProduceData(name, partitions))
    reader.end_struct()
    return ProduceRequest(transactional_id, acks, timeout_ms, topics)


def encode_response(writer: Writer, version: int, response: ProduceResponse) -> None:
    """Append the body of an answer."""
    writer.count(len(response.responses))
    for topic in response.responses:
        writer.string(topic.name)
        writer.count(len(topic.partition_responses))
        for partition in topic.partition_responses:
            _write_partition(writer, version, partition)
        writer.end_struct()
    writer.int32(response.throttle_time_ms)
    if version >= 10:
        end_answer(writer, response.node_endpoints)
    else:
        writer.end_struct()


def _write_partition(writer: Writer, version: int, partition: PartitionProduceResponse) -> None:
    if version >= 5:
        writer.buffer += _PARTITION_V5.pack(
            partition.index,
            partition.error_code,
            partition.base_offset,
            partition.log_append_time_ms,
            partition.log_start_offset,
        )
    else:
        writer.buffer += _PARTITION.pack(
            partition.index,
            partition.error_code,
            partition.base_offset,
            partition.log_append_time_ms,
        )
    if version >= 8:
        writer.array(partition.record_errors, _write_record_error)
        writer.string(partition.error_message)
    if version >= 10:
        end_partition(writer, _CURRENT_LEADER_TAG, partition.current_leader)
    else:
        writer.end_struct()


def _write_record_error(writer: Writer, record_error: BatchIndexAndErrorMessage) -> None:
    writer.int32(record_error.batch_index)
    writer.string(record_error.batch_index_error_message)
    writer.end_struct()
