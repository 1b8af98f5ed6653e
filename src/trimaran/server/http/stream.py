"""The WebSocket `/v1/stream`: one connection, many subscriptions, JSON both ways.

A client that does not read holds up its own feeds only: each waits in `send` and skips what it
would have sent meanwhile.
Does not: know what a feed sends (`feeds`).
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
from starlette.websockets import WebSocket, WebSocketDisconnect

from trimaran import __version__
from trimaran.errors import RequestError
from trimaran.server.http import answers, feeds, problems
from trimaran.server.http.context import NodeContext, now_ms
from trimaran.server.http.models.stream import (
    ChangeFilter,
    ClientMessage,
    Hello,
    Pause,
    Ping,
    Pong,
    Resume,
    StreamError,
    Subscribe,
    Told,
    Unsubscribe,
)
from trimaran.server.http.origins import check_origin
from trimaran.server.http.problems import ProblemError, from_validation, not_found
from trimaran.server.http.tails import Tails

SUBSCRIPTIONS_MAX = 64
PATH = "/v1/stream"
REFUSED = 1008
"""Close code: against the rules."""
GOING_AWAY = 1001

FEEDS: Mapping[str, Callable[[NodeContext, Subscribe, feeds.Send], Coroutine[Any, Any, None]]] = {
    "metrics": feeds.metrics,
    "happenings": feeds.happenings,
    "cluster": feeds.cluster,
    "partition": feeds.partition,
    "group": feeds.group,
}
"""Of the cluster's state, the same for every client."""

_decoder = msgspec.json.Decoder(ClientMessage)
log = logging.getLogger(__name__)


@dataclass(slots=True)
class Subscription:
    """A feed that runs."""

    task: asyncio.Task[None]
    tail: feeds.TailFeed | None
    may_send: asyncio.Event


class Streams:
    """All clients of this node."""

    def __init__(self, node: NodeContext) -> None:
        self._node = node
        self._tails = Tails(node)
        self._open: dict[int, Stream] = {}

    async def serve(self, websocket: WebSocket) -> None:
        """Serve a client until it goes; a stranger's page, one too early or too many is closed."""
        try:
            check_origin(self._node, websocket.headers)
            self._node.check_ready()
            self._check_room()
        except ProblemError as error:
            await self._refuse(websocket, error)
            return
        stream = Stream(self._node, self._tails, websocket)
        self._open[id(stream)] = stream
        try:
            await stream.run()
        finally:
            del self._open[id(stream)]

    def _check_room(self) -> None:
        """Raises ProblemError (429): as many are served as the settings allow."""
        streams_max = self._node.config.http.streams_max
        if len(self._open) >= streams_max:
            raise ProblemError(
                problems.TOO_MANY,
                f"this node serves {len(self._open)} WebSockets and may serve {streams_max}: "
                "close pages of the dashboard, or raise http.streams_max",
            )

    async def _refuse(self, websocket: WebSocket, error: ProblemError) -> None:
        """Say why, and close. To say it the node accepts: browsers tell no page a refusal."""
        with contextlib.suppress(WebSocketDisconnect, OSError, RuntimeError):
            await websocket.accept()
            await websocket.send_text(encoded(problem_message(self._node, None, error)))
            await websocket.close(REFUSED)

    def close(self) -> None:
        """The node stops; the connections are told by the server."""
        self._tails.close()


class Stream:
    """One client."""

    def __init__(self, node: NodeContext, tails: Tails, websocket: WebSocket) -> None:
        self._node = node
        self._tails = tails
        self._websocket = websocket
        self._client = websocket.client.host if websocket.client is not None else ""
        self._subscriptions: dict[str, Subscription] = {}
        self._turn = asyncio.Lock()

    async def run(self) -> None:
        """Serve the client until it goes."""
        node = self._node
        await self._websocket.accept()
        try:
            await self.send(
                Hello(
                    served_by=node.node_id,
                    cluster_id=node.broker.cluster_id,
                    version=__version__,
                    at_ms=now_ms(),
                )
            )
            while True:
                await self._receive(await self._websocket.receive_text())
        except (WebSocketDisconnect, OSError, RuntimeError, KeyError):
            pass  # gone, or it sent no text
        finally:
            for subscription in self._subscriptions.values():
                subscription.task.cancel()
            with contextlib.suppress(WebSocketDisconnect, OSError, RuntimeError):
                await self._websocket.close(GOING_AWAY)

    async def send(self, message: msgspec.Struct) -> None:
        """Send one message; returns when the client has room for the next."""
        text = encoded(message)
        async with self._turn:
            await self._websocket.send_text(text)

    async def _receive(self, text: str) -> None:
        name: str | None = None
        try:
            try:
                message = _decoder.decode(text)
            except msgspec.ValidationError as error:
                raise from_validation(error, None, where="message") from error
            except (msgspec.DecodeError, RecursionError) as error:
                raise ProblemError(problems.BAD_REQUEST, f"no JSON: {error}") from error
            name = None if isinstance(message, Ping) else message.id
            await self._obey(message)
        except ProblemError as error:
            await self._tell_problem(name, error)
        except RequestError as error:
            await self._tell_problem(name, problems.from_request_error(error))

    async def _obey(self, message: ClientMessage) -> None:
        match message:
            case Subscribe():
                await self._subscribe(message)
            case Unsubscribe():
                self._known(message.id).task.cancel()
                del self._subscriptions[message.id]
                await self.send(Told(type="unsubscribed", id=message.id))
            case Pause():
                known = self._known(message.id)
                known.may_send.clear()
                if known.tail is not None:
                    known.tail.watcher.pause()
                await self.send(Told(type="paused", id=message.id))
            case Resume():
                known = self._known(message.id)
                known.may_send.set()
                if known.tail is not None:
                    known.tail.watcher.resume()
                await self.send(Told(type="resumed", id=message.id))
            case ChangeFilter():
                tail = self._known(message.id).tail
                if tail is None:
                    raise not_found(f"subscription {message.id!r} is no tail")
                await tail.set_filter(message.filter)
            case Ping():
                await self.send(Pong(nonce=message.nonce))

    def _known(self, name: str) -> Subscription:
        found = self._subscriptions.get(name)
        if found is None:
            raise not_found(f"subscription {name!r}")
        return found

    async def _subscribe(self, asked: Subscribe) -> None:
        known = self._subscriptions.get(asked.id)
        if known is not None:
            raise ProblemError(problems.CONFLICT, f"there is a subscription {asked.id!r}")
        if len(self._subscriptions) >= SUBSCRIPTIONS_MAX:
            raise ProblemError(problems.TOO_MANY, f"at most {SUBSCRIPTIONS_MAX} subscriptions")
        may_send = asyncio.Event()
        may_send.set()

        async def send(message: msgspec.Struct) -> None:
            await may_send.wait()
            await self.send(message)

        tail: feeds.TailFeed | None = None
        if asked.feed == "tail":
            tail = feeds.TailFeed(self._node, self._tails, asked, self.send)
            feed = tail.run()
        elif asked.feed == "answer":
            feed = answers.answer(self._node, asked, send, client=self._client)
        else:
            feed = FEEDS[asked.feed](self._node, asked, send)
        await self.send(Told(type="subscribed", id=asked.id))
        task = asyncio.get_running_loop().create_task(self._feed(asked.id, feed))
        self._subscriptions[asked.id] = Subscription(task, tail, may_send)

    async def _feed(self, name: str, feed: Coroutine[Any, Any, None]) -> None:
        """Run a feed; what ends it is told."""
        try:
            await feed
        except ProblemError as error:
            await self._end(name, error)
        except RequestError as error:
            await self._end(name, problems.from_request_error(error))
        except (WebSocketDisconnect, OSError, RuntimeError):
            pass  # the client is gone; `run` ends everything
        except Exception:
            log.exception("feed failed subscription=%s", name)
            await self._end(name, ProblemError(problems.INTERNAL, "see the log of this node"))

    async def _end(self, name: str, error: ProblemError) -> None:
        self._subscriptions.pop(name, None)
        with contextlib.suppress(OSError, RuntimeError, WebSocketDisconnect):
            await self._tell_problem(name, error)

    async def _tell_problem(self, name: str | None, error: ProblemError) -> None:
        await self.send(problem_message(self._node, name, error))


def problem_message(node: NodeContext, name: str | None, error: ProblemError) -> StreamError:
    """Return what a client is told of a problem; `name`: of a subscription."""
    return StreamError(id=name, problem=error.document(instance=PATH, served_by=node.node_id))


def encoded(message: msgspec.Struct) -> str:
    """Return a message as it is sent."""
    return msgspec.json.encode(message).decode()
