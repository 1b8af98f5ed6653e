"""What can be wrong with a history: the classes, each with what it means.

The first thirteen are those of Jepsen's Kafka workload, for clients without transactions; the
others are promises of ours that it does not look at.

Does not: find any (the other modules do, one for each idea).
"""

from dataclasses import dataclass
from enum import Enum

from trimaran.checking.operations import Partition


class Anomaly(Enum):
    """One class of error."""

    INCONSISTENT_OFFSETS = "inconsistent offsets"
    """One offset of a partition holds two values, to two clients or at two times."""
    DUPLICATE = "duplicate"
    """One value is stored at two offsets: a retry that was taken for a new record."""
    LOST_WRITE = "lost write"
    """A record that must be committed was never read, though a reader got beyond it."""
    ABORTED_READ = "aborted read"
    """A record was read whose sender was told that it is definitely not stored (G1a)."""
    PRECOMMITTED_READ = "precommitted read"
    """A record was read at or above the high watermark: before it was committed."""
    POLL_SKIP = "poll skip"
    """Between two polls of a consumer there are records that it was not given."""
    NONMONOTONIC_POLL = "nonmonotonic poll"
    """A consumer's poll starts at or below the end of its poll before."""
    INTERNAL_POLL_SKIP = "internal poll skip"
    """Between two neighbours of one poll there are records that it did not return."""
    INTERNAL_NONMONOTONIC_POLL = "internal nonmonotonic poll"
    """Within one poll, a record stands at or below the one before it."""
    NONMONOTONIC_SEND = "nonmonotonic send"
    """An ordered producer's later send is stored below one of its earlier sends."""
    INTERNAL_NONMONOTONIC_SEND = "internal nonmonotonic send"
    """Within one send, a record is stored below the one before it."""
    INTERNAL_SEND_SKIP = "internal send skip"
    """Between two neighbours of one send stand records of others; wrong only within one batch."""
    UNSEEN = "unseen"
    """An acknowledged record that nobody read, and no reader got beyond it: the end is missing."""
    CORRUPT_PAYLOAD = "corrupt payload"
    """A value was read that is not whole: its checksum does not fit."""
    UNEXPECTED_READ = "unexpected read"
    """A whole value was read that nobody sent, or to another partition, or not yet by then."""
    REAL_TIME_ORDER = "real-time order"
    """A record acknowledged before another one was sent is stored behind it."""
    STALE_END = "stale end"
    """A linearizable end of the log left out what was acknowledged or read before it was asked."""
    WATERMARK_BACK = "high watermark went back"
    """A reader was told a lower high watermark than before."""


ALLOWED = frozenset({Anomaly.INTERNAL_SEND_SKIP})
"""What is no error unless each Send is one record batch: records of others may come between."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One anomaly, for people to read."""

    anomaly: Anomaly
    partition: Partition
    text: str

    def __str__(self) -> str:
        """Return one line."""
        return f"{self.anomaly.value}: partition {self.partition}: {self.text}"


_SHOWN_BYTES_MAX = 60


def shown(value: bytes) -> str:
    """Return the beginning of a value as text, whatever its bytes."""
    text = value[:_SHOWN_BYTES_MAX].decode(errors="backslashreplace").rstrip(" .")
    return repr(text)
