"""OffsetForLeaderEpoch, versions 2 to 4: asked by consumers after every change of a leader.

Version notes: 3 replica id; 4 flexible.

Does not: know epochs.
"""

from trimaran.protocol.messages.fetch import (
    EpochEndOffset,
    OffsetForLeaderEpochRequest,
    OffsetForLeaderEpochResponse,
    OffsetForLeaderPartition,
    OffsetForLeaderTopic,
    OffsetForLeaderTopicResult,
)
from trimaran.protocol.wire import Reader, Writer


def decode_request(reader: Reader, version: int) -> OffsetForLeaderEpochRequest:
    """Read the body of a request."""
    replica_id = reader.int32() if version >= 3 else -2
    topics = [_read_topic(reader) for _ in range(reader.count())]
    reader.end_struct()
    return OffsetForLeaderEpochRequest(replica_id=replica_id, topics=topics)


def encode_response(writer: Writer, _version: int, response: OffsetForLeaderEpochResponse) -> None:
    """Append the body of an answer."""
    writer.int32(response.throttle_time_ms)
    writer.array(response.topics, _write_topic)
    writer.end_struct()


def _read_topic(reader: Reader) -> OffsetForLeaderTopic:
    topic = reader.string()
    partitions = [_read_partition(reader) for _ in range(reader.count())]
    reader.end_struct()
    return OffsetForLeaderTopic(topic=topic, partitions=partitions)


def _read_partition(reader: Reader) -> OffsetForLeaderPartition:
    partition = reader.int32()
    current_leader_epoch = reader.int32()
    leader_epoch = reader.int32()
    reader.end_struct()
    return OffsetForLeaderPartition(
        partition=partition, current_leader_epoch=current_leader_epoch, leader_epoch=leader_epoch
    )


def _write_topic(writer: Writer, topic: OffsetForLeaderTopicResult) -> None:
    writer.string(topic.topic)
    writer.array(topic.partitions, _write_partition)
    writer.end_struct()


def _write_partition(writer: Writer, partition: EpochEndOffset) -> None:
    writer.int16(partition.error_code)
    writer.int32(partition.partition)
    writer.int32(partition.leader_epoch)
    writer.int64(partition.end_offset)
    writer.end_struct()
