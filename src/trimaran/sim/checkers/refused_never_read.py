"""What was definitely refused is never read (no aborted reads)."""

from collections.abc import Iterator

from trimaran.sim.checkers.checker import Checker
from trimaran.sim.history import History, Outcome


class RefusedNeverRead(Checker):
    """Looks for refused values among all that was read."""

    def finish(self, history: History) -> Iterator[str]:
        """Compare refusals with every read."""
        refused = {
            record.value: None for record in history.sent if record.outcome is Outcome.REFUSED
        }
        for reads in (history.reads, history.final):
            for (reader, partition), records in reads.items():
                for record in records:
                    if record.value in refused:
                        name = record.value.rstrip(b".").decode(errors="backslashreplace")
                        yield (
                            f"{name} was refused, but {reader} read it at offset {record.offset} "
                            f"of partition {partition}"
                        )
