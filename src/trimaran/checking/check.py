"""All checks over one history.

A million operations take seconds: each check is one pass, and the index is built once.

Does not: know any single anomaly.
"""

from collections.abc import Callable, Collection, Iterable, Iterator
from itertools import islice

from trimaran.checking.anomaly import ALLOWED, Anomaly, Finding
from trimaran.checking.evidence import Evidence
from trimaran.checking.foreign_reads import find_aborted_reads, find_foreign_reads
from trimaran.checking.lost_writes import find_lost_writes, find_unseen
from trimaran.checking.offsets import find_duplicates, find_inconsistent_offsets
from trimaran.checking.operations import Operation
from trimaran.checking.poll_order import find_disordered_polls
from trimaran.checking.real_time import find_reordered, find_stale_ends
from trimaran.checking.send_order import find_disordered_sends
from trimaran.checking.watermarks import find_falling_watermarks, find_precommitted_reads

CHECKS: tuple[Callable[[Evidence], Iterator[Finding]], ...] = (
    find_inconsistent_offsets,
    find_duplicates,
    find_lost_writes,
    find_unseen,
    find_aborted_reads,
    find_foreign_reads,
    find_precommitted_reads,
    find_falling_watermarks,
    find_disordered_polls,
    find_disordered_sends,
    find_reordered,
    find_stale_ends,
)
FINDINGS_MAX = 100
"""Of one check: who lost everything need not read it all."""


def check_history(
    operations: Iterable[Operation], *, allowed: Collection[Anomaly] = ALLOWED
) -> list[Finding]:
    """Return the anomalies of a history, at most FINDINGS_MAX of each check; [] if it is right.

    Args:
        operations: see `operations` for the order in which they must be.
        allowed: classes that are not reported.

    Raises:
        HistoryError: values are not unique, or a list of offsets does not fit its values.
    """
    evidence = Evidence(operations)
    return [
        finding
        for find in CHECKS
        for finding in islice(_unless(find(evidence), allowed), FINDINGS_MAX)
    ]


def _unless(findings: Iterable[Finding], allowed: Collection[Anomaly]) -> Iterator[Finding]:
    return (finding for finding in findings if finding.anomaly not in allowed)
