"""What clients did, as plain operations: the whole input of the checker.

A history lists operations. Those of one process (a producer, a consumer, or both in one) stand in
the order in which it did them: sends by the moment they were handed to its client library, polls by
the moment they returned. Operations of different processes may be listed in any order.

Times are seconds of one clock. An interval [invoked_s, completed_s] must contain the true one:
noting an invocation too early or a completion too late only makes the checker more lenient.

Invariant: no two records of a history have equal values, whatever partition they are sent to.
Does not: judge, or talk to anything.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from math import inf
from typing import TypeAlias

Partition: TypeAlias = int | str | tuple[str, int]
"""A partition by number or, where a history has several topics, by topic and number."""

UNKNOWN_OFFSET = -1


class Outcome(Enum):
    """What a client knows of its operation in the end."""

    OK = "ok"
    """It took place."""
    FAILED = "failed"
    """It definitely did not."""
    UNKNOWN = "unknown"
    """It may have: a time-out, a broken connection, a client that died."""


@dataclass(slots=True)
class Send:
    """Records of one process to one partition, in their order; plain, for there are millions."""

    process: str
    partition: Partition
    values: Sequence[bytes]
    invoked_s: float
    outcome: Outcome = Outcome.UNKNOWN
    completed_s: float = inf
    """When the process learned the outcome; infinite: never."""
    offsets: Sequence[int] = ()
    """Where the answer says that each value is, UNKNOWN_OFFSET for "it does not"; empty: all so."""
    ordered: bool = True
    """Whether the process was promised that records are stored in the order sent (idempotence)."""


@dataclass(slots=True)
class Poll:
    """What one poll of a consumer returned of one partition; plain, for there are millions."""

    process: str
    partition: Partition
    offsets: Sequence[int]
    values: Sequence[bytes]
    """As many as offsets, in the order in which the application got them."""
    completed_s: float
    outcome: Outcome = Outcome.OK
    """Unless OK, what was returned counts as evidence, but the position did not move."""
    high_watermark: int | None = None
    """The first offset not committed, as the answer said; None: the client does not tell."""
    rebalanced: bool = False
    """Whether an assignment changed while this poll collected its records."""
    at_follower: bool = False
    """Whether a follower answered, which may know less to be committed than the leader does."""


@dataclass(slots=True)
class Assign:
    """From here on the process reads these partitions; where it reads on in others is forgotten."""

    process: str
    partitions: Sequence[Partition]


@dataclass(slots=True)
class Seek:
    """The next poll of the process starts at `offset`."""

    process: str
    partition: Partition
    offset: int


@dataclass(slots=True)
class EndRead:
    """The process asked where the partition ends (linearizable) and was told `offset`."""

    process: str
    partition: Partition
    offset: int
    """The first offset not committed."""
    invoked_s: float
    completed_s: float


Operation: TypeAlias = Send | Poll | Assign | Seek | EndRead
History: TypeAlias = Sequence[Operation]
