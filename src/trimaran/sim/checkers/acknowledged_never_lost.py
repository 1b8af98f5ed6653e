"""Acknowledged is durable: what was acked with acks=all is read back, at the offset of its ack."""

from collections.abc import Iterator

from trimaran.sim.checkers.checker import Checker
from trimaran.sim.history import LEADER, History, Outcome


class AcknowledgedNeverLost(Checker):
    """Looks for every acked record in the leader's final log."""

    def finish(self, history: History) -> Iterator[str]:
        """Compare acks with the final log."""
        read = {partition for source, partition in history.final if source == LEADER}
        stored = {
            (partition, record.value): record.offset
            for (source, partition), records in history.final.items()
            if source == LEADER
            for record in records
        }
        for record in history.sent:
            if record.outcome is not Outcome.ACKED or record.partition not in read:
                continue
            offset = stored.get((record.partition, record.value))
            name = record.value.rstrip(b".").decode(errors="backslashreplace")
            if offset is None:
                yield f"{name} acked at offset {record.offset} at {record.acked_s:.3f} s is lost"
            elif record.offset >= 0 and offset != record.offset:
                yield f"{name} acked at offset {record.offset} is at {offset}"
