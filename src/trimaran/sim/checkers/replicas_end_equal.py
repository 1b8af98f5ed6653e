"""In the end every node's log is the same (reliability property P8)."""

from collections.abc import Iterator

from trimaran.sim.checkers.checker import Checker
from trimaran.sim.history import LEADER, History


class ReplicasEndEqual(Checker):
    """Compares each node's own final log with the leader's."""

    def finish(self, history: History) -> Iterator[str]:
        """Compare offsets and values."""
        for (source, partition), records in history.final.items():
            expected = history.final.get((LEADER, partition), [])
            if source == LEADER:
                continue
            mine = [(record.offset, record.value) for record in records]
            theirs = [(record.offset, record.value) for record in expected]
            if mine != theirs:
                place = next(
                    (
                        n
                        for n, pair in enumerate(zip(mine, theirs, strict=False))
                        if pair[0] != pair[1]
                    ),
                    min(len(mine), len(theirs)),
                )
                yield (
                    f"{source} partition {partition}: {len(mine)} records, the leader had "
                    f"{len(theirs)}; they differ from record {place} on"
                )
