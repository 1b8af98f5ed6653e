"""Questions to other nodes over HTTP: one GET, one small JSON answer, a second at most.

A node's HTTP address is what it registered. Only paths that a node answers for itself are asked, so
that no question goes on from there.
Does not: change anything on another node, or keep connections.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import TypeVar

import msgspec

from trimaran.ids import NodeId

ANSWER_S = 1.0
ANSWER_BYTES_MAX = 32 * 1024 * 1024
HOP_HEADER = "trimaran-asked-by"

NO_ANSWER = (OSError, EOFError, ValueError, asyncio.LimitOverrunError)
"""Nobody, somebody who hung up, or somebody who does not speak HTTP."""

T = TypeVar("T")
log = logging.getLogger(__name__)


class Fellows:
    """The other nodes of the cluster."""

    def __init__(
        self, *, node_id: NodeId, address: Callable[[NodeId], tuple[str, int] | None]
    ) -> None:
        """`address`: where a node's HTTP port is, None if it never registered one."""
        self._node_id = node_id
        self._address = address

    async def get(
        self, node: NodeId, path: str, shape: type[T], *, timeout_s: float = ANSWER_S
    ) -> T | None:
        """Return what `node` answers; None if it does not, or not like this."""
        try:
            async with asyncio.timeout(timeout_s):
                status, body = await self._exchange(node, "GET", path, {})
        except NO_ANSWER as error:
            log.debug("no answer node=%d path=%s reason=%r", node, path, error)
            return None
        if status != 200:
            return None
        try:
            return msgspec.json.decode(body, type=shape)
        except msgspec.MsgspecError as error:
            log.warning("answer of node %d to %s not understood: %s", node, path, error)
            return None

    async def get_all(
        self, nodes: Sequence[NodeId], path: str, shape: type[T], *, timeout_s: float = ANSWER_S
    ) -> list[T | None]:
        """Ask several nodes at once; answers in their order."""
        calls = [self.get(node, path, shape, timeout_s=timeout_s) for node in nodes]
        return list(await asyncio.gather(*calls))

    async def post(self, node: NodeId, path: str, headers: dict[str, str]) -> int | None:
        """Send an empty POST; return the status, None without an answer."""
        try:
            async with asyncio.timeout(ANSWER_S):
                status, _ = await self._exchange(node, "POST", path, headers)
        except NO_ANSWER:
            return None
        return status

    async def _exchange(
        self, node: NodeId, method: str, path: str, headers: dict[str, str]
    ) -> tuple[int, bytes]:
        address = self._address(node)
        if address is None:
            raise OSError("no HTTP address is registered")
        reader, writer = await asyncio.open_connection(*address, limit=65_536)
        try:
            lines = [f"{method} {path} HTTP/1.1", f"host: {address[0]}:{address[1]}"]
            lines += ["connection: close", f"{HOP_HEADER}: {self._node_id}", "content-length: 0"]
            lines += [f"{name}: {value}" for name, value in headers.items()]
            writer.write(("\r\n".join(lines) + "\r\n\r\n").encode())
            return await _read_answer(reader)
        finally:
            writer.close()


async def _read_answer(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    """Return status and body. Raises ValueError or EOFError for what is no such answer."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = head.split("\r\n")
    status = int(first.partition(" ")[2][:3])
    headers = {}
    for line in lines:
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip()
    length = int(headers.get("content-length", "0"))
    if not 0 <= length <= ANSWER_BYTES_MAX:
        raise ValueError(f"an answer of {length} bytes")
    return status, await reader.readexactly(length)
