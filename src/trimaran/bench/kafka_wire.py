"""Kafka's protocol over a blocking socket: one request, one answer; who leads; is it Kafka at all.

Does not: keep several requests under way; `raw_producer` and `raw_consumer` do.
"""

import socket
import struct
from collections.abc import Mapping
from typing import Any

from trimaran.bench.errors import BenchError
from trimaran.errors import ProtocolError
from trimaran.protocol.api import ApiKey
from trimaran.protocol.client_codec import decode_response, encode_request
from trimaran.protocol.codec import RequestHeader
from trimaran.protocol.messages.cluster import (
    ApiVersionsRequest,
    MetadataRequest,
    MetadataRequestTopic,
)

CLIENT_ID = "trimaran-bench"
ANSWER_BYTES_MAX = 1_048_576
CONNECT_S = 10.0
METADATA_VERSION = 7
SIZE = struct.Struct(">i")


def request_frame(api_key: int, version: int, correlation_id: int, message: object) -> bytes:
    """Return a request as it goes over the wire."""
    header = RequestHeader(
        api_key=api_key, api_version=version, correlation_id=correlation_id, client_id=CLIENT_ID
    )
    return encode_request(header, message)


def ask(address: str, api_key: int, version: int, message: object, timeout_s: float) -> Any:  # noqa: ANN401
    """Return the answer of the node at `address`, asked on a connection of its own.

    Raises:
        OSError: not reachable, no answer in time, or connection closed.
        ProtocolError: what came is no such answer.
    """
    host, _, port = address.rpartition(":")
    with (
        socket.create_connection((host, int(port)), timeout_s) as connection,
        connection.makefile("rb") as stream,
    ):
        connection.sendall(request_frame(api_key, version, 1, message))
        head = stream.read(SIZE.size)
        length = SIZE.unpack(head)[0] if len(head) == SIZE.size else -1
        if not 0 < length <= ANSWER_BYTES_MAX:
            raise ConnectionError(f"{address}: expected an answer, found length {length}")
        frame = stream.read(length)
    if len(frame) < length:
        raise ConnectionError(f"{address} closed the connection in the middle of an answer")
    return decode_response(api_key, version, frame)[1]


def require_kafka(bootstrap: str, timeout_s: float) -> None:
    """Raise BenchError, one line, unless Kafka answers at some address of `bootstrap`."""
    reasons = []
    for address in bootstrap.split(","):
        host, _, port = address.rpartition(":")
        if not host or not port.isdecimal() or not 0 < int(port) < 65_536:
            raise BenchError(f"--bootstrap: expected HOST:PORT, found {address!r}")
        try:
            ask(address, ApiKey.API_VERSIONS, 0, ApiVersionsRequest(), timeout_s)
        except (TimeoutError, ConnectionResetError, ProtocolError) as error:
            reasons.append(f"what listens at {address} does not speak Kafka's protocol ({error})")
        except ConnectionRefusedError:
            reasons.append(f"nothing listens at {address}")
        except ConnectionError as error:
            reasons.append(f"what listens there does not speak Kafka's protocol ({error})")
        except OSError as error:
            reasons.append(f"{address} cannot be reached ({error})")
        else:
            return
    raise BenchError(f"no Kafka-protocol broker answers at {bootstrap}: {'; '.join(reasons)}")


def leaders(bootstrap: str, topic: str, timeout_s: float) -> Mapping[int, tuple[str, int]]:
    """Return partition -> (host, port) of its leader. Raises BenchError."""
    asked = MetadataRequest(
        topics=(MetadataRequestTopic(name=topic),), allow_auto_topic_creation=False
    )
    try:
        answer = ask(bootstrap.split(",")[0], ApiKey.METADATA, METADATA_VERSION, asked, timeout_s)
    except (OSError, ProtocolError) as error:
        raise BenchError(f"no metadata of {topic} from {bootstrap}: {error}") from error
    found = answer.topics[0]
    if found.error_code or not found.partitions:
        raise BenchError(f"{bootstrap} has no topic {topic} (error {found.error_code})")
    nodes = {one.node_id: (one.host, one.port) for one in answer.brokers}
    try:
        return {one.partition_index: nodes[one.leader_id] for one in found.partitions}
    except KeyError as error:
        raise BenchError(f"a partition of {topic} has no leader among {nodes}") from error
