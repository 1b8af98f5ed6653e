"""A network that can be cut: for clusters on one machine, where people break nodes to watch.

While cut, connections stay open and nothing passes: what is written is dropped, nothing is read, a
new connection gets no further than the kernel. Healing closes the connections that lost bytes.
Does not: exist in clusters that `up` or `demo` did not start; reading costs nothing extra.
"""

import asyncio
from collections.abc import Callable, Iterable
from typing import Any, cast

from trimaran.server.network import CONNECT_TIMEOUT_S, RealListener, RealNetwork

Factory = Callable[[], asyncio.Protocol]


class CuttableNetwork(RealNetwork):
    """The real network, with a switch."""

    def __init__(self) -> None:
        self.is_cut = False
        self._open: dict[int, CuttableTransport] = {}

    def cut(self) -> None:
        """Let nothing pass from now on."""
        self.is_cut = True
        for transport in list(self._open.values()):
            transport.cut()

    def heal(self) -> None:
        """Let everything pass again; what was open while cut is closed."""
        self.is_cut = False
        for transport in list(self._open.values()):
            if transport.is_cut:
                transport.abort()

    async def connect(self, host: str, port: int, factory: Factory) -> None:
        """Connect as `RealNetwork` does; while cut there is no answer."""
        if self.is_cut:
            await asyncio.sleep(CONNECT_TIMEOUT_S)
            raise TimeoutError("this node is cut off")
        await super().connect(host, port, self._opening(factory))

    async def listen(self, host: str, port: int, factory: Factory) -> RealListener:
        """Listen as `RealNetwork` does."""
        return await super().listen(host, port, self._opening(factory))

    def _opening(self, factory: Factory) -> Factory:
        return lambda: _Opening(self, factory)

    def opened(self, transport: asyncio.Transport) -> "CuttableTransport":
        """Keep an eye on a connection."""
        wrapped = CuttableTransport(transport)
        for key in [key for key, known in self._open.items() if known.is_closing()]:
            del self._open[key]
        self._open[id(wrapped)] = wrapped
        return wrapped

    def settle(self, wrapped: "CuttableTransport") -> None:
        """The protocol is in place: a connection made while cut begins cut."""
        if self.is_cut:
            wrapped.cut()


class _Opening(asyncio.Protocol):
    """Hands a new connection to its real protocol, with a transport that can be cut."""

    def __init__(self, network: CuttableNetwork, factory: Factory) -> None:
        self._network = network
        self._factory = factory

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Asyncio's callback: the last one here."""
        real = cast("asyncio.Transport", transport)  # uvloop's is no subclass
        protocol = self._factory()
        real.set_protocol(protocol)
        wrapped = self._network.opened(real)
        protocol.connection_made(wrapped)
        self._network.settle(wrapped)


class CuttableTransport(asyncio.Transport):
    """A transport that can be made to drop what is written and read nothing."""

    __slots__ = ("_is_paused", "_real", "is_cut")

    def __init__(self, real: asyncio.Transport) -> None:
        super().__init__()
        self._real = real
        self._is_paused = False
        self.is_cut = False

    def cut(self) -> None:
        """Let nothing pass."""
        self.is_cut = True
        if not self._is_paused and not self._real.is_closing():
            self._real.pause_reading()

    def write(self, data: Any) -> None:  # noqa: ANN401 - whatever a transport takes
        """Send, or drop."""
        if not self.is_cut:
            self._real.write(data)

    def writelines(self, list_of_data: Iterable[Any]) -> None:
        """Send, or drop."""
        if not self.is_cut:
            self._real.writelines(list_of_data)

    def pause_reading(self) -> None:
        """Read nothing for now."""
        self._is_paused = True
        if not self.is_cut:
            self._real.pause_reading()

    def resume_reading(self) -> None:
        """Read again, unless cut."""
        self._is_paused = False
        if not self.is_cut:
            self._real.resume_reading()

    def is_reading(self) -> bool:
        """Whether the owner wants to read."""
        return not self._is_paused

    def get_extra_info(self, name: str, default: Any = None) -> Any:  # noqa: ANN401
        """Pass on."""
        return self._real.get_extra_info(name, default)

    def is_closing(self) -> bool:
        """Pass on."""
        return self._real.is_closing()

    def close(self) -> None:
        """Pass on."""
        self._real.close()

    def abort(self) -> None:
        """Pass on."""
        self._real.abort()

    def can_write_eof(self) -> bool:
        """Pass on."""
        return self._real.can_write_eof()

    def write_eof(self) -> None:
        """Pass on."""
        self._real.write_eof()

    def get_write_buffer_size(self) -> int:
        """Pass on."""
        return self._real.get_write_buffer_size()

    def get_write_buffer_limits(self) -> tuple[int, int]:
        """Pass on."""
        return self._real.get_write_buffer_limits()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Pass on."""
        self._real.set_write_buffer_limits(high, low)

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Pass on."""
        self._real.set_protocol(protocol)

    def get_protocol(self) -> asyncio.BaseProtocol:
        """Pass on."""
        return self._real.get_protocol()
