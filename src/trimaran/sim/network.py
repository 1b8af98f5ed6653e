"""TCP between simulated machines: latency, loss, partitions, and every way a connection can end.

| what happens | what peers see |
|---|---|
| process killed | FIN behind what its kernel had taken, or RST, quickly |
| process paused | still accepts connections, takes bytes until the window is full; silence |
| power cut | silence; after the machine is up again, RST to whoever still sends |
| link blocked | bytes are held, and arrive late after the heal (retransmission); a sender whose |
| | bytes are held for `stall_timeout_s` gets TimeoutError; connecting is retried at 1, 3 ... s |
| nothing listens | ConnectionRefusedError |
| a reset on the way | RST to both ends or to one; the other stays half open until it sends |

A link is one direction between two named machines; loss shows as delay, because TCP repeats.

Does not: know what the bytes mean, or draw faults (`faults` does).
"""

import asyncio
import errno
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from random import Random

from trimaran.sim.loop import SimLoop
from trimaran.sim.process import Death, Process
from trimaran.sim.trace import EventLog
from trimaran.sim.transport import End, Pipe, SimTransport

CONNECT_TIMEOUT_S = 2.0
"""As in `server.network`: the caller waits no longer for a silent host."""
SYN_RETRY_S = 1.0
"""A connection request without answer is repeated after this, then after twice as long ..."""
RETRANSMISSION_S = 0.2
"""Linux's smallest retransmission time-out; it doubles with each loss."""
FIRST_FREE_PORT = 40_000
LOOPBACK_S = 0.000_02
_LOCAL_NAMES = ("", "0.0.0.0", "127.0.0.1", "::", "localhost")


@dataclass(slots=True, kw_only=True)
class LinkConditions:
    """How a link behaves while nothing blocks it."""

    latency_min_s: float = 0.000_1
    latency_mean_s: float = 0.000_3
    """Mean of what an exponential distribution adds to the minimum."""
    loss: float = 0.0
    """Probability that a piece has to be sent again."""
    bytes_per_s: float = 1e9


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkLimits:
    """What a seed may vary about every connection."""

    window_bytes_min: int = 16 * 1024
    window_bytes_max: int = 1024 * 1024
    split: float = 0.05
    """Probability that a write arrives in two pieces."""
    reset: float = 0.5
    """Probability that a dead process's connection ends with RST instead of FIN."""
    stall_timeout_s: float = 20.0


class Link:
    """One direction between two machines."""

    __slots__ = ("_network", "conditions", "cuts", "source", "target")

    def __init__(self, network: "SimNetwork", source: str, target: str) -> None:
        self._network = network
        self.source = source
        self.target = target
        self.conditions = network.conditions
        self.cuts = 0
        """How many cuts it suffers at the same time; it works when all are mended."""

    @property
    def blocked(self) -> bool:
        """Whether nothing passes: cut by a partition, or one end has no power."""
        powered_off = self._network.powered_off
        return self.cuts > 0 or self.source in powered_off or self.target in powered_off

    def reverse(self) -> "Link":
        """Return the link of the way back."""
        return self._network.link(self.target, self.source)

    def draw_delay_s(self, size: int) -> float:
        """Return how long a piece of `size` bytes takes."""
        if self.source == self.target:
            return LOOPBACK_S
        conditions = self.conditions
        chance = self._network.chance
        delay_s = conditions.latency_min_s + size / conditions.bytes_per_s
        if conditions.latency_mean_s > 0.0:
            delay_s += chance.expovariate(1.0 / conditions.latency_mean_s)
        repeat_s = RETRANSMISSION_S
        while conditions.loss > 0.0 and chance.random() < conditions.loss:
            delay_s += repeat_s
            repeat_s *= 2.0
            self._network.note("resent piece")
        return delay_s


@dataclass(slots=True)
class SimListener:
    """A listening socket of one process."""

    host: str
    port: int
    process: Process
    factory: Callable[[], asyncio.Protocol]
    network: "SimNetwork"

    def close(self) -> None:
        """Stop accepting."""
        listeners = self.network.listeners
        if listeners.get((self.host, self.port)) is self:
            del listeners[self.host, self.port]


@dataclass(slots=True)
class _Attempt:
    """A connection that is being opened."""

    process: Process
    server: tuple[str, int]
    result: "asyncio.Future[SimTransport]"
    retry_s: float = SYN_RETRY_S
    timers: list[asyncio.TimerHandle] = field(default_factory=list)


class SimNetwork:
    """The fabric between all machines of a simulation."""

    def __init__(
        self,
        loop: SimLoop,
        chance: Random,
        log: EventLog,
        *,
        limits: NetworkLimits | None = None,
        conditions: LinkConditions | None = None,
    ) -> None:
        """Start with every link working under `conditions`."""
        self.loop = loop
        self.chance = chance
        self.log = log
        self.limits = limits or NetworkLimits()
        self.conditions = conditions or LinkConditions()
        self.listeners: dict[tuple[str, int], SimListener] = {}
        self.powered_off: dict[str, None] = {}
        self._links: dict[tuple[str, str], Link] = {}
        self._transports: dict[SimTransport, None] = {}
        self._next_ports: dict[str, int] = {}
        self._known: dict[Process, None] = {}
        self.counts: dict[str, int] = {}
        """What happened on this network so far, by name."""

    # What scenarios and faults do

    def link(self, source: str, target: str) -> Link:
        """Return the link from one machine to another."""
        key = (source, target)
        found = self._links.get(key)
        if found is None:
            found = self._links[key] = Link(self, source, target)
        return found

    def cut(self, sources: Iterable[str], targets: Iterable[str], *, both: bool = True) -> None:
        """Let nothing pass from `sources` to `targets` (and back, unless not `both`).

        Cuts overlap: a link works again when each of its cuts is mended.
        """
        for link in self._between(sources, targets, both=both):
            link.cuts += 1
        self._hold_blocked()

    def mend(self, sources: Iterable[str], targets: Iterable[str], *, both: bool = True) -> None:
        """Undo one `cut` with the same arguments."""
        for link in self._between(sources, targets, both=both):
            link.cuts = max(0, link.cuts - 1)
        self._release_unblocked()

    def mend_all(self, among: Sequence[str] | None = None) -> None:
        """Undo every `cut` between the machines `among`; None: everywhere."""
        for link in self._links.values():
            if among is None or (link.source in among and link.target in among):
                link.cuts = 0
        for pipe in self._pipes():
            if among is None or (pipe.link.source in among and pipe.link.target in among):
                pipe.stuck = False
        self._release_unblocked()

    def stick(self, one: str, other: str) -> list[Pipe]:
        """Let one connection between two machines pass nothing; return its directions, if any.

        What else they have, and connections made anew, work as before: a box in the middle lost
        this one, or lost it one way only.
        """
        ends = [
            end
            for end in self._transports
            if end.process.host == one and end.outgoing.target.process.host == other
        ]
        if not ends:
            return []
        end = self.chance.choice(ends)
        pipes = self.chance.choice(
            ([end.outgoing], [end.incoming], [end.outgoing, end.incoming]),
        )
        for pipe in pipes:
            pipe.stuck = True
        self.log_connection(end.outgoing.name, f"stuck, {len(pipes)} ways")
        self._hold_blocked()
        return pipes

    def unstick(self, pipes: Iterable[Pipe]) -> None:
        """Let what `stick` returned pass bytes again."""
        for pipe in pipes:
            pipe.stuck = False
        self._release_unblocked()

    def reset(self, one: str, other: str) -> int:
        """Break connections between two machines, as a box in the middle may; return how many.

        Both ends hear of it, or only one: the other stays half open until it sends something.
        """
        count = 0
        for end in list(self._transports):
            peer = end.outgoing.target
            if end.gone or peer.gone or not (end.attached and peer.attached):
                continue
            if end.process.host != one or peer.process.host != other or self.chance.random() < 0.3:
                continue
            ends = self.chance.choice(((end,), (peer,), (end, peer)))
            self.log_connection(end.outgoing.name, f"reset, {len(ends)} ends hear of it")
            for told in ends:
                told.lose(ConnectionResetError("connection reset"))
            count += 1
        self.note("reset connection", count)
        return count

    def note(self, what: str, count: int = 1) -> None:
        """Count something that really happened."""
        if count:
            self.counts[what] = self.counts.get(what, 0) + count

    def power_off(self, host: str) -> None:
        """Nothing passes from or to `host`. Its processes must be ended with POWER_CUT."""
        self.powered_off[host] = None
        self._hold_blocked()

    def power_on(self, host: str) -> None:
        """The machine is back; it knows none of its old connections."""
        self.powered_off.pop(host, None)
        self._release_unblocked()

    def connection_count(self) -> int:
        """Return how many connection ends exist."""
        return len(self._transports)

    # What a process does (through `HostNetwork`)

    def start_listening(
        self, process: Process, port: int, factory: Callable[[], asyncio.Protocol]
    ) -> SimListener:
        """Listen on every address of the process's machine. Raises OSError: port in use."""
        self._know(process)
        host = process.host
        if port == 0:
            port = self._free_port(host)
        if (host, port) in self.listeners:
            raise OSError(errno.EADDRINUSE, f"port {port} on {host} is in use")
        listener = SimListener(host, port, process, factory, self)
        self.listeners[host, port] = listener
        return listener

    async def open(self, process: Process, host: str, port: int) -> SimTransport:
        """Return a connected end without protocol. Raises OSError."""
        self._know(process)
        target = process.host if host in _LOCAL_NAMES else host
        attempt = _Attempt(process, (target, port), self.loop.create_future())
        attempt.timers.append(
            self.loop.call_io(process, CONNECT_TIMEOUT_S, self._fail_attempt, attempt, "timeout")
        )
        self._send_syn(attempt)
        try:
            return await attempt.result
        except asyncio.CancelledError:
            result = attempt.result
            if result.done() and not result.cancelled() and result.exception() is None:
                result.result().abort()
            raise
        finally:
            for timer in attempt.timers:
                timer.cancel()

    # What pipes ask

    def draw_capacity(self) -> int:
        """Return a connection's window in bytes."""
        return self.chance.randint(self.limits.window_bytes_min, self.limits.window_bytes_max)

    def draw_piece(self, size: int) -> int:
        """Return how many of `size` bytes travel together."""
        if size > 1 and self.chance.random() < self.limits.split:
            return self.chance.randint(1, size - 1)
        return size

    def draw_end(self) -> End:
        """Return how a connection ends that nobody closed in order."""
        return End.RST if self.chance.random() < self.limits.reset else End.FIN

    def draw_loss(self) -> bool:
        """Return whether something that is sent only once gets lost on a broken link."""
        return self.chance.random() < 0.5

    def watch_stalled(self, pipe: Pipe) -> None:
        """Give up the connection when its bytes are held for too long."""
        if pipe.stall_watched:
            return
        pipe.stall_watched = True
        world = self.loop.world
        self.loop.call_io(world, self.limits.stall_timeout_s, self._stalled, pipe, pipe.hold_count)

    def forget(self, transport: SimTransport) -> None:
        """The end is closed."""
        self._transports.pop(transport, None)

    def log_connection(self, name: str, what: str) -> None:
        """Write a line about one direction of a connection."""
        self.log.add(name, what)

    # Inside

    def _know(self, process: Process) -> None:
        if process not in self._known:
            self._known[process] = None
            process.on_death(lambda death: self._bury(process, death))

    def _bury(self, process: Process, death: Death) -> None:
        self._known.pop(process, None)
        for key, listener in list(self.listeners.items()):
            if listener.process is process:
                del self.listeners[key]
        for transport in [end for end in self._transports if end.process is process]:
            self.forget(transport)
            transport.gone = True
            if death is Death.KILLED:
                transport.outgoing.end(self.draw_end())
            else:
                transport.outgoing.vanish()
            transport.incoming.reschedule()

    def _free_port(self, host: str) -> int:
        port = self._next_ports.get(host, FIRST_FREE_PORT)
        while (host, port) in self.listeners:
            port += 1
        self._next_ports[host] = port + 1
        return port

    def _send_syn(self, attempt: _Attempt) -> None:
        """Try once; a lost request or answer is repeated later, as TCP does."""
        if attempt.result.done():
            return
        way = self.link(attempt.process.host, attempt.server[0])
        back = way.reverse()
        if way.blocked or back.blocked:
            retry_s, attempt.retry_s = attempt.retry_s, attempt.retry_s * 2.0
            timer = self.loop.call_io(self.loop.world, retry_s, self._send_syn, attempt)
        else:
            delay_s = way.draw_delay_s(0)
            timer = self.loop.call_io(self.loop.world, delay_s, self._syn_arrives, attempt)
        attempt.timers.append(timer)

    def _syn_arrives(self, attempt: _Attempt) -> None:
        host, port = attempt.server
        if not attempt.process.alive or attempt.result.done():
            return
        way = self.link(attempt.process.host, host)
        if way.blocked or way.reverse().blocked:
            self._send_syn(attempt)
            return
        answer_s = way.reverse().draw_delay_s(0)
        listener = self.listeners.get((host, port))
        if listener is None:
            timer = self.loop.call_io(
                attempt.process, answer_s, self._fail_attempt, attempt, "refused"
            )
            attempt.timers.append(timer)
            return
        client = self._join(attempt.process, listener, answer_s)
        self.loop.call_io(attempt.process, answer_s, self._established, attempt, client)
        self.loop.call_io(listener.process, 0.0, _accept, listener, client.outgoing.target)

    def _join(self, process: Process, listener: SimListener, answer_s: float) -> SimTransport:
        """Make both ends of a connection; return the client's."""
        server_address = (listener.host, listener.port)
        client_address = (process.host, self._free_port(process.host))
        client = SimTransport(self, process, own=client_address, peer=server_address)
        server = SimTransport(self, listener.process, own=server_address, peer=client_address)
        names = (
            f"{process.name}:{client_address[1]}>{listener.process.name}:{listener.port}",
            f"{listener.process.name}:{listener.port}>{process.name}:{client_address[1]}",
        )
        way = self.link(process.host, listener.host)
        client.outgoing = Pipe(self, way, names[0], source=client, target=server)
        client.incoming = Pipe(self, way.reverse(), names[1], source=server, target=client)
        server.outgoing, server.incoming = client.incoming, client.outgoing
        client.incoming.last_arrival_s = self.loop.now_s + answer_s
        self._transports[client] = None
        self._transports[server] = None
        self.log_connection(names[0], "connects")
        return client

    def _established(self, attempt: _Attempt, client: SimTransport) -> None:
        if attempt.result.done():
            client.abort()
        else:
            attempt.result.set_result(client)

    def _fail_attempt(self, attempt: _Attempt, why: str) -> None:
        if attempt.result.done():
            return
        host, port = attempt.server
        if why == "refused":
            attempt.result.set_exception(
                ConnectionRefusedError(errno.ECONNREFUSED, f"nothing listens on {host}:{port}")
            )
        else:
            attempt.result.set_exception(
                TimeoutError(errno.ETIMEDOUT, f"no answer from {host}:{port}")
            )

    def _between(
        self, sources: Iterable[str], targets: Iterable[str], *, both: bool
    ) -> Iterator[Link]:
        targets = list(targets)
        for source in sources:
            for target in targets:
                if source != target:
                    yield self.link(source, target)
                    if both:
                        yield self.link(target, source)

    def _pipes(self) -> list[Pipe]:
        """Return every pipe once, in the order in which the connections were made."""
        pipes: dict[Pipe, None] = {}
        for transport in self._transports:
            pipes[transport.outgoing] = None
            pipes[transport.incoming] = None
        return list(pipes)

    def _hold_blocked(self) -> None:
        for pipe in self._pipes():
            if pipe.blocked and not pipe.held:
                pipe.hold()
                self.note("held connection")

    def _release_unblocked(self) -> None:
        for pipe in self._pipes():
            if pipe.held and not pipe.blocked:
                pipe.release(self.chance.uniform(0.0, 2 * RETRANSMISSION_S))
        for pipe in self._pipes():
            if not pipe.link.reverse().blocked:
                pipe.acknowledge()

    def _stalled(self, pipe: Pipe, hold_count: int) -> None:
        pipe.stall_watched = False
        if not pipe.held or not pipe.wire:
            return
        if pipe.hold_count != hold_count:
            self.watch_stalled(pipe)
            return
        self.log_connection(pipe.name, "timed out")
        self.note("timed out connection")
        pipe.source.lose(TimeoutError(errno.ETIMEDOUT, "connection timed out"))


class HostNetwork:
    """`broker.ports.Network` for one process."""

    def __init__(self, network: SimNetwork, process: Process) -> None:
        self._network = network
        self._process = process

    async def connect(self, host: str, port: int, factory: Callable[[], asyncio.Protocol]) -> None:
        """Connect and call `connection_made`. Raises OSError: refused, or silent for too long."""
        transport = await self._network.open(self._process, host, port)
        transport.attach(factory())

    async def listen(
        self, host: str, port: int, factory: Callable[[], asyncio.Protocol]
    ) -> SimListener:
        """Accept connections on this machine. Raises OSError: the port is in use."""
        assert host in _LOCAL_NAMES or host == self._process.host, f"{host} is another machine"
        return self._network.start_listening(self._process, port, factory)


def _accept(listener: SimListener, server: SimTransport) -> None:
    """The listening process takes the connection; it may have ended meanwhile."""
    if not server.gone:
        server.attach(listener.factory())
