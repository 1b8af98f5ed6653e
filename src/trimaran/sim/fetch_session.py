"""A reader's side of a fetch session (KIP-227): what to name next, and what an answer may say.

A full request names every partition. If a session was made of it, later requests name only what the
node does not know yet: partitions that are new or stand elsewhere, and those that are not wanted
any more. The node counts the requests, so that both notice it when one or its answer was lost.

Invariant: `named` is what the node knows after the last answer that arrived; a request whose answer
is lost changes nothing here, and is made again from the same.
Does not: send anything, or know records.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from trimaran.errors import ErrorCode
from trimaran.protocol.messages import PartitionData

NO_SESSION = 0
FULL_EPOCH = 0
FINAL_EPOCH = -1
HUNGRY_MAX = 4
"""Answers in a row that may leave out what is there to read: others may have filled them, or it
came while they were made. A node has few partitions of ours, and fills the next one with others."""
SESSION_ERRORS = (
    ErrorCode.FETCH_SESSION_ID_NOT_FOUND,
    ErrorCode.INVALID_FETCH_SESSION_EPOCH,
    ErrorCode.FETCH_SESSION_TOPIC_ID_ERROR,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What one request says."""

    session_id: int
    epoch: int
    positions: Mapping[int, int]
    """Where to read, of each partition that it names."""
    forgotten: Sequence[int]
    named: Mapping[int, int]
    """What the node knows once it has taken the request in."""

    @property
    def is_full(self) -> bool:
        """Whether it names all there is."""
        return self.epoch in (FULL_EPOCH, FINAL_EPOCH)


class ReaderSession:
    """What a reader knows of its session with one node."""

    def __init__(self) -> None:
        self.session_id = NO_SESSION
        self.epoch = FULL_EPOCH
        """Of the next request."""
        self.named: Mapping[int, int] = {}
        self._high_watermarks: dict[int, int] = {}
        """As told last; what an answer leaves out has not changed."""
        self._hungry: dict[int, int] = {}
        """Answers in a row without anything of a partition that had something."""

    @property
    def is_open(self) -> bool:
        """Whether the next request goes on with a session."""
        return self.session_id != NO_SESSION and self.epoch != FULL_EPOCH

    def ask(self, wanted: Mapping[int, int], *, ends: bool = False) -> Asked:
        """Return the request for what is `wanted`; one that `ends` the session wants no other."""
        is_full = ends or not self.is_open
        changed = {
            partition: position
            for partition, position in wanted.items()
            if is_full or self.named.get(partition) != position
        }
        kept = {} if is_full else {one: self.named[one] for one in self.named if one in wanted}
        return Asked(
            session_id=self.session_id,
            epoch=FINAL_EPOCH if ends else self.epoch,
            positions=changed,
            forgotten=() if is_full else [one for one in self.named if one not in wanted],
            named=kept | changed,
        )

    def start_over(self) -> None:
        """Ask for everything next, and for a new session instead of this one."""
        self.epoch = FULL_EPOCH

    def answered(self, asked: Asked, told: Sequence[PartitionData], session_id: int) -> list[str]:
        """Take in an answer without an error to the whole; return what is wrong about it."""
        wrong = self._judge(asked, [data.partition_index for data in told], session_id)
        if asked.is_full:
            self._high_watermarks.clear()
            self._hungry.clear()
        self._go_on(asked, session_id)
        return wrong + self._judge_hunger(told)

    def _judge(self, asked: Asked, told: Sequence[int], session_id: int) -> list[str]:
        wrong = []
        if asked.is_full and sorted(told) != sorted(asked.named):
            wrong.append(f"asked in full for {sorted(asked.named)}, told of {sorted(told)}")
        strangers = [one for one in told if one not in asked.named]
        if strangers or len(set(told)) != len(told):
            names = f"{sorted(asked.named)}, forgotten {list(asked.forgotten)}"
            wrong.append(f"told of {list(told)} in a session of {names}")
        if asked.epoch == FINAL_EPOCH and session_id != NO_SESSION:
            wrong.append(f"asked for no session, given {session_id}")
        if not asked.is_full and session_id not in (asked.session_id, NO_SESSION):
            wrong.append(f"asked in session {asked.session_id}, answered in {session_id}")
        return wrong

    def _go_on(self, asked: Asked, session_id: int) -> None:
        self.session_id = session_id
        self.named = asked.named
        if session_id == NO_SESSION:
            self.epoch = FULL_EPOCH
        else:
            self.epoch = 1 if asked.is_full else asked.epoch + 1

    def _judge_hunger(self, told: Sequence[PartitionData]) -> list[str]:
        """Count answers without anything of a partition that is known to have more to read."""
        fed = [data.partition_index for data in told if data.error_code or any(data.records)]
        for data in told:
            self._high_watermarks[data.partition_index] = data.high_watermark
        hungry = {
            partition: self._hungry.get(partition, 0) + 1
            for partition, position in self.named.items()
            if partition not in fed and position < self._high_watermarks.get(partition, -1)
        }
        self._hungry = hungry
        return [
            f"{HUNGRY_MAX} answers without anything of partition {partition}, which stands at "
            f"{self.named[partition]} below the high watermark {self._high_watermarks[partition]}"
            for partition, count in hungry.items()
            if count == HUNGRY_MAX
        ]
