"""Sent twice, stored once: no record of the final log comes twice.

Idempotent producers send again after every failure; plain ones never do. So whatever comes twice
was doubled by the cluster.
"""

from collections.abc import Iterator

from trimaran.sim.checkers.checker import Checker
from trimaran.sim.history import History


class ProducerSequencesStoredOnce(Checker):
    """Looks for equal values in each final log."""

    def finish(self, history: History) -> Iterator[str]:
        """Every value is unique by construction: its name holds producer, partition and number."""
        for (source, partition), records in history.final.items():
            seen: dict[bytes, int] = {}
            for record in records:
                first = seen.setdefault(record.value, record.offset)
                if first != record.offset:
                    name = record.value.rstrip(b".").decode(errors="backslashreplace")
                    yield (
                        f"{name} is stored twice in partition {partition} ({source}): at offsets "
                        f"{first} and {record.offset}"
                    )
