"""Connections to the Kafka ports of all nodes, this one's included, and questions to leaders.

One code path for what this node leads and what others lead. A leader is known from the node's own
facts (`leader_hint`); a question that meets a node which leads no longer waits for news and is
asked again until its time is up. Each purpose has a connection of its own to a node, because
answers come in order: a long topic creation must not hold back a read.
Does not: know which requests may be repeated; callers of `ask_leader` say so by using it.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from struct import Struct
from typing import Any, Protocol, TypeVar, cast

from trimaran.broker.calls import NODE_CLIENT_ID
from trimaran.errors import ErrorCode, ProtocolError, RequestError
from trimaran.ids import GroupId, NodeId
from trimaran.protocol.api import APIS, ApiKey
from trimaran.protocol.client_codec import decode_response, encode_request
from trimaran.protocol.codec import RequestHeader

FRAME_BYTES_MAX = 64 * 1024 * 1024
CONNECT_S = 2.0
RETRY_S = 0.02
LAST_WORDS_S = 0.05
"""How long a leader may still answer after another was seen."""
WAIT_FOR_NEWS_S = 0.25
_SIZE = Struct(">i")

VERSIONS = {ApiKey.FETCH: 12, ApiKey.PRODUCE: 11}
"""The version spoken where it is not the highest: Fetch by topic name."""

MOVED = (
    ErrorCode.NOT_LEADER_OR_FOLLOWER,
    ErrorCode.LEADER_NOT_AVAILABLE,
    ErrorCode.FENCED_LEADER_EPOCH,
    ErrorCode.UNKNOWN_LEADER_EPOCH,
    ErrorCode.OFFSET_NOT_AVAILABLE,
)
"""Ask again: the leader is another one, or not ready."""


T = TypeVar("T")


class NotSentError(OSError):
    """Nothing of the request left this node."""


class Leaders(Protocol):
    """What is asked of the node itself."""

    def leader_hint(self, group: GroupId) -> tuple[NodeId | None, int]:
        """Return who leads."""

    def wait_metadata(
        self, predicate: Callable[[], bool], timeout_s: float
    ) -> "asyncio.Future[bool]":
        """Wait for news."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where a node listens for Kafka clients."""

    host: str
    port: int


class KafkaLink(asyncio.Protocol):
    """One connection; requests are answered in order."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray()
        self._correlation = 0
        self._waiting: deque[tuple[int, int, int, asyncio.Future[Any]]] = deque()
        self.is_open = True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Asyncio's callback."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is no subclass

    def connection_lost(self, exc: Exception | None) -> None:
        """Asyncio's callback: nobody will answer any more."""
        self.is_open = False
        waiting, self._waiting = self._waiting, deque()
        for _, _, _, future in waiting:
            if not future.done():
                future.set_exception(ConnectionResetError("the node closed the connection"))

    def data_received(self, data: bytes) -> None:
        """Asyncio's callback."""
        self._buffer += data
        while len(self._buffer) >= _SIZE.size:
            (size,) = _SIZE.unpack_from(self._buffer)
            if not _SIZE.size <= size <= FRAME_BYTES_MAX:
                self.close()
                return
            end = _SIZE.size + size
            if len(self._buffer) < end:
                return
            frame = bytes(self._buffer[_SIZE.size : end])
            del self._buffer[:end]
            self._settle(frame)

    def close(self) -> None:
        """Give the connection up."""
        self.is_open = False
        if self._transport is not None:
            self._transport.abort()

    async def ask(self, key: ApiKey, message: object) -> Any:  # noqa: ANN401 - one type an API
        """Send a request and wait for its answer.

        Raises:
            NotSentError: the connection was closed already.
            OSError: it closed before the answer came.
            ProtocolError: the answer is none.
        """
        if not self.is_open or self._transport is None:
            raise NotSentError("the connection is closed")
        version = VERSIONS.get(key, APIS[key].max_version)
        self._correlation += 1
        header = RequestHeader(
            api_key=key,
            api_version=version,
            correlation_id=self._correlation,
            client_id=NODE_CLIENT_ID,
        )
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        frame = encode_request(header, message)
        self._waiting.append((self._correlation, key, version, future))
        self._transport.write(frame)
        return await future

    def _settle(self, frame: bytes) -> None:
        if not self._waiting:
            self.close()
            return
        correlation, key, version, future = self._waiting.popleft()
        if future.done():
            return
        try:
            found, answer = decode_response(key, version, frame)
            if found != correlation:
                raise ProtocolError(f"answer {found} where {correlation} was due")
        except ProtocolError as error:
            future.set_exception(error)
            self.close()
        else:
            future.set_result(answer)


class KafkaClient:
    """Links to nodes, made when wanted and kept."""

    def __init__(self, *, leaders: Leaders, address: Callable[[NodeId], Address | None]) -> None:
        """`address` names a node's Kafka port, None for a node that never registered."""
        self._leaders = leaders
        self._address = address
        self._links: dict[tuple[NodeId, str], KafkaLink] = {}
        self._connecting: dict[tuple[NodeId, str], asyncio.Task[KafkaLink]] = {}

    async def ask(
        self, node: NodeId, key: ApiKey, message: object, *, lane: str, timeout_s: float
    ) -> Any:  # noqa: ANN401 - one type an API
        """Ask one node, once.

        Raises:
            NotSentError: it could not be reached; nothing was sent.
            OSError: no answer came (TimeoutError included): it may have done what was asked.
        """
        async with asyncio.timeout(timeout_s):
            link = await self._link(node, lane)
            try:
                return await link.ask(key, message)
            except asyncio.CancelledError:
                link.close()  # the answers behind this one would come to the wrong asker
                raise

    async def ask_leader(
        self,
        group: GroupId,
        ask: Callable[[NodeId, float], Coroutine[Any, Any, T]],
        *,
        timeout_s: float,
    ) -> T:
        """Call `ask(leader, seconds left)` until it neither moves nor breaks, or time is up.

        `ask` raises RequestError with one of MOVED where the node asked does not lead.

        Raises:
            RequestError: what the leader refused, or LEADER_NOT_AVAILABLE when time was up.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout_s
        reason = "no leader is known"
        while (left := deadline - loop.time()) > 0:
            leader, term = self._leaders.leader_hint(group)
            if leader is None:
                await self.wait_news(group, term, min(left, WAIT_FOR_NEWS_S))
                continue
            try:
                return await self.unless_moved(group, leader, ask(leader, left), left)
            except RequestError as error:
                if error.code not in MOVED:
                    raise
                reason = f"node {leader}: {error.code.name}"
            except OSError as error:
                reason = f"node {leader}: {told(error)}"
            await self.wait_news(group, term, min(max(0.0, deadline - loop.time()), RETRY_S))
        raise RequestError(ErrorCode.LEADER_NOT_AVAILABLE, reason)

    async def unless_moved(
        self, group: GroupId, leader: NodeId, answer: Coroutine[Any, Any, T], timeout_s: float
    ) -> T:
        """Await `answer` of `leader`; give it up when another leads: this one may be frozen.

        Raises:
            ConnectionAbortedError: it was given up.
        """
        loop = asyncio.get_running_loop()
        task = loop.create_task(answer)

        def has_moved() -> bool:
            return self._leaders.leader_hint(group)[0] not in (leader, None)

        def give_up(moved: "asyncio.Future[bool]") -> None:
            if not moved.cancelled() and moved.result():
                loop.call_later(LAST_WORDS_S, task.cancel)

        moved = self._leaders.wait_metadata(has_moved, timeout_s)
        moved.add_done_callback(give_up)
        try:
            return await task
        except asyncio.CancelledError:
            own = asyncio.current_task()
            if own is not None and own.cancelling():
                raise
            raise ConnectionAbortedError("another node leads now") from None
        finally:
            moved.cancel()

    async def wait_news(self, group: GroupId, term: int, timeout_s: float) -> None:
        """Return when the leader of `group` is another than in `term`, or after a while."""

        def is_new() -> bool:
            leader, found = self._leaders.leader_hint(group)
            return leader is not None and found > term

        if timeout_s > 0:
            await self._leaders.wait_metadata(is_new, timeout_s)

    def close(self) -> None:
        """Give all connections up."""
        for link in self._links.values():
            link.close()
        self._links.clear()

    async def _link(self, node: NodeId, lane: str) -> KafkaLink:
        place = (node, lane)
        link = self._links.get(place)
        if link is not None and link.is_open:
            return link
        task = self._connecting.get(place)
        if task is None:
            task = asyncio.get_running_loop().create_task(self._connect(node, lane))
            self._connecting[place] = task
            task.add_done_callback(lambda _: self._connecting.pop(place, None))
        try:
            return await asyncio.shield(task)
        except OSError as error:
            raise NotSentError(f"node {node} cannot be reached: {error}") from error

    async def _connect(self, node: NodeId, lane: str) -> KafkaLink:
        address = self._address(node)
        if address is None:
            raise OSError("it has not registered")
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(CONNECT_S):
            _, link = await loop.create_connection(KafkaLink, address.host, address.port)
        self._links[(node, lane)] = link
        return link


def checked(code: int, message: str | None = None) -> None:
    """Return if an answer's code is no error.

    Raises:
        RequestError: with that code.
    """
    error = refusal(code, message)
    if error is not None:
        raise error


def refusal(code: int, message: str | None = None) -> RequestError | None:
    """Return the error that an answer's code says; None if it is none."""
    if code == ErrorCode.NONE:
        return None
    known = code in ErrorCode._value2member_map_
    found = ErrorCode(code) if known else ErrorCode.UNKNOWN_SERVER_ERROR
    return RequestError(found, message or ("" if known else f"code {code}"))


def reachable(host: str) -> str:
    """Return an address that reaches a listener on `host` of this machine."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)


def told(error: Exception) -> str:
    """Return what is said about `error`; time-outs carry no text."""
    return str(error) or type(error).__name__
