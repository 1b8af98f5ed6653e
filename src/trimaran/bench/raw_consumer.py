"""Kafka's protocol without a client library, the consuming half: whole batches, counted and summed.

Each batch's checksum is verified and its records are counted from its header; they are not decoded.
The next Fetch is under way before the batches of the last are looked at. One connection to each
leader.
Does not: time events, wait for a moved leader, or keep what it read.
"""

import select
import socket
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from trimaran.bench.consuming import POLL_S, Reading
from trimaran.bench.errors import BenchError
from trimaran.bench.kafka_wire import CONNECT_S, SIZE, leaders, request_frame
from trimaran.bench.sockets import connected
from trimaran.protocol.api import ApiKey
from trimaran.protocol.client_codec import decode_response
from trimaran.protocol.messages.fetch import FetchPartition, FetchRequest, FetchTopic
from trimaran.records.batch import CRC_START, HEADER, HEADER_BYTES, LENGTH_END
from trimaran.records.checksum import crc32c

FETCH_VERSION = 11
"""The last that names topics by name and has no tagged fields."""
FETCH_WAIT_MS = 100
FETCH_BYTES = 8 * 1_024 * 1_024
_CRC = struct.Struct(">I")
_CRC_POSITION = 17


@dataclass(slots=True)
class Leader:
    """A connection, the partitions led there, and where each goes on."""

    socket: socket.socket
    offsets: dict[int, int] = field(default_factory=dict)


def read_raw(
    bootstrap: str,
    topic: str,
    partitions: Sequence[int],
    reading: Reading,
    *,
    events_max: int | None,
    progress: Callable[[], None],
) -> None:
    """Read from the start until the load is over, or until `events_max` events are read.

    Raises:
        BenchError: a partition answered with an error, or a batch is damaged.
    """
    connections = _connect(bootstrap, topic, partitions)
    for leader in connections.values():
        _ask(leader, topic)
    while connections and not (events_max and reading.events >= events_max):
        ready, _, _ = select.select(list(connections), [], [], POLL_S)
        progress()
        for one in ready:
            leader = connections[one]
            found = _batches(leader)
            _ask(leader, topic)
            reading.count(sum(_verified(batch) for batch in found))
        if reading.is_over():
            break
    for one in connections:
        one.close()


def _connect(bootstrap: str, topic: str, partitions: Sequence[int]) -> dict[socket.socket, Leader]:
    found = leaders(bootstrap, topic, CONNECT_S)
    by_address: dict[tuple[str, int], Leader] = {}
    for number in partitions:
        address = found[number]
        leader = by_address.get(address)
        if leader is None:
            leader = by_address[address] = Leader(connected(*address))
        leader.offsets[number] = 0
    return {leader.socket: leader for leader in by_address.values()}


def _ask(leader: Leader, topic: str) -> None:
    asked = [
        FetchPartition(partition=number, fetch_offset=offset, partition_max_bytes=FETCH_BYTES)
        for number, offset in leader.offsets.items()
    ]
    request = FetchRequest(
        max_wait_ms=FETCH_WAIT_MS,
        min_bytes=1,
        max_bytes=FETCH_BYTES,
        topics=(FetchTopic(topic=topic, partitions=asked),),
    )
    leader.socket.sendall(request_frame(ApiKey.FETCH, FETCH_VERSION, 0, request))


def _batches(leader: Leader) -> list[memoryview]:
    """Return the whole batches of one answer and move the offsets on."""
    answer: Any = decode_response(ApiKey.FETCH, FETCH_VERSION, _frame(leader.socket))[1]
    found: list[memoryview] = []
    for topic in answer.responses:
        for part in topic.partitions:
            if part.error_code:
                raise BenchError(f"partition {part.partition_index}: error {part.error_code}")
            for piece in _pieces(part.records):
                for batch in _split(piece):
                    found.append(batch)
                    head = HEADER.unpack_from(batch, 0)
                    leader.offsets[part.partition_index] = head[0] + head[6] + 1
    return found


def _pieces(records: object) -> Sequence[memoryview]:
    """Return the batches' bytes as the codec hands them out: one buffer, several, or none."""
    if records is None:
        return ()
    if isinstance(records, bytes | bytearray | memoryview):
        return (memoryview(records),)
    assert isinstance(records, Sequence)
    return [memoryview(piece) for piece in records]


def _split(data: memoryview) -> list[memoryview]:
    """Return the whole batches in `data`; the last one may be cut and is left out."""
    found, at = [], 0
    while len(data) - at >= HEADER_BYTES:
        end = at + LENGTH_END + int.from_bytes(data[at + 8 : at + LENGTH_END], "big")
        if end > len(data):
            break
        found.append(data[at:end])
        at = end
    return found


def _verified(batch: memoryview) -> int:
    """Return how many records the batch holds. Raises BenchError if its checksum is wrong."""
    (expected,) = _CRC.unpack_from(batch, _CRC_POSITION)
    if crc32c(batch[CRC_START:]) != expected:
        raise BenchError(f"a batch of {len(batch)} bytes arrived damaged")
    return int(HEADER.unpack_from(batch, 0)[12])


def _frame(connection: socket.socket) -> memoryview:
    (length,) = SIZE.unpack(_exactly(connection, SIZE.size))
    return _exactly(connection, length)


def _exactly(connection: socket.socket, count: int) -> memoryview:
    whole = memoryview(bytearray(count))
    at = 0
    while at < count:
        got = connection.recv_into(whole[at:])
        if not got:
            raise BenchError("the target closed the connection in the middle of an answer")
        at += got
    return whole
