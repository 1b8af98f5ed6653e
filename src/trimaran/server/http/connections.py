"""One HTTP or WebSocket connection: uvicorn's protocols, with limits on what a client may hold.

Does not: answer requests (`app`), or close clients that take nothing (`unread`).
"""

import asyncio
import logging
from typing import Any

import h11
import msgspec
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http import h11_impl
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from trimaran.server.descriptors import HTTP_SPARE
from trimaran.server.http import problems
from trimaran.server.http.app import RECEIVE_S
from trimaran.server.http.endpoint import problem_response
from trimaran.server.http.headers import NODE_HEADER
from trimaran.server.http.problems import ProblemError

LINGER_S = 1.0
"""For a client that was refused while it still sends to read why."""
HEAD_BYTES_MAX = 65_536
TELL_AGAIN_S = 10.0

log = logging.getLogger(__name__)


class HttpProtocol(h11_impl.H11Protocol):
    """uvicorn's, but what never reaches the application gets a problem document too.

    A connection whose request does not arrive is closed: silent ones would use up all there are.
    """

    node_id = 0
    """Of the one node of this process."""
    connections_max = 0
    """With more, requests are refused; HTTP_SPARE further ones are not even heard."""
    told_s = float("-inf")
    """When it was last logged that connections are closed unheard."""

    def __init__(self, *arguments: Any, **named: Any) -> None:  # noqa: ANN401 - as uvicorn's
        """As uvicorn's."""
        super().__init__(*arguments, **named)
        self._application, self.app = self.app, self._admit
        self._is_refused = False
        self._expecting: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Asyncio's callback."""
        super().connection_made(transport)
        if len(self.connections) > self.connections_max + HTTP_SPARE:
            self._turn_away()
        else:
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

    def _turn_away(self) -> None:
        """Close unheard: a silent one would hold a descriptor that the node needs itself."""
        self.transport.abort()
        now_s = self.loop.time()
        if now_s - HttpProtocol.told_s >= TELL_AGAIN_S:
            HttpProtocol.told_s = now_s
            log.warning(
                "HTTP connections are closed unheard count=%d http.connections_max=%d",
                len(self.connections),
                self.connections_max,
            )

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
        most = self.connections_max
        if max(len(self.connections), len(self.tasks)) <= most:
            await self._application(scope, receive, send)
            return
        error = problems.unavailable(f"more than {most} requests or connections")
        response = problem_response(error, scope["path"], self.node_id)
        response.headers["connection"] = "close"  # kept alive it would stay one too many
        await response(scope, receive, send)

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


class StreamProtocol(WebSocketsSansIOProtocol):
    """uvicorn's, but a stop does not wait for a client to read."""

    def shutdown(self) -> None:
        """Say that the node stops, unless there is no room for it: then it shows by the end."""
        if self.transport.get_write_buffer_size() > 0:
            self.transport.abort()
        else:
            super().shutdown()
