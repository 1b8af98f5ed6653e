"""What one node says of its cluster right now, asked over one plain connection.

A Kafka client caches and backs off; to time a failover the node itself is asked, again and again:
Metadata (who leads?) and ListOffsets (where does the log end?), encoded by kio.
Does not: retry, follow leaders or share code with the broker under test.
"""

import io
import socket
import struct
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from kio.schema.list_offsets.v4 import request as list_offsets_request
from kio.schema.list_offsets.v4 import response as list_offsets_response
from kio.schema.metadata.v7 import request as metadata_request
from kio.schema.metadata.v7 import response as metadata_response
from kio.serial import entity_reader, entity_writer
from kio.static.primitive import i8, i16, i32, i64
from kio.static.protocol import Entity

TIMEOUT_S = 5.0
LATEST = i64(-1)
CLIENT_ID = "trimaran-bench"


@dataclass(frozen=True, slots=True, kw_only=True)
class PartitionView:
    """One partition as a node sees it."""

    leader: int
    leader_epoch: int
    in_sync: tuple[int, ...]


class Survivor:
    """One connection to one node; its answers are that node's own view."""

    def __init__(self, host: str, port: int) -> None:
        self._socket = socket.create_connection((host, port), timeout=TIMEOUT_S)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._correlation = 0

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the connection."""
        self._socket.close()

    def partitions(self, topic: str) -> dict[int, PartitionView]:
        """Return partition -> view; empty if the node does not know the topic.

        Raises:
            OSError: no answer within `TIMEOUT_S`, or the connection broke.
        """
        request = metadata_request.MetadataRequest(
            topics=(metadata_request.MetadataRequestTopic(name=_topic_name(topic)),),
            allow_auto_topic_creation=False,
        )
        answer = self._ask(request, metadata_response.MetadataResponse)
        return {
            one.partition_index: PartitionView(
                leader=one.leader_id,
                leader_epoch=one.leader_epoch,
                in_sync=tuple(one.isr_nodes),
            )
            for found in answer.topics
            for one in found.partitions
        }

    def log_end(self, topic: str, partition: int) -> int | None:
        """Return the latest offset as a leader says it; None if this node declines to say.

        Raises:
            OSError: no answer within `TIMEOUT_S`, or the connection broke.
        """
        request = list_offsets_request.ListOffsetsRequest(
            replica_id=_broker(-1),
            isolation_level=i8(0),
            topics=(
                list_offsets_request.ListOffsetsTopic(
                    name=_topic_name(topic),
                    partitions=(
                        list_offsets_request.ListOffsetsPartition(
                            partition_index=i32(partition),
                            current_leader_epoch=i32(-1),
                            timestamp=LATEST,
                        ),
                    ),
                ),
            ),
        )
        answer = self._ask(request, list_offsets_response.ListOffsetsResponse)
        one = answer.topics[0].partitions[0]
        return None if int(one.error_code) else int(one.offset)

    def _ask(self, request: Entity, response: type[Any]) -> Any:  # noqa: ANN401  kio's entities
        self._correlation += 1
        body = io.BytesIO()
        body.write(
            struct.pack(
                ">hhih", request.__api_key__, request.__version__, self._correlation, len(CLIENT_ID)
            )
        )
        body.write(CLIENT_ID.encode())
        entity_writer(type(request))(body, request)
        self._socket.sendall(struct.pack(">i", body.tell()) + body.getvalue())
        answer = self._receive(struct.unpack(">i", self._receive(4))[0])
        assert struct.unpack_from(">i", answer)[0] == self._correlation
        return entity_reader(response)(answer[4:], 0)[0]

    def _receive(self, count: int) -> bytes:
        parts = bytearray()
        while len(parts) < count:
            part = self._socket.recv(count - len(parts))
            if not part:
                raise ConnectionError("the node closed the connection")
            parts += part
        return bytes(parts)
