"""Clock and chance of one simulated process, and the ports of a node together.

The wall clock has an error of its own: an offset that faults may make jump, and a drift. Chance is
seeded by name, so that a draw of one node never shifts the draws of another.

Does not: touch the machine's time or randomness.
"""

from random import Random

from trimaran.broker.ports import Ports
from trimaran.sim.disk import Disk
from trimaran.sim.files import SimFiles
from trimaran.sim.loop import START_S, SimLoop
from trimaran.sim.network import HostNetwork, SimNetwork
from trimaran.sim.process import Process
from trimaran.sim.workers import SimWorkers

EPOCH_MS = 1_800_000_000_000
"""Wall time at the start of every simulation."""


class SimClock:
    """`broker.ports.Clock` of one machine; survives its processes."""

    def __init__(self, loop: SimLoop, *, offset_ms: int = 0, drift: float = 0.0) -> None:
        """`drift` is the relative error of its speed, e.g. 0.0001."""
        assert abs(drift) < 0.1
        self.offset_ms = offset_ms
        self._loop = loop
        self._drift = drift

    def wall_ms(self) -> int:
        """Return milliseconds since the Unix epoch, as this machine believes."""
        elapsed_s = (self._loop.now_s - START_S) * (1.0 + self._drift)
        return EPOCH_MS + int(elapsed_s * 1000.0) + self.offset_ms

    def precise_s(self) -> float:
        """Return virtual time."""
        return self._loop.now_s

    def jump(self, delta_ms: int) -> None:
        """Move the clock, forward or back."""
        self.offset_ms += delta_ms


class SimChance:
    """`broker.ports.Chance`, seeded."""

    def __init__(self, random: Random) -> None:
        self._random = random

    def uniform(self, low: float, high: float) -> float:
        """Return a float in [low, high]."""
        return self._random.uniform(low, high)

    def bytes(self, count: int) -> bytes:
        """Return `count` random bytes."""
        return self._random.randbytes(count)


def make_ports(
    *, loop: SimLoop, process: Process, network: SimNetwork, disk: Disk, clock: SimClock, seed: str
) -> tuple[Ports, SimFiles]:
    """Return the ports of a new process on a machine, and its files to inspect."""
    files = SimFiles(disk, who=process.name)
    ports = Ports(
        clock=clock,
        chance=SimChance(Random(f"{seed}/chance")),
        workers=SimWorkers(loop, process, files, Random(f"{seed}/workers")),
        network=HostNetwork(network, process),
        files=files,
    )
    return ports, files
