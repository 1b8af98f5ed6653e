"""Many nodes' records of one failover, put together: a node that died is one incident.

Every survivor records what it saw. Records about the same lost node that began within SAME_MS are
of one failover: each phase is as late as the last of them says, and phases that only one of them
had a part in (its votes, its clients) are taken from it. Beginnings are of different wall clocks
and differ by little; times within a record are compared as they are.
Does not: ask nodes.
"""

from collections.abc import Iterable
from dataclasses import replace

from trimaran.server.observing.shapes import Incident, Phase
from trimaran.server.observing.telling import LIMIT_MS

SAME_MS = 3_000
"""Wall clocks of a cluster are closer than this; a node that died is not back and lost again."""
ORDER = ("last_ack", "detected", "pre_vote", "vote", "elected", "first_commit", "first_ack")


def merged(records: Iterable[Incident]) -> list[Incident]:
    """Return one incident for each failover, newest first."""
    found: list[Incident] = []
    for record in sorted(records, key=lambda one: (one.began_ms, one.observed_by)):
        for place, other in enumerate(found):
            is_near = record.began_ms - other.began_ms < SAME_MS
            is_other_view = record.observed_by != other.observed_by
            if is_near and is_other_view and record.lost_node == other.lost_node:
                found[place] = _both(other, record)
                break
        else:
            found.append(record)
    return found[::-1]


def _both(one: Incident, other: Incident) -> Incident:
    """Return what two nodes saw of one failover; it goes by the name of the one begun earlier."""
    first = max(one, other, key=lambda record: (len(record.phases), record.groups))
    times: dict[str, float] = {}
    for phase in (*one.phases, *other.phases):
        times[phase.name] = max(times.get(phase.name, 0.0), phase.at_ms)
    names = [*ORDER, *(name for name in times if name not in ORDER)]
    is_over = one.total_ms is not None and other.total_ms is not None
    total_ms = max(times.values()) if is_over else None
    leaders = {one.new_leader, other.new_leader}
    return replace(
        first,
        id=one.id,
        began_ms=one.began_ms,
        groups=max(one.groups, other.groups),
        topic=one.topic if one.topic == other.topic else None,
        partition=one.partition if one.partition == other.partition else None,
        old_term=max(one.old_term, other.old_term),
        new_term=max(one.new_term, other.new_term),
        new_leader=first.new_leader if len(leaders) == 1 else None,
        phases=[Phase(name=name, at_ms=times[name]) for name in names if name in times],
        total_ms=total_ms,
        over_limit=total_ms is not None and total_ms > LIMIT_MS,
    )
