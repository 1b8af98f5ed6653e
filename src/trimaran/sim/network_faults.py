"""Faults of the network: partitions, flapping, clogged and slow links; resets, stuck connections.

Loss and reordering cannot be seen inside a TCP connection: they show as delay, as connections that
break, and as messages of an old connection that arrive after those of a new one.

Does not: know how a link works (`network` does).
"""

import asyncio
from functools import partial
from random import Random

from trimaran.sim.network import LinkConditions
from trimaran.sim.site import Site, Strike

CUT_S = (0.2, 4.0)
FLAP_S = (0.03, 0.4)
CLOG_S = (0.05, 1.5)
SLOW_S = (0.5, 4.0)
STUCK_S = (0.3, 8.0)


def isolate(site: Site, chance: Random) -> bool:
    """Cut one node off from nodes and clients."""
    victim = site.victim(chance)
    targets = site.others(victim) + site.clients
    return site.cut([victim.name], targets, both=True, for_s=chance.uniform(*CUT_S))


def isolate_from_peers(site: Site, chance: Random) -> bool:
    """Cut one node off from the others, while clients still reach it."""
    victim = site.victim(chance)
    return site.cut([victim.name], site.others(victim), both=True, for_s=chance.uniform(*CUT_S))


def isolate_from_clients(site: Site, chance: Random) -> bool:
    """Let clients no longer reach one node, or its answers no longer reach them, or both."""
    victim = site.victim(chance)
    sides = [[victim.name], site.clients]
    if chance.random() < 0.5:
        sides.reverse()
    both = chance.random() < 0.4
    return site.cut(sides[0], sides[1], both=both, for_s=chance.uniform(*CUT_S))


def one_way_cut(site: Site, chance: Random) -> bool:
    """Let a node no longer hear the others (or one of them), or no longer be heard."""
    victim = site.victim(chance)
    sides = [[victim.name], site.others(victim)]
    if not sides[1]:
        return False
    if chance.random() < 0.5:
        sides[1] = [chance.choice(sides[1])]
    if chance.random() < 0.5:
        sides.reverse()
    return site.cut(sides[0], sides[1], both=False, for_s=chance.uniform(*CUT_S))


def halves(site: Site, chance: Random) -> bool:
    """Split the nodes in two groups of random size; each client sees only one of them."""
    names = [node.name for node in site.nodes]
    if len(names) < 2:
        return False
    chance.shuffle(names)
    size = chance.randint(1, len(names) - 1)
    one, other = names[:size], names[size:]
    for client in site.clients:
        chance.choice((one, other)).append(client)
    return site.cut(one, other, both=True, for_s=chance.uniform(*CUT_S))


def bridge(site: Site, chance: Random) -> bool:
    """Split the nodes in two halves which only one node still sees both of."""
    names = [node.name for node in site.nodes]
    if len(names) < 3:
        return False
    chance.shuffle(names)
    middle = 1 + len(names[1:]) // 2
    return site.cut(names[1:middle], names[middle:], both=True, for_s=chance.uniform(*CUT_S))


def ring(site: Site, chance: Random) -> bool:
    """Let each node see only two neighbours: a majority of five, and no two see the same."""
    names = [node.name for node in site.nodes]
    if len(names) < 4:
        return bridge(site, chance)
    chance.shuffle(names)
    for_s = chance.uniform(*CUT_S)
    count = len(names)
    for here in range(count):
        for there in range(here + 2, count):
            if (there + 1) % count != here:
                site.cut([names[here]], [names[there]], both=True, for_s=for_s)
    return True


def flapping(site: Site, chance: Random) -> bool:
    """Let the links of one node (to one other, or to all) go down and up again and again."""
    victim = site.victim(chance)
    targets = site.others(victim)
    if not targets:
        return False
    if chance.random() < 0.5:
        targets = [chance.choice(targets)]
    both = chance.random() < 0.7
    site.spawn(_flap(site, chance, victim.name, targets, both))
    return True


async def _flap(site: Site, chance: Random, source: str, targets: list[str], both: bool) -> None:
    for _ in range(chance.randint(3, 12)):
        site.cut([source], targets, both=both, for_s=chance.uniform(*FLAP_S))
        await asyncio.sleep(chance.uniform(2 * FLAP_S[0], 2 * FLAP_S[1]))


def clogged_links(site: Site, chance: Random) -> bool:
    """Clog random links one after the other, and let them go in another order."""
    links = [
        (source, target)
        for source in site.machines
        for target in site.machines
        if source != target and chance.random() < 0.4
    ]
    chance.shuffle(links)
    site.spawn(_clog(site, chance, links))
    return bool(links)


async def _clog(site: Site, chance: Random, links: list[tuple[str, str]]) -> None:
    for source, target in links:
        site.cut([source], [target], both=False, for_s=chance.uniform(*CLOG_S))
        await asyncio.sleep(chance.uniform(0.0, 0.1))


def slow_links(site: Site, chance: Random) -> bool:
    """Give random links latency, or little throughput, or both."""
    return _worsen(
        site,
        chance,
        LinkConditions(
            latency_mean_s=chance.choice((0.005, 0.03, 0.1)),
            bytes_per_s=chance.choice((1e5, 1e6, 1e9)),
        ),
    )


def lossy_links(site: Site, chance: Random) -> bool:
    """Let random links lose pieces, which then arrive late."""
    return _worsen(site, chance, LinkConditions(loss=chance.choice((0.02, 0.1, 0.3))))


def _worsen(site: Site, chance: Random, conditions: LinkConditions) -> bool:
    network = site.cluster.network
    worse = [
        network.link(source, target)
        for source in site.machines
        for target in site.machines
        if source != target and chance.random() < 0.4
    ]
    for link in worse:
        link.conditions = conditions
    site.later(chance.uniform(*SLOW_S), lambda: reset_links(site))
    return bool(worse)


def reset_links(site: Site) -> None:
    """Let all links be as fast and as good as at the start."""
    network = site.cluster.network
    for source in site.machines:
        for target in site.machines:
            network.link(source, target).conditions = network.conditions


def reset_connections(site: Site, chance: Random) -> bool:
    """Break most connections between one node and another machine."""
    victim = site.victim(chance)
    other = chance.choice([name for name in site.machines if name != victim.name])
    return site.cluster.network.reset(victim.name, other) > 0


def stuck_connections(site: Site, chance: Random) -> bool:
    """Let single connections of one node pass nothing, while others beside them work."""
    victim = site.victim(chance)
    others = [name for name in site.machines if name != victim.name]
    network = site.cluster.network
    count = 0
    for _ in range(chance.randint(1, 3)):
        pipes = network.stick(victim.name, chance.choice(others))
        site.later(chance.uniform(*STUCK_S), partial(network.unstick, pipes))
        count += len(pipes)
    return count > 0


NETWORK_FAULTS: dict[str, Strike] = {
    "isolate": isolate,
    "isolate from peers": isolate_from_peers,
    "isolate from clients": isolate_from_clients,
    "one-way cut": one_way_cut,
    "halves": halves,
    "bridge": bridge,
    "ring": ring,
    "flapping links": flapping,
    "clogged links": clogged_links,
    "slow links": slow_links,
    "lossy links": lossy_links,
    "reset connections": reset_connections,
    "stuck connections": stuck_connections,
}
