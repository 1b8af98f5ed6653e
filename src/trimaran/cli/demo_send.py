"""The demo's producer: paced, idempotent, and keeping book of every acknowledgement.

Does not: choose whom to kill, or judge.
"""

import time
from collections import Counter, defaultdict
from collections.abc import Iterator

from confluent_kafka import KafkaError, Message, Producer

from trimaran.cli.demo_check import Acknowledgement, digest
from trimaran.cli.flights import Departure
from trimaran.cli.kafka_client import settings

TURN_S = 0.005
"""Events are handed to the client this often; acknowledgements are timed as finely."""
FLUSH_S = 60.0


class Ledger:
    """What was sent, what was acknowledged, and when each partition last acknowledged."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        """Digests in sending order."""
        self.acked_at: dict[int, float] = {}
        """Time of the last acknowledgement, by partition."""
        self.counts: Counter[int] = Counter()
        self.errors: Counter[str] = Counter()
        self.gaps_s: dict[int, float] = {}
        """Longest pause between acknowledgements by partition, while it is watched."""
        self._acked: defaultdict[int, list[tuple[int, int | None]]] = defaultdict(list)

    @property
    def acked_count(self) -> int:
        """How many events were acknowledged."""
        return self.counts.total()

    def add(self, name: bytes) -> int:
        """Enter an event that is being sent; return its number."""
        self.sent.append(name)
        return len(self.sent) - 1

    def acknowledge(self, number: int, partition: int, offset: int | None, now: float) -> None:
        """Enter an acknowledgement."""
        self._acked[partition].append((number, offset))
        self.counts[partition] += 1
        if partition in self.gaps_s:
            gap_s = now - self.acked_at.get(partition, now)
            self.gaps_s[partition] = max(self.gaps_s[partition], gap_s)
        self.acked_at[partition] = now

    def watch(self, partitions: list[int]) -> None:
        """Measure pauses of `partitions` from their last acknowledgement on."""
        self.gaps_s = dict.fromkeys(partitions, 0.0)

    def sightings(self) -> dict[int, list[Acknowledgement]]:
        """Return acknowledged (offset, digest) by partition, in sending order."""
        return {
            partition: [(offset, self.sent[number]) for number, offset in sorted(acked)]
            for partition, acked in sorted(self._acked.items())
        }


class PacedProducer:
    """Sends events at a steady rate; `turn` is called over and over."""

    def __init__(
        self, bootstrap: str, topic: str, events: Iterator[Departure], *, rate: float
    ) -> None:
        """`rate`: events a second, from the first `turn` on."""
        self.ledger = Ledger()
        self._topic = topic
        self._events = events
        self._next = next(events, None)
        self._rate = rate
        self._begin = time.perf_counter()
        self._producer = Producer(
            settings(bootstrap, {"acks": "all", "enable.idempotence": True, "linger.ms": 5})
        )

    @property
    def exhausted(self) -> bool:
        """Whether there is nothing left to send."""
        return self._next is None

    def turn(self) -> None:
        """Send what is due, but for no longer than TURN_S; take up acknowledgements for TURN_S.

        Who is behind and first caught up would time acknowledgements by its own delay.
        """
        now = time.perf_counter()
        due = int((now - self._begin) * self._rate)
        while len(self.ledger.sent) < due and self._next is not None:
            if not self._send(self._next) or time.perf_counter() > now + TURN_S:
                break
        self._producer.poll(TURN_S)

    def finish(self) -> None:
        """Wait up to FLUSH_S until every event has its outcome."""
        deadline = time.perf_counter() + FLUSH_S
        while len(self._producer) and time.perf_counter() < deadline:
            self._producer.poll(TURN_S)

    def _send(self, event: Departure) -> bool:
        number = len(self.ledger.sent)

        def delivered(error: KafkaError | None, message: Message) -> None:
            if error is not None:
                self.ledger.errors[error.name()] += 1
                return
            partition, offset = message.partition(), message.offset()
            assert partition is not None
            self.ledger.acknowledge(number, partition, offset, time.perf_counter())

        try:
            self._producer.produce(self._topic, event.value, event.key, on_delivery=delivered)
        except BufferError:  # the client's queue is full: the next turn sends it
            return False
        self.ledger.add(digest(event.key, event.value))
        self._next = next(self._events, None)
        return True
