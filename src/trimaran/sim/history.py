"""What simulated clients did and saw: the only evidence that checkers of promises use.

Outcomes are the client's: ACKED was promised (acks=all), REFUSED was said to be not stored,
UNKNOWN may or may not have been stored (a time-out, a broken connection, a lost leader).

Does not: judge.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum
from itertools import groupby
from math import inf

from trimaran import checking

LEADER = "leader"
"""The source of a final read through the partition's leader, in `History.final`."""


class Outcome(Enum):
    """What the client knows of a record it sent."""

    PENDING = "pending"
    ACKED = "acked"
    REFUSED = "refused"
    UNKNOWN = "unknown"


_OUTCOMES = {
    Outcome.PENDING: checking.Outcome.UNKNOWN,
    Outcome.ACKED: checking.Outcome.OK,
    Outcome.REFUSED: checking.Outcome.FAILED,
    Outcome.UNKNOWN: checking.Outcome.UNKNOWN,
}


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
    batch: int = -1
    """Equal for the records of one batch, and only for those."""
    sent_s: float = 0.0
    """When its batch was made, so before it was sent for the first time."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A node's word that a batch is stored."""

    node: str
    topic: str
    partition: int
    last_offset: int
    """Of the batch's last record."""
    acks: int


@dataclass(frozen=True, slots=True)
class ReadRecord:
    """One record as a reader got it, and the high watermark of the answer it came in."""

    offset: int
    value: bytes
    high_watermark: int


@dataclass(slots=True)
class OffsetNote:
    """A commit of a group's offset, or an answer to the question where it stands."""

    group: str
    partition: int
    offset: int
    """-1 in an answer: nothing committed."""
    is_commit: bool
    asked_s: float
    done_s: float = inf
    """When it was acknowledged or answered; inf if nobody knows."""


@dataclass(frozen=True, slots=True)
class GenerationNote:
    """What a member was told when it had joined and synced."""

    group: str
    generation: int
    leader: str
    member: str
    partitions: tuple[int, ...]
    asked_s: float
    """When it asked to join."""
    joined_s: float
    """When that was answered."""


@dataclass(slots=True)
class OwnershipNote:
    """A partition that a member of a group of the new protocol was told to have."""

    group: str
    partition: int
    member: str
    told_s: float
    """When the answer came."""
    proven_s: float = -inf
    """The last moment at which it provably was in the group."""
    given_up_s: float = inf
    """When it stopped to have it, for whatever reason; inf: it did not."""


@dataclass(slots=True)
class KeyedRecord:
    """One record sent to a compacted topic."""

    key: bytes
    value: bytes | None
    """None: a tombstone."""
    outcome: Outcome = Outcome.PENDING
    offset: int = -1
    """Where the answer says it is."""


@dataclass(slots=True)
class SettingNote:
    """A value that a setting of the topic was to get."""

    name: str
    value: str
    outcome: Outcome = Outcome.UNKNOWN
    """ACKED, or UNKNOWN: it may come into force at any later time."""


@dataclass(slots=True)
class History:
    """Everything the clients of one run did and saw."""

    sent: list[SentRecord] = field(default_factory=list)
    """Records of one batch one behind the other."""
    reads: dict[tuple[str, int], list[ReadRecord]] = field(default_factory=dict)
    """By reader and partition, in the order of arrival."""
    final: dict[tuple[str, int], list[ReadRecord]] = field(default_factory=dict)
    """What was read from offset 0 after the heal: by where from (LEADER, "node-1"), partition."""
    oddities: list[str] = field(default_factory=list)
    """Answers that no client should ever get; each is a violation."""
    answers: dict[str, int] = field(default_factory=dict)
    """How often each error came, by name."""
    is_calm: bool = False
    """Whether no faults strike in the run."""
    fetches: int = 0
    """How many had records in their answer."""
    late_fetches: int = 0
    """How many of those were answered when their time was over."""
    consumed: list[checking.Operation] = field(default_factory=list)
    """What readers did, in order: seeks, polls, ends of logs asked for."""
    offsets: list[OffsetNote] = field(default_factory=list)
    """What was done about the offsets of consumer groups."""
    generations: list[GenerationNote] = field(default_factory=list)
    """Which generations members of consumer groups belonged to."""
    ownerships: list[OwnershipNote] = field(default_factory=list)
    """Which partitions members of groups of the new protocol had."""
    renewals: int = 0
    """How often an idempotent producer went on with its next epoch, or a new id."""
    keyed: list[KeyedRecord] = field(default_factory=list)
    """What was sent to `keyed_topic`, in order."""
    keyed_topic: str = ""
    """The compacted topic, if there is one."""
    settings: list[SettingNote] = field(default_factory=list)
    """Which settings of `settings_topic` were changed, in order."""
    settings_topic: str = ""
    """The topic whose settings change, if there is one."""
    on_answer: Callable[[Answer], None] | None = None
    """Called with each acknowledgement that names an offset, when it arrives."""
    _batches: int = 0
    _readers: int = 0

    def count(self, outcome: Outcome) -> int:
        """Return how many records ended so."""
        return sum(record.outcome is outcome for record in self.sent)

    def note_answer(self, name: str) -> None:
        """Count an answer other than success."""
        self.answers[name] = self.answers.get(name, 0) + 1

    def note_fetch(self, *, is_late: bool) -> None:
        """Count an answer with records."""
        self.fetches += 1
        self.late_fetches += is_late

    def note_batch(self, batch: Sequence[SentRecord], now_s: float) -> None:
        """Take in a batch that is about to be sent."""
        self._batches += 1
        for record in batch:
            record.batch = self._batches
            record.sent_s = now_s
        self.sent += batch

    def note_reader(self, client: str, partition: int, position: int) -> str:
        """Take in that a client begins to read at an offset; return the reader's name."""
        self._readers += 1
        reader = f"{client}.{self._readers}"
        self.consumed.append(checking.Seek(reader, partition, position))
        return reader

    def note_poll(
        self,
        reader: str,
        partition: int,
        records: Sequence[ReadRecord],
        *,
        high_watermark: int,
        now_s: float,
        at_follower: bool = False,
    ) -> None:
        """Take in the answer to a fetch, also an empty one."""
        self.consumed.append(
            checking.Poll(
                reader,
                partition,
                [record.offset for record in records],
                [record.value for record in records],
                now_s,
                high_watermark=high_watermark,
                at_follower=at_follower,
            )
        )

    def note_end(
        self, client: str, partition: int, offset: int, *, asked_s: float, now_s: float
    ) -> None:
        """Take in the answer to a linearizable question for the end of a partition."""
        self.consumed.append(checking.EndRead(client, partition, offset, asked_s, now_s))

    def operations(self) -> list[checking.Operation]:
        """Return all this as the history checker wants it; each node's final log is one poll."""
        operations: list[checking.Operation] = list(self._sends())
        operations += self.consumed
        for (source, partition), records in self.final.items():
            reader = f"final {source}"
            operations.append(checking.Seek(reader, partition, 0))
            offsets = [record.offset for record in records]
            values = [record.value for record in records]
            operations.append(checking.Poll(reader, partition, offsets, values, inf))
        return operations

    def _sends(self) -> Iterator[checking.Send]:
        for _, group in groupby(self.sent, key=lambda record: record.batch):
            records = list(group)
            first = records[0]
            yield checking.Send(
                first.producer,
                first.partition,
                [record.value for record in records],
                first.sent_s,
                _OUTCOMES[first.outcome],
                first.acked_s if first.outcome is Outcome.ACKED else inf,
                [record.offset for record in records],
                ordered=first.idempotent,
            )
