"""The HTTP side put together: everything that takes long to load is loaded by importing this.

Does not: decide when (`serving` does, in a thread).
"""

import asyncio
import logging
import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import h11
import msgspec
import uvicorn
import uvicorn.lifespan.off
import uvicorn.protocols.websockets.websockets_sansio_impl
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http import h11_impl

from trimaran.broker.node import Broker
from trimaran.config import NodeConfig
from trimaran.ids import NodeId
from trimaran.server.cutting import CuttableNetwork
from trimaran.server.http import problems
from trimaran.server.http.app import RECEIVE_S, build_app
from trimaran.server.http.context import NodeContext
from trimaran.server.http.controls import LocalControl
from trimaran.server.http.endpoint import problem_response
from trimaran.server.http.fellows import Fellows
from trimaran.server.http.filters import Filters
from trimaran.server.http.headers import NODE_HEADER
from trimaran.server.http.kafka.client import Address, KafkaClient, reachable
from trimaran.server.http.kafka.publishing import Publisher
from trimaran.server.http.lag_watch import LagWatch
from trimaran.server.http.problems import ProblemError
from trimaran.server.http.stream import Streams
from trimaran.server.observing.shapes import Observer

KEEP_ALIVE_S = 30
STOP_S = 1
LINGER_S = 1.0
"""For a client that was refused while it still sends to read why."""
HEAD_BYTES_MAX = 65_536
MESSAGE_BYTES_MAX = 16_384
"""Of a WebSocket client."""
CONCURRENT_MAX = 1_000
PING_S = 20.0


class HttpProtocol(h11_impl.H11Protocol):
    """uvicorn's, but what never reaches the application gets a problem document too.

    A connection whose request does not arrive is closed: silent ones would use up all there are.
    """

    node_id = 0
    """Of the one node of this process."""

    def __init__(self, *arguments: Any, **named: Any) -> None:  # noqa: ANN401 - as uvicorn's
        """As uvicorn's."""
        super().__init__(*arguments, **named)
        self._application, self.app = self.app, self._admit
        self._is_refused = False
        self._expecting: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Asyncio's callback."""
        super().connection_made(transport)
        self._expect_request()

    def connection_lost(self, exc: Exception | None) -> None:
        """Asyncio's callback."""
        self._stop_expecting()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read on, for nothing, from whom was refused: to close at once would lose the answer."""
        if self._is_refused:
            return
        super().data_received(data)
        if self._is_idle:
            self._expect_request()
        else:
            self._stop_expecting()

    @property
    def _is_idle(self) -> bool:
        """Whether no request is being answered: what came is the beginning of one at most."""
        cycle: h11_impl.RequestResponseCycle | None = self.cycle
        return cycle is None or cycle.response_complete

    def _expect_request(self) -> None:
        if self._expecting is None:
            self._expecting = self.loop.call_later(RECEIVE_S, self._give_up)

    def _stop_expecting(self) -> None:
        if self._expecting is not None:
            self._expecting.cancel()
            self._expecting = None

    def _give_up(self) -> None:
        self._expecting = None
        # A connection that became a WebSocket has another protocol.
        if self._is_idle and self.transport.get_protocol() is self:
            self.transport.close()

    async def _admit(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on to the application, or refuse it while there are too many."""
        if max(len(self.connections), len(self.tasks)) <= CONCURRENT_MAX:
            await self._application(scope, receive, send)
            return
        error = problems.unavailable(f"more than {CONCURRENT_MAX} requests or connections")
        await problem_response(error, scope["path"], self.node_id)(scope, receive, send)

    def send_400_response(self, msg: str) -> None:
        """Answer once, and close."""
        error = ProblemError(problems.BAD_REQUEST, f"{msg} At most {HEAD_BYTES_MAX} bytes of head.")
        document = msgspec.json.encode(error.document(instance="/", served_by=self.node_id))
        headers = [
            ("content-type", problems.MEDIA_TYPE),
            ("content-length", str(len(document))),
            ("connection", "close"),
            (NODE_HEADER, str(self.node_id)),
        ]
        parts = [h11.Response(status_code=error.kind.status, headers=headers)]
        for part in (*parts, h11.Data(data=document), h11.EndOfMessage()):
            self.transport.write(self.conn.send(part) or b"")
        self._is_refused = True
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self.loop.call_later(LINGER_S, self.transport.close)


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
        self._watching: asyncio.Task[None] | None = None
        HttpProtocol.node_id = broker.node_id
        logging.getLogger("uvicorn").setLevel(logging.WARNING)
        settings = uvicorn.Config(
            build_app(self.node, self.streams),
            http=HttpProtocol,
            ws="websockets-sansio",
            loop="none",
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
        self._watching = asyncio.get_running_loop().create_task(self._lag_watch.run())

    async def stop(self) -> None:
        """Close everything, within about a second."""
        if self._watching is not None:
            self._watching.cancel()
        await self.streams.close()
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
