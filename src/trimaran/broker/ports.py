"""What can differ next time, and how the broker reaches it: time, chance, network, threads.

The real ones live in `server`, the simulated ones in `sim`; the same broker code runs on both.
Timers and monotonic time come from the running asyncio loop (the simulator has its own loop).
Does not: implement any of them.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Protocol, TypeVar

from trimaran.storage.files import Files, PlainWrite

T_co = TypeVar("T_co", covariant=True)


class Clock(Protocol):
    """Wall time; monotonic time is `loop.time()`."""

    def wall_ms(self) -> int:
        """Return milliseconds since the Unix epoch; may jump."""

    def precise_s(self) -> float:
        """Return monotonic seconds of full resolution, for measuring and nothing else.

        `loop.time()` may stand still within a turn. Also called in worker threads.
        """


class Chance(Protocol):
    """The only source of randomness."""

    def uniform(self, low: float, high: float) -> float:
        """Return a float in [low, high]."""

    def bytes(self, count: int) -> bytes:
        """Return `count` random bytes."""


class Work(Protocol[T_co]):
    """A piece of blocking work: `run` in a thread, nothing else."""

    def run(self) -> T_co:
        """Do the blocking part. Touches no state that the event loop owns."""


class Lane(Enum):
    """Which thread does the work. Works of one lane run one at a time, in order."""

    JOURNAL = "journal"
    SEGMENTS = "segments"
    READS = "reads"
    CODECS = "codecs"
    """Opening batches before they are appended; seldom used."""
    COMPACTION = "compaction"
    """Writing segments again, with files of its own, in short steps; and looking at free space."""


class Outcome(Enum):
    """What came of a plain write."""

    SYNCED = 0
    UNWRITTEN = 1
    """Not all of it was written, and nothing was synced."""
    UNSYNCED = 2
    """The sync failed: what is on the disk is unknown."""


class WriteWork(Work[None], Protocol):
    """A work whose blocking part may be one write and one sync, and nothing of Python's."""

    def plain(self) -> PlainWrite | None:
        """Return that write, on the loop; None: there is more to it, `run` it.

        One of the two is carried out. After `plain_ended` with UNWRITTEN, `run` is: a failed
        write's consequences are its business.
        """

    def plain_ended(self, outcome: Outcome, begun_s: float, ended_s: float) -> None:
        """What came of the plain write, and when (`Clock.precise_s`)."""


class Workers(Protocol):
    """Threads for write, fsync, pread and checksums of big ranges; nothing else has a thread."""

    def submit(self, lane: Lane, work: Work[T_co]) -> "asyncio.Future[T_co]":
        """Run `work` off the loop; the future gets its result or its exception, on the loop.

        If the future is cancelled before the work's turn, the work never runs.
        """

    def submit_write(self, work: WriteWork) -> "asyncio.Future[None]":
        """Carry out a write of the journal's lane, which has no other work; one at a time."""


class Listener(Protocol):
    """A listening socket."""

    port: int

    def close(self) -> None:
        """Stop accepting."""


class Network(Protocol):
    """TCP, or its simulated twin. Protocols and transports are asyncio's."""

    async def connect(self, host: str, port: int, factory: Callable[[], asyncio.Protocol]) -> None:
        """Connect and call `connection_made` on the factory's protocol. Raises OSError."""

    async def listen(
        self, host: str, port: int, factory: Callable[[], asyncio.Protocol]
    ) -> Listener:
        """Accept connections, a protocol for each. Port 0 picks a free one. Raises OSError."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """Everything a node reaches the world through."""

    clock: Clock
    chance: Chance
    network: Network
    workers: Workers
    files: Files
    """The node's data directory."""
