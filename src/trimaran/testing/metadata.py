"""One Metadata request to one node: what that node itself says now, no client's cache between.

Metadata version 7 (the last without tagged fields that carries leader epochs), by kio.
Does not: follow redirections or retry.
"""

import io
import socket
import struct
from dataclasses import dataclass
from typing import IO

from kio.schema.metadata.v7.request import MetadataRequest, MetadataRequestTopic
from kio.schema.metadata.v7.response import MetadataResponse
from kio.schema.request_header.v1.header import RequestHeader
from kio.schema.response_header.v0.header import ResponseHeader
from kio.schema.types import TopicName
from kio.serial import entity_reader, entity_writer
from kio.static.primitive import i16, i32

ANSWER_BYTES_MAX = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class PartitionAnswer:
    """What a node says about one partition."""

    leader: int
    """-1: none."""
    leader_epoch: int
    replicas: tuple[int, ...]
    in_sync: tuple[int, ...]
    error: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicAnswer:
    """What a node says about one topic and about the cluster."""

    error: int
    partitions: dict[int, PartitionAnswer]
    brokers: dict[int, str]
    """HOST:PORT by node id."""


def ask_topic(host: str, port: int, topic: str, *, timeout_s: float) -> TopicAnswer:
    """Ask one node; does not create the topic.

    Raises:
        OSError: not reachable, no answer in time, or connection closed.
    """
    request = io.BytesIO()
    header = RequestHeader(
        request_api_key=MetadataRequest.__api_key__,
        request_api_version=i16(7),
        correlation_id=i32(1),
        client_id="trimaran-testing",
    )
    body = MetadataRequest(
        topics=(MetadataRequestTopic(name=TopicName(topic)),), allow_auto_topic_creation=False
    )
    entity_writer(RequestHeader)(request, header)
    entity_writer(MetadataRequest)(request, body)
    frame = request.getvalue()
    with (
        socket.create_connection((host, port), timeout_s) as connection,
        connection.makefile("rb") as stream,
    ):
        connection.sendall(struct.pack(">i", len(frame)) + frame)
        (length,) = struct.unpack(">i", exactly(stream, 4))
        assert 0 < length <= ANSWER_BYTES_MAX
        answer = exactly(stream, length)
    return decode(answer)


def exactly(stream: IO[bytes], count: int) -> bytes:
    """Return `count` bytes. Raises ConnectionError at the end of the stream."""
    data = stream.read(count)
    if len(data) < count:
        raise ConnectionError("the node closed the connection instead of answering")
    return data


def decode(answer: bytes) -> TopicAnswer:
    """Return the answer's first topic."""
    _, header_bytes = entity_reader(ResponseHeader)(answer, 0)
    response, _ = entity_reader(MetadataResponse)(answer, header_bytes)
    found = response.topics[0]
    return TopicAnswer(
        error=int(found.error_code),
        partitions={
            row.partition_index: PartitionAnswer(
                leader=row.leader_id,
                leader_epoch=row.leader_epoch,
                replicas=tuple(row.replica_nodes),
                in_sync=tuple(row.isr_nodes),
                error=int(row.error_code),
            )
            for row in found.partitions
        },
        brokers={node.node_id: f"{node.host}:{node.port}" for node in response.brokers},
    )
