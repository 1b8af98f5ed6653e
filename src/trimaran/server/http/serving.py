"""When the HTTP side comes and goes: loaded in a thread, late in the node's start.

The port is bound before the node starts, so that it is known and its conflict is told early; who
connects meanwhile waits in the kernel's queue. Loading takes a good part of a second of processor
time: in a thread the loop keeps its heartbeats.
Does not: import the rest of the package before `start`.
"""

import asyncio
import gc
import logging
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from trimaran.broker.node import Broker
from trimaran.config import NodeConfig
from trimaran.server.cutting import CuttableNetwork
from trimaran.server.network import open_listening_socket
from trimaran.server.observing.shapes import Observer

if TYPE_CHECKING:
    from trimaran.server.http.assembly import Assembly

log = logging.getLogger(__name__)


async def bind_http(config: NodeConfig) -> socket.socket | None:
    """Return the listening socket; None where HTTP is switched off.

    Raises:
        PortInUseError, OSError: it cannot be had.
    """
    if not config.http.enabled:
        return None
    return await open_listening_socket(config.http.host, config.http.port)


class HttpServer:
    """The HTTP side of a node."""

    def __init__(
        self,
        *,
        broker: Broker,
        config: NodeConfig,
        listening: socket.socket,
        observer: Observer,
        network: CuttableNetwork | None = None,
        owner_fd: int | None = None,
    ) -> None:
        """`network`: this node's, if it can be cut; `owner_fd`: see `Launch`."""
        self._broker = broker
        self._config = config
        self._listening = listening
        self._observer = observer
        self._network = network
        self._owner_fd = owner_fd
        self._started_ms = time.time_ns() // 1_000_000
        self._started_s = time.monotonic()
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="http")
        self._assembly: Assembly | None = None

    @property
    def port(self) -> int:
        """The port it listens on."""
        return int(self._listening.getsockname()[1])

    async def start(self) -> None:
        """Load, then answer. The node does without if this fails; it is logged."""
        loop = asyncio.get_running_loop()
        begin = loop.time()
        self._assembly = await loop.run_in_executor(self._executor, self._load)
        gc.freeze()  # what was loaded stays
        await self._assembly.start(self._listening)
        log.info("HTTP answers on port %d after %.2f s", self.port, loop.time() - begin)

    def _load(self) -> "Assembly":
        from trimaran.server.http.assembly import Assembly

        return Assembly(
            broker=self._broker,
            config=self._config,
            observer=self._observer,
            network=self._network,
            owner_fd=self._owner_fd,
            started_ms=self._started_ms,
            started_s=self._started_s,
            executor=self._executor,
        )

    async def stop(self) -> None:
        """Close everything."""
        assembly, self._assembly = self._assembly, None
        if assembly is not None:
            await assembly.stop()
        self.close()

    def close(self) -> None:
        """Give up the port; also of a node that never started."""
        self._listening.close()
        self._executor.shutdown(wait=False, cancel_futures=True)
