"""ListOffsets, versions 1 to 11.

Version notes: 2 isolation level and throttle time; 4 leader epochs (KIP-320); 6 flexible; 7 asks
for the largest timestamp with -3 (KIP-734); 8 for the earliest local offset with -4 (KIP-405); 9
for the end of the second tier with -5 (KIP-1005); 10 has a time-out (KIP-1075); 11 asks with -6 for
what is to be moved to the second tier next (KIP-1023).

Does not: find offsets.
"""

from trimaran.protocol.messages.fetch import (
    ListOffsetsPartition,
    ListOffsetsPartitionResponse,
    ListOffsetsRequest,
    ListOffsetsResponse,
    ListOffsetsTopic,
)
from trimaran.protocol.wire import Reader, Writer


def decode_request(reader: Reader, version: int) -> ListOffsetsRequest:
    """Read the body of a request."""
    replica_id = reader.int32()
    isolation_level = reader.int8() if version >= 2 else 0
    topics = [_read_topic(reader, version) for _ in range(reader.count())]
    timeout_ms = reader.int32() if version >= 10 else 0
    reader.end_struct()
    return ListOffsetsRequest(
        replica_id=replica_id,
        isolation_level=isolation_level,
        topics=topics,
        timeout_ms=timeout_ms,
    )


def encode_response(writer: Writer, version: int, response: ListOffsetsResponse) -> None:
    """Append the body of an answer."""
    if version >= 2:
        writer.int32(response.throttle_time_ms)
    writer.count(len(response.topics))
    for topic in response.topics:
        writer.string(topic.name)
        writer.count(len(topic.partitions))
        for partition in topic.partitions:
            _write_partition(writer, version, partition)
        writer.end_struct()
    writer.end_struct()


def _read_topic(reader: Reader, version: int) -> ListOffsetsTopic:
    name = reader.string()
    partitions = [_read_partition(reader, version) for _ in range(reader.count())]
    reader.end_struct()
    return ListOffsetsTopic(name=name, partitions=partitions)


def _read_partition(reader: Reader, version: int) -> ListOffsetsPartition:
    index = reader.int32()
    epoch = reader.int32() if version >= 4 else -1
    timestamp = reader.int64()
    reader.end_struct()
    return ListOffsetsPartition(
        partition_index=index, current_leader_epoch=epoch, timestamp=timestamp
    )


def _write_partition(writer: Writer, version: int, partition: ListOffsetsPartitionResponse) -> None:
    writer.int32(partition.partition_index)
    writer.int16(partition.error_code)
    writer.int64(partition.timestamp)
    writer.int64(partition.offset)
    if version >= 4:
        writer.int32(partition.leader_epoch)
    writer.end_struct()
