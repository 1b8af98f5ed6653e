"""A Kafka client as the simulator needs one: real bytes over the simulated network.

One `KafkaConnection` speaks to one node and has any number of requests under way; answers come in
order. `KafkaClient` finds leaders. Versions are drawn per client from the table of APIs.

Does not: produce or consume (`client` does), or retry.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from random import Random
from struct import Struct
from typing import Any

from trimaran.errors import ErrorCode
from trimaran.protocol.api import APIS, ApiKey
from trimaran.protocol.messages import (
    MetadataRequest,
    MetadataRequestTopic,
    MetadataResponse,
    MetadataResponseBroker,
    MetadataResponseTopic,
)
from trimaran.protocol.schema_codec import request_encoder, response_decoder
from trimaran.protocol.wire import Reader, Writer
from trimaran.sim.history import History
from trimaran.sim.network import HostNetwork

_HEADER = Struct(">hhi")
_INT32 = Struct(">i")

REQUEST_TIMEOUT_S = 3.0
FRAME_BYTES_MAX = 64 * 1024 * 1024

_VERSIONS = {
    ApiKey.PRODUCE: (3, 11),
    ApiKey.FETCH: (4, 17),
    ApiKey.LIST_OFFSETS: (1, 8),
    ApiKey.METADATA: (12, 12),
    ApiKey.INIT_PRODUCER_ID: (0, 4),
    ApiKey.CREATE_TOPICS: (7, 7),
    ApiKey.DELETE_TOPICS: (6, 6),
    ApiKey.DELETE_RECORDS: (0, 2),
    ApiKey.CREATE_PARTITIONS: (0, 3),
    ApiKey.INCREMENTAL_ALTER_CONFIGS: (0, 1),
    ApiKey.DESCRIBE_CONFIGS: (1, 4),
    ApiKey.FIND_COORDINATOR: (1, 3),
    ApiKey.JOIN_GROUP: (4, 9),
    ApiKey.SYNC_GROUP: (3, 5),
    ApiKey.HEARTBEAT: (3, 4),
    ApiKey.LEAVE_GROUP: (3, 5),
    ApiKey.OFFSET_COMMIT: (2, 9),
    ApiKey.OFFSET_FETCH: (2, 7),
}
"""Lowest and highest version that clients draw; Metadata 12 and CreateTopics 7 tell topic ids."""


class RetryError(Exception):
    """Not now, or not here; try again after asking who leads."""


class KafkaConnection(asyncio.Protocol):
    """One connection to a node."""

    def __init__(self, client_id: str) -> None:
        self._client_id = client_id
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray()
        self._correlation = 0
        self._waiting: deque[tuple[int, int, int, asyncio.Future[Any]]] = deque()
        self.closed = False
        self.address = "", 0
        """The node at the other end: host and port."""

    @property
    def host(self) -> str:
        """The node at the other end."""
        return self.address[0]

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Asyncio's callback."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def send(self, key: int, version: int, message: object) -> "asyncio.Future[Any]":
        """Send a request; the future gets the response. Raises ConnectionError when closed."""
        self.post(key, version, message)
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting.append((self._correlation, key, version, future))
        return future

    def post(self, key: int, version: int, message: object) -> None:
        """Send a request that is not answered. Raises ConnectionError when closed."""
        if self.closed or self._transport is None:
            raise ConnectionResetError("the connection is closed")
        self._correlation += 1
        flexible = version >= APIS[key].flexible_from
        writer = Writer(flexible=False)
        writer.buffer += _HEADER.pack(key, version, self._correlation)
        writer.string(self._client_id)
        writer.flexible = flexible
        writer.end_struct()
        request_encoder(key, version)(writer, message)
        self._transport.write(b"".join(writer.finish()))

    async def ask(self, key: int, version: int, message: object) -> Any:  # noqa: ANN401
        """Send a request and wait for its response. Raises OSError, TimeoutError included."""
        async with asyncio.timeout(REQUEST_TIMEOUT_S):
            return await self.send(key, version, message)

    def data_received(self, data: bytes) -> None:
        """Asyncio's callback: settle the futures whose answers are complete."""
        self._buffer += data
        while len(self._buffer) >= 4:
            (size,) = _INT32.unpack_from(self._buffer)
            assert 4 <= size <= FRAME_BYTES_MAX, f"an answer of {size} bytes"
            if len(self._buffer) < 4 + size:
                return
            frame = bytes(self._buffer[4 : 4 + size])
            del self._buffer[: 4 + size]
            self._settle(frame)

    def connection_lost(self, exc: Exception | None) -> None:
        """Asyncio's callback: nobody will answer any more."""
        self.closed = True
        waiting, self._waiting = self._waiting, deque()
        for _, _, _, future in waiting:
            if not future.done():
                future.set_exception(ConnectionResetError("connection lost"))
                future.exception()  # whoever pipelined it may have gone on

    def close(self) -> None:
        """Give the connection up."""
        if self._transport is not None:
            self._transport.abort()

    def _settle(self, frame: bytes) -> None:
        correlation, key, version, future = self._waiting.popleft()
        (found,) = _INT32.unpack_from(frame)
        assert found == correlation, f"answer {found} where {correlation} was due"
        reader = Reader(memoryview(frame), 4, flexible=version >= APIS[key].flexible_from)
        if key != ApiKey.API_VERSIONS:
            reader.end_struct()
        response = response_decoder(key, version)(reader)
        assert reader.position == len(frame), "an answer is read to its last byte"
        if not future.done():
            future.set_result(response)


class KafkaClient:
    """Knows the cluster through Metadata; hands out connections to leaders."""

    def __init__(
        self,
        *,
        name: str,
        topic: str,
        network: HostNetwork,
        bootstrap: Sequence[tuple[str, int]],
        chance: Random,
        history: History,
    ) -> None:
        self.name = name
        self.topic = topic
        self.chance = chance
        self.history = history
        self.versions = {key: chance.randint(*bounds) for key, bounds in _VERSIONS.items()}
        self.creates = True
        """Whether asking for a topic creates it."""
        self.topic_id = bytes(16)
        self.pinned_id: bytes | None = None
        """The only topic of that name to speak to leaders of; None: any."""
        self.replicas: dict[int, Sequence[int]] = {}
        """Nodes that hold each partition, as Metadata last said."""
        self.brokers: dict[int, MetadataResponseBroker] = {}
        """The nodes, as Metadata last said."""
        self._network = network
        self._bootstrap = list(bootstrap)
        self._avoided: deque[tuple[str, int]] = deque(maxlen=(len(self._bootstrap) - 1) // 2)

    async def connect(self, host: str, port: int) -> KafkaConnection:
        """Return a new connection. Raises OSError."""
        connection = KafkaConnection(self.name)
        connection.address = host, port
        await self._network.connect(host, port, lambda: connection)
        return connection

    async def ask_anyone(self, key: ApiKey, message: object) -> Any:  # noqa: ANN401
        """Ask a random node, not one that failed lately. Raises OSError."""
        connection = await self.connect_to_any()
        try:
            return await connection.ask(key, self.versions[key], message)
        except OSError:
            self._avoided.append(connection.address)
            raise
        finally:
            connection.close()

    async def connect_to_any(self) -> KafkaConnection:
        """Return a connection to a random node, not one that failed lately. Raises OSError."""
        known = [address for address in self._bootstrap if address not in self._avoided]
        address = self.chance.choice(known)
        try:
            return await self.connect(*address)
        except OSError:
            self._avoided.append(address)
            raise

    async def metadata(self, *topics: str) -> MetadataResponse:
        """Ask a random node, not one that failed lately. Raises OSError."""
        asked = [MetadataRequestTopic(name=name) for name in topics]
        request = MetadataRequest(topics=asked, allow_auto_topic_creation=self.creates)
        response: MetadataResponse = await self.ask_anyone(ApiKey.METADATA, request)
        self.brokers = {broker.node_id: broker for broker in response.brokers}
        return response

    async def connect_to_leader(self, partition: int) -> KafkaConnection:
        """Return a connection to who leads `partition`. Raises OSError, RetryError."""
        topic = await self._find_topic()
        found = [row for row in topic.partitions if row.partition_index == partition]
        if not found:
            raise RetryError(f"no partition {partition} yet")
        self.check(found[0].error_code)
        self.replicas[partition] = found[0].replica_nodes
        return await self.connect_to_node(found[0].leader_id)

    async def connect_to_node(self, number: int) -> KafkaConnection:
        """Return a connection to a node that Metadata named. Raises OSError, RetryError."""
        broker = self.brokers.get(number)
        if broker is None:
            raise RetryError(f"node {number} is not among the brokers")
        return await self.connect(broker.host, broker.port)

    async def leaders(self) -> dict[int, int]:
        """Return who leads each partition, of those that have a leader. Raises as above."""
        topic = await self._find_topic()
        return {
            row.partition_index: row.leader_id
            for row in topic.partitions
            if row.error_code == ErrorCode.NONE
        }

    async def broker_count(self) -> int:
        """Return how many nodes have registered and answer. Raises OSError."""
        return len((await self.metadata()).brokers)

    async def partition_count(self) -> int:
        """Return how many partitions the topic has, creating it. Raises OSError, RetryError."""
        return len(await self.partition_replicas())

    async def partition_replicas(self) -> dict[int, Sequence[int]]:
        """Return the nodes that hold each partition. Raises OSError, RetryError."""
        topic = await self._find_topic()
        return {row.partition_index: row.replica_nodes for row in topic.partitions}

    def check(self, code: int) -> None:
        """Raise RetryError unless `code` says success."""
        if code != ErrorCode.NONE:
            name = ErrorCode(code).name
            self.history.note_answer(name)
            raise RetryError(name)

    async def _find_topic(self) -> MetadataResponseTopic:
        """Ask for the topic and note its id. Raises OSError, RetryError."""
        response = await self.metadata(self.topic)
        topic = response.topics[0]
        assert isinstance(topic, MetadataResponseTopic)
        self.check(topic.error_code)
        if self.pinned_id not in (None, topic.topic_id):
            raise RetryError("the node asked knows another topic of that name")
        self.topic_id = topic.topic_id
        return topic
