"""What must not be read: what was refused, what nobody sent, what is damaged.

Does not: look at where and in which order anything was read.
"""

from collections.abc import Iterator

from trimaran.checking.anomaly import Anomaly, Finding, shown
from trimaran.checking.evidence import Evidence
from trimaran.checking.operations import Outcome, Poll, Send
from trimaran.checking.payload import parse_value


def find_aborted_reads(evidence: Evidence) -> Iterator[Finding]:
    """Yield reads of what was definitely not stored."""
    failed = {
        value: send
        for send in evidence.sends
        if send.outcome is Outcome.FAILED
        for value in send.values
    }
    if not failed:
        return
    for poll in evidence.polls:
        for offset, value in zip(poll.offsets, poll.values, strict=True):
            if value in failed:
                yield Finding(
                    anomaly=Anomaly.ABORTED_READ,
                    partition=poll.partition,
                    text=f"{shown(value)} of {failed[value].process} failed, but {poll.process} "
                    f"read it at offset {offset}",
                )


def find_foreign_reads(evidence: Evidence) -> Iterator[Finding]:
    """Yield reads of values that are not, byte for byte, what somebody had sent there by then.

    A value that somebody sent is whole, for it is equal to what was sent; so the checksum is asked
    only of the others, to tell damage from a stranger.
    """
    writers = evidence.writers
    for poll in evidence.polls:
        partition, completed_s = poll.partition, poll.completed_s
        for offset, value in zip(poll.offsets, poll.values, strict=True):
            send = writers.get(value)
            if (
                send is None
                or send.partition != partition
                or (send.invoked_s > completed_s and send.outcome is not Outcome.FAILED)
            ):
                yield _foreign(poll, offset, value, send)


def _foreign(poll: Poll, offset: int, value: bytes, send: Send | None) -> Finding:
    anomaly = Anomaly.UNEXPECTED_READ
    if send is None:
        payload = parse_value(value)
        if payload is None:
            anomaly, what = Anomaly.CORRUPT_PAYLOAD, "does not fit its checksum"
        else:
            what = f"was never sent; it says number {payload.number} of {payload.sender}"
    elif send.partition != poll.partition:
        what = f"was sent to partition {send.partition}"
    else:
        what = f"was sent at {send.invoked_s:.3f} s, after this read"
    return Finding(
        anomaly=anomaly,
        partition=poll.partition,
        text=f"{poll.process} read {shown(value)} at offset {offset}, which {what}",
    )
