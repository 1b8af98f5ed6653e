"""Where one node says a partition's log ends: ListOffsets (latest) on a connection of its own.

Asked of a leader that was frozen and thawed: a node that answers with the end it knew before the
freeze serves stale data. A Kafka client cannot ask that, it follows the leader.
ListOffsets version 4 (the last with plain lengths that carries leader epochs), encoded by kio.
Does not: retry or look for the leader.
"""

import io
import socket
import struct

from kio.schema.list_offsets.v4.request import (
    ListOffsetsPartition,
    ListOffsetsRequest,
    ListOffsetsTopic,
)
from kio.schema.list_offsets.v4.response import ListOffsetsResponse
from kio.schema.request_header.v1.header import RequestHeader
from kio.schema.response_header.v0.header import ResponseHeader
from kio.schema.types import BrokerId, TopicName
from kio.serial import entity_reader, entity_writer
from kio.static.primitive import i8, i16, i32, i64

LATEST = i64(-1)
ORDINARY_CLIENT = BrokerId(-1)
ANSWER_BYTES_MAX = 1_048_576


def log_end(address: str, topic: str, partition: int, *, timeout_s: float) -> int | None:
    """Return the latest offset that the node at `address` vouches for; None if it declines.

    Raises:
        OSError: not reachable, no answer in time, or connection closed.
    """
    frame = io.BytesIO()
    entity_writer(RequestHeader)(
        frame,
        RequestHeader(
            request_api_key=ListOffsetsRequest.__api_key__,
            request_api_version=i16(4),
            correlation_id=i32(1),
            client_id="trimaran-bench",
        ),
    )
    asked = ListOffsetsPartition(
        partition_index=i32(partition), current_leader_epoch=i32(-1), timestamp=LATEST
    )
    request = ListOffsetsRequest(
        replica_id=ORDINARY_CLIENT,
        isolation_level=i8(0),
        topics=(ListOffsetsTopic(name=TopicName(topic), partitions=(asked,)),),
    )
    entity_writer(ListOffsetsRequest)(frame, request)
    answer = _exchange(address, frame.getvalue(), timeout_s)
    _, header_bytes = entity_reader(ResponseHeader)(answer, 0)
    response, _ = entity_reader(ListOffsetsResponse)(answer, header_bytes)
    one = response.topics[0].partitions[0]
    return None if one.error_code.value else int(one.offset)


def _exchange(address: str, frame: bytes, timeout_s: float) -> bytes:
    host, _, port = address.rpartition(":")
    with (
        socket.create_connection((host, int(port)), timeout_s) as connection,
        connection.makefile("rb") as stream,
    ):
        connection.sendall(struct.pack(">i", len(frame)) + frame)
        head = stream.read(4)
        length = struct.unpack(">i", head)[0] if len(head) == 4 else -1
        if not 0 < length <= ANSWER_BYTES_MAX:
            raise ConnectionError(f"{address}: expected an answer, found length {length}")
        answer = stream.read(length)
    if len(answer) < length:
        raise ConnectionError(f"{address} closed the connection in the middle of an answer")
    return answer
