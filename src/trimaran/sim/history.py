"""What simulated clients did and saw: the only evidence that checkers of promises use.

Outcomes are the client's: ACKED was promised (acks=all), REFUSED was said to be not stored,
UNKNOWN may or may not have been stored (a time-out, a broken connection, a lost leader).

Does not: judge.
"""

from dataclasses import dataclass, field
from enum import Enum


class Outcome(Enum):
    """What the client knows of a record it sent."""

    PENDING = "pending"
    ACKED = "acked"
    REFUSED = "refused"
    UNKNOWN = "unknown"


@dataclass(slots=True)
class SentRecord:
    """One record on its way; `number` counts what this producer sent to this partition."""

    producer: str
    partition: int
    number: int
    value: bytes
    idempotent: bool
    outcome: Outcome = Outcome.PENDING
    offset: int = -1
    """Where the answer says it is; -1 unknown."""
    acked_s: float = 0.0


@dataclass(frozen=True, slots=True)
class ReadRecord:
    """One record as a reader got it, and the high watermark of the answer it came in."""

    offset: int
    value: bytes
    high_watermark: int


@dataclass(slots=True)
class History:
    """Everything the clients of one run did and saw."""

    sent: list[SentRecord] = field(default_factory=list)
    reads: dict[tuple[str, int], list[ReadRecord]] = field(default_factory=dict)
    """By reader and partition, in the order of arrival."""
    final: dict[tuple[str, int], list[ReadRecord]] = field(default_factory=dict)
    """What was read from offset 0 after the heal: by where from ("leader", "node-1"), partition."""
    oddities: list[str] = field(default_factory=list)
    """Answers that no client should ever get; each is a violation."""
    answers: dict[str, int] = field(default_factory=dict)
    """How often each error came, by name."""

    def count(self, outcome: Outcome) -> int:
        """Return how many records ended so."""
        return sum(record.outcome is outcome for record in self.sent)

    def note_answer(self, name: str) -> None:
        """Count an answer other than success."""
        self.answers[name] = self.answers.get(name, 0) + 1
