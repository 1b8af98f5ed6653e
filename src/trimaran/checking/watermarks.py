"""Only the committed is shown: reads stay below the high watermark, which never falls.

It must not fall when the leader changes either. A follower may know less than its reader was told;
what it says still binds every leader that answers after it.

Does not: compare what different readers were told.
"""

from collections.abc import Iterator

from trimaran.checking.anomaly import Anomaly, Finding
from trimaran.checking.evidence import Evidence
from trimaran.checking.operations import Partition


def find_precommitted_reads(evidence: Evidence) -> Iterator[Finding]:
    """Yield reads at or above the high watermark that came with them."""
    for poll in evidence.polls:
        if poll.high_watermark is None or not poll.offsets:
            continue
        highest = max(poll.offsets)
        if highest >= poll.high_watermark:
            yield Finding(
                anomaly=Anomaly.PRECOMMITTED_READ,
                partition=poll.partition,
                text=f"{poll.process} read offset {highest} under a high watermark of "
                f"{poll.high_watermark}",
            )


def find_falling_watermarks(evidence: Evidence) -> Iterator[Finding]:
    """Yield polls at leaders with a lower high watermark than the reader was told before."""
    told: dict[tuple[str, Partition], int] = {}
    for poll in evidence.polls:
        found = poll.high_watermark
        if found is None:
            continue
        key = (poll.process, poll.partition)
        known = told.get(key, found)
        if found < known and not poll.at_follower:
            yield Finding(
                anomaly=Anomaly.WATERMARK_BACK,
                partition=poll.partition,
                text=f"{poll.process} was told {known}, then {found} at {poll.completed_s:.3f} s",
            )
        told[key] = max(known, found)
