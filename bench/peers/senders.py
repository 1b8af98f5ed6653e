"""What the raw producers of all systems share: how much is under way, and answers in bulk."""

from trimaran.bench.raw_producer import RawKafkaProducer
from trimaran.bench.sockets import SocketSender

IN_FLIGHT_EVENTS = 8_192
"""Of all producers, where each event is acknowledged by itself: a NATS stream refuses more than
10,000 that wait for it."""
PACED_PRODUCERS = 4


class PeerSender(SocketSender):
    """A socket producer with a limit of its own, answered by the chunk."""

    def limit(self) -> None:
        """Let no more than its share of `IN_FLIGHT_EVENTS` be under way."""
        share = PACED_PRODUCERS if self.task.load == "paced" else 1
        self.chunks_max = max(1, IN_FLIGHT_EVENTS // share // self.task.chunk)

    def answered_many(self, counts: dict[tuple[int, str | None], int]) -> None:
        """Report events by chunk and error: one call for each, not for each event."""
        for (number, error), events in counts.items():
            self.answered(number, events=events, error=error)


class KafkaSender(PeerSender, RawKafkaProducer):
    """Kafka's protocol: up to 16 requests under way, each a batch."""
