"""What one producer sends in order is stored in order, from send to send and within a send.

Offsets are those of the answers and, for sends without an answer, of whoever read the values.

Does not: judge sends without a promise of order, or those that failed.
"""

from collections.abc import Iterator

from trimaran.checking.anomaly import Anomaly, Finding, shown
from trimaran.checking.evidence import Evidence, SeenLog
from trimaran.checking.operations import UNKNOWN_OFFSET, Outcome, Partition, Send


def find_disordered_sends(evidence: Evidence) -> Iterator[Finding]:
    """Yield records that stand below an earlier one of their producer, and gaps within sends."""
    ends: dict[tuple[str, Partition], tuple[int, bytes]] = {}
    for send in evidence.sends:
        if not send.ordered or send.outcome is Outcome.FAILED:
            continue
        log = evidence.logs[send.partition]
        known = log.offsets
        placed = [(known[value], value) for value in send.values if value in known]
        if not placed:
            continue
        key = (send.process, send.partition)
        before = ends.get(key, (UNKNOWN_OFFSET, b""))
        if placed[0][0] <= before[0]:
            yield _finding(Anomaly.NONMONOTONIC_SEND, send, before, placed[0])
        if len(placed) > 1:
            yield from _judge_inside(send, placed, log)
        ends[key] = max(before, placed[-1])


def _judge_inside(send: Send, placed: list[tuple[int, bytes]], log: SeenLog) -> Iterator[Finding]:
    before = placed[0]
    for place in placed[1:]:
        if place[0] <= before[0]:
            yield _finding(Anomaly.INTERNAL_NONMONOTONIC_SEND, send, before, place)
        elif place[0] > before[0] + 1 and log.skipped(before[0] + 1, place[0]):
            yield _finding(Anomaly.INTERNAL_SEND_SKIP, send, before, place)
        before = place


def _finding(
    anomaly: Anomaly, send: Send, before: tuple[int, bytes], found: tuple[int, bytes]
) -> Finding:
    return Finding(
        anomaly=anomaly,
        partition=send.partition,
        text=f"{send.process} sent {shown(before[1])}, then {shown(found[1])}: they are at "
        f"offsets {before[0]} and {found[0]}",
    )
