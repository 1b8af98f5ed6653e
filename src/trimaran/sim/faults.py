"""What goes wrong, and when: a mix of faults drawn per seed, then a narrowing, then a heal.

A quarter of all seeds have no faults at all. The others draw which kinds they have and how often
they strike, and some of them the kinds that make one node's disk lie; victims are random nodes or,
half of the time, whoever leads something. Whoever is dead is started again after a while, as an
init system would. Faults overlap.

Each kind strikes by a clock and a chance of its own, so that leaving one out changes nothing about
the others: that is what makes a failing seed small again (`shrink`).

`narrow` begins the liveness phase: a majority of nodes is healed, everything else stays as it is
for good, and each node outside that majority is dead, frozen, cut off or slow from then on.

Does not: know how a fault is simulated (`network`, `disk`, `cluster` do).
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random

from trimaran.sim.cluster import POWER_CUT_IN_WRITE, SimCluster, SimNode
from trimaran.sim.disk_faults import DISK_FAULTS, STORAGE_DAMAGE
from trimaran.sim.machine_faults import MACHINE_FAULTS
from trimaran.sim.network_faults import NETWORK_FAULTS, reset_links
from trimaran.sim.site import Site

CALM_SEEDS = 0.25
RESTART_S = (0.3, 3.0)
SUPERVISOR_S = 0.25
INTERVALS_S = (0.5, 1.0, 2.0, 4.0)
"""Mean time between two faults of a seed, all kinds together: one of these."""
KINDS_MAX = 12
"""Most kinds in one seed's mix."""
CALM_KINDS = 2
"""A calm seed with kinds named strikes as if it had drawn so many."""
SLOW_FOR_GOOD_S = 0.5

FAULTS = MACHINE_FAULTS | NETWORK_FAULTS | DISK_FAULTS | STORAGE_DAMAGE
STORAGE_DAMAGE_KINDS: tuple[str, ...] = tuple(STORAGE_DAMAGE)
"""Kinds that make the disk of one node lie: what it stored is not what it reads."""
LYING_SEEDS = 0.3
"""Share of the seeds with faults that have some of those, too."""
LYING_KINDS_MAX = 2
REFUSED_STARTS = 2
"""After so many starts that a rotten disk kept from succeeding, it is replaced by an empty one.

Not where it is the only one: an empty disk would begin another history.
"""
KINDS: tuple[str, ...] = tuple(FAULTS)
HONEST_KINDS: tuple[str, ...] = tuple(MACHINE_FAULTS | NETWORK_FAULTS | DISK_FAULTS)
"""Kinds after which a disk still reads what was synced."""
DISK_REPLACED = "rotten disk replaced"
"""What people do about a node that says that it cannot start."""
MEASURED_KINDS = ("failed sync", "full disk", "misdirected write", POWER_CUT_IN_WRITE)
"""Kinds that wait for the disk to be used: the disk counts them when they happen."""


@dataclass(frozen=True, slots=True)
class FaultMix:
    """The kinds of one seed, by name, and the mean time between two strikes of each."""

    kinds: tuple[str, ...]
    interval_s: float


class FaultInjector:
    """Breaks a cluster, narrows it to a majority, and heals it."""

    def __init__(
        self,
        cluster: SimCluster,
        seed: str,
        *,
        clients: Sequence[str],
        kinds: Sequence[str] | None = None,
    ) -> None:
        """`clients` are the names of the machines that clients run on; `kinds` None: drawn."""
        self.site = Site(cluster, clients)
        self.mix = draw_mix(seed, kinds)
        self._seed = seed
        self._chance = Random(f"{seed}/supervisor")
        self._cluster = cluster
        self._struck: dict[str, int] = {}

    @property
    def counts(self) -> dict[str, int]:
        """How often each kind really happened so far."""
        counts = dict(self._struck)
        for name in MEASURED_KINDS:
            happened = sum(node.disk.counts.get(name, 0) for node in self._cluster.nodes)
            if happened:
                counts[name] = happened
        return counts

    def start(self) -> None:
        """Begin to strike, and to start dead processes again."""
        self.site.spawn(self._supervise(self._cluster.nodes))
        for kind in self.mix.kinds:
            self.site.spawn(self._strike_for_ever(kind))

    def narrow(self) -> list[SimNode]:
        """Heal a majority, let everything else stay broken; return that majority.

        A node whose disk lied is not part of it. Nodes outside it are broken only in ways of the
        seed's own kinds: a calm seed has none. Clients reach every node that the majority hears:
        one that only clients cannot reach may rightly go on leading.
        """
        self.site.cancel_all()
        nodes = self._cluster.nodes
        sound = [node for node in nodes if node is not self.site.damaged]
        chosen = self._chance.sample(sound, min(len(sound), len(nodes) // 2 + 1))
        majority = [node for node in nodes if node in chosen]
        inside = [node.name for node in majority] + self.site.clients
        self._cluster.network.mend_all(among=inside)
        for node in nodes:
            self._cluster.network.mend_all(among=[node.name, *self.site.clients])
        reset_links(self.site)
        for node in majority:
            self._heal_node(node)
        for node in nodes:
            if node not in majority:
                self._break_for_good(node, inside)
        self.site.spawn(self._supervise(majority))
        return majority

    def heal(self) -> None:
        """Undo everything and stop striking; nothing is broken afterwards."""
        self.site.cancel_all()
        self._cluster.network.mend_all()
        reset_links(self.site)
        for node in self._cluster.nodes:
            self._heal_node(node)
        self.site.spawn(self._supervise(self._cluster.nodes))

    def stop(self) -> None:
        """End even the supervisor."""
        self.site.cancel_all()

    async def _strike_for_ever(self, kind: str) -> None:
        chance = Random(f"{self._seed}/{kind}")
        while True:
            await asyncio.sleep(chance.expovariate(1.0 / self.mix.interval_s))
            self._cluster.log.add("fault", kind)
            if FAULTS[kind](self.site, chance):
                self._struck[kind] = self._struck.get(kind, 0) + 1

    async def _supervise(self, nodes: Sequence[SimNode]) -> None:
        """Start dead processes again, each after a time of its own."""
        due: dict[str, float] = {}
        while True:
            await asyncio.sleep(SUPERVISOR_S)
            now_s = self._cluster.loop.now_s
            for node in nodes:
                if node.is_running:
                    due.pop(node.name, None)
                    continue
                given_up = node is self.site.damaged and node.refused_starts >= REFUSED_STARTS
                if given_up and len(self._cluster.nodes) > 1:
                    self._cluster.replace_disk(node)
                    self._struck[DISK_REPLACED] = self._struck.get(DISK_REPLACED, 0) + 1
                start_s = due.setdefault(node.name, now_s + self._chance.uniform(*RESTART_S))
                if now_s >= start_s:
                    self._cluster.restart(node)

    def _heal_node(self, node: SimNode) -> None:
        node.disk.conditions.slow_s = 0.0
        node.disk.conditions.capacity = None
        node.disk.planned.clear()
        node.recovery_fuse = None
        self._cluster.resume(node)
        self._cluster.restart(node)

    def _break_for_good(self, node: SimNode, inside: Sequence[str]) -> None:
        """Let the node be of no use from now on, in a way that fits the seed's kinds."""
        ways = [ending for kind, ending in ENDINGS.items() if kind in self.mix.kinds]
        if ways and self.site.may_die(node):
            self._cluster.log.add(node.name, "broken for good")
            self._chance.choice(ways)(self._cluster, node, inside)


def draw_mix(seed: str, kinds: Sequence[str] | None) -> FaultMix:
    """Return what strikes in a run of `seed`; `kinds` replaces the kinds, at the same pace."""
    chance = Random(f"{seed}/mix")
    drawn: list[str] = []
    lying: list[str] = []
    interval_s = chance.choice(INTERVALS_S)
    if chance.random() >= CALM_SEEDS:
        drawn = chance.sample(HONEST_KINDS, chance.randint(1, KINDS_MAX))
        if chance.random() < LYING_SEEDS:
            lying = chance.sample(STORAGE_DAMAGE_KINDS, chance.randint(1, LYING_KINDS_MAX))
    named = [*drawn, *lying] if kinds is None else list(kinds)
    assert all(kind in FAULTS for kind in named), f"kinds are {list(FAULTS)}"
    return FaultMix(tuple(sorted(named)), interval_s * (len(drawn) or CALM_KINDS))


Ending = Callable[[SimCluster, SimNode, Sequence[str]], None]


def _dead(cluster: SimCluster, node: SimNode, _inside: Sequence[str]) -> None:
    cluster.kill(node)


def _without_power(cluster: SimCluster, node: SimNode, _inside: Sequence[str]) -> None:
    cluster.cut_power(node)


def _frozen(cluster: SimCluster, node: SimNode, _inside: Sequence[str]) -> None:
    cluster.restart(node)
    cluster.pause(node)


def _cut_off(cluster: SimCluster, node: SimNode, inside: Sequence[str]) -> None:
    cluster.restart(node)
    cluster.network.cut([node.name], inside)


def _cut_off_from_peers(cluster: SimCluster, node: SimNode, inside: Sequence[str]) -> None:
    names = [peer.name for peer in cluster.nodes]
    cluster.restart(node)
    cluster.network.cut([node.name], [name for name in inside if name in names])


def _deaf(cluster: SimCluster, node: SimNode, inside: Sequence[str]) -> None:
    cluster.restart(node)
    cluster.network.cut(inside, [node.name], both=False)


def _mute(cluster: SimCluster, node: SimNode, inside: Sequence[str]) -> None:
    cluster.restart(node)
    cluster.network.cut([node.name], inside, both=False)


def _slow(cluster: SimCluster, node: SimNode, _inside: Sequence[str]) -> None:
    cluster.restart(node)
    node.disk.conditions.slow_s = SLOW_FOR_GOOD_S


ENDINGS: dict[str, Ending] = {
    "kill": _dead,
    "kill all": _dead,
    "power cut": _without_power,
    "power cut of all": _without_power,
    "pause": _frozen,
    "isolate": _cut_off,
    "isolate from peers": _cut_off_from_peers,
    "one-way cut": _deaf,
    "clogged links": _mute,
    "slow disk": _slow,
}
"""How a node outside the majority ends, by the kind of fault that allows it."""
