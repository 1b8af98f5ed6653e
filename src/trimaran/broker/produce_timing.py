"""Where the time of a produce request goes: one batch of each round is followed to its answer.

    proposed --queue--> in a round --disk--> synced here --network--> committed --answer--> sent

The stages add up. `disk` is what the own disk made the batch wait, `network` what the followers
(their disks included) made it wait beyond that: a batch that a majority held before the own sync
was over waited for them alone, and its disk time is 0. `answer` ends when the answers of the turn
were handed to their sockets. Beside them, `replication` is the whole time from sending to majority.

The batch followed is the first that was proposed for a round, so `queue` is the longest of the
round. One is followed at a time: a batch costs one comparison unless it is the one.

Invariants: nothing is followed beyond its group's loss of leadership, or GIVEN_UP_S.
Does not: touch a request; it only looks at indexes.
"""

import asyncio
from collections.abc import Callable

from trimaran.broker.counters import Counters
from trimaran.broker.replica import Replica
from trimaran.ids import Index
from trimaran.raft.ready import Ready

GIVEN_UP_S = 10.0
"""What is not committed by then waits for a majority: not a matter of latency any more."""


class ProduceTiming:
    """Follows one batch at a time."""

    __slots__ = (
        "_closed_s",
        "_committed_s",
        "_counters",
        "_index",
        "_now_s",
        "_proposed_s",
        "_sent_s",
        "_synced_s",
        "replica",
    )

    def __init__(self, counters: Counters, now_s: Callable[[], float]) -> None:
        """`now_s` is monotonic time in seconds, of full resolution."""
        self._counters = counters
        self._now_s = now_s
        self.replica: Replica | None = None
        """Whose batch is followed; None: the next one may be."""
        self._index = Index(0)
        self._proposed_s = self._sent_s = self._closed_s = self._synced_s = 0.0
        self._committed_s = 0.0

    def proposed(self, replica: Replica) -> None:
        """A batch was proposed and nothing is followed: follow this one."""
        self.replica = replica
        self._index = replica.raft.log.last_index
        self._proposed_s = self._now_s()
        self._sent_s = self._closed_s = self._synced_s = 0.0

    def handed_out(self, ready: Ready) -> None:
        """The core of `replica` handed out what followers are sent in this turn."""
        if self._sent_s == 0.0 and ready.entries:
            self._sent_s = self._now_s()

    def closed(self, submitted_s: float) -> None:
        """A round was submitted; it may hold the batch."""
        if self._closed_s == 0.0 and self._sent_s > 0.0:
            self._closed_s = submitted_s

    def synced(self, ended_s: float) -> None:
        """A round's sync is over."""
        replica = self.replica
        if replica is None or self._synced_s > 0.0 or self._closed_s == 0.0:
            return
        if replica.raft.synced_index >= self._index:
            self._synced_s = ended_s

    def handled(self, replica: Replica) -> None:
        """`replica` may have committed the batch, and then its answer is on its way."""
        if self._committed_s > 0.0 or replica.applied < self._index:
            return
        if not replica.raft.is_leader:
            self._forget()
            return
        self._committed_s = self._now_s()
        asyncio.get_running_loop().call_soon(self._answered)

    def check(self) -> None:
        """Let go of a batch that is not going to be committed here; called now and then."""
        replica = self.replica
        if replica is None or self._committed_s > 0.0:
            return
        waited_s = self._now_s() - self._proposed_s
        if replica.removed or not replica.raft.is_leader or waited_s > GIVEN_UP_S:
            self._forget()

    def _forget(self) -> None:
        self.replica = None
        self._committed_s = 0.0

    def _answered(self) -> None:
        """Count: the answers of the turn that committed it were handed to their sockets before."""
        now_s = self._now_s()
        counters, committed_s = self._counters, self._committed_s
        closed_s = min(self._closed_s or committed_s, committed_s)
        followers_were_first = self._synced_s == 0.0 or self._synced_s > committed_s
        disk_end_s = closed_s if followers_were_first else max(self._synced_s, closed_s)
        counters.queue.add(closed_s - self._proposed_s)
        counters.disk.add(disk_end_s - closed_s)
        counters.network.add(committed_s - disk_end_s)
        counters.answer.add(now_s - committed_s)
        counters.produce.add(now_s - self._proposed_s)
        counters.replication.add(committed_s - (self._sent_s or closed_s))
        self._forget()
