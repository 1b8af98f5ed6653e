"""What must be stored is read: lost writes, and what was not seen by the end.

The two are told apart by how far readers got. A committed record below the highest one that anybody
read is lost, because readers passed it. Above it, it may be lost, or the final reads are missing.

Does not: look at records whose outcome is unknown and of whose send nobody read anything.
"""

from collections.abc import Iterator

from trimaran.checking.anomaly import Anomaly, Finding, shown
from trimaran.checking.evidence import Evidence, SeenLog
from trimaran.checking.operations import UNKNOWN_OFFSET, Outcome, Send


def find_lost_writes(evidence: Evidence) -> Iterator[Finding]:
    """Yield records that must be committed and that every reader missed."""
    bounds = {partition: _bound(log) for partition, log in evidence.logs.items()}
    for send in evidence.sends:
        log = evidence.logs[send.partition]
        if _is_all_read(send, log) or not evidence.must_have_committed(send):
            continue
        bound = bounds[send.partition]
        for value, place in _unread(send, log):
            if place != UNKNOWN_OFFSET and place <= bound:
                yield Finding(
                    anomaly=Anomaly.LOST_WRITE,
                    partition=send.partition,
                    text=f"{shown(value)} of {send.process}, {send.outcome.value} at "
                    f"{send.completed_s:.3f} s, stood no higher than offset {place}; "
                    f"offset {bound} was read, it was not",
                )


def find_unseen(evidence: Evidence) -> Iterator[Finding]:
    """Yield acknowledged records that nobody read and no reader passed."""
    bounds = {partition: _bound(log) for partition, log in evidence.logs.items()}
    for send in evidence.sends:
        log = evidence.logs[send.partition]
        if send.outcome is not Outcome.OK or _is_all_read(send, log):
            continue
        for value, place in _unread(send, log):
            if place == UNKNOWN_OFFSET or place > bounds[send.partition]:
                yield Finding(
                    anomaly=Anomaly.UNSEEN,
                    partition=send.partition,
                    text=f"{shown(value)} of {send.process}, acknowledged at offset {place} at "
                    f"{send.completed_s:.3f} s, was never read",
                )


def _bound(log: SeenLog) -> int:
    """Return up to which offset somebody read."""
    return max(log.read.values(), default=UNKNOWN_OFFSET)


def _is_all_read(send: Send, log: SeenLog) -> bool:
    return all(value in log.read for value in send.values)


def _unread(send: Send, log: SeenLog) -> Iterator[tuple[bytes, int]]:
    """Yield the values that nobody read, last one first, with an upper limit of their offsets.

    Where an offset is not known, a record of an ordered send stands below the next one of its send.
    """
    limit = UNKNOWN_OFFSET
    for value in reversed(send.values):
        place = log.last_offset(value)
        if place != UNKNOWN_OFFSET:
            limit = place
        elif send.ordered:
            place = limit
        if value not in log.read:
            yield value, place
