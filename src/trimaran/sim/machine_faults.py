"""Faults of processes and machines: killed, stopped, frozen, without power, with a wrong clock.

Does not: start anything again; the injector's supervisor does, as an init system would.
"""

from random import Random

from trimaran.sim.cluster import POWER_CUT_IN_WRITE
from trimaran.sim.site import Site, Strike

HOUR_MS = 3_600_000
PAUSE_S = (0.1, 3.0)
RECOVERY_CALLS_MAX = 150
"""A process that dies while it opens its store makes at most this many disk calls."""

WRITE_CALLS_MAX = 8


def kill(site: Site, chance: Random) -> bool:
    """SIGKILL one node."""
    victim = site.victim(chance)
    if not (victim.is_running and site.may_die(victim)):
        return False
    site.cluster.kill(victim)
    return True


def kill_all(site: Site, _chance: Random) -> bool:
    """SIGKILL every node at once."""
    victims = [node for node in site.nodes if node.is_running and site.may_die(node)]
    for node in victims:
        site.cluster.kill(node)
    return bool(victims)


def kill_in_recovery(site: Site, chance: Random) -> bool:
    """Kill one node, and its next process while that opens the store, or cut its power there."""
    victim = site.victim(chance)
    if not (victim.is_running and site.may_die(victim)):
        return False
    if chance.random() < 0.3:
        site.cluster.cut_power(victim)
    else:
        site.cluster.kill(victim)
    victim.recovery_fuse = chance.randrange(RECOVERY_CALLS_MAX)
    victim.recovery_ends_in_power_cut = chance.random() < 0.5
    return True


def stop(site: Site, chance: Random) -> bool:
    """SIGTERM one node: it hands its leaderships over, then ends."""
    victim = site.victim(chance)
    if not (victim.is_running and site.may_die(victim)) or victim.stopping:
        return False
    site.cluster.stop(victim)
    return True


def power_cut(site: Site, chance: Random) -> bool:
    """Take the power of one machine, running or not."""
    victim = site.victim(chance)
    if not site.may_die(victim):
        return False
    site.cluster.cut_power(victim)
    return True


def power_cut_of_all(site: Site, _chance: Random) -> bool:
    """Take the power of every machine at once."""
    victims = [node for node in site.nodes if site.may_die(node)]
    for node in victims:
        site.cluster.cut_power(node)
    return bool(victims)


def power_cut_in_write(site: Site, chance: Random) -> bool:
    """Take the power of one machine in the middle of a disk call. Counted when that comes."""
    victim = site.victim(chance)
    if victim is not site.damaged:
        site.cluster.cut_power_in_call(victim, chance.randrange(WRITE_CALLS_MAX))
    return False


def pause(site: Site, chance: Random) -> bool:
    """SIGSTOP one node, SIGCONT it later."""
    victim = site.victim(chance)
    if not victim.is_running or victim.is_paused:
        return False
    site.cluster.pause(victim)
    site.later(chance.uniform(*PAUSE_S), lambda: site.cluster.resume(victim))
    return True


def clock_jump(site: Site, chance: Random) -> bool:
    """Set one machine's wall clock wrong."""
    scale_ms = chance.choice((50, 5_000, 2 * HOUR_MS))
    delta_ms = chance.randint(-scale_ms, scale_ms)
    site.victim(chance).clock.jump(delta_ms)
    return delta_ms != 0


MACHINE_FAULTS: dict[str, Strike] = {
    "kill": kill,
    "kill all": kill_all,
    "kill in recovery": kill_in_recovery,
    "stop": stop,
    "power cut": power_cut,
    "power cut of all": power_cut_of_all,
    POWER_CUT_IN_WRITE: power_cut_in_write,
    "pause": pause,
    "clock jump": clock_jump,
}
