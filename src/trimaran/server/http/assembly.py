"""The HTTP side put together: everything that takes long to load is loaded by importing this.

Does not: decide when (`serving` does, in a thread).
"""

import asyncio
import logging
import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import uvicorn
import uvicorn.lifespan.off

from trimaran.broker.node import Broker
from trimaran.config import NodeConfig
from trimaran.ids import NodeId
from trimaran.server.cutting import CuttableNetwork
from trimaran.server.http.app import build_app
from trimaran.server.http.connections import HEAD_BYTES_MAX, HttpProtocol, StreamProtocol
from trimaran.server.http.context import NodeContext
from trimaran.server.http.controls import LocalControl
from trimaran.server.http.fellows import Fellows
from trimaran.server.http.filters import Filters
from trimaran.server.http.kafka.client import Address, KafkaClient, reachable
from trimaran.server.http.kafka.publishing import Publisher
from trimaran.server.http.lag_watch import LagWatch
from trimaran.server.http.stream import Streams
from trimaran.server.http.unread import UnreadWatch
from trimaran.server.network import BACKLOG
from trimaran.server.observing.shapes import Observer

KEEP_ALIVE_S = 30
STOP_S = 1
MESSAGE_BYTES_MAX = 16_384
"""Of a WebSocket client."""
PING_S = 20.0


class Assembly:
    """One node's HTTP side."""

    def __init__(
        self,
        *,
        broker: Broker,
        config: NodeConfig,
        observer: Observer,
        network: CuttableNetwork | None,
        owner_fd: int | None,
        started_ms: int,
        started_s: float,
        executor: ThreadPoolExecutor,
    ) -> None:
        """Everything is made; nothing runs. May be called in a thread."""
        services = broker.services
        kafka = KafkaClient(
            leaders=services, address=lambda node: kafka_address(broker, config, node)
        )
        self.node = NodeContext(
            broker=broker,
            config=config,
            observer=observer,
            kafka=kafka,
            publisher=Publisher(
                kafka,
                next_producer_id=services.next_producer_id,
                leader=services.leader_hint,
            ),
            fellows=Fellows(
                node_id=broker.node_id, address=lambda node: http_address(broker, node)
            ),
            filters=Filters(),
            control=LocalControl(
                data=Path(config.node.data_directory), network=network, owner_fd=owner_fd
            ),
            decoding=executor,
            started_ms=started_ms,
            started_s=started_s,
        )
        self.streams = Streams(self.node)
        self._lag_watch = LagWatch(self.node)
        self._watching: tuple[asyncio.Task[None], ...] = ()
        HttpProtocol.node_id = broker.node_id
        HttpProtocol.connections_max = config.http.connections_max
        logging.getLogger("uvicorn").setLevel(logging.WARNING)
        settings = uvicorn.Config(
            build_app(self.node, self.streams),
            http=HttpProtocol,
            ws=StreamProtocol,
            loop="none",
            backlog=BACKLOG,
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            date_header=False,
            ws_max_size=MESSAGE_BYTES_MAX,
            ws_per_message_deflate=False,
            ws_ping_interval=PING_S,
            ws_ping_timeout=PING_S,
            timeout_keep_alive=KEEP_ALIVE_S,
            timeout_graceful_shutdown=STOP_S,
            h11_max_incomplete_event_size=HEAD_BYTES_MAX,
        )
        settings.load()
        self._server = uvicorn.Server(settings)
        self._server.lifespan = uvicorn.lifespan.off.LifespanOff(settings)

    async def start(self, listening: socket.socket) -> None:
        """Accept connections."""
        await self._server.startup(sockets=[listening])
        unread = UnreadWatch(self._server.server_state.connections)
        loop = asyncio.get_running_loop()
        self._watching = tuple(loop.create_task(watch.run()) for watch in (self._lag_watch, unread))

    async def stop(self) -> None:
        """Close everything, within about a second."""
        for task in self._watching:
            task.cancel()
        self.streams.close()
        await self._server.shutdown()
        await self.node.filters.close()
        self.node.kafka.close()


def kafka_address(broker: Broker, config: NodeConfig, node: NodeId) -> Address | None:
    """Return where a node listens for Kafka clients; this one's own port needs no name."""
    if node == broker.node_id:
        return Address(reachable(config.kafka.host), broker.kafka_port)
    known = broker.services.image.node(node)
    return None if known is None else Address(known.host, known.kafka_port)


def http_address(broker: Broker, node: NodeId) -> tuple[str, int] | None:
    """Return where a node's HTTP port is, as it registered it; None if it has none."""
    known = broker.services.image.node(node)
    return None if known is None or known.http_port == 0 else (known.host, known.http_port)
