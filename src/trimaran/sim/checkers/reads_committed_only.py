"""A reader sees only committed records, never goes back, never skips.

Below the high watermark of its own answer; each offset one higher than the last; and at every
offset the value that the final log has there.
"""

from collections.abc import Iterator, Sequence
from itertools import islice

from trimaran.sim.checkers.checker import Checker
from trimaran.sim.history import LEADER, History, ReadRecord

PROBLEMS_MAX = 5
"""Of one reader in one partition: what goes wrong once goes wrong often."""


class ReadsCommittedOnly(Checker):
    """Walks through what each reader got."""

    def finish(self, history: History) -> Iterator[str]:
        """Compare each read with its predecessor, its high watermark and the final log."""
        for (reader, partition), records in history.reads.items():
            final = history.final.get((LEADER, partition))
            if final is None:
                continue  # it could not be read in the end, which is a violation by itself
            values = {record.offset: record.value for record in final}
            for line in islice(_problems(records, values), PROBLEMS_MAX):
                yield f"{reader} in partition {partition}: {line}"


def _problems(records: Sequence[ReadRecord], final: dict[int, bytes]) -> Iterator[str]:
    due = 0
    for record in records:
        if record.offset != due:
            yield f"offset {record.offset} where {due} was due"
        if record.offset >= record.high_watermark:
            yield f"offset {record.offset} at or above its high watermark {record.high_watermark}"
        if final.get(record.offset) != record.value:
            yield f"offset {record.offset} was read and is not in the final log"
        due = record.offset + 1
