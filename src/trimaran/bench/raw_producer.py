"""Kafka's protocol without a client library, the producing half: ready batches, several under way.

One batch of each chunk's size is built before the run and sent again and again: neither the records
nor the checksum cost anything while it lasts (a broker writes base offset and epoch outside the
checksum). It is not idempotent. One connection to each leader.
Does not: stamp events, retry, or follow a moved leader; such a chunk counts as failed.
"""

from typing import Any

from trimaran.bench.kafka_wire import CONNECT_S, SIZE, leaders, request_frame
from trimaran.bench.sockets import SocketSender, connected
from trimaran.errors import ErrorCode
from trimaran.protocol.api import ApiKey
from trimaran.protocol.client_codec import decode_response
from trimaran.protocol.messages.produce import (
    PartitionProduceData,
    ProduceRequest,
    TopicProduceData,
)
from trimaran.records.building import build_batch
from trimaran.records.iteration import Record

PRODUCE_VERSION = 7
ALL_REPLICAS = -1
TIMEOUT_MS = 30_000


class RawKafkaProducer(SocketSender):
    """See the module."""

    def connect(self) -> None:
        """Ask who leads and connect to each of them."""
        bootstrap = str(self.task.settings["bootstrap.servers"])
        found = leaders(bootstrap, self.task.topic, CONNECT_S)
        addresses = sorted(set(found.values()))
        self.sockets = [connected(*address) for address in addresses]
        self._place = {number: addresses.index(found[number]) for number in found}
        self._batches: dict[int, memoryview] = {}

    def write_chunk(self, number: int, size: int) -> None:
        """Send one Produce request; its correlation id is the chunk's number."""
        partition = number % self.task.partitions
        batch = self._batches.get(size)
        if batch is None:
            records = [
                Record(value=self.payloads[at % len(self.payloads)], timestamp_ms=0)
                for at in range(size)
            ]
            batch = self._batches[size] = memoryview(build_batch(records))
        data = TopicProduceData(self.task.topic, (PartitionProduceData(partition, batch),))
        request = ProduceRequest(
            transactional_id=None, acks=ALL_REPLICAS, timeout_ms=TIMEOUT_MS, topic_data=(data,)
        )
        frame = request_frame(ApiKey.PRODUCE, PRODUCE_VERSION, number, request)
        self.sockets[self._place[partition]].sendall(frame)

    def take(self, place: int, buffer: bytearray) -> int:
        """Count every whole Produce answer."""
        used = 0
        while len(buffer) - used >= SIZE.size:
            (length,) = SIZE.unpack_from(buffer, used)
            end = used + SIZE.size + length
            if end > len(buffer):
                break
            answer: Any
            number, answer = decode_response(
                ApiKey.PRODUCE, PRODUCE_VERSION, bytes(buffer[used + SIZE.size : end])
            )
            code = answer.responses[0].partition_responses[0].error_code
            self.answered(number, error=ErrorCode(code).name if code else None)
            used = end
        return used
