"""One request to one node on a connection of its own: what that node itself says now.

A Kafka client follows leaders, caches, backs off and picks whichever node it likes, a frozen one
included; what a survivor or a thawed leader answers must be asked without one.
Does not: retry or look for the leader.
"""

import socket
import struct
from typing import Any

from trimaran.protocol.api import ApiKey
from trimaran.protocol.client_codec import decode_response, encode_request
from trimaran.protocol.codec import RequestHeader
from trimaran.protocol.messages.fetch import (
    ListOffsetsPartition,
    ListOffsetsRequest,
    ListOffsetsTopic,
)
from trimaran.protocol.messages.produce import (
    PartitionProduceData,
    ProduceRequest,
    TopicProduceData,
)
from trimaran.records.building import build_batch
from trimaran.records.iteration import Record

CLIENT_ID = "trimaran-bench"
LATEST = -1
ALL_REPLICAS = -1
LIST_OFFSETS_VERSION = 4
PRODUCE_VERSION = 7
ANSWER_BYTES_MAX = 1_048_576


def log_end(address: str, topic: str, partition: int, *, timeout_s: float) -> int | None:
    """Return the latest offset that the node at `address` vouches for; None if it declines.

    Raises:
        OSError: not reachable, no answer in time, or connection closed.
    """
    asked = ListOffsetsPartition(partition_index=partition, timestamp=LATEST)
    request = ListOffsetsRequest(topics=(ListOffsetsTopic(name=topic, partitions=(asked,)),))
    answer = _ask(address, ApiKey.LIST_OFFSETS, LIST_OFFSETS_VERSION, request, timeout_s)
    one = answer.topics[0].partitions[0]
    return None if one.error_code else int(one.offset)


def append(address: str, topic: str, partition: int, value: bytes, *, timeout_s: float) -> bool:
    """Send one event with acks=all; return whether the node at `address` acknowledged it.

    Raises:
        OSError: not reachable, no answer in time, or connection closed: the outcome is unknown.
    """
    batch = build_batch([Record(value=value, timestamp_ms=0)])
    request = ProduceRequest(
        transactional_id=None,
        acks=ALL_REPLICAS,
        timeout_ms=round(timeout_s * 1_000),
        topic_data=(
            TopicProduceData(topic, (PartitionProduceData(partition, memoryview(batch)),)),
        ),
    )
    answer = _ask(address, ApiKey.PRODUCE, PRODUCE_VERSION, request, timeout_s)
    return not answer.responses[0].partition_responses[0].error_code


def _ask(address: str, api_key: int, version: int, request: object, timeout_s: float) -> Any:  # noqa: ANN401
    host, _, port = address.rpartition(":")
    header = RequestHeader(
        api_key=api_key, api_version=version, correlation_id=1, client_id=CLIENT_ID
    )
    with (
        socket.create_connection((host, int(port)), timeout_s) as connection,
        connection.makefile("rb") as stream,
    ):
        connection.sendall(encode_request(header, request))
        head = stream.read(4)
        length = struct.unpack(">i", head)[0] if len(head) == 4 else -1
        if not 0 < length <= ANSWER_BYTES_MAX:
            raise ConnectionError(f"{address}: expected an answer, found length {length}")
        frame = stream.read(length)
    if len(frame) < length:
        raise ConnectionError(f"{address} closed the connection in the middle of an answer")
    return decode_response(api_key, version, frame)[1]
