"""Order: an idempotent producer's records stand in the log in the order sent, without a gap."""

from collections.abc import Iterator

from trimaran.sim.checkers.checker import Checker
from trimaran.sim.history import LEADER, History, SentRecord


class OrderPerProducer(Checker):
    """Walks through the leader's final log."""

    def finish(self, history: History) -> Iterator[str]:
        """Compare the numbers of each producer with 0, 1, 2 ..."""
        by_value: dict[bytes, SentRecord] = {record.value: record for record in history.sent}
        for (source, partition), records in history.final.items():
            if source != LEADER:
                continue
            due: dict[str, int] = {}
            for read in records:
                sent = by_value.get(read.value)
                if sent is None:
                    yield f"offset {read.offset} of partition {partition} was never sent"
                    continue
                number = due.get(sent.producer, 0)
                if sent.number < number or (sent.idempotent and sent.number != number):
                    yield (
                        f"{sent.producer} in partition {partition}: number {sent.number} at "
                        f"offset {read.offset}, expected {number}"
                    )
                due[sent.producer] = sent.number + 1
