"""Metadata, versions 0 to 12, from parts that can be kept.

An answer for a hundred topics is asked for by every client at the moment of a failover. A topic's
bytes depend on the image and on the layout only, so `encode_topic` makes them once and a
`MetadataResponse` takes them as they are. Versions with the same layout share them: `layout`.

Version notes: 1 racks, controller, internal topics; 2 cluster id; 3 throttle time; 4 asks for
auto-creation or not; 5 offline replicas; 7 leader epochs; 8 authorized operations; 9 flexible;
10 topic ids (KIP-516); 11 no cluster operations any more; 12 topics by id.

Does not: keep the parts; who knows when the image changes does.
"""

from struct import Struct

from trimaran.protocol.api import APIS, ApiKey
from trimaran.protocol.messages.cluster import (
    MetadataRequest,
    MetadataRequestTopic,
    MetadataResponse,
    MetadataResponseBroker,
    MetadataResponsePartition,
    MetadataResponseTopic,
)
from trimaran.protocol.messages.common import ZERO_TOPIC_ID
from trimaran.protocol.wire import Reader, Writer

_FLEXIBLE_FROM = APIS[ApiKey.METADATA].flexible_from
_LAYOUTS = (0, 1, 1, 1, 1, 5, 5, 7, 8, 9, 10, 10, 12)
"""For each version the lowest one whose topics have the same bytes; 12 may have a null name."""
_PARTITION = Struct(">hii")
_PARTITION_V7 = Struct(">hiii")


def layout(version: int) -> int:
    """Return the lowest version in which topics look as in `version`: the key to keep them by."""
    return _LAYOUTS[version]


def encode_topic(topic: MetadataResponseTopic, version: int) -> bytes:
    """Return a topic's bytes, for every version with the same `layout`."""
    writer = Writer(flexible=version >= _FLEXIBLE_FROM)
    writer.buffer.clear()
    _write_topic(writer, version, topic)
    return bytes(writer.buffer)


def decode_request(reader: Reader, version: int) -> MetadataRequest:
    """Read the body of a request."""
    topics = None
    count = reader.nullable_count()
    if count is not None:
        topics = [_read_topic(reader, version) for _ in range(count)]
    if version == 0 and not topics:
        topics = None
    auto_creation = reader.boolean() if version >= 4 else True
    cluster_operations = reader.boolean() if 8 <= version <= 10 else False
    topic_operations = reader.boolean() if version >= 8 else False
    reader.end_struct()
    return MetadataRequest(
        topics=topics,
        allow_auto_topic_creation=auto_creation,
        include_cluster_authorized_operations=cluster_operations,
        include_topic_authorized_operations=topic_operations,
    )


def encode_response(writer: Writer, version: int, response: MetadataResponse) -> None:
    """Append the body of an answer."""
    if version >= 3:
        writer.int32(response.throttle_time_ms)
    writer.count(len(response.brokers))
    for broker in response.brokers:
        _write_broker(writer, version, broker)
    if version >= 2:
        writer.string(response.cluster_id)
    if version >= 1:
        writer.int32(response.controller_id)
    writer.count(len(response.topics))
    for topic in response.topics:
        if isinstance(topic, MetadataResponseTopic):
            _write_topic(writer, version, topic)
        else:
            writer.buffer += topic
    if 8 <= version <= 10:
        writer.int32(response.cluster_authorized_operations)
    writer.end_struct()


def _read_topic(reader: Reader, version: int) -> MetadataRequestTopic:
    topic_id = reader.uuid() if version >= 10 else ZERO_TOPIC_ID
    name = reader.nullable_string() if version >= 10 else reader.string()
    reader.end_struct()
    return MetadataRequestTopic(topic_id=topic_id, name=name)


def _write_broker(writer: Writer, version: int, broker: MetadataResponseBroker) -> None:
    writer.int32(broker.node_id)
    writer.string(broker.host)
    writer.int32(broker.port)
    if version >= 1:
        writer.string(broker.rack)
    writer.end_struct()


def _write_topic(writer: Writer, version: int, topic: MetadataResponseTopic) -> None:
    assert version >= 12 or topic.name is not None, "only version 12 knows topics without a name"
    writer.int16(topic.error_code)
    writer.string(topic.name)
    if version >= 10:
        writer.uuid(topic.topic_id)
    if version >= 1:
        writer.boolean(topic.is_internal)
    writer.count(len(topic.partitions))
    for partition in topic.partitions:
        _write_partition(writer, version, partition)
    if version >= 8:
        writer.int32(topic.topic_authorized_operations)
    writer.end_struct()


def _write_partition(writer: Writer, version: int, partition: MetadataResponsePartition) -> None:
    if version >= 7:
        writer.buffer += _PARTITION_V7.pack(
            partition.error_code,
            partition.partition_index,
            partition.leader_id,
            partition.leader_epoch,
        )
    else:
        writer.buffer += _PARTITION.pack(
            partition.error_code, partition.partition_index, partition.leader_id
        )
    writer.int32_array(partition.replica_nodes)
    writer.int32_array(partition.isr_nodes)
    if version >= 5:
        writer.int32_array(partition.offline_replicas)
    writer.end_struct()
