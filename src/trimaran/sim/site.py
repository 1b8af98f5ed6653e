"""Where faults strike: the cluster, the client machines, and what is to be undone later.

A fault is a function `(site, chance) -> bool`: it breaks something with what it draws from its own
`chance`, says whether it really did, and asks the site to undo it after a while (`later`).

Does not: decide which faults strike, or when (`faults` does).
"""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from random import Random
from typing import Any

from trimaran.sim.cluster import SimCluster, SimNode

Strike = Callable[["Site", Random], bool]
"""A fault: returns whether anything was really broken."""


class Site:
    """What all faults of one run share."""

    def __init__(self, cluster: SimCluster, clients: Sequence[str]) -> None:
        """`clients` are the names of the machines that clients run on."""
        self.cluster = cluster
        self.clients = list(clients)
        self.damaged: SimNode | None = None
        """The one node whose disk may lie; the others keep what a majority needs."""
        self._tasks: list[asyncio.Task[Any]] = []

    @property
    def nodes(self) -> list[SimNode]:
        """All machines of the cluster."""
        return self.cluster.nodes

    @property
    def machines(self) -> list[str]:
        """Names of the cluster's machines and of the clients'."""
        return [node.name for node in self.nodes] + self.clients

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Run `work` until it ends or everything is cancelled; what it dies of is a finding."""
        self._tasks = [task for task in self._tasks if not task.done()]
        self._tasks.append(self.cluster.loop.spawn(work))

    def later(self, delay_s: float, undo: Callable[[], object]) -> None:
        """Call `undo` after `delay_s` virtual seconds, unless everything was cancelled."""

        async def wait() -> None:
            await asyncio.sleep(delay_s)
            undo()

        self.spawn(wait())

    def cancel_all(self) -> None:
        """Forget what was to be undone: whoever calls this undoes it."""
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()

    def victim(self, chance: Random) -> SimNode:
        """Return a random node or, half of the time, one that leads something."""
        if chance.random() < 0.5:
            leaders = [view.node for view in self.cluster.views() if view.replica.raft.is_leader]
            if leaders:
                name = chance.choice(leaders)
                return next(node for node in self.nodes if node.name == name)
        return chance.choice(self.nodes)

    def others(self, victim: SimNode) -> list[str]:
        """Return the names of all other nodes."""
        return [node.name for node in self.nodes if node is not victim]

    def may_die(self, node: SimNode) -> bool:
        """Whether the process may be ended now.

        A write that went astray and has no later one behind it looks like one that never was made:
        no single node can tell. The next write to the journal shows it.
        """
        return node is not self.damaged or not node.disk.is_write_astray

    def cut(
        self, sources: Sequence[str], targets: Sequence[str], *, both: bool, for_s: float
    ) -> bool:
        """Block links for a while; return whether there was anything to block."""
        network = self.cluster.network
        network.cut(sources, targets, both=both)
        self.later(for_s, lambda: network.mend(sources, targets, both=both))
        return any(source != target for source in sources for target in targets)
