"""Faults of disks: slow, full, failing to sync; and those that make a disk lie.

What makes a disk lie (`STORAGE_DAMAGE`) strikes one node of a run only, the same each time, so that
every other node keeps what a majority needs.

Does not: know how a disk works (`disk` does).
"""

from random import Random

from trimaran.sim.cluster import SimNode
from trimaran.sim.disk import PAGE_BYTES, SECTOR_BYTES
from trimaran.sim.site import Site, Strike

SLOW_S = (0.3, 3.0)
FULL_S = (0.3, 3.0)
FULL_BYTES = 20_000
"""What still fits on a disk that is about to be full, at most."""
TORN_SECTORS = 0.3


def slow_disk(site: Site, chance: Random) -> bool:
    """Let each sync of one disk take longer, up to seconds, and each read a tenth of that."""
    conditions = site.victim(chance).disk.conditions
    conditions.slow_s = chance.choice((0.02, 0.2, 2.0))
    site.later(chance.uniform(*SLOW_S), lambda: setattr(conditions, "slow_s", 0.0))
    return True


def failed_sync(site: Site, chance: Random) -> bool:
    """Let the next sync of one disk fail. Counted when it does."""
    site.victim(chance).disk.fail_next("sync")
    return False


def full_disk(site: Site, chance: Random) -> bool:
    """Let one disk be nearly full for a while. Counted when a write is refused."""
    disk = site.victim(chance).disk
    disk.conditions.capacity = disk.used_bytes() + chance.randint(0, FULL_BYTES)
    site.later(chance.uniform(*FULL_S), lambda: setattr(disk.conditions, "capacity", None))
    return False


def bit_rot(site: Site, chance: Random) -> bool:
    """Flip bits in one file of the damaged node; half of the time its process dies of it."""
    victim = _liar(site, chance)
    path, used = _used_sectors(victim, chance)
    if not used:
        return False
    node = victim.disk.file_node(path)
    for _ in range(chance.randint(1, 3)):
        position = min(chance.choice(used) + chance.randrange(SECTOR_BYTES), node.size - 1)
        node.flip_bit(position, chance.randrange(8))
    site.cluster.log.add(victim.name, f"bits rot in {path}")
    _perhaps_kill(site, victim, chance)
    return True


def unreadable_sectors(site: Site, chance: Random) -> bool:
    """Let sectors in one file of the damaged node be unreadable until they are written again.

    Half of the time its process dies of it.
    """
    victim = _liar(site, chance)
    path, used = _used_sectors(victim, chance)
    if not used:
        return False
    node = victim.disk.file_node(path)
    for _ in range(chance.randint(1, 3)):
        node.unreadable[chance.choice(used) // PAGE_BYTES] = None
    site.cluster.log.add(victim.name, f"sectors of {path} cannot be read any more")
    _perhaps_kill(site, victim, chance)
    return True


def misdirected_write(site: Site, chance: Random) -> bool:
    """Let the next write of the damaged node go to a wrong place. Counted when it does."""
    _liar(site, chance).disk.fail_next("misdirect", chance.choice(("journal/", "groups/")))
    return False


def torn_sectors(site: Site, chance: Random) -> bool:
    """Cut the damaged node's power and tear sectors in their middle."""
    victim = _liar(site, chance)
    if not site.may_die(victim):
        return False
    victim.disk.conditions.torn_sectors = TORN_SECTORS
    site.cluster.cut_power(victim)
    victim.disk.conditions.torn_sectors = 0.0
    return True


def wiped_disk(site: Site, chance: Random) -> bool:
    """Replace the damaged node's disk by an empty one, formatted to join.

    Not where that node is all there is: nobody promises to outlive the loss of a majority's disks.
    """
    if len(site.nodes) == 1:
        return False
    victim = _liar(site, chance)
    site.cluster.kill(victim)
    site.cluster.replace_disk(victim)
    return True


def _used_sectors(victim: SimNode, chance: Random) -> tuple[str, list[int]]:
    """Draw a file; return its path, and the positions of the sectors in it that are not zeros."""
    paths = [path for path in victim.disk.file_paths() if victim.disk.file_node(path).size > 0]
    if not paths:
        return "", []
    path = chance.choice(paths)
    node = victim.disk.file_node(path)
    used = [
        start
        for start in range(0, node.size, SECTOR_BYTES)
        if any(node.content[start : start + SECTOR_BYTES])
    ]
    return path, used


def _perhaps_kill(site: Site, victim: SimNode, chance: Random) -> None:
    if chance.random() < 0.5 and site.may_die(victim):
        site.cluster.kill(victim)


def _liar(site: Site, chance: Random) -> SimNode:
    """Return the one node whose disk may lie."""
    if site.damaged is None:
        site.damaged = chance.choice(site.nodes)
    site.damaged.disk.has_lied = True
    return site.damaged


DISK_FAULTS: dict[str, Strike] = {
    "slow disk": slow_disk,
    "failed sync": failed_sync,
    "full disk": full_disk,
}

STORAGE_DAMAGE: dict[str, Strike] = {
    "bit rot": bit_rot,
    "unreadable sectors": unreadable_sectors,
    "misdirected write": misdirected_write,
    "torn sectors": torn_sectors,
    "wiped disk": wiped_disk,
}
