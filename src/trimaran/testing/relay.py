"""The process behind `RelayLinks`: orders as lines of JSON on standard input, one answer to each.

    {"route": [from, to, port]}                   {"port": the port that leads there}
    {"block": [[from, to], ...], "blocked": b}    {}
    {"slow": [[from, to], ...], "delay_ms": n}    {}

Ends with its standard input. Does not: look at what it relays, or change or reorder it.
"""

import asyncio
import contextlib
import json
import sys
from dataclasses import dataclass, field

PIECE_BYTES = 65_536
HELD_PIECES_MAX = 256
"""A slow link holds back at most so many pieces; then nothing is read."""
HOST = "127.0.0.1"


def _open_gate() -> asyncio.Event:
    gate = asyncio.Event()
    gate.set()
    return gate


@dataclass(slots=True)
class Direction:
    """What passes from one side to another."""

    gate: asyncio.Event = field(default_factory=_open_gate)
    delay_s: float = 0.0


class Relay:
    """All routes and the state of their links."""

    def __init__(self) -> None:
        self._directions: dict[tuple[int, int], Direction] = {}

    async def obey(self, order: dict[str, object]) -> dict[str, object]:
        """Do what one line says."""
        match order:
            case {"route": [int(sender), int(receiver), int(port)]}:
                return {"port": await self._listen(sender, receiver, port)}
            case {"block": list(pairs), "blocked": bool(blocked)}:
                for sender, receiver in pairs:
                    gate = self._direction(sender, receiver).gate
                    if blocked:
                        gate.clear()
                    else:
                        gate.set()
                return {}
            case {"slow": list(pairs), "delay_ms": int(delay_ms)}:
                for sender, receiver in pairs:
                    self._direction(sender, receiver).delay_s = delay_ms / 1000
                return {}
            case _:
                raise ValueError(f"expected an order, found {order!r}")

    def _direction(self, sender: int, receiver: int) -> Direction:
        return self._directions.setdefault((sender, receiver), Direction())

    async def _listen(self, sender: int, receiver: int, port: int) -> int:
        there, back = self._direction(sender, receiver), self._direction(receiver, sender)

        async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await there.gate.wait()
            try:
                onward, outward = await asyncio.open_connection(HOST, port)
            except OSError:
                writer.transport.abort()
                return
            async with asyncio.TaskGroup() as group:
                group.create_task(_pump(reader, outward, there))
                group.create_task(_pump(onward, writer, back))

        server = await asyncio.start_server(connected, HOST, 0)
        return int(server.sockets[0].getsockname()[1])


async def _pump(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, direction: Direction
) -> None:
    """Pass pieces on in order until the sending side ends; then end the other side."""
    held: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(HELD_PIECES_MAX)
    loop = asyncio.get_running_loop()

    async def take_in() -> None:
        piece = b"-"
        while piece:
            try:
                piece = await reader.read(PIECE_BYTES)
            except OSError:
                piece = b""
            await held.put((loop.time() + direction.delay_s, piece))

    async with asyncio.TaskGroup() as group:
        taking = group.create_task(take_in())
        while True:
            due, piece = await held.get()
            await asyncio.sleep(max(0.0, due - loop.time()))
            await direction.gate.wait()
            if not piece or writer.is_closing():
                break
            writer.write(piece)
            with contextlib.suppress(OSError):
                await writer.drain()
        taking.cancel()
    # A killed process' connection ends with everything it had sent, as the kernel would have it.
    writer.close()


async def main() -> None:
    """Obey until standard input ends."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    relay = Relay()
    while line := await reader.readline():
        answer = await relay.obey(json.loads(line))
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(main())
