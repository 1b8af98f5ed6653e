"""One value at each offset, one offset for each value.

Does not: say which of two is the right one.
"""

from collections.abc import Iterator

from trimaran.checking.anomaly import Anomaly, Finding, shown
from trimaran.checking.evidence import Evidence


def find_inconsistent_offsets(evidence: Evidence) -> Iterator[Finding]:
    """Yield the offsets that hold two values."""
    for partition, log in evidence.logs.items():
        for offset, values in log.divergent.items():
            listed = ", ".join(shown(value) for value in values)
            yield Finding(
                anomaly=Anomaly.INCONSISTENT_OFFSETS,
                partition=partition,
                text=f"offset {offset} holds {listed}",
            )


def find_duplicates(evidence: Evidence) -> Iterator[Finding]:
    """Yield the values that are stored at two offsets."""
    for partition, log in evidence.logs.items():
        for value, offsets in log.repeated.items():
            yield Finding(
                anomaly=Anomaly.DUPLICATE,
                partition=partition,
                text=f"{shown(value)} is at offsets {', '.join(map(str, sorted(offsets)))}",
            )
