"""Readers neither skip nor go back, from poll to poll and within a poll.

An offset that holds nothing (the log has some) is no gap: what counts are offsets at which somebody
saw a record. After `Seek` the position is known; after `Assign` only that of partitions which stay.

Does not: judge polls that were not successful; they neither move the position nor promise anything.
"""

from collections.abc import Iterator

from trimaran.checking.anomaly import Anomaly, Finding
from trimaran.checking.evidence import Evidence, SeenLog
from trimaran.checking.operations import Assign, Outcome, Partition, Poll, Seek

_Positions = dict[str, dict[Partition, int]]


def find_disordered_polls(evidence: Evidence) -> Iterator[Finding]:
    """Yield skips and steps back, between polls and inside them."""
    positions: _Positions = {}
    for operation in evidence.operations:
        if isinstance(operation, Poll):
            if operation.outcome is Outcome.OK and operation.offsets:
                yield from _judge(operation, positions, evidence.logs[operation.partition])
        elif isinstance(operation, Seek):
            own = positions.setdefault(operation.process, {})
            own[operation.partition] = operation.offset
        elif isinstance(operation, Assign):
            own = positions.get(operation.process, {})
            positions[operation.process] = {
                one: own[one] for one in operation.partitions if one in own
            }


def _judge(poll: Poll, positions: _Positions, log: SeenLog) -> Iterator[Finding]:
    own = positions.setdefault(poll.process, {})
    first = poll.offsets[0]
    due = own.get(poll.partition, first)
    if first < due:
        yield _finding(Anomaly.NONMONOTONIC_POLL, poll, due, first)
    elif log.skipped(due, first):
        yield _finding(Anomaly.POLL_SKIP, poll, due, first)
    if not poll.rebalanced:
        yield from _judge_inside(poll, log)
    own[poll.partition] = poll.offsets[-1] + 1


def _judge_inside(poll: Poll, log: SeenLog) -> Iterator[Finding]:
    due = poll.offsets[0]
    for offset in poll.offsets:
        if offset < due:
            yield _finding(Anomaly.INTERNAL_NONMONOTONIC_POLL, poll, due, offset)
        elif offset > due and log.skipped(due, offset):
            yield _finding(Anomaly.INTERNAL_POLL_SKIP, poll, due, offset)
        due = offset + 1


def _finding(anomaly: Anomaly, poll: Poll, due: int, found: int) -> Finding:
    return Finding(
        anomaly=anomaly,
        partition=poll.partition,
        text=f"{poll.process} got offset {found} at {poll.completed_s:.3f} s, {due} was due",
    )
