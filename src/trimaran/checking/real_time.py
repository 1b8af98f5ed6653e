"""Real time: what was over before something began also comes before it in the log.

With this and a single order of values, a log is linearizable; as values are unique and the log only
grows, two passes suffice where a general checker would search.

Does not: look at fetches; where they end is up to the server.
"""

from bisect import bisect_left
from collections.abc import Iterator
from math import inf

from trimaran.checking.anomaly import Anomaly, Finding, shown
from trimaran.checking.evidence import Evidence
from trimaran.checking.operations import UNKNOWN_OFFSET, Outcome, Partition, Send


def find_reordered(evidence: Evidence) -> Iterator[Finding]:
    """Yield records that stand before one that was acknowledged before they were sent."""
    writers = evidence.writers
    for partition, log in evidence.logs.items():
        earliest: tuple[float, int, bytes] = (inf, UNKNOWN_OFFSET, b"")
        places = sorted(log.offsets.items(), key=lambda place: place[1], reverse=True)
        for value, offset in places:
            send = writers.get(value)
            if send is None or send.partition != partition or value in log.repeated:
                continue  # another check's
            if earliest[0] < send.invoked_s and send.outcome is not Outcome.FAILED:
                yield Finding(
                    anomaly=Anomaly.REAL_TIME_ORDER,
                    partition=partition,
                    text=f"{shown(earliest[2])} at offset {earliest[1]} was acknowledged at "
                    f"{earliest[0]:.3f} s; {shown(value)} of {send.process}, sent at "
                    f"{send.invoked_s:.3f} s, is at {offset}",
                )
            if send.outcome is Outcome.OK and send.completed_s < earliest[0]:
                earliest = (send.completed_s, offset, value)


def find_stale_ends(evidence: Evidence) -> Iterator[Finding]:
    """Yield ends of the log that leave out what was known before they were asked for."""
    if not evidence.ends:
        return
    facts = _known_ends(evidence)
    for end in evidence.ends:
        times, highest = facts[end.partition]
        place = bisect_left(times, end.invoked_s)
        if place > 0 and highest[place - 1] > end.offset:
            yield Finding(
                anomaly=Anomaly.STALE_END,
                partition=end.partition,
                text=f"{end.process} asked at {end.invoked_s:.3f} s and was told {end.offset}; "
                f"{highest[place - 1]} was known by then",
            )


def _known_ends(evidence: Evidence) -> dict[Partition, tuple[list[float], list[int]]]:
    """Return, for each partition, moments and how far the log was known to reach at each."""
    facts: dict[Partition, list[tuple[float, int]]] = {one: [] for one in evidence.logs}
    for send in evidence.sends:
        if send.outcome is Outcome.OK:
            facts[send.partition].append((send.completed_s, _end_of(send)))
    for poll in evidence.polls:
        if poll.offsets:
            facts[poll.partition].append((poll.completed_s, max(poll.offsets) + 1))
    for end in evidence.ends:
        facts[end.partition].append((end.completed_s, end.offset))
    known: dict[Partition, tuple[list[float], list[int]]] = {}
    for partition, found in facts.items():
        found.sort()
        reach = 0
        highest = [reach := max(reach, end) for _, end in found]
        known[partition] = ([moment for moment, _ in found], highest)
    return known


def _end_of(send: Send) -> int:
    return max(send.offsets, default=UNKNOWN_OFFSET) + 1
