"""A reader that begins at the end: what ListOffsets calls latest, and all that comes behind it.

What it is told and reads goes into the history, where the history checker judges it: the end is
above every record acked before it was asked for (no stale reads, design D3 ReadIndex), and from
there on no record is missing.

Does not: read what was there before.
"""

import asyncio

from trimaran.sim.client import PartitionConsumer, find_latest
from trimaran.sim.history import ReadRecord
from trimaran.sim.kafka import KafkaClient


class TailReader:
    """Reads one partition from its end, and begins anew at a newer end now and then."""

    def __init__(self, client: KafkaClient, partition: int, *, anew_s: float) -> None:
        """Stay for `anew_s` virtual seconds on average before beginning anew."""
        self._client = client
        self._partition = partition
        self._anew_s = anew_s
        self._stopping = False
        self._consumer: PartitionConsumer | None = None
        self.stretches = 0
        """How often it began."""

    def stop(self) -> None:
        """End soon."""
        self._stopping = True
        if self._consumer is not None:
            self._consumer.stop()

    async def run(self) -> None:
        """Read until stopped."""
        loop = asyncio.get_running_loop()
        while not self._stopping:
            end = await find_latest(self._client, self._partition)
            if self._stopping:
                return
            records: list[ReadRecord] = []
            self.stretches += 1
            self._consumer = PartitionConsumer(
                self._client, self._partition, into=records, start=end
            )
            delay_s = self._client.chance.expovariate(1.0 / self._anew_s)
            timer = loop.call_later(delay_s, self._consumer.stop)
            await self._consumer.run()
            timer.cancel()
