"""Producers that use a system's own Python library, where one is installed: nats-py, redis.

The library's work happens in threads of its own; outcomes come back through a queue, which `poll`
empties. The raw producers show how much of a figure is the library's.
"""

import asyncio
import queue
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from bench.peers.nats import leader
from bench.peers.redis import CONNECTIONS, REPLICAS_WAITED, WAIT_MS
from bench.peers.senders import IN_FLIGHT_EVENTS, PeerSender
from trimaran.bench.errors import BenchError

CONNECT_S = 15.0


class LibrarySender(PeerSender):
    """Takes outcomes from a queue instead of sockets."""

    def connect(self) -> None:
        """Open the library's connection; sets `chunks_max`."""
        self.outcomes: queue.SimpleQueue[tuple[int, str | None]] = queue.SimpleQueue()
        self.open_library()

    def open_library(self) -> None:
        """For the subclass."""
        raise NotImplementedError

    def poll(self, timeout: float) -> int:
        """Report what the library answered, waiting up to `timeout` seconds for the first."""
        before = self.reported
        end_s = time.monotonic() + timeout
        while self.reported == before or not self.outcomes.empty():
            try:
                number, error = self.outcomes.get(timeout=max(0.0, end_s - time.monotonic()))
            except queue.Empty:
                break
            self.answered(number, error=error)
        return self.reported - before


class NatsLibrary(LibrarySender):
    """nats-py: a task for each chunk, an asynchronous publish for each event."""

    def open_library(self) -> None:
        """Connect to the stream's leader in a loop of its own."""
        found = str(self.task.settings["bootstrap.servers"]).split(",")
        ports = {f"n{number}": int(port) for number, port in enumerate(found, 1)}
        self.limit()
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, daemon=True).start()
        opened = self._open(f"nats://127.0.0.1:{leader(ports, self.task.topic)}")
        self._jetstream = asyncio.run_coroutine_threadsafe(opened, self._loop).result(CONNECT_S)

    async def _open(self, address: str) -> Any:  # noqa: ANN401
        import nats

        connection = await nats.connect(address)
        return connection.jetstream(publish_async_max_pending=IN_FLIGHT_EVENTS)

    def write_chunk(self, number: int, size: int) -> None:
        """Publish a chunk's events."""
        asyncio.run_coroutine_threadsafe(self._publish(number, size), self._loop)

    async def _publish(self, number: int, size: int) -> None:
        values = [self.payloads[at % len(self.payloads)] for at in range(size)]
        publish = self._jetstream.publish_async
        try:
            await asyncio.gather(*[await publish(self.task.topic, value) for value in values])
        except Exception as error:  # noqa: BLE001  what the library raises is the outcome
            self.outcomes.put((number, repr(error)))
        else:
            self.outcomes.put((number, None))


class RedisLibrary(LibrarySender):
    """redis-py: a pipeline of XADD and WAIT for each chunk."""

    def open_library(self) -> None:
        """Make a connection for each chunk under way."""
        import redis

        port = int(str(self.task.settings["bootstrap.servers"]))
        self.chunks_max = CONNECTIONS
        self._client = redis.Redis(port=port, max_connections=CONNECTIONS)
        self._pool = ThreadPoolExecutor(CONNECTIONS)
        if not self._client.ping():
            raise BenchError(f"Redis does not answer at {port}")

    def write_chunk(self, number: int, size: int) -> None:
        """Have a thread send a chunk and wait."""
        self._pool.submit(self._add, number, size)

    def _add(self, number: int, size: int) -> None:
        values = [self.payloads[at % len(self.payloads)] for at in range(size)]
        try:
            with self._client.pipeline(transaction=False) as pipeline:
                for value in values:
                    pipeline.xadd(self.task.topic, {"v": value})
                pipeline.wait(REPLICAS_WAITED, WAIT_MS)
                reached = pipeline.execute()[-1]
        except Exception as error:  # noqa: BLE001  what the library raises is the outcome
            self.outcomes.put((number, repr(error)))
        else:
            enough = reached >= REPLICAS_WAITED
            self.outcomes.put((number, None if enough else "no replica answered"))
