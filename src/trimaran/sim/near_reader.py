"""A reader that says in which rack it is, and reads from the follower there (KIP-392).

It begins at the leader, which sends it to a follower in its rack. There it reads until that node
fails it or its time there is over (Java's metadata.max.age.ms, here a few seconds), and begins at
the leader again. Now and then it reads at the leader in between, so that it is further than the
follower: that one makes it wait, or says that it has no such offset yet, and is asked again.

Does not: judge what it reads, but what the leader says of where to read.
"""

import asyncio

from trimaran.errors import ErrorCode
from trimaran.protocol.messages import FetchResponse, PartitionData
from trimaran.sim.client import FETCH_BYTES, FETCH_WAIT_MS, NOWHERE, PartitionConsumer
from trimaran.sim.history import ReadRecord
from trimaran.sim.kafka import KafkaClient, RetryError

RACKS_FROM = 11
"""Fetch tells the reader's rack from this version on."""
STAY_S = 4.0
"""How long it stays at a follower, on average."""
LOOKS = 0.1
"""Share of the reads at a follower before which it reads at the leader."""


class NearReader(PartitionConsumer):
    """Reads one partition, near where it can; once stopped, up to where the log then ends."""

    def __init__(
        self, client: KafkaClient, partition: int, *, into: list[ReadRecord], rack: str
    ) -> None:
        """Append what is read from the start on to `into`."""
        super().__init__(client, partition, into=into)
        self._version = max(self._version, RACKS_FROM)
        self._rack = rack
        self._follower: int | None = None
        """The node that the leader sent it to; None: it reads at the leader."""
        self._stays_until_s = 0.0
        self.follower_reads = 0
        """How many answers of followers had records."""
        self.waits = 0
        """How often a follower was not as far yet as this reader."""

    async def run(self) -> None:
        """Read until stopped, then up to the end."""
        await super().run()
        await self.find_end()
        self._stopping = False
        await super().run()

    async def _follow(self) -> None:
        """Read at one node after the other; whatever fails, the leader is next."""
        while not self._done():
            try:
                await self._read_at(self._follower)
            except (OSError, RetryError):
                self._follower = None
                raise

    async def _read_at(self, follower: int | None) -> None:
        """Read at that follower, or at the leader, until it is another's turn."""
        if follower is None:
            connection = await self._client.connect_to_leader(self._partition)
        else:
            connection = await self._client.connect_to_node(follower)
        try:
            while self._follower == follower and not self._done():
                wait_ms = FETCH_WAIT_MS
                if follower is not None and self._client.chance.random() < LOOKS:
                    await self._read_at_leader()
                    wait_ms = 0
                self._take(await self._fetch(connection, rack=self._rack, wait_ms=wait_ms))
                if follower is not None and self._now_s() >= self._stays_until_s:
                    self._follower = None
        finally:
            connection.close()

    async def _read_at_leader(self) -> None:
        """Read once at the leader, all or one batch, without saying where the reader is."""
        connection = await self._client.connect_to_leader(self._partition)
        try:
            bytes_max = self._client.chance.choice((1, FETCH_BYTES))
            response = await self._fetch(connection, bytes_max=bytes_max)
        finally:
            connection.close()
        self._client.check(response.error_code)
        self.take(response.responses[0].partitions[0])

    def _take(self, response: FetchResponse) -> None:
        self._client.check(response.error_code)
        data = response.responses[0].partitions[0]
        if data.preferred_read_replica != NOWHERE:
            self._go_to(data)
        elif self._follower is None:
            self.take(data)
        elif data.error_code == ErrorCode.OFFSET_NOT_AVAILABLE:
            self.waits += 1
        else:
            self.take(data, at_follower=True)
            self.follower_reads += any(data.records)

    def _go_to(self, data: PartitionData) -> None:
        """Read on at the node that the leader named."""
        node = data.preferred_read_replica
        broker = self._client.brokers.get(node)
        if self._follower is not None or any(data.records):
            self._odd(f"sent to node {node} by node {self._follower} or along with records")
        elif broker is not None and broker.rack != self._rack:
            self._odd(f"sent to node {node} in {broker.rack} from {self._rack}")
        self._follower = node
        stay_s = self._client.chance.expovariate(1.0 / STAY_S)
        self._stays_until_s = self._now_s() + stay_s

    def _odd(self, text: str) -> None:
        self._client.history.oddities.append(f"{self._client.name}: {text}")

    def _now_s(self) -> float:
        return asyncio.get_running_loop().time()
