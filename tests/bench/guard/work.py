"""What the guard measures: three brokers in this process, on the simulator's network and disks.

Everything a batch costs a cluster happens here (parsing, checks, the log, three journals and their
rounds, replication, the answer), in one process and without a kernel: what is left is the code's
own work. The client sends ready frames and counts answers, so it costs next to nothing.
"""

import asyncio
import struct
from random import Random

from trimaran.protocol.api import ApiKey
from trimaran.protocol.client_codec import encode_request
from trimaran.protocol.codec import RequestHeader
from trimaran.protocol.messages.fetch import FetchPartition, FetchRequest, FetchTopic
from trimaran.protocol.messages.produce import (
    PartitionProduceData,
    ProduceRequest,
    TopicProduceData,
)
from trimaran.records.building import build_batch
from trimaran.records.iteration import Record
from trimaran.sim.cluster import SimCluster
from trimaran.sim.crowd import TOPIC
from trimaran.sim.history import History
from trimaran.sim.kafka import KafkaClient
from trimaran.sim.liveness import wait_for_topic
from trimaran.sim.loop import SimLoop
from trimaran.sim.network import HostNetwork, SimNetwork
from trimaran.sim.trace import EventLog

NODES = 3
BATCH_EVENTS = 64
EVENT_BYTES = 512
IN_FLIGHT = 16
FETCH_BYTES = 32 * 1024
PRODUCE_VERSION = 7
FETCH_VERSION = 11
ERROR_POSITION = {ApiKey.PRODUCE: 8 + 2 + len(TOPIC) + 8, ApiKey.FETCH: 8 + 2 + 14 + len(TOPIC) + 4}
"""Of the partition's error code, behind the correlation id and one topic's name."""


class Conversation(asyncio.Protocol):
    """Sends one ready frame again and again and counts the answers."""

    def connection_made(self, transport):
        self.transport = transport
        self.buffer = bytearray()
        self.done = asyncio.get_running_loop().create_future()

    async def hold(self, frame, error_at, count, in_flight):
        """Send `frame` `count` times, `in_flight` at a time; return when all are answered."""
        self.frame, self.error_at = frame, error_at
        self.left, self.unsent = count, count
        self.done = asyncio.get_running_loop().create_future()
        for _ in range(min(in_flight, count)):
            self._send()
        await self.done

    def _send(self):
        self.unsent -= 1
        self.transport.write(self.frame)

    def data_received(self, data):
        self.buffer += data
        while len(self.buffer) >= 4:
            end = 4 + int.from_bytes(self.buffer[:4], "big")
            if len(self.buffer) < end:
                return
            (code,) = struct.unpack_from(">h", self.buffer, 4 + self.error_at)
            assert code == 0, f"answered with error {code}"
            del self.buffer[:end]
            self.left -= 1
            if self.unsent:
                self._send()
            elif not self.left:
                self.done.set_result(None)


class Work:
    """A cluster that is up, one topic, and a connection to the leader of its first partition."""

    def __init__(self):
        self.batches = 0
        self.loop = SimLoop()
        log = EventLog(lambda: self.loop.now_s)
        network = SimNetwork(self.loop, Random("guard/network"), log)
        self.cluster = SimCluster(
            seed="guard", node_count=NODES, loop=self.loop, log=log, network=network
        )
        self.process = self.loop.new_process("guard", "guard")
        self.network = HostNetwork(network, self.process)
        self._run(self._open())

    def produce(self, batches, in_flight=IN_FLIGHT):
        """Have `batches` acknowledged by a majority."""
        self.batches += batches
        self._run(
            self.conversation.hold(
                self.produce_frame, ERROR_POSITION[ApiKey.PRODUCE], batches, in_flight
            )
        )

    def fetch(self, count):
        """Read the newest batch `count` times, from memory."""
        newest = fetch_frame((self.batches - 1) * BATCH_EVENTS)
        self._run(self.conversation.hold(newest, ERROR_POSITION[ApiKey.FETCH], count, 1))

    def close(self):
        self.loop.close()

    def _run(self, work):
        self.loop.run_until_complete(self.process.start(work))

    async def _open(self):
        for node in self.cluster.nodes:
            self.cluster.start(node)
        client = KafkaClient(
            name="guard",
            topic=TOPIC,
            network=self.network,
            bootstrap=self.cluster.bootstrap,
            chance=Random("guard/client"),
            history=History(),
        )
        await wait_for_topic(client, NODES)
        found = await client.metadata(TOPIC)
        (row,) = (one for one in found.topics[0].partitions if one.partition_index == 0)
        (broker,) = (one for one in found.brokers if one.node_id == row.leader_id)
        self.conversation = Conversation()
        await self.network.connect(broker.host, broker.port, lambda: self.conversation)
        self.produce_frame = produce_frame()


def frame(key, version, request):
    header = RequestHeader(api_key=key, api_version=version, correlation_id=1, client_id="guard")
    return encode_request(header, request)


def produce_frame():
    generator = Random(0)
    records = [
        Record(value=generator.randbytes(EVENT_BYTES), timestamp_ms=0) for _ in range(BATCH_EVENTS)
    ]
    data = PartitionProduceData(0, memoryview(build_batch(records)))
    request = ProduceRequest(None, -1, 30_000, (TopicProduceData(TOPIC, (data,)),))
    return frame(ApiKey.PRODUCE, PRODUCE_VERSION, request)


def fetch_frame(offset):
    asked = FetchPartition(partition=0, fetch_offset=offset, partition_max_bytes=FETCH_BYTES)
    request = FetchRequest(
        max_wait_ms=100,
        min_bytes=1,
        max_bytes=FETCH_BYTES,
        topics=(FetchTopic(topic=TOPIC, partitions=(asked,)),),
    )
    return frame(ApiKey.FETCH, FETCH_VERSION, request)
