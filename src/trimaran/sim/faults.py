"""What goes wrong, and when: a mix of faults drawn per seed, then a heal.

A quarter of all seeds have no faults at all. The others draw which kinds they have and how often
they strike; victims are random nodes or, half of the time, whoever leads something. Whoever is dead
is started again after a while, as an init system would. Faults overlap.

What is not drawn by default, because a cluster may only survive it once damaged nodes are repaired
by their peers: rotten bits, wiped disks, sectors torn in the middle.

Does not: know how a fault is simulated (`network`, `disk`, `cluster` do).
"""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from trimaran.sim.cluster import SimCluster, SimNode
from trimaran.sim.network import LinkConditions

CALM_SEEDS = 0.25
RESTART_S = (0.3, 3.0)
SUPERVISOR_S = 0.25
HOUR_MS = 3_600_000


@dataclass(frozen=True, slots=True)
class FaultMix:
    """The kinds of one seed, by name, and the mean time between two of them."""

    kinds: tuple[str, ...]
    interval_s: float


class FaultInjector:
    """Breaks a cluster, and heals it."""

    def __init__(
        self,
        cluster: SimCluster,
        chance: Random,
        *,
        clients: Sequence[str],
        kinds: Sequence[str] | None = None,
    ) -> None:
        """`clients` are the names of the machines that clients run on; `kinds` None: drawn."""
        self._cluster = cluster
        self._chance = chance
        self._clients = list(clients)
        self._tasks: list[asyncio.Task[Any]] = []
        self._strikes: dict[str, Callable[[], None]] = {
            "kill": self._kill,
            "kill all": self._kill_all,
            "power cut": self._power_cut,
            "power cut of all": self._power_cut_all,
            "pause": self._pause,
            "isolate": self._isolate,
            "one-way cut": self._cut_one_way,
            "isolate from peers": self._isolate_from_peers,
            "slow links": self._slow_links,
            "clock jump": self._clock_jump,
            "slow disk": self._slow_disk,
            "failed sync": self._failed_sync,
            "full disk": self._full_disk,
        }
        self.mix = self._draw_mix()
        if kinds is not None:
            assert all(kind in self._strikes for kind in kinds), f"kinds are {list(self._strikes)}"
            self.mix = FaultMix(tuple(kinds), self.mix.interval_s)
        self.counts: dict[str, int] = {}

    def start(self) -> None:
        """Begin to strike, and to start dead processes again."""
        self._spawn(self._supervise())
        if self.mix.kinds:
            self._spawn(self._strike_for_ever())

    def heal(self) -> None:
        """Undo everything and stop striking; nothing is broken afterwards."""
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        network = self._cluster.network
        network.mend_all()
        self._reset_links()
        for node in self._cluster.nodes:
            node.disk.conditions.slow_s = 0.0
            node.disk.conditions.capacity = None
            node.disk.planned.clear()
            self._cluster.resume(node)
            self._cluster.restart(node)
        self._spawn(self._supervise())

    def stop(self) -> None:
        """End even the supervisor."""
        for task in self._tasks:
            task.cancel()

    def _draw_mix(self) -> FaultMix:
        if self._chance.random() < CALM_SEEDS:
            return FaultMix((), 1.0)
        names = list(self._strikes)
        kinds = self._chance.sample(names, self._chance.randint(1, len(names)))
        return FaultMix(tuple(sorted(kinds)), self._chance.choice((0.5, 1.0, 2.0, 4.0)))

    async def _strike_for_ever(self) -> None:
        while True:
            await asyncio.sleep(self._chance.expovariate(1.0 / self.mix.interval_s))
            name = self._chance.choice(self.mix.kinds)
            self.counts[name] = self.counts.get(name, 0) + 1
            self._cluster.log.add("fault", name)
            self._strikes[name]()

    async def _supervise(self) -> None:
        """Start dead processes again, each after a time of its own."""
        due: dict[str, float] = {}
        while True:
            await asyncio.sleep(SUPERVISOR_S)
            now_s = self._cluster.loop.now_s
            for node in self._cluster.nodes:
                if node.is_running:
                    due.pop(node.name, None)
                    continue
                start_s = due.setdefault(node.name, now_s + self._chance.uniform(*RESTART_S))
                if now_s >= start_s:
                    self._cluster.restart(node)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        self._tasks.append(asyncio.get_running_loop().create_task(work))

    def _later(self, low_s: float, high_s: float, undo: Callable[[], None]) -> None:
        async def wait() -> None:
            await asyncio.sleep(self._chance.uniform(low_s, high_s))
            undo()

        self._spawn(wait())

    def _victim(self) -> SimNode:
        if self._chance.random() < 0.5:
            leaders = [view.node for view in self._cluster.views() if view.replica.raft.is_leader]
            if leaders:
                name = self._chance.choice(leaders)
                return next(node for node in self._cluster.nodes if node.name == name)
        return self._chance.choice(self._cluster.nodes)

    def _others(self, victim: SimNode) -> list[str]:
        return [node.name for node in self._cluster.nodes if node is not victim]

    # The faults

    def _kill(self) -> None:
        self._cluster.kill(self._victim())

    def _kill_all(self) -> None:
        for node in self._cluster.nodes:
            self._cluster.kill(node)

    def _power_cut(self) -> None:
        self._cluster.cut_power(self._victim())

    def _power_cut_all(self) -> None:
        for node in self._cluster.nodes:
            self._cluster.cut_power(node)

    def _pause(self) -> None:
        victim = self._victim()
        self._cluster.pause(victim)
        self._later(0.1, 3.0, lambda: self._cluster.resume(victim))

    def _isolate(self) -> None:
        victim = self._victim()
        self._cut([victim.name], self._others(victim) + self._clients, both=True)

    def _isolate_from_peers(self) -> None:
        victim = self._victim()
        self._cut([victim.name], self._others(victim), both=True)

    def _cut_one_way(self) -> None:
        victim = self._victim()
        sides = [[victim.name], self._others(victim)]
        if self._chance.random() < 0.5:
            sides[1] = [self._chance.choice(sides[1])]
        if self._chance.random() < 0.5:
            sides.reverse()
        self._cut(sides[0], sides[1], both=False)

    def _cut(self, sources: list[str], targets: list[str], *, both: bool) -> None:
        network = self._cluster.network
        network.cut(sources, targets, both=both)
        self._later(0.2, 4.0, lambda: network.mend(sources, targets))

    def _slow_links(self) -> None:
        network = self._cluster.network
        names = [node.name for node in self._cluster.nodes] + self._clients
        conditions = LinkConditions(
            latency_mean_s=self._chance.choice((0.005, 0.03, 0.1)),
            loss=self._chance.choice((0.0, 0.05, 0.3)),
            bytes_per_s=self._chance.choice((1e5, 1e6, 1e9)),
        )
        for source in names:
            for target in names:
                if source != target and self._chance.random() < 0.4:
                    network.link(source, target).conditions = conditions
        self._later(0.5, 4.0, self._reset_links)

    def _reset_links(self) -> None:
        network = self._cluster.network
        names = [node.name for node in self._cluster.nodes] + self._clients
        for source in names:
            for target in names:
                network.link(source, target).conditions = network.conditions

    def _clock_jump(self) -> None:
        scale_ms = self._chance.choice((50, 5_000, 2 * HOUR_MS))
        self._victim().clock.jump(self._chance.randint(-scale_ms, scale_ms))

    def _slow_disk(self) -> None:
        conditions = self._victim().disk.conditions
        conditions.slow_s = self._chance.choice((0.02, 0.2, 2.0))
        self._later(0.3, 3.0, lambda: setattr(conditions, "slow_s", 0.0))

    def _failed_sync(self) -> None:
        self._victim().disk.fail_next("sync")

    def _full_disk(self) -> None:
        disk = self._victim().disk
        disk.conditions.capacity = disk.used_bytes() + self._chance.randint(0, 20_000)
        self._later(0.3, 3.0, lambda: setattr(disk.conditions, "capacity", None))
